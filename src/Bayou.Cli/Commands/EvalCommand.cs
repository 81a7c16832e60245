using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Train;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou eval MODEL DATA: accuracy of a catalog model with weights, or of an .onnx file.</summary>
internal static class EvalCommand
{
    public static Command Create()
    {
        var command = new Command("eval", """
            Measures a model on one part of a data set: top-1, top-5, loss, accuracy of every class, the most frequent confusions.
            MODEL is an .onnx file of Bayou, or a catalog name with --weights; for models on points the model.safetensors of `bayou train` (mean IoU, or class accuracy of shapes).

            Examples:
              bayou eval runs/photos/model.onnx photos/
              bayou eval convnext_tiny photos/ --weights runs/train-x/model.safetensors --part val
              bayou eval model.onnx fashion-mnist --json
              bayou eval convnext_tiny photos/ --weights w.safetensors --format e4m3,e3m4,int8,int4 --per-layer
              bayou eval runs/train-minkunet/model.safetensors synthetic-rooms:target
            """);
        var model = new ModelArguments();
        var data = new Argument<string>("DATA") { Description = "folder, .zip or built-in name" };
        var part = new Option<string>("--part") { Description = "train, val, test or all", DefaultValueFactory = _ => "test" };
        part.AcceptOnlyFromAmong("train", "val", "test", "all");
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        var formats = new FormatOptions();
        model.AddTo(command);
        command.Add(data);
        foreach (var option in (Option[])[part, .. formats.All, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var count = Common.UseThreads(parsed.GetValue(threads));
            if (Points.PointSetup.IsModel(parsed.GetValue(model.Model)!))
                return Task.FromResult(PointRuns.Evaluate(parsed.GetValue(model.Model)!, parsed.GetValue(data)!, parsed.GetValue(seed), parsed.GetValue(json),
                    cancel));
            var splits = DataSplits.Open(parsed.GetValue(data)!, new SplitOptions { Seed = parsed.GetValue(seed) });
            var parts = splits.Parts.Where(p => parsed.GetValue(part) == "all" || p.Part == parsed.GetValue(part)).Select(p => p.Data).Where(d => d.Count > 0)
                .ToList();
            if (parts.Count == 0) throw new BayouException($"'{parsed.GetValue(data)}' has no {parsed.GetValue(part)} part");
            var name = parsed.GetValue(model.Model)!;
            if (parsed.GetValue(formats.Format) is { } wanted)
            {
                var opened = model.Open(parsed);
                foreach (var p in parts) CheckLabels(opened.Labels, p, name);
                FormatEvaluation.Run(opened, wanted, splits, parts, parsed.GetValue(formats.PerLayer), parsed.GetValue(formats.Plot), parsed.GetValue(json),
                    cancel);
                return Task.FromResult(0);
            }
            var results = ConsoleProgress.Run(progress =>
            {
                progress.Stage("evaluation");
                return parts.Select(p => Evaluate(name, p)).ToList();
            });
            Print(name, splits.Classes, results, parsed.GetValue(json));
            return Task.FromResult(0);

            Evaluation Evaluate(string source, IImageDataset dataset)
            {
                if (!source.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase))
                {
                    var opened = model.Open(parsed);
                    CheckLabels(opened.Labels, dataset, source);
                    return Evaluator.Evaluate(opened.Network,
                        new LoaderSource(new ImageLoader(dataset, 64, new LoaderOptions { Preprocessing = opened.Preprocessing })), cancel);
                }
                using var classifier = new OnnxClassifier(source, count);
                CheckLabels(classifier.Labels, dataset, source);
                return Evaluator.Evaluate(classifier.Runner.Run,
                    new LoaderSource(new ImageLoader(dataset, 64, new LoaderOptions { Preprocessing = classifier.Preprocessing })), cancel);
            }
        });
        return command;
    }

    // Other classes, or the same ones in another order, would give a number that means nothing.
    internal static void CheckLabels(IReadOnlyList<string> labels, IImageDataset data, string model)
    {
        if (labels.Count > 0 && !labels.SequenceEqual(data.Classes))
            throw new BayouException($"'{model}' knows the classes {string.Join(", ", labels.Take(5))}{(labels.Count > 5 ? ", ..." : "")}, the data have {string.Join(", ", data.Classes.Take(5))}{(data.Classes.Count > 5 ? ", ..." : "")}");
    }

    private static void Print(string model, IReadOnlyList<string> classes, List<Evaluation> results, bool json)
    {
        var pictures = results.Sum(r => r.Predictions.Count);
        double Mean(Func<Evaluation, double> value) => results.Sum(r => value(r) * r.Predictions.Count) / pictures;
        long Count(int truth, int predicted) => results.Sum(r => r.Confusion[truth, predicted]);
        double Recall(int c) => (double)Count(c, c) / Math.Max(1, Enumerable.Range(0, classes.Count).Sum(p => Count(c, p)));
        var confusions = Enumerable.Range(0, classes.Count)
            .SelectMany(t => Enumerable.Range(0, classes.Count).Where(p => p != t).Select(p => (Truth: t, Predicted: p, Count: Count(t, p))))
            .Where(c => c.Count > 0).OrderByDescending(c => c.Count).Take(5).ToList();
        if (json)
        {
            Common.PrintJson(new
            {
                model,
                pictures,
                accuracy = Mean(r => r.Top1),
                accuracyTop5 = Mean(r => r.Top5),
                loss = Mean(r => r.Loss),
                classes = classes.Select((c, i) => new { name = c, accuracy = Recall(i) }),
                confusions = confusions.Select(c => new { truth = classes[c.Truth], predicted = classes[c.Predicted], c.Count }),
            });
            return;
        }
        AnsiConsole.MarkupLineInterpolated($"[bold]{model}[/]: top-1 {Mean(r => r.Top1):P2}, top-5 {Mean(r => r.Top5):P2}, loss {Mean(r => r.Loss):0.0000} on {pictures} pictures");
        var table = new Table().Border(TableBorder.Rounded).AddColumn("class").AddColumn(new TableColumn("accuracy").RightAligned());
        for (var c = 0; c < classes.Count; c++) table.AddRow(Markup.Escape(classes[c]), $"{Recall(c):P1}");
        AnsiConsole.Write(table);
        foreach (var c in confusions) AnsiConsole.MarkupLineInterpolated($"{c.Count} x {classes[c.Truth]} taken for {classes[c.Predicted]}");
    }
}
