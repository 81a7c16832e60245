using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Onnx;

namespace Bayou.Images;

/// <summary>Class scores of a picture, best first.</summary>
/// <param name="Ranked">All classes with their softmax scores.</param>
public sealed record Classification(IReadOnlyList<(string Label, double Score)> Ranked)
{
    /// <summary>The best classes.</summary>
    public IEnumerable<(string Label, double Score)> Top(int count) => Ranked.Take(count);

    /// <summary>Ranks logits.</summary>
    public static Classification Of(ReadOnlySpan<float> logits, IReadOnlyList<string> labels)
    {
        double max = float.NegativeInfinity, sum = 0;
        foreach (var l in logits) max = Math.Max(max, l);
        var scores = new double[logits.Length];
        for (var i = 0; i < scores.Length; i++) sum += scores[i] = Math.Exp(logits[i] - max);
        return new Classification(scores.Select((s, i) => (i < labels.Count ? labels[i] : $"class {i}", s / sum)).OrderByDescending(p => p.Item2).ToList());
    }
}

/// <summary>
/// Classifies pictures with an .onnx file that Bayou wrote: preprocessing, labels and input size come from the file's metadata, so that it needs no other file.
/// </summary>
public sealed class OnnxClassifier : IDisposable
{
    private const string PreprocessingKey = "bayou.preprocessing", LabelsKey = "bayou.labels";

    private readonly OnnxRunner runner;

    /// <summary>Opens a file.</summary>
    /// <param name="path">The .onnx file.</param>
    /// <param name="threads">Threads of ONNX Runtime; 0 for all cores.</param>
    /// <exception cref="BayouException">It is no readable ONNX file, or carries no preprocessing.</exception>
    public OnnxClassifier(string path, int threads = 0)
    {
        runner = new OnnxRunner(path, new OnnxRunnerOptions { Threads = threads });
        try
        {
            if (!runner.Metadata.TryGetValue(PreprocessingKey, out var preprocessing))
                throw new BayouException($"'{path}' carries no '{PreprocessingKey}' in its metadata: it was not written by `bayou fit` or `bayou export`, so how to feed it pictures is unknown");
            Preprocessing = Preprocessing.FromJson(preprocessing);
            Labels = runner.Metadata.TryGetValue(LabelsKey, out var labels) ? ReadLabels(labels, path) : [];
            var input = runner.Inputs[0].ShapeAt(1);
            if (!input.SequenceEqual([1, Preprocessing.Channels, Preprocessing.Size, Preprocessing.Size]))
                throw new BayouException($"'{path}': its preprocessing makes [{Preprocessing.Channels}, {Preprocessing.Size}, {Preprocessing.Size}] pictures, its network takes {runner.Inputs[0]}");
        }
        catch
        {
            runner.Dispose();
            throw;
        }
    }

    /// <summary>How a picture becomes the network's input.</summary>
    public Preprocessing Preprocessing { get; }

    /// <summary>Class names in the order of the logits.</summary>
    public IReadOnlyList<string> Labels { get; }

    /// <summary>The runner beneath.</summary>
    public OnnxRunner Runner => runner;

    /// <summary>The metadata that makes a file self-sufficient.</summary>
    public static Dictionary<string, string> Metadata(Preprocessing preprocessing, IReadOnlyList<string> labels, string model) => new()
    {
        [PreprocessingKey] = preprocessing.ToJson(),
        [LabelsKey] = JsonSerializer.Serialize(labels),
        ["bayou.model"] = model,
        ["bayou.version"] = Machine.Here.Bayou,
    };

    /// <summary>Classifies a picture file: EXIF rotation, CMYK, 16 bit, grey and alpha are handled by <see cref="ImageDecoder"/>.</summary>
    /// <exception cref="BayouException">The file is no readable picture.</exception>
    public Classification Classify(string path) => Classify(ImageDecoder.Decode(path));

    /// <summary>Classifies a decoded picture.</summary>
    public Classification Classify(ImageBuffer picture) =>
        Classification.Of(runner.Run(Preprocessing.Apply(picture), [1, Preprocessing.Channels, Preprocessing.Size, Preprocessing.Size]), Labels);

    /// <inheritdoc/>
    public void Dispose() => runner.Dispose();

    private static string[] ReadLabels(string json, string path)
    {
        try
        {
            return JsonSerializer.Deserialize<string[]>(json) ?? [];
        }
        catch (JsonException e)
        {
            throw new BayouException($"'{path}': the labels in its metadata are damaged: {e.Message}", e);
        }
    }
}
