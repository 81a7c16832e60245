using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Points;
using Bayou.Train;
using Spectre.Console;
using TorchSharp;

namespace Bayou.Cli;

/// <summary>What train, eval and predict do for models on points.</summary>
internal static class PointRuns
{
    private sealed record Trained(string Model, string Folder, string Data, string Measure, double Test, double OverallAccuracy, int TrainClouds,
        int TestClouds, int Epochs, long Params, double Seconds);

    /// <summary>Trains a catalog model and writes model.safetensors with its setup; prints the test measure.</summary>
    public static int Train(string model, string data, string folder, RecipeOptions recipeOptions, ParseResult parsed, int epochs, int seed, bool resume,
        int? size, float voxel, bool json, CancellationToken cancel)
    {
        var result = ConsoleProgress.Run(progress =>
        {
            progress.Stage("Data");
            var clouds = PointData.Open(data, seed);
            var setup = Setup(model, clouds, size, voxel);
            progress.Line($"  {clouds.Name}: {Clouds(clouds.Train.Count)} to train on, {clouds.Test.Count} to test, {clouds.Classes.Count} classes");
            progress.Stage("Training");
            torch.manual_seed(seed);
            using var network = setup.Create();
            var recipe = recipeOptions.Apply(VoxelTraining.Recipe(epochs, setup.Task == PointTask.Voxels ? 2 : 16,
                setup.Task == PointTask.Voxels ? 6e-3 : 2e-3), parsed);
            var options = new TrainerOptions
            {
                RunFolder = folder,
                Resume = resume,
                Seed = seed,
                Cancellation = cancel,
                Note = progress.Line,
                Progress = p => progress.Status((double)p.Step / p.Steps, $"epoch {p.Epoch + 1} of {p.Epochs}, loss {p.Loss:0.000}, {p.Eta:h\\:mm\\:ss} left"),
                EpochDone = e => progress.Line($"  epoch {e.Epoch + 1}: loss {e.TrainLoss:0.000}"),
            };
            using var trained = Trainer.Train(network, setup.Source(clouds.Train, recipe.Batch, training: true, seed), null, recipe, options);
            if (trained.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(cancel);
            trained.OrThrow();
            setup.Save(network, Path.Combine(folder, "model.safetensors"));
            progress.Stage("Test");
            var (measure, test, accuracy, _) = Measure(setup, network, clouds.Test, cancel);
            return new Trained(model, folder, clouds.Name, measure, test, accuracy, clouds.Train.Count, clouds.Test.Count, epochs,
                network.parameters().Sum(p => p.numel()), trained.Seconds);
        });
        if (json) Common.PrintJson(result);
        else Console.Out.WriteLine($"{result.Data}: test {result.Measure} {result.Test:P2}, overall accuracy {result.OverallAccuracy:P2} ({Clouds(result.TestClouds)}); {Path.Combine(folder, "model.safetensors")}");
        return 0;
    }

    /// <summary>Measures a saved model on the test part.</summary>
    public static int Evaluate(string weights, string data, int seed, bool json, CancellationToken cancel)
    {
        var (setup, network) = PointSetup.Load(weights);
        using var owned = network;
        var clouds = PointData.Open(data, seed);
        if (!clouds.Classes.SequenceEqual(setup.Classes))
            throw new BayouException($"'{weights}' knows the classes {string.Join(", ", setup.Classes.Take(5))}..., the data have {string.Join(", ", clouds.Classes.Take(5))}...");
        var (measure, value, accuracy, classes) = ConsoleProgress.Run(progress =>
        {
            progress.Stage("evaluation");
            return Measure(setup, network, clouds.Test, cancel);
        });
        if (json)
        {
            Common.PrintJson(new
            {
                model = setup.Model,
                data = clouds.Name,
                measure,
                value,
                overallAccuracy = accuracy,
                clouds = clouds.Test.Count,
                classes = setup.Classes.Zip(classes, (name, v) => new { name, value = double.IsNaN(v) ? (double?)null : v })
            });
            return 0;
        }
        AnsiConsole.MarkupLineInterpolated($"[bold]{setup.Model}[/] on {clouds.Name}: {measure} {value:P2}, overall accuracy {accuracy:P2} ({Clouds(clouds.Test.Count)})");
        for (var c = 0; c < classes.Length; c++)
            AnsiConsole.MarkupLineInterpolated($"  {setup.Classes[c],-16} {(double.IsNaN(classes[c]) ? "does not occur" : $"{classes[c]:P1}")}");
        return 0;
    }

    /// <summary>Classifies clouds, or labels their points and writes them as .ply and as a page.</summary>
    public static int Predict(string weights, string[] files, int top, bool json)
    {
        var (setup, network) = PointSetup.Load(weights);
        using var owned = network;
        var results = new List<object>();
        var failed = 0;
        foreach (var file in files.SelectMany(Files))
        {
            try
            {
                results.Add(setup.Task == PointTask.ClassifyShapes ? Classify(setup, network, file, top, json) : Label(setup, network, file, json));
            }
            catch (BayouException e)
            {
                failed++;
                results.Add(new { file, error = e.Message });
                if (!json) Console.Error.WriteLine($"{file}: {e.Message}");
            }
        }
        if (json) Common.PrintJson(new { model = weights, predictions = results });
        return failed == 0 ? 0 : 1;
    }

    private static PointSetup Setup(string model, PointData data, int? points, float voxel)
    {
        var task = PointModels.TaskOf(model);
        if (data.Segmented != (task != PointTask.ClassifyShapes))
            throw new BayouException($"{model} {(task == PointTask.ClassifyShapes ? "classifies whole clouds, and the data label points" : "labels points, and the data label whole clouds")}: choose another model");
        var colour = data.Train[0].Cloud.Colours is not null && data.Train.Concat(data.Test).All(s => s.Cloud.Colours is not null);
        var side = voxel > 0 ? voxel : data.Name.StartsWith("SemanticKITTI", StringComparison.Ordinal) || data.Name.Contains("streets") ? 0.2f : 0.08f;
        return new(model, [.. data.Classes], 3, points ?? (task == PointTask.SegmentPoints ? 2048 : 1024), side, colour && task == PointTask.Voxels);
    }

    // Shapes by accuracy, points by mean IoU; then the value of every class.
    private static (string Measure, double Value, double OverallAccuracy, double[] Classes) Measure(PointSetup setup, Layer network,
        IReadOnlyList<ShapeSample> test, CancellationToken cancel)
    {
        var metrics = VoxelTraining.Evaluate(network, setup.Source(test, setup.Task == PointTask.Voxels ? 1 : 16, training: false, 0), cancel);
        var shapes = setup.Task == PointTask.ClassifyShapes;
        return (shapes ? "mean class accuracy" : "mean IoU", shapes ? metrics.MeanAccuracy : metrics.MeanIou, metrics.OverallAccuracy,
            [.. Enumerable.Range(0, metrics.Classes).Select(c => shapes ? metrics.Accuracy(c) : metrics.Iou(c))]);
    }

    private static object Classify(PointSetup setup, Layer network, string file, int top, bool json)
    {
        var best = VoxelTraining.Probabilities(network, setup.Source([new ShapeSample(PointFiles.Read(file).Finite())], 1, training: false, 0))
            .Select((p, c) => (Label: setup.Classes[c], Score: p)).OrderByDescending(s => s.Score).Take(top).ToArray();
        if (!json)
        {
            AnsiConsole.MarkupLineInterpolated($"[bold]{file}[/]");
            foreach (var (label, score) in best) AnsiConsole.MarkupLineInterpolated($"  {score * 100,6:0.00} %  {label}");
        }
        return new { file, top = best.Select(b => new { label = b.Label, score = b.Score }) };
    }

    private static object Label(PointSetup setup, Layer network, string file, bool json)
    {
        var cloud = PointFiles.Read(file).Finite();
        var given = Given(setup, cloud, file);
        var labelled = cloud with
        {
            Labels = setup.Task == PointTask.Voxels
            ? VoxelSource.Label(network, cloud, setup.Voxels()) : ShapeSource.Label(network, cloud, setup.Shapes()),
            Triangles = null
        };
        var stem = Path.GetFileNameWithoutExtension(file) + ".labels";
        SegmentationMetrics? agreement = null;
        if (given is not null)
        {
            // The page can show them beside the predicted ones.
            labelled = labelled with
            {
                Fields = new Dictionary<string, float[]>(cloud.Fields)
                {
                    [PointColouring.GivenLabels] = Array.ConvertAll(given,
                l => (float)l)
                }
            };
            agreement = new SegmentationMetrics(setup.Classes.Length);
            agreement.Add(labelled.Labels, given);
        }
        PointFiles.Write(labelled, stem + ".ply");
        AtomicFile.WriteAllText(stem + ".html", PointViewer.Html(labelled, Path.GetFileName(file), setup.Classes));
        ImageEncoder.Save(PointViewer.Render(labelled), stem + ".png");
        var counts = labelled.Labels.GroupBy(l => l).OrderByDescending(g => g.Count()).Select(g => new { label = setup.Classes[g.Key], points = g.Count() })
            .ToArray();
        if (!json)
        {
            AnsiConsole.MarkupLineInterpolated($"[bold]{file}[/]: {stem}.ply, {stem}.html, {stem}.png");
            if (agreement is not null)
                AnsiConsole.MarkupLineInterpolated($"  against the file's own labels: overall accuracy {agreement.OverallAccuracy:P2}, mean IoU {agreement.MeanIou:P2}");
            foreach (var c in counts.Take(8)) AnsiConsole.MarkupLineInterpolated($"  {(double)c.points / cloud.Count,7:P1}  {c.label}");
        }
        return new
        {
            file,
            ply = stem + ".ply",
            page = stem + ".html",
            png = stem + ".png",
            counts,
            overallAccuracy = agreement?.OverallAccuracy,
            meanIou = agreement?.MeanIou
        };
    }

    // The labels a file came with, if they are of the network's classes.
    private static int[]? Given(PointSetup setup, PointCloud cloud, string file)
    {
        if (cloud.Labels is not { } labels) return null;
        // A scan of SemanticKITTI has the raw classes.
        if (setup.Classes.SequenceEqual(SemanticKitti.Classes) && Path.GetExtension(file) == ".bin")
            labels = Array.ConvertAll(labels, SemanticKitti.TrainingClass);
        return Array.TrueForAll(labels, l => l < setup.Classes.Length) && Array.Exists(labels, l => l >= 0) ? labels : null;
    }

    // A file, a room of S3DIS, or all clouds in a folder.
    private static IEnumerable<string> Files(string path) => !Directory.Exists(path) || Directory.Exists(Path.Combine(path, "Annotations"))
        ? [path] : Directory.GetFiles(path).Where(f => PointFiles.Extensions.Contains(Path.GetExtension(f).ToLowerInvariant())).Order(StringComparer.Ordinal);

    private static string Clouds(int count) => count == 1 ? "1 cloud" : $"{count} clouds";
}
