using System.Diagnostics;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Search;
using Bayou.Train;
using TorchSharp;

namespace Bayou.Tests;

/// <summary>The main job as a whole.</summary>
public sealed class FitTests : IDisposable
{
    private readonly TempFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_time_limit_is_kept_and_a_model_is_shipped()
    {
        var data = ToyPictures.Write(folder, "toys", 40);
        var clock = Stopwatch.StartNew();
        var result = FitJob.Run(Options(data, "run") with { TimeLimit = 60, Epochs = 10_000 }, new Quiet(), CancellationToken.None);
        // What comes after the training is estimated, not cut: a busy machine may take somewhat longer.
        Assert.InRange(clock.Elapsed.TotalSeconds, 0, 100);
        Assert.True(File.Exists(result.Onnx));
        Assert.Contains(result.Notes, n => n.Contains("the time allows"));
        Assert.True(result.AccuracyFp32 > 0.6, $"{result.AccuracyFp32}");
    }

    [Fact]
    public void Few_pictures_are_judged_by_folds_and_rare_classes_are_shown_more_often()
    {
        var data = ToyPictures.Write(folder, "toys", 40);
        foreach (var file in Directory.GetFiles(Path.Combine(data, "disc")).Skip(8)) File.Delete(file);
        var result = FitJob.Run(Options(data, "run") with { Trainees = 2, Effort = 200, Rounds = 1, Folds = 3 }, new Quiet(), CancellationToken.None);
        Assert.Equal(3, result.CrossValidation!.Accuracies.Length);
        Assert.Contains(result.Notes, n => n.Contains("3-fold"));
        Assert.Contains(result.Notes, n => n.Contains("repeat-factor"));
        Assert.Contains("repeat-factor", File.ReadAllText(result.Report));
    }

    [Fact]
    public void A_teacher_without_the_classes_is_refused()
    {
        var data = ToyPictures.Write(folder, "toys", 30);
        var first = FitJob.Run(Options(data, "first"), new Quiet(), CancellationToken.None);
        var second = FitJob.Run(Options(data, "second") with { Teacher = first.Onnx, Epochs = 2 }, new Quiet(), CancellationToken.None);
        Assert.Contains(second.Notes, n => n.Contains("distillation"));
        Directory.Move(Path.Combine(data, "disc"), Path.Combine(data, "round"));
        var error = Assert.Throws<BayouException>(() => FitJob.Run(Options(data, "third") with { Teacher = first.Onnx }, new Quiet(), CancellationToken.None));
        Assert.Contains("does not know round", error.Message);
    }

    /// <summary>Fine-tuning a network trained on other classes of CIFAR-10 beats training from scratch on 100 real pictures a class.</summary>
    [Fact]
    public void Fine_tuning_beats_training_from_scratch()
    {
        if (DataCatalog.SamplesFolder is not { } samples || !File.Exists(Path.Combine(samples, "cifar10", "train.zip")))
            Assert.Skip("no cifar10 samples (BAYOU_SAMPLES)");
        var cifar = DataSplits.Open("cifar10");
        Extract(cifar.Train, "before", ["airplane", "bird", "deer", "frog", "ship", "truck"], 1500);
        Extract(cifar.Train, Path.Combine("after", "train"), ["automobile", "cat", "dog", "horse"], 100);
        Extract(cifar.Val, Path.Combine("after", "val"), ["automobile", "cat", "dog", "horse"], 100);
        Extract(cifar.Test, Path.Combine("after", "test"), ["automobile", "cat", "dog", "horse"], 250);

        var before = DataSplits.Open(folder["before"]);
        torch.manual_seed(0);
        var candidate = ConvNeXtSpace.TryParse("convnext-w32.64.128-d1.1.1-p2-i32")!;
        var checkpoint = folder["before.safetensors"];
        var preprocessing = FitRecipe.Preprocessings(before, 3, 0)(32);
        using (var network = candidate.Build(new ModelOptions(before.Classes.Count)))
        {
            var recipe = FitRecipe.For(4, before.Train.Count);
            var loader = new ImageLoader(before.Train, recipe.Batch,
                new LoaderOptions { Shuffle = true, DropLast = true, Augmentation = FitRecipe.Light(before, 10), Preprocessing = preprocessing });
            using var trained = Trainer.Train(network, new LoaderSource(loader), null, recipe);
            trained.UseBest(network);
            network.Save(checkpoint, OnnxClassifier.Metadata(preprocessing, before.Classes, candidate.Key));
        }
        var result = FitJob.Run(Options(folder["after"], "run") with
        {
            Init = checkpoint,
            Budget = new Budget { Parameters = 1_000_000 },
            Proposals = 2,
            Epochs = 15
        }, new Quiet(), CancellationToken.None);
        var scratch = result.Scratch!;
        Assert.True(scratch.TestAccuracy > scratch.ScratchTestAccuracy + 0.02,
            $"fine-tuned {scratch.TestAccuracy:P1}, from scratch {scratch.ScratchTestAccuracy:P1}");
        var report = File.ReadAllText(result.Report);
        Assert.Contains("from scratch", report);
    }

    /// <summary>
    /// A fit killed (SIGKILL) at random moments goes on, loses no finished trial and ends with the weights of one that was never killed, given the same
    /// measurements.
    /// </summary>
    [Fact]
    public void A_fit_killed_again_and_again_ends_with_the_same_weights()
    {
        const int Kills = 20;
        var data = ToyPictures.Write(folder, "toys", 60);
        string[] line = ["fit", data, "--params", "2M", "--proposals", "3", "--near", "1", "--trainees", "3", "--effort", "150", "--rounds", "2", "--epochs",
            "12", "--folds", "0"];
        Assert.Equal(0, Run([.. line, "--out", folder["whole"]], null));
        // The same measurements: latencies differ from run to run, and choices hang on them.
        using (var whole = RunStore.Open(folder["whole"]))
        using (var killed = RunStore.Open(folder["killed"]))
        {
            foreach (var (key, cost) in whole.Measurements.All<CandidateCost>()) killed.Measurements.Put(key, cost);
        }
        var random = new Random(3);
        var (trials, kills, exit) = (0, 0, (int?)null);
        while (exit is null)
        {
            exit = Run([.. line, "--out", folder["killed"], "--resume"], kills < Kills ? TimeSpan.FromMilliseconds(random.Next(300, 4500)) : null);
            if (exit is null) kills++;
            using var store = RunStore.Open(folder["killed"]);
            var now = store.Trials.All<Trial>().Count;
            Assert.True(now >= trials, $"{trials} finished trials before, {now} after a kill");
            trials = now;
            // A finished run would only be finished again: the remaining kills hit it from the start of its training.
            if (exit == 0 && kills < Kills)
            {
                Directory.Delete(Path.Combine(folder["killed"], "train"), recursive: true);
                exit = null;
            }
        }
        Assert.Equal(0, exit);
        Assert.Equal(Kills, kills);
        Assert.Equal(File.ReadAllBytes(Path.Combine(folder["whole"], "model.safetensors")),
            File.ReadAllBytes(Path.Combine(folder["killed"], "model.safetensors")));
    }

    // The exit code, or null where it was killed after a while.
    private static int? Run(string[] arguments, TimeSpan? killAfter)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Bayou.Cli.dll"), .. arguments])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true
        };
        using var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        var errors = new List<string>();
        process.ErrorDataReceived += (_, e) =>
        {
            lock (errors) errors.Add(e.Data ?? "");
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (killAfter is { } time && !process.WaitForExit(time))
        {
            process.Kill();
            process.WaitForExit();
            return null;
        }
        Assert.True(process.WaitForExit(TimeSpan.FromMinutes(5)), "the fit did not end");
        if (process.ExitCode != 0) lock (errors) Assert.Fail(string.Join('\n', errors.TakeLast(5)));
        return process.ExitCode;
    }

    private void Extract(IImageDataset data, string name, string[] classes, int perClass)
    {
        var taken = new int[data.Classes.Count];
        for (var i = 0; i < data.Count; i++)
        {
            var label = data.Label(i);
            if (!classes.Contains(data.Classes[label]) || taken[label] >= perClass) continue;
            folder.Write(Path.Combine(name, data.Classes[label], $"{taken[label]++:0000}.jpg"), data.ReadBytes(i));
        }
    }

    private FitOptions Options(string data, string run) => new()
    {
        Data = data,
        Folder = folder[run],
        Budget = new Budget { Parameters = 300_000 },
        Proposals = 3,
        NearProposals = 0,
        Trainees = 1,
        Rounds = 1,
        Effort = 200,
        Epochs = 6,
        Folds = 0,
        Threads = 2,
        Calibration = 32,
    };

    private sealed class Quiet : IFitProgress
    {
        public void Stage(string title) { }

        public void Line(string text) { }

        public void Status(double fraction, string text) { }
    }
}
