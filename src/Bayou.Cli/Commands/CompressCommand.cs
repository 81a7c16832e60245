using System.CommandLine;
using Bayou.Compress;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>bayou compress MODEL DATA --method M: a smaller network from a trained one.</summary>
internal static class CompressCommand
{
    public static Command Create()
    {
        var command = new Command("compress", $"""
            Makes a trained catalog model smaller and trains the result on your data; writes model.safetensors and model.onnx into the run folder.

            Methods:
            {string.Join(Environment.NewLine, CompressMethods.All.Select(m => $"  {m.Name}: {m.Summary}; --set {string.Join(", ", m.Defaults.Select(s => $"{s.Key}={s.Value}"))}"))}

            Examples:
              bayou compress deit_tiny photos/ --method minivit --weights runs/deit/model.safetensors --epochs 20
              bayou compress swin_tiny photos/ --method minivit --weights swin.safetensors --teacher swin_base.safetensors
              bayou compress deit_tiny photos/ --method minivit --teacher runs/big/model.onnx --set soft=0.7
            """);
        var model = new ModelArguments();
        var data = new Argument<string>("DATA") { Description = "folder, .zip or built-in name" };
        var method = new Option<string>("--method") { Description = string.Join(", ", CompressMethods.All.Select(m => m.Name)), Required = true };
        var teacher = new Option<string?>("--teacher") { Description = "checkpoint or model.onnx to learn from; default: the model itself with --weights" };
        var set = new Option<string[]>("--set") { Description = "change a setting of the method: NAME=NUMBER; may be repeated", DefaultValueFactory = _ => [] };
        var epochs = new Option<int>("--epochs") { Description = "passes over the training part", DefaultValueFactory = _ => 10 };
        var output = new Option<string?>("--out") { Description = "run folder; default runs/compress-MODEL-TIME" };
        var resume = new Option<bool>("--resume") { Description = "go on from the checkpoint in --out" };
        var recipe = new RecipeOptions();
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        model.AddTo(command);
        command.Add(data);
        foreach (var option in (Option[])[method, teacher, set, epochs, output, resume, .. recipe.All, seed, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            var threadCount = Common.UseThreads(parsed.GetValue(threads));
            var chosen = CompressMethods.Find(parsed.GetValue(method)!);
            var settings = CompressMethods.Settings(chosen, parsed.GetValue(set) ?? []);
            var name = parsed.GetValue(model.Model)!;
            var folder = parsed.GetValue(output) ?? Common.NewRunFolder("compress", name);
            if (!parsed.GetValue(resume) && StagedTraining.HasCheckpoint(folder))
                throw new BayouException($"'{folder}' already holds a training: add --resume, or choose another folder with --out");
            if (parsed.GetValue(model.Weights) is null && parsed.GetValue(teacher) is null)
                throw new BayouException("nothing to learn from: give the model's own weights with --weights, or a teacher with --teacher");
            var result = ConsoleProgress.Run(progress =>
            {
                var entry = Catalog.Models.Find(name);
                var job = TrainingJob.Open(parsed, model, entry, parsed.GetValue(data)!, parsed.GetValue(seed), progress, cancel);
                var steps = recipe.Apply(FitRecipe.For(parsed.GetValue(epochs), job.Splits.Train.Count), parsed);
                var options = new ModelOptions(job.Splits.Classes.Count, job.Channels, steps.DropPath, steps.LayerScale, job.Preprocessing.Size);

                progress.Stage("Compression");
                manual_seed(parsed.GetValue(seed));
                using var network = entry.Create(options);
                if (parsed.GetValue(model.Weights) is { } weights) PretrainedModel.Load(network, weights, keepHead: true, progress.Line);
                network.eval();
                using var taught = parsed.GetValue(teacher) is { } path ? Teacher.Open(path, job.Splits.Classes, threadCount) : null;
                var compressed = chosen.Run(new CompressJob(name, network, other => Catalog.Models.Find(other).Create(options), taught?.For(job.Preprocessing),
                    job.Train(steps), job.Val, steps,
                    job.Options(folder, parsed.GetValue(resume)), settings, progress.Line));
                using var small = compressed.Network;

                progress.Stage("Test and export");
                var (before, after) = (job.Test(network).Top1, job.Test(small).Top1);
                var (cost, _) = job.Save(small, compressed.Name, folder);
                var full = Cost.Of(network, 1, job.Channels, job.Preprocessing.Size, job.Preprocessing.Size);
                var bytes = new FileInfo(Path.Combine(folder, "model.safetensors")).Length;
                return new Compressed(name, compressed.Name, chosen.Name, folder, full.Parameters, cost.Parameters, full.Macs, cost.Macs, bytes,
                    parsed.GetValue(model.Weights) is null ? null : before, after);
            });
            if (parsed.GetValue(json)) Common.PrintJson(result);
            else
            {
                var was = result.AccuracyBefore is { } a ? $"{a:P2} -> " : "";
                Console.Out.WriteLine($"{result.Name}: {result.ParamsBefore:N0} -> {result.Params:N0} parameters ({(double)result.Params / result.ParamsBefore:P0}), {result.Bytes:N0} bytes on disk, test accuracy {was}{result.Accuracy:P2}; {Path.Combine(result.Folder, "model.onnx")}");
            }
            return Task.FromResult(0);
        });
        return command;
    }

    private sealed record Compressed(string Model, string Name, string Method, string Folder, long ParamsBefore, long Params, long MacsBefore, long Macs,
        long Bytes, double? AccuracyBefore, double Accuracy);
}
