using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>
/// MAPLE's regression (arXiv 2111.15106, 2204.12950; specs/maple.md, section 1.3): latency from a one-hot architecture and a descriptor of the hardware.
/// Descriptors are z-scored over the source devices, ln latencies over the source devices' rows.
/// </summary>
public sealed class MapleModel : IDisposable
{
    private readonly double[] descriptorMean, descriptorStd;

    private MapleModel(Sequential network, double[] descriptorMean, double[] descriptorStd, double targetMean, double targetStd)
    {
        (Network, this.descriptorMean, this.descriptorStd, TargetMean, TargetStd) = (network, descriptorMean, descriptorStd, targetMean, targetStd);
    }

    /// <summary>Linear, ReLU, Linear, ReLU, Linear: [N, architecture + descriptor] -> [N, 1].</summary>
    public Sequential Network { get; }

    /// <summary>Mean of ln latency over the source devices' rows.</summary>
    public double TargetMean { get; }

    /// <summary>Population standard deviation of ln latency over the source devices' rows.</summary>
    public double TargetStd { get; }

    /// <summary>The network: <paramref name="hidden"/> units in each of the hidden layers.</summary>
    public static Sequential NewNetwork(int inputs, int hidden = 64, int hiddenLayers = 2)
    {
        var layers = new List<Layer>();
        for (var i = 0; i < hiddenLayers; i++) layers.AddRange([new Linear(i == 0 ? inputs : hidden, hidden), new ActivationLayer(Activation.Relu)]);
        return new Sequential([.. layers, new Linear(hidden, 1)]);
    }

    /// <summary>Sets up a model: normalisation from the sources, a given network.</summary>
    /// <param name="network">See <see cref="NewNetwork"/>.</param>
    /// <param name="sourceDescriptors">Raw descriptors of the source devices.</param>
    /// <param name="sourceLatencies">Latencies of all rows of the source devices, milliseconds.</param>
    /// <exception cref="BayouException">No sources, descriptors of different lengths, or a latency that is not positive.</exception>
    public static MapleModel Create(Sequential network, IReadOnlyList<double[]> sourceDescriptors, IReadOnlyList<double> sourceLatencies)
    {
        if (sourceDescriptors.Count == 0 || sourceDescriptors.Any(d => d.Length != sourceDescriptors[0].Length))
            throw new BayouException("MAPLE: source devices with descriptors of one length are needed");
        if (sourceLatencies.Any(l => !(l > 0))) throw new BayouException("MAPLE: every latency must be positive");
        var length = sourceDescriptors[0].Length;
        var (mean, std) = (new double[length], new double[length]);
        for (var i = 0; i < length; i++) (mean[i], std[i]) = Moments(sourceDescriptors.Select(d => d[i]).ToArray());
        var (targetMean, targetStd) = Moments(sourceLatencies.Select(l => Math.Log(l)).ToArray());
        return new(network, mean, std, targetMean, targetStd);
    }

    /// <summary>A descriptor as the network reads it.</summary>
    public double[] Normalize(double[] descriptor) => [.. descriptor.Zip(descriptorMean, descriptorStd).Select(v => (v.First - v.Second) / v.Third)];

    /// <summary>ln latency as the network predicts it.</summary>
    public double Normalize(double latency) => (Math.Log(latency) - TargetMean) / TargetStd;

    /// <summary>Rows of the network's input: architecture, then the device's normalised descriptor.</summary>
    public static Tensor Rows(IReadOnlyList<float[]> encodings, double[] normalizedDescriptor)
    {
        if (encodings.Count == 0) return zeros(0, normalizedDescriptor.Length);
        var width = encodings[0].Length + normalizedDescriptor.Length;
        var values = new float[encodings.Count * width];
        for (var n = 0; n < encodings.Count; n++)
        {
            encodings[n].CopyTo(values, n * width);
            for (var i = 0; i < normalizedDescriptor.Length; i++) values[n * width + encodings[n].Length + i] = (float)normalizedDescriptor[i];
        }
        return tensor(values, [encodings.Count, width]);
    }

    /// <summary>Latencies in milliseconds.</summary>
    /// <param name="encodings">One-hot architectures.</param>
    /// <param name="descriptor">Raw descriptor of the device.</param>
    public double[] Predict(IReadOnlyList<float[]> encodings, double[] descriptor)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var y = Network.call(Rows(encodings, Normalize(descriptor))).reshape(-1).to(float64);
        return y.mul(Number.Of(TargetStd)).Plus(Number.Of(TargetMean)).exp().data<double>().ToArray();
    }

    /// <summary>Writes network and normalisation as safetensors.</summary>
    /// <param name="path">The file.</param>
    /// <param name="about">What the file was trained on, as metadata.</param>
    public void Save(string path, IReadOnlyDictionary<string, string>? about = null)
    {
        using var scope = NewDisposeScope();
        WeightFile.Save(path,
        [
            .. Network.named_parameters().Select(p => KeyValuePair.Create($"network.{p.name}", (Tensor)p.parameter)),
            new("descriptor.mean", tensor(descriptorMean)), new("descriptor.std", tensor(descriptorStd)),
            new("target", tensor(new[] { TargetMean, TargetStd })),
        ], about);
    }

    /// <summary>Reads a file that <see cref="Save"/> wrote.</summary>
    /// <exception cref="BayouException">It is none.</exception>
    public static MapleModel Load(string path)
    {
        using var scope = NewDisposeScope();
        using var file = WeightFile.Open(path);
        if (!file.Contains("descriptor.mean")) throw new BayouException($"'{path}' is no MAPLE model");
        var weights = file.Keys.Count(k => k.StartsWith("network.", StringComparison.Ordinal) && k.EndsWith("weight", StringComparison.Ordinal));
        var first = file.Info("network.0.weight").Shape;
        var network = NewNetwork((int)first[1], (int)first[0], weights - 1);
        file.LoadInto(network, mapKey: key => key.StartsWith("network.", StringComparison.Ordinal) ? key[8..] : null);
        var target = file.Get("target").data<double>().ToArray();
        return new(network, file.Get("descriptor.mean").data<double>().ToArray(), file.Get("descriptor.std").data<double>().ToArray(), target[0], target[1]);
    }

    /// <inheritdoc/>
    public void Dispose() => Network.Dispose();

    // Population standard deviation; what does not vary is only centred.
    private static (double Mean, double Std) Moments(double[] values)
    {
        var mean = values.Average();
        var std = Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / values.Length);
        return (mean, std < 1e-8 ? 1 : std);
    }
}
