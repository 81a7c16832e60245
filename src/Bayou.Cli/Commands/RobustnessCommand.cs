using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Train;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou robustness MODEL...: accuracy under the corruptions of ImageNet-C.</summary>
internal static class RobustnessCommand
{
    private const string AlexNet = "alexnet";

    public static Command Create()
    {
        var command = new Command("robustness", """
            Measures how far models fall when pictures are noisy, blurred, weathered or badly encoded: the corruptions of ImageNet-C (Hendrycks and Dietterich 2019), severity 1 to 5.
            MODEL is an .onnx file of Bayou, or a catalog name with its --weights (one --weights for each name, in order). Pictures of 224x224 get the constants of ImageNet-C, those up
            to 48 pixels the constants of CIFAR-10-C, others those of the any-size port. The run folder keeps every measurement: the same command with --out and --resume goes on.

            Examples:
              bayou robustness runs/photos/model.onnx --data photos/
              bayou robustness small.onnx large.onnx --data cifar10 --images 1000 --baseline small
              bayou robustness convnext_tiny --weights ema.pth --data imagenet-val/ --severity 3 --corruptions noise,blur
            """);
        var models = new Argument<string[]>("MODEL") { Description = ".onnx files or names of `bayou models`", Arity = ArgumentArity.OneOrMore };
        var data = new Option<string>("--data") { Description = "folder, .zip or built-in name", Required = true };
        var weights = new Option<string[]>("--weights") { Description = ModelSource.WeightsHelp + "; once for each catalog name" };
        var part = new Option<string>("--part") { Description = "train, val or test", DefaultValueFactory = _ => "test" };
        part.AcceptOnlyFromAmong("train", "val", "test");
        var images = new Option<int?>("--images") { Description = "pictures to use, drawn by the seed; default all" };
        var corruptions = new Option<string[]>("--corruptions") { Description = "names, or noise, blur, weather, digital, test (the 15), validation (4 more), all", DefaultValueFactory = _ => ["test"], AllowMultipleArgumentsPerToken = true };
        var severity = new Option<int[]>("--severity") { Description = "1 (mild) to 5; default all five", AllowMultipleArgumentsPerToken = true };
        var baseline = new Option<string?>("--baseline") { Description = "mCE relative to: alexnet (published errors), or one of the given models; default the first of several, else alexnet" };
        var frost = new Option<string?>("--frost") { Description = "folder with the published frost pictures; default procedural ones" };
        var order = new Option<ChannelOrder>("--channel-order")
        {
            Description = "bgr: as generators that read pictures with OpenCV and call them RGB",
            DefaultValueFactory = _ => ChannelOrder.Rgb
        };
        var output = new Option<string?>("--out") { Description = "run folder for plots and measurements; default runs/robustness-DATA-TIME" };
        var resume = new Option<bool>("--resume") { Description = "go on with the run in --out" };
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        command.Add(models);
        foreach (var option in (Option[])[data, weights, part, images, corruptions, severity, baseline, frost, order, output, resume, seed, threads, json])
            command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var count = Common.UseThreads(parsed.GetValue(threads));
            var source = parsed.GetValue(data)!;
            var folder = parsed.GetValue(output);
            if (folder is null && parsed.GetValue(resume)) throw new BayouException("--resume needs --out: the folder of the run to go on with");
            folder ??= Common.NewRunFolder("robustness", source);
            if (!parsed.GetValue(resume) && File.Exists(Path.Combine(folder, "run.db")))
                throw new BayouException($"'{folder}' holds a run already: add --resume to go on with it, or choose another --out");
            var splits = DataSplits.Open(source, new SplitOptions { Seed = parsed.GetValue(seed) });
            var pictures = Draw(splits.Parts.First(p => p.Part == parsed.GetValue(part)).Data, parsed.GetValue(images), parsed.GetValue(seed), source);
            var severities = parsed.GetValue(severity) is { Length: > 0 } chosen ? chosen.Distinct().Order().ToArray() : [1, 2, 3, 4, 5];
            // Before the run folder is made: a corrected command may name it again.
            foreach (var s in severities)
                if (s is < 1 or > 5) throw new BayouException($"--severity {s}: 1 (mild) to 5 are possible");
            var options = new RobustnessOptions
            {
                Corruptions = Corruptions.Parse(parsed.GetValue(corruptions)!),
                Severities = severities,
                Seed = parsed.GetValue(seed),
                Frost = parsed.GetValue(frost) is { } ice ? FrostPictures.FromFolder(ice) : null,
                Order = parsed.GetValue(order),
            };
            using var opened = new OpenModels(parsed.GetValue(models)!, parsed.GetValue(weights) ?? [], pictures, count);
            using var store = RunStore.Open(folder);
            var results = ConsoleProgress.Run(progress =>
            {
                progress.Stage("robustness");
                return RobustnessEvaluator.Run(opened.Tasks, options with { Store = store, Progress = progress.Status }, cancel);
            });
            var report = RobustnessReport.Of(results, Baseline(parsed.GetValue(baseline), results), severities, options);
            Save(folder, results, opened.Tasks, options, report);
            if (parsed.GetValue(json)) Common.PrintJson(report);
            else Print(report, results, folder, pictures.Count);
            return Task.FromResult(0);
        });
        return command;
    }

    private static IImageDataset Draw(IImageDataset pictures, int? count, int seed, string source)
    {
        if (pictures.Count == 0) throw new BayouException($"'{source}' has no pictures in that part");
        if (count is null || count >= pictures.Count) return pictures;
        if (count < 1) throw new BayouException($"--images {count}: at least 1 is needed");
        var order = Enumerable.Range(0, pictures.Count).ToArray();
        SampleRandom.For(seed, 0, -1).Shuffle<int>(order);
        return new Subset(pictures, order.Take(count.Value));
    }

    // A baseline by name: AlexNet's published errors, a given model's measured ones.
    private static (string Name, IReadOnlyDictionary<Corruption, double> Errors) Baseline(string? name, IReadOnlyList<RobustnessResult> results)
    {
        name ??= results.Count > 1 ? results[0].Model : AlexNet;
        if (name.Equals(AlexNet, StringComparison.OrdinalIgnoreCase)) return (AlexNet, CorruptionErrors.AlexNet);
        var found = results.Where(r => r.Model.Equals(name, StringComparison.OrdinalIgnoreCase)
            || Path.GetFileNameWithoutExtension(r.Model).Equals(name, StringComparison.OrdinalIgnoreCase)).ToList();
        return found.Count == 1 ? (found[0].Model, found[0].Errors)
            : throw new BayouException($"--baseline {name}: {AlexNet} or one of {string.Join(", ", results.Select(r => r.Model))} is possible");
    }

    private static void Save(string folder, IReadOnlyList<RobustnessResult> results, IReadOnlyList<IRobustnessTask> tasks, RobustnessOptions options,
        RobustnessReport report)
    {
        Write("corruptions.png", RobustnessPlots.ByCorruption(results).ToPng());
        Write("severity.png", RobustnessPlots.BySeverity(results).ToPng());
        void Write(string name, byte[] file) => AtomicFile.Write(Path.Combine(folder, name), stream => stream.Write(file));

        // The example is a picture that every model knows when it is clean, where one of the first has that.
        var index = Enumerable.Range(0, Math.Min(20, tasks[0].Count)).FirstOrDefault(i => tasks.All(t => t.Answer(i, t.Clean(i)).Right));
        var severity = options.Severities[options.Severities.Count / 2];
        Write("pictures.png", RobustnessStrip.Draw(tasks, tasks[0].Clean(index), index, severity, options));
        AtomicFile.WriteAllText(Path.Combine(folder, "robustness.json"), System.Text.Json.JsonSerializer.Serialize(report, FitResult.Json));
    }

    private static void Print(RobustnessReport report, IReadOnlyList<RobustnessResult> results, string folder, int pictures)
    {
        AnsiConsole.MarkupLineInterpolated($"{pictures} pictures, {results[0].Metric}; constants: {string.Join(", ", report.Constants)}");
        foreach (var note in report.Notes) AnsiConsole.MarkupLineInterpolated($"[grey]{note}[/]");
        var table = new Table().Border(TableBorder.Rounded).AddColumn("corruption").AddColumn("group");
        foreach (var model in report.Models)
        {
            table.AddColumn(new TableColumn(Markup.Escape(model.Model)).RightAligned());
            table.AddColumn(new TableColumn("CE").RightAligned());
        }
        void Row(string name, string group, Func<ModelRobustness, (string, string)> cells) =>
            table.AddRow([name, group, .. report.Models.SelectMany(m => cells(m) is var (a, b) ? new[] { a, b } : [])]);
        Row("clean", "", m => ($"{m.Clean:P1}", ""));
        for (var i = 0; i < report.Models[0].Corruptions.Count; i++)
        {
            var k = i;
            var first = report.Models[0].Corruptions[k];
            Row(first.Name + (first.Validation ? " (validation)" : ""), first.Group,
                m => ($"{m.Corruptions[k].Accuracy:P1}", m.Corruptions[k].Ce is { } ce ? $"{ce:0.0}" : ""));
        }
        Row("[bold]mean, mCE[/]", "", m => ($"[bold]{m.MeanAccuracy:P1}[/]", m.Mce is { } mce ? $"[bold]{mce:0.0}[/]" : ""));
        Row("retention", "", m => ($"{m.Retention:P1}", ""));
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"CE in percent of {report.Baseline}; its mean is the mCE. Plots, pictures and robustness.json: {folder}");
    }

    /// <summary>The models of a command line, opened with their data.</summary>
    private sealed class OpenModels : IDisposable
    {
        private readonly List<IDisposable> owned = [];

        public OpenModels(string[] names, string[] weights, IImageDataset pictures, int threads)
        {
            var catalog = names.Count(n => !IsOnnx(n));
            if (weights.Length != catalog) throw new BayouException($"{catalog} catalog models need as many --weights, {weights.Length} are given");
            var tasks = new List<IRobustnessTask>();
            var next = 0;
            try
            {
                foreach (var name in names)
                {
                    var shown = names.Count(n => Path.GetFileName(n) == Path.GetFileName(name)) > 1 ? name : Path.GetFileName(name);
                    if (IsOnnx(name))
                    {
                        var classifier = new OnnxClassifier(name, threads);
                        owned.Add(classifier);
                        EvalCommand.CheckLabels(classifier.Labels, pictures, name);
                        tasks.Add(new ClassificationRobustness(shown, Identity(name), classifier.Runner.Run, classifier.Preprocessing, pictures, threads));
                    }
                    else
                    {
                        var file = weights[next++];
                        var model = ModelSource.Open(name, file, pictures.Classes.Count, null, null);
                        owned.Add(model.Network);
                        EvalCommand.CheckLabels(model.Labels, pictures, name);
                        tasks.Add(new ClassificationRobustness(catalog > 1 ? $"{name} {Path.GetFileName(file)}" : name, Identity(file), model.Network.call,
                            model.Preprocessing, pictures, threads));
                    }
                }
            }
            catch
            {
                Dispose();
                throw;
            }
            Tasks = tasks;
        }

        public IReadOnlyList<IRobustnessTask> Tasks { get; }

        public void Dispose() => owned.ForEach(o => o.Dispose());

        private static bool IsOnnx(string name) => name.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase);

        // A file that changed is another model.
        private static string Identity(string path) =>
            new FileInfo(path) is { Exists: true } file ? $"{file.Name}|{file.Length}|{file.LastWriteTimeUtc.Ticks}" : path;
    }
}
