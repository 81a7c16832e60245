using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>weight-file/read: every tensor of the file named in config.json; bf16 is compared after widening to f32.</summary>
public sealed class WeightFileReadAdapter : IParityAdapter
{
    public string Name => "weight-file/read";

    public IReadOnlyDictionary<string, torch.Tensor> Run(ParityCase c)
    {
        using var file = WeightFile.Open(Path.Combine(c.Folder, c.Config.GetProperty("file").GetString()!));
        return file.Keys.ToDictionary(key => key, key => Widened(file.Get(key)));
    }

    private static torch.Tensor Widened(torch.Tensor tensor) => tensor.dtype == torch.ScalarType.BFloat16 ? tensor.to(torch.ScalarType.Float32) : tensor;
}
