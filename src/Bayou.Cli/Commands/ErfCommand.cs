using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Spectre.Console;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>bayou erf MODEL...: how far a network really looks.</summary>
internal static class ErfCommand
{
    public static Command Create()
    {
        var command = new Command("erf", """
            Effective receptive field of catalog models, as RepLKNet measures it: the contribution of every input pixel to the middle of the last feature map, averaged over
            pictures. Draws the heat maps side by side and prints, for 20, 30, 50 and 99 % of all contributions, the area of the smallest centred square that holds them (in per
            cent of the picture: the larger, the farther the network looks). The paper takes 50 pictures of ImageNet's validation part at 1024 pixels.

            Examples:
              bayou erf convnext_tiny replknet_13 --data photos/ --size 512 --images 10
              bayou erf replknet_31b --weights RepLKNet-31B_ImageNet-1K_224.pth --data imagenet/val
              bayou erf convnext_tiny replknet_31b --weights convnext.pth replknet.pth --data photos/ --json
            """);
        var models = new Argument<string[]>("MODEL") { Description = "names of `bayou models`", Arity = ArgumentArity.OneOrMore };
        var data = new Option<string>("--data") { Description = "folder of pictures (searched through) or built-in data set", Required = true };
        var weights = new Option<string[]>("--weights")
        {
            Description = ModelSource.WeightsHelp + "; one a model, in order; '-' for none",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => []
        };
        var classes = new Option<int?>("--classes") { Description = "classes of the heads, where the weights need it" };
        var size = new Option<int>("--size") { Description = "side of the input in pixels; pictures are warped to it", DefaultValueFactory = _ => 1024 };
        var images = new Option<int>("--images") { Description = "pictures, taken evenly from all", DefaultValueFactory = _ => 50 };
        var output = new Option<string>("--out") { Description = "the picture to write (.png)", DefaultValueFactory = _ => "erf.png" };
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        command.Add(models);
        foreach (var option in (Option[])[data, weights, classes, size, images, output, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            manual_seed(parsed.GetValue(seed));
            var names = parsed.GetValue(models)!;
            var files = parsed.GetValue(weights)!;
            if (files.Length > names.Length)
                throw new BayouException($"{files.Length} --weights for {names.Length} models: give one a model, in order, '-' for none");
            var (pixels, count, path) = (parsed.GetValue(size), parsed.GetValue(images), parsed.GetValue(output)!);
            if (count < 1) throw new BayouException($"--images {count}: at least 1 is needed");
            var measured = ConsoleProgress.Run(progress =>
            {
                var pictures = Pictures(parsed.GetValue(data)!, count);
                return names.Select((name, i) =>
                    Measure(name, i < files.Length && files[i] != "-" ? files[i] : null, parsed.GetValue(classes), pixels, pictures, progress, cancel))
                    .ToList();
            });
            Draw(measured, path);
            Print(measured, pixels, path, parsed.GetValue(json));
            return Task.FromResult(0);
        });
        return command;
    }

    private sealed record Measured(string Model, string? Weights, int Pictures, int Skipped, double[] Map, IReadOnlyList<ContributionArea> Areas);

    private static Measured Measure(string name, string? weights, int? classes, int size, IReadOnlyList<Func<ImageBuffer>> pictures, IFitProgress progress,
        CancellationToken cancel)
    {
        progress.Stage(name);
        if (weights is null) progress.Line($"note: no --weights for {name}: what an untrained network looks at");
        var source = ModelSource.Open(name, weights, classes, null, size);
        using var network = source.Network;
        if (network is not IFeatureNetwork features) throw new BayouException($"{name} gives no feature maps: its receptive field cannot be measured");
        network.Merge();
        var preprocessing = source.Preprocessing with { Resize = ResizeMode.Warp };
        var field = new ReceptiveField();
        var unreadable = 0;
        for (var i = 0; i < pictures.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            progress.Status((double)i / pictures.Count, $"picture {i + 1} of {pictures.Count}");
            ImageBuffer picture;
            try
            {
                picture = pictures[i]();
            }
            catch (BayouException e)
            {
                progress.Line($"  skipped: {e.Message}");
                unreadable++;
                continue;
            }
            using var scope = NewDisposeScope();
            field.Add(features, tensor(preprocessing.Apply(picture), [1, preprocessing.Channels, size, size]));
        }
        var map = ReceptiveField.Analysed(field.Average());
        var areas = ReceptiveField.PaperThresholds.Select(t => ReceptiveField.Area(map, size, size, t)).ToList();
        return new Measured(source.Name, weights, field.Pictures, field.Skipped + unreadable, map, areas);
    }

    // A folder need not have classes here.
    private static List<Func<ImageBuffer>> Pictures(string data, int count)
    {
        List<Func<ImageBuffer>> all;
        if (Directory.Exists(data) || ImageFolder.Extensions.Contains(Path.GetExtension(data), StringComparer.OrdinalIgnoreCase))
        {
            all = [.. Common.Pictures(data).Select(file => (Func<ImageBuffer>)(() => ImageDecoder.Decode(file)))];
        }
        else
        {
            var test = DataSplits.Open(data).Test;
            all = [.. Enumerable.Range(0, test.Count).Select(i => (Func<ImageBuffer>)(() => test.Read(i)))];
        }
        if (all.Count == 0) throw new BayouException($"--data: '{data}' holds no pictures ({string.Join(' ', ImageFolder.Extensions)})");
        var taken = Math.Min(count, all.Count);
        return [.. Enumerable.Range(0, taken).Select(i => all[(int)((long)i * all.Count / taken)])];
    }

    private static void Draw(List<Measured> measured, string path)
    {
        if (!path.EndsWith(".png", StringComparison.OrdinalIgnoreCase)) throw new BayouException($"--out '{path}': the heat maps are written as .png");
        var maps = measured.Select(m => new HeatMap(
            m.Model, m.Map, (int)Math.Sqrt(m.Map.Length), (int)Math.Sqrt(m.Map.Length),
            [.. m.Areas.Where(a => a.Exists && a.Threshold is 0.5 or 0.99).Select(a => ($"{a.Threshold:P0}", a.Side))])).ToList();
        var png = HeatMaps.Row(maps).ToPng();
        AtomicFile.Write(path, stream => stream.Write(png));
    }

    private static void Print(List<Measured> measured, int size, string path, bool json)
    {
        if (json)
        {
            Common.PrintJson(new
            {
                size,
                picture = path,
                models = measured.Select(m => new
                {
                    m.Model,
                    m.Weights,
                    m.Pictures,
                    m.Skipped,
                    areas = m.Areas.Select(a => new { a.Threshold, side = a.Exists ? a.Side : (int?)null, ratio = a.Exists ? a.Ratio : (double?)null }),
                }),
            });
            return;
        }
        var table = new Table().Border(TableBorder.Rounded).AddColumn("model").AddColumn("weights").AddColumn(new TableColumn("pictures").RightAligned());
        foreach (var t in ReceptiveField.PaperThresholds) table.AddColumn(new TableColumn($"t = {t:P0}").RightAligned());
        foreach (var m in measured)
        {
            table.AddRow([Markup.Escape(m.Model), Markup.Escape(m.Weights is null ? "none" : Path.GetFileName(m.Weights)), $"{m.Pictures}",
                .. m.Areas.Select(a => a.Exists ? $"{a.Ratio:P1}" : "-")]);
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"area of the smallest centred square with the share t of all contributions, at {size} x {size}; heat maps: {path}");
    }
}
