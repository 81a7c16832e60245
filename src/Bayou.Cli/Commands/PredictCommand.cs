using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou predict MODEL PHOTO|FOLDER...: classifies pictures with one .onnx file.</summary>
internal static class PredictCommand
{
    public static Command Create()
    {
        var command = new Command("predict", """
            Classifies pictures with a model.onnx written by `bayou fit` or `bayou export`; the file carries its preprocessing and labels.
            A model.safetensors of a model on points classifies clouds, or labels their points and writes them as .ply and as a page.
            Unreadable pictures are listed and skipped; the exit code is then 1.

            Examples:
              bayou predict runs/photos/model.onnx photo.jpg
              bayou predict model.onnx holiday/ more.png --top 3
              bayou predict model.onnx photo.jpg --json
            """);
        var model = new Argument<string>("MODEL") { Description = "the .onnx file" };
        var files = new Argument<string[]>("PHOTO|FOLDER") { Description = "pictures, or folders of them (searched through)", Arity = ArgumentArity.OneOrMore };
        var top = new Option<int>("--top") { Description = "classes to show", DefaultValueFactory = _ => 5 };
        var (threads, json) = (Common.Threads(), Common.Json());
        command.Add(model);
        command.Add(files);
        command.Add(top);
        command.Add(threads);
        command.Add(json);
        command.SetAction((parsed, cancel) =>
            Task.FromResult(Run(parsed.GetValue(model)!, parsed.GetValue(files)!, parsed.GetValue(top), parsed.GetValue(threads), parsed.GetValue(json),
            cancel)));
        return command;
    }

    private sealed record Scored(string Label, double Score);

    private sealed record Predicted(string File, IReadOnlyList<Scored>? Top, string? Error);

    private static int Run(string model, string[] paths, int top, int threads, bool json, CancellationToken cancel)
    {
        if (Points.PointSetup.IsModel(model))
        {
            Common.UseThreads(threads);
            return PointRuns.Predict(model, paths, Math.Max(1, top), json);
        }
        if (top < 1) throw new BayouException($"--top {top}: at least 1 class is shown");
        using var classifier = new OnnxClassifier(model, threads);
        var results = new List<Predicted>();
        foreach (var file in paths.SelectMany(Common.Pictures))
        {
            cancel.ThrowIfCancellationRequested();
            Predicted result;
            try
            {
                result = new Predicted(file, classifier.Classify(file).Top(top).Select(t => new Scored(t.Label, t.Score)).ToList(), null);
            }
            catch (BayouException e)
            {
                result = new Predicted(file, null, e.Message);
            }
            results.Add(result);
            if (!json) Print(result);
        }
        if (json) Common.PrintJson(new { model, predictions = results });
        else if (results.Count == 0) Console.Error.WriteLine("bayou: no pictures there");
        return results.Count > 0 && results.TrueForAll(r => r.Error is null) ? 0 : 1;
    }

    private static void Print(Predicted result)
    {
        if (result.Top is null)
        {
            Console.Error.WriteLine($"{result.File}: {result.Error}");
            return;
        }
        AnsiConsole.MarkupLineInterpolated($"[bold]{result.File}[/]");
        foreach (var (label, score) in result.Top.Select(t => (t.Label, t.Score)))
        {
            AnsiConsole.MarkupLineInterpolated($"  {score * 100,6:0.00} %  {new string('█', (int)Math.Round(score * 20)),-20}  {label}");
        }
    }
}
