using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// A trained network as a starting point: what it is, and its weights. Files of `bayou fit` and `bayou train` say what they are; official checkpoints are
/// recognised by their name or their size.
/// </summary>
/// <param name="Path">The checkpoint.</param>
/// <param name="Model">Catalog name, or the key of a ConvNeXt that fit proposed.</param>
/// <param name="Preprocessing">How its pictures were prepared; null where the file does not say.</param>
/// <param name="Labels">Its classes; empty where the file does not say.</param>
/// <param name="InputSize">Side of the pictures it was trained on.</param>
/// <param name="Channels">Channels of its pictures, as far as known.</param>
public sealed record PretrainedModel(string Path, string Model, Preprocessing? Preprocessing, IReadOnlyList<string> Labels, int InputSize, int Channels)
{
    private Func<ModelOptions, Layer> Make { get; init; } = null!;

    /// <summary>Recognises a checkpoint.</summary>
    /// <param name="path">.safetensors, or PyTorch .pth/.pt.</param>
    /// <param name="model">Catalog name, where the file cannot be recognised or is recognised wrongly.</param>
    /// <exception cref="BayouException">The file cannot be read, or nothing in the catalog looks like it.</exception>
    public static PretrainedModel Open(string path, string? model = null)
    {
        using var file = WeightFile.Open(path);
        var name = model ?? file.Metadata.GetValueOrDefault("bayou.model") ?? Recognise(file, path);
        var preprocessing = file.Metadata.TryGetValue("bayou.preprocessing", out var p) ? Preprocessing.FromJson(p) : null;
        var labels = ReadLabels(file);
        if (ConvNeXtSpace.TryParse(name) is { } searched)
        {
            return new PretrainedModel(path, name, preprocessing, labels, searched.InputSize, preprocessing?.Channels ?? 3) { Make = searched.Build };
        }
        var entry = Catalog.Models.Find(name);
        // Networks that Bayou trained have unit layer scale where there is one; what the file lacks decides otherwise.
        var scaled = file.Keys.Any(k => k.EndsWith(".gamma", StringComparison.Ordinal));
        return new PretrainedModel(path, entry.Name, preprocessing, labels, preprocessing?.Size ?? entry.InputSize, preprocessing?.Channels ?? 3)
        {
            Make = o => entry.Create(o with { LayerScale = scaled ? 1 : o.LayerScale }),
        };
    }

    /// <summary>
    /// The network for other classes and channels: its body has the checkpoint's weights, its head starts fresh unless the classes are the checkpoint's own.
    /// </summary>
    /// <param name="options">Classes, channels, stochastic depth.</param>
    /// <param name="classes">Names of the classes; where they equal <see cref="Labels"/> the head is kept. Null: kept if it fits.</param>
    /// <param name="note">Told what was done to head and stem.</param>
    /// <exception cref="BayouException">Something besides head and stem does not fit.</exception>
    public Layer Create(ModelOptions options, IReadOnlyList<string>? classes = null, Action<string>? note = null)
    {
        var network = Make(options with { LayerScale = null });
        try
        {
            Load(network, Path, keepHead: classes is null || classes.SequenceEqual(Labels), note);
            return network;
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>The same network with fresh weights.</summary>
    public Layer CreateFresh(ModelOptions options) => Make(options);

    /// <summary>
    /// Loads a checkpoint into a network but for a head that is not wanted or has other classes; a stem for other channels is summed or repeated over the
    /// channels.
    /// </summary>
    public static void Load(Layer network, string path, bool keepHead, Action<string>? note = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var file = WeightFile.Open(path);
        var head = HeadKeys(network);
        var fresh = keepHead ? [] : head.ToDictionary(k => k, k => network.get_parameter(k)!.clone());
        var report = file.LoadInto(network, strict: false);
        foreach (var (key, values) in fresh) network.get_parameter(key)!.copy_(values);
        var mismatched = report.Mismatched.Select(m => m.Split(' ')[0]).ToList();
        var stem = mismatched.Where(k => !head.Contains(k) && AdaptStem(network, file, k)).ToList();
        var bad = report.Missing.Concat(report.Unexpected).Concat(mismatched).Where(k => !head.Contains(k) && !stem.Contains(k)).ToList();
        if (bad.Count > 0) throw new BayouException($"'{path}' does not fit {network.GetType().Name}: {report}");
        if (!keepHead || mismatched.Any(head.Contains) || report.Missing.Any(head.Contains)) note?.Invoke("the head has other classes: it starts fresh");
        if (stem.Count > 0) note?.Invoke($"{stem[0]}: adapted to the channels of these pictures");
    }

    /// <summary>Keys of the classifier: the outermost linear layer, of several the last.</summary>
    public static IReadOnlyCollection<string> HeadKeys(Layer network)
    {
        // Modules come in the order of their fields, which says nothing; a block's linear layers lie deeper than the head.
        var (name, linear) = network.named_modules().Where(m => m.module is Linear).Select(m => (m.name, (Linear)m.module))
            .Reverse().OrderBy(m => m.name.Count(c => c == '.')).FirstOrDefault();
        if (linear is null) return [];
        return linear.Bias is null ? [$"{name}.weight"] : [$"{name}.weight", $"{name}.bias"];
    }

    // A convolution whose only difference is its number of input channels: grey pictures see the sum of the colour filters, colour pictures a third of the grey
    // one each.
    private static bool AdaptStem(Layer network, WeightFile file, string key)
    {
        var (target, source) = (network.get_parameter(key), file.Get(key));
        if (target is null || target.dim() != 4 || source.dim() != 4) return false;
        var (t, s) = (target.shape, source.shape);
        if (t[0] != s[0] || t[2] != s[2] || t[3] != s[3]) return false;
        if (t[1] == 1 && s[1] == 3) target.copy_(source.sum([1L], keepdim: true));
        else if (t[1] == 3 && s[1] == 1) target.copy_(source.div(Number.Of(3)).expand(t));
        else return false;
        return true;
    }

    private static IReadOnlyList<string> ReadLabels(WeightFile file)
    {
        try
        {
            return file.Metadata.TryGetValue("bayou.labels", out var json) ? JsonSerializer.Deserialize<string[]>(json) ?? [] : [];
        }
        catch (JsonException e)
        {
            throw new BayouException($"'{file.Path}': the labels in its metadata are damaged: {e.Message}", e);
        }
    }

    // By the official file name, or as the catalog model with the nearest number of parameters whose keys are all there.
    private static string Recognise(WeightFile file, string path)
    {
        var byName = Catalog.Models.Entries.FirstOrDefault(e =>
            e.WeightsFile is { } f && string.Equals(f, System.IO.Path.GetFileName(path), StringComparison.OrdinalIgnoreCase));
        if (byName is not null) return byName.Name;
        var count = file.Keys.Sum(k => file.Info(k).Shape.Aggregate(1L, (a, b) => a * b));
        foreach (var entry in Catalog.Models.Entries.Where(e => Math.Abs(e.Parameters - count) < 0.1 * count).OrderBy(e => Math.Abs(e.Parameters - count)))
        {
            using var network = entry.Create(new ModelOptions());
            var head = HeadKeys(network);
            var keys = network.state_dict().Where(p => !head.Contains(p.Key) && !p.Key.EndsWith("num_batches_tracked", StringComparison.Ordinal)).ToList();
            if (keys.All(p => file.Contains(p.Key) && (file.Info(p.Key).Shape.SequenceEqual(p.Value.shape) || p.Value.dim() == 4))) return entry.Name;
        }
        throw new BayouException($"'{path}' does not say what network it belongs to, and nothing in the catalog looks like its {count:N0} values: name it with --init-model (`bayou models`)");
    }
}
