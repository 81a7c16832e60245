using System.CommandLine;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;

namespace Bayou.Cli;

/// <summary>A catalog network with its weights, as commands name it: MODEL and, where it has been trained, --weights.</summary>
internal sealed record ModelSource(string Name, Layer Network, Preprocessing Preprocessing, IReadOnlyList<string> Labels)
{
    public static readonly string WeightsHelp = "checkpoint: .safetensors or PyTorch .pth/.pt with the official keys";

    /// <summary>Opens a catalog model. A checkpoint of `bayou train` brings its classes, preprocessing and labels; otherwise the options decide.</summary>
    public static ModelSource Open(string name, string? weights, int? classes, int? channels, int? size)
    {
        var entry = Catalog.Models.Find(name);
        if (Points.PointModels.Has(entry.Name) || Points.PointSetup.IsModel(name))
            throw new BayouException($"'{name}' takes points, this command pictures; train, eval, predict, profile and export understand both");
        var metadata = weights is null ? new Dictionary<string, string>() : Metadata(weights);
        if (metadata.TryGetValue("bayou.model", out var trained) && trained != entry.Name)
            throw new BayouException($"'{weights}' holds the weights of {trained}, not of {entry.Name}");
        var labels = metadata.TryGetValue("bayou.labels", out var l) ? JsonSerializer.Deserialize<string[]>(l) ?? [] : [];
        var stored = metadata.TryGetValue("bayou.preprocessing", out var p) ? Preprocessing.FromJson(p) : null;
        var preprocessing = size is null && channels is null && stored is not null
            ? stored : Catalog.PreprocessingOf(entry, size ?? stored?.Size ?? entry.InputSize, channels ?? stored?.Channels ?? 3);
        var options = new ModelOptions(classes ?? (labels.Length > 0 ? labels.Length : 1000), preprocessing.Channels,
            LayerScale: metadata.ContainsKey("bayou.model") ? 1 : null, InputSize: preprocessing.Size);
        var network = entry.Create(options);
        if (weights is not null) network.Load(weights);
        network.eval();
        return new ModelSource(entry.Name, network, preprocessing, labels);
    }

    private static Dictionary<string, string> Metadata(string weights)
    {
        using var file = WeightFile.Open(weights);
        return new Dictionary<string, string>(file.Metadata);
    }
}

/// <summary>The options that describe a catalog model.</summary>
internal sealed class ModelArguments
{
    public Argument<string> Model { get; } = new("MODEL") { Description = "a name of `bayou models`" };

    public Option<string?> Weights { get; } = new("--weights") { Description = ModelSource.WeightsHelp };

    public Option<int?> Classes { get; } = new("--classes") { Description = "classes of the head; default those of the weights, else 1000" };

    public Option<int?> Channels { get; } = new("--channels") { Description = "1 or 3" };

    public Option<int?> Size { get; } = new("--size") { Description = "side of the input in pixels" };

    public void AddTo(Command command)
    {
        command.Add(Model);
        foreach (var option in (Option[])[Weights, Classes, Channels, Size]) command.Add(option);
    }

    public ModelSource Open(ParseResult parsed) =>
        ModelSource.Open(parsed.GetValue(Model)!, parsed.GetValue(Weights), parsed.GetValue(Classes), parsed.GetValue(Channels), parsed.GetValue(Size));
}
