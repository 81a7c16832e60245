using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>How <see cref="OnnxWriter"/> writes a graph.</summary>
public sealed record OnnxOptions
{
    /// <summary>Written as the file's metadata_props: preprocessing, labels, provenance. <see cref="OnnxRunner.Metadata"/> gives it back.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    /// <summary>Name of the graph inside the file.</summary>
    public string GraphName { get; init; } = "bayou";

    /// <summary>Free text about the model.</summary>
    public string Description { get; init; } = "";

    /// <summary>Whether the written file is run and compared with TorchSharp before it takes its final name.</summary>
    public bool Verify { get; init; } = true;

    /// <summary>Real inputs for the comparison, one tensor [M, ...] for each graph input, beside the random ones; e.g. preprocessed pictures.</summary>
    public IReadOnlyList<Tensor>? Samples { get; init; }

    /// <summary>Largest difference a float graph may show, times max(1, largest reference value); beyond it the export is an error.</summary>
    public double Tolerance { get; init; } = 1e-3;

    /// <summary>Weights of more bytes than this in total go into a second file beside the model (name + ".data"): one protobuf cannot exceed 2 GB.</summary>
    public long ExternalDataAbove { get; init; } = 1_900_000_000;
}

/// <summary>What the comparison of a written file with TorchSharp gave.</summary>
/// <param name="MaxAbsDiff">Largest absolute difference over all outputs.</param>
/// <param name="MaxAbsReference">Largest absolute value TorchSharp gave.</param>
/// <param name="Top1Agreement">Share of rows (all axes but the last) of the first output whose largest element is the same one, 0..1.</param>
/// <param name="Rows">Number of rows compared for <paramref name="Top1Agreement"/>.</param>
/// <param name="Quantised">Whether the graph has fake-quantise nodes: then differences of some quantisation steps are normal.</param>
public sealed record OnnxCheck(double MaxAbsDiff, double MaxAbsReference, double Top1Agreement, long Rows, bool Quantised)
{
    /// <summary>The result of not comparing.</summary>
    public static OnnxCheck None { get; } = new(double.NaN, double.NaN, double.NaN, 0, false);

    /// <inheritdoc/>
    public override string ToString() => $"max abs diff {MaxAbsDiff:G3} (outputs up to {MaxAbsReference:G3}), top-1 equal in {Top1Agreement:P1} of {Rows} rows";
}
