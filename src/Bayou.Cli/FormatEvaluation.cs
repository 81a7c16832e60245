using System.CommandLine;
using Bayou.Compress;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Search;
using Bayou.Train;
using Spectre.Console;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>The options of `bayou eval` about number formats.</summary>
internal sealed class FormatOptions
{
    public Option<string?> Format { get; } =
        new("--format") { Description = "evaluate with products in these formats, comma-separated: bf16, e4m3, e3m4, int8, int4, mxfp4, any eXmY; w4a8 for weights and activations apart" };

    public Option<bool> PerLayer { get; } =
        new("--per-layer") { Description = "with --format: also each layer alone in the (last) format, as a table and a plot" };

    public Option<string?> Plot { get; } = new("--plot") { Description = "file of the plot of --per-layer, .svg or .png; default format-sensitivity.svg" };

    public Option[] All => [Format, PerLayer, Plot];
}

/// <summary>Accuracy of a model beside its ACE, format by format.</summary>
internal static class FormatEvaluation
{
    private const int CalibrationPictures = 256, SensitivityPictures = 500;

    private sealed record Row(string Format, double Top1, double Loss, long Ace);

    private sealed record LayerRow(string Layer, double Loss, double LossAdded, double Top1Added, long AceSaved);

    public static void Run(ModelSource model, string formats, DataSplits splits, IReadOnlyList<IImageDataset> parts, bool perLayer, string? plot, bool json,
        CancellationToken cancel)
    {
        var wanted = formats.Split(',').Select(f => (Name: f.Trim(), Formats: Parse(f))).ToArray();
        var (rows, layers) = ConsoleProgress.Run(progress =>
        {
            progress.Stage("calibration");
            var size = model.Preprocessing.Size;
            var calibration = splits.Train.Count > 0 ? splits.Train : parts[0];
            using var scope = NewDisposeScope();
            var network = new FormatNetwork(Capture.Trace(model.Network, 1, model.Preprocessing.Channels, size, size),
                Pictures(model, calibration, CalibrationPictures, cancel));
            progress.Stage("formats");
            var results = new List<Row> { Measure("fp32", network.With(_ => null), parts) };
            foreach (var (name, format) in wanted)
            {
                progress.Status((double)(results.Count - 1) / wanted.Length, name);
                results.Add(Measure(name, network.With(format), parts));
            }
            var sensitivity = new List<LayerRow>();
            if (perLayer)
            {
                progress.Stage("layers");
                IImageDataset[] few = [new Subset(parts[0], Enumerable.Range(0, Math.Min(SensitivityPictures, parts[0].Count)))];
                var float32 = Measure("fp32", network.With(_ => null), few);
                foreach (var layer in network.Layers)
                {
                    progress.Status((double)sensitivity.Count / network.Layers.Count, layer.Name);
                    var alone = Measure(layer.Name, network.With(n => ReferenceEquals(n, layer) ? wanted[^1].Formats : null), few);
                    sensitivity.Add(new(layer.Name, alone.Loss, alone.Loss - float32.Loss, alone.Top1 - float32.Top1, float32.Ace - alone.Ace));
                }
            }
            return (results, sensitivity);
        });
        string? file = null;
        if (layers.Count > 0)
        {
            file = plot ?? "format-sensitivity.svg";
            var image = CostPlots.Layers([.. layers.Select(l => (l.Layer, (IReadOnlyList<double>)[l.LossAdded]))], [wanted[^1].Name],
                $"loss added by {wanted[^1].Name} in this layer alone");
            if (file.EndsWith(".png", StringComparison.OrdinalIgnoreCase)) File.WriteAllBytes(file, image.ToPng());
            else File.WriteAllText(file, image.ToSvg());
        }
        if (json)
        {
            Common.PrintJson(new { model = model.Name, pictures = parts.Sum(p => p.Count), formats = rows, perLayer = layers, plot = file });
            return;
        }
        var table = new Table().Border(TableBorder.Rounded).AddColumn("format");
        foreach (var column in (string[])["top-1", "loss", "ACE", "ACE of fp32"]) table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var r in rows)
            table.AddRow(Markup.Escape(r.Format), $"{r.Top1:P2}", $"{r.Loss:0.0000}", Budget.Si(r.Ace), $"{(double)r.Ace / rows[0].Ace:P2}");
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"[bold]{model.Name}[/] on {parts.Sum(p => p.Count)} pictures; products in the format, sums in float32; weights scaled by channel, activations by tensor from {CalibrationPictures} pictures");
        if (layers.Count == 0) return;
        var perLayerTable = new Table().Border(TableBorder.Rounded).AddColumn("layer");
        foreach (var column in (string[])["loss added", "top-1 points", "ACE saved"]) perLayerTable.AddColumn(new TableColumn(column).RightAligned());
        foreach (var l in layers.OrderByDescending(l => l.LossAdded))
            perLayerTable.AddRow(Markup.Escape(l.Layer), $"{l.LossAdded:+0.0000;-0.0000}", $"{100 * l.Top1Added:+0.0;-0.0;0}",
            $"{(double)l.AceSaved / rows[0].Ace:P1}");
        AnsiConsole.Write(perLayerTable);
        AnsiConsole.MarkupLineInterpolated($"{wanted[^1].Name} in one layer at a time, {Math.Min(SensitivityPictures, parts[0].Count)} pictures; plot: {file}");

        Row Measure(string name, Graph graph, IReadOnlyList<IImageDataset> data)
        {
            using var module = new GraphModule(graph);
            module.eval();
            var results = data.Select(p => Evaluator.Evaluate(module, Source(model, p), cancel)).ToArray();
            double Mean(Func<Evaluation, double> value) => results.Sum(r => value(r) * r.Predictions.Count) / results.Sum(r => r.Predictions.Count);
            return new(name, Mean(r => r.Top1), Mean(r => r.Loss), Cost.Of(graph).AceAsIs());
        }
    }

    /// <summary>e4m3, int8, w4a8.</summary>
    public static OperandFormats Parse(string text)
    {
        var t = text.Trim().ToLowerInvariant();
        if (t.Length > 3 && t[0] == 'w' && t.IndexOf('a') is var a and > 1 && int.TryParse(t[1..a], out var w)
            && int.TryParse(t[(a + 1)..], out var bits)) return new(NumberFormat.Parse($"int{w}"), NumberFormat.Parse($"int{bits}"));
        return new(NumberFormat.Parse(t));
    }

    private static LoaderSource Source(ModelSource model, IImageDataset data) =>
        new(new ImageLoader(data, 64, new LoaderOptions { Preprocessing = model.Preprocessing }));

    private static IEnumerable<Tensor> Pictures(ModelSource model, IImageDataset data, int count, CancellationToken cancel)
    {
        var seen = 0;
        foreach (var batch in Source(model, data).Epoch(0, 0, cancel))
        {
            using var owned = batch;
            yield return batch.Images;
            if ((seen += batch.Indices.Length) >= count) yield break;
        }
    }
}
