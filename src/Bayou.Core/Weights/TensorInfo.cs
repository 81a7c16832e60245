using TorchSharp;

namespace Bayou.Core;

/// <summary>What a weight file says about one tensor, known without reading its values.</summary>
/// <param name="DType">Element type as stored in the file.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
public sealed record TensorInfo(torch.ScalarType DType, IReadOnlyList<long> Shape)
{
    /// <summary>Number of elements.</summary>
    public long Count => Shape.Aggregate(1L, (product, size) => product * size);

    /// <summary>For people: <c>float32 [64, 3, 7, 7]</c>.</summary>
    public override string ToString() => $"{ElementTypes.Name(DType)} [{string.Join(", ", Shape)}]";
}
