using System.CommandLine;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>bayou train MODEL DATA: one catalog model.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        var command = new Command("train", """
            Trains one catalog model on a folder, .zip or built-in data set; writes model.safetensors, model.onnx and TensorBoard events into the run folder.
            Models on points train on clouds and write no .onnx: a folder with train_points.npy..., a sub-folder of clouds a class, scans with SemanticKITTI labels, synthetic-rooms.

            Examples:
              bayou train convnext_tiny photos/ --epochs 30 --size 128
              bayou train convnext_tiny photos/ --weights convnext_tiny_1k_224_ema.pth --classes 1000
              bayou train convnext_ladder_k7 cifar10 --epochs 5 --size 32 --out runs/k7
              bayou train convnext_ladder_k7 cifar10 --epochs 5 --size 32 --out runs/k7 --resume
              bayou train avit_tiny photos/ --weights deit_tiny_patch16_224-a1311bcf.pth --classes 1000 --set ponder=0.001
              bayou train skipnet38 cifar10 --epochs 30 --set alpha=0.5
              bayou train slak_tiny photos/ --epochs 30 --sparse 0.4 --sparse-init snip
              bayou train nasbench201:333132 cifar10 --epochs 20 --energy --until-accuracy 70 --price 0.30
              bayou train pointnet_cls_small modelnet/ --epochs 20
              bayou train minkunet_small scans/ --epochs 30 --voxel 0.2
            """);
        var model = new ModelArguments();
        var data = new Argument<string>("DATA") { Description = "folder, .zip or built-in name" };
        var epochs = new Option<int>("--epochs") { Description = "passes over the training part", DefaultValueFactory = _ => 10 };
        var output = new Option<string?>("--out") { Description = "run folder; default runs/train-MODEL-TIME" };
        var set = new Option<string[]>("--set") { Description = "change a setting of the network's own training: NAME=NUMBER; may be repeated (skipnet*, avit*; an unknown name lists all)", DefaultValueFactory = _ => [] };
        var resume = new Option<bool>("--resume") { Description = "go on from the checkpoint in --out; ends with bit-identical weights" };
        var (recipe, sparse) = (new RecipeOptions(), new SparseTrainOptions());
        var voxel = new Option<float>("--voxel") { Description = "models on voxels: side of a voxel; 0: by the data", DefaultValueFactory = _ => 0f };
        var energy = new EnergyOptions();
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        model.AddTo(command);
        command.Add(data);
        foreach (var option in (Option[])[epochs, set, output, resume, voxel, .. recipe.All, .. sparse.All, .. energy.All, seed, threads, json])
            command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var name = parsed.GetValue(model.Model)!;
            var folder = parsed.GetValue(output) ?? Common.NewRunFolder("train", name);
            var resuming = parsed.GetValue(resume);
            if (!resuming && StagedTraining.HasCheckpoint(folder))
                throw new BayouException($"'{folder}' already holds a training: add --resume, or choose another folder with --out");
            if (Points.PointModels.Has(name))
            {
                return Task.FromResult(PointRuns.Train(name, parsed.GetValue(data)!, folder, recipe, parsed, parsed.GetValue(epochs), parsed.GetValue(seed),
                    resuming, parsed.GetValue(model.Size),
                    parsed.GetValue(voxel), parsed.GetValue(json), cancel));
            }
            var result = ConsoleProgress.Run(progress =>
                Train(parsed, model, name, parsed.GetValue(data)!, folder, r => sparse.Apply(recipe.Apply(r, parsed), parsed), parsed.GetValue(set) ?? [],
                parsed.GetValue(epochs), parsed.GetValue(seed), resuming, energy.Read(parsed), progress, cancel));
            if (parsed.GetValue(json)) Common.PrintJson(result);
            else if (result.Sparsity is { } sparsity) SparseTrainOptions.Print(sparsity, result.SparseCost);
            if (!parsed.GetValue(json))
                Console.Out.WriteLine($"test accuracy {result.AccuracyTest:P2} ({result.TestPictures} pictures); {Path.Combine(folder, "model.onnx")}");
            if (result.Energy is { } used && !parsed.GetValue(json)) Console.Out.WriteLine(used.Text);
            return Task.FromResult(0);
        });
        return command;
    }

    private sealed record Trained(string Model, string Folder, double AccuracyVal, double AccuracyTest, int TestPictures, int Epochs, double PicturesPerSecond,
        double Seconds, long Params, long Macs, SparseCost SparseCost, SparsityReport? Sparsity, TrainingEnergy? Energy);

    private static Trained Train(ParseResult parsed, ModelArguments model, string name, string data, string folder, Func<Recipe, Recipe> change,
        string[] settings, int epochs, int seed, bool resume, EnergyRequest? energy, IFitProgress progress, CancellationToken cancel)
    {
        var entry = Catalog.Models.Find(name);
        var job = TrainingJob.Open(parsed, model, entry, data, seed, progress, cancel);
        var recipe = change(FitRecipe.For(epochs, job.Splits.Train.Count));

        progress.Stage("Training");
        manual_seed(seed);
        using var network = entry.Create(new ModelOptions(job.Splits.Classes.Count, job.Channels, recipe.DropPath, recipe.LayerScale, job.Preprocessing.Size));
        NamedSettings.Apply(name, network, settings);
        if (parsed.GetValue(model.Weights) is { } weights) PretrainedModel.Load(network, weights, keepHead: true, progress.Line);
        using var reached = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var meter = energy is null ? null : EnergyMeter.Start(energy.Watts);
        TrainingEnergy? spent = null;
        var options = job.Options(folder, resume);
        using var result = StagedTraining.Train(network, job.Train(recipe), job.Val, recipe, options with
        {
            Cancellation = reached.Token,
            Progress = p =>
            {
                // Counters wrap around after some minutes.
                if (p.Step % 50 == 0) meter?.Read();
                options.Progress!(p);
            },
            EpochDone = e =>
            {
                options.EpochDone!(e);
                if (meter is null || energy is null) return;
                spent = TrainingEnergy.Of(meter.Read(), energy, Math.Max(e.Val?.Top1 ?? 0, e.EmaVal?.Top1 ?? 0), e.Epoch + 1);
                progress.Line($"  {spent.Text}");
                if (spent.Reached) reached.Cancel();
            },
        }, stage => progress.Line($"  stage {stage}"));
        // The accuracy that was asked for ends the training too; that is no interruption.
        if (result.Outcome == TrainOutcome.Cancelled && spent is not { Reached: true }) throw new OperationCanceledException(cancel);
        result.OrThrow().UseBest(network);

        progress.Stage("Test and export");
        var test = job.Test(network);
        // The saved weights stay in the form that trains; the file that ships is the merged one.
        var sparsity = result.Sparsity?.Recounted(network);
        var (cost, graph) = job.Save(network, name, folder);
        return new Trained(name, folder, result.BestAccuracy ?? double.NaN, test.Top1, test.Predictions.Count, recipe.Epochs,
            result.Curves.Average(c => c.ImagesPerSecond), result.Seconds, cost.Parameters, cost.Macs, SparseCost.Of(graph), sparsity, spent);
    }
}
