using System.CommandLine;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Search;
using Bayou.Train;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou fit DATA: the main job.</summary>
internal static class FitCommand
{
    public static Command Create()
    {
        var command = new Command("fit", """
            Data and a budget go in; a model that was found, trained, shrunk, measured and exported comes out.

            DATA is a folder with one sub-folder a class, a .zip of one (read in place), optionally split into train/val/test, or a built-in name (`bayou data`).
            Latency is the median at batch 1 on this machine through ONNX Runtime with --threads. Several limits may be combined.

            Examples:
              bayou fit photos/ --latency 3ms
              bayou fit photos.zip --latency 800us --size 300kB --threads 1
              bayou fit fashion-mnist --params 50k --epochs 5
              bayou fit photos/ --latency 3ms --init convnext_tiny_1k_224_ema.pth     few pictures: start from a trained network
              bayou fit photos/ --latency 1ms --teacher runs/large/model.onnx --time 30m
              bayou fit photos/ --latency 3ms --proposals 40 --measure 10             predict the cost of most candidates
              bayou fit photos/ --latency 3ms --out runs/photos --resume     after a kill or Ctrl-C
            """);
        var data = new Argument<string>("DATA") { Description = "folder, .zip or built-in name" };
        var latency = new Option<string?>("--latency") { Description = "limit of the median latency: 3ms, 800us; 'median': the median of the first proposals" };
        var parameters = new Option<string?>("--params") { Description = "limit of the parameters: 200k, 1.5M" };
        var macs = new Option<string?>("--macs") { Description = "limit of the multiply-accumulates a picture: 10M" };
        var ace = new Option<string?>("--ace") { Description = "limit of the arithmetic computation effort (MACs x bits x bits): 640M" };
        var size = new Option<string?>("--size") { Description = "limit of the file: 300kB, 1MiB" };
        var init = new Option<string?>("--init") { Description = "start from a checkpoint (.safetensors, .pth): its network with a fresh head, head first, then all of it" };
        var initModel = new Option<string?>("--init-model") { Description = "catalog name of the checkpoint's network, where it is not recognised" };
        var noScratch = new Option<bool>("--no-scratch") { Description = "with --init: do not also train from scratch for comparison" };
        var teacher = new Option<string?>("--teacher") { Description = "distil from a model.onnx or checkpoint that knows the same classes" };
        var teacherWeight = new Option<double>("--teacher-weight") { Description = "the teacher's share of the loss, 0..1", DefaultValueFactory = _ => 0.7 };
        var time = new Option<string?>("--time") { Description = "limit of the whole run: 90s, 30m, 2h; search and training are cut to fit" };
        var balance = new Option<BalanceMode>("--balance")
        {
            Description = "unequal classes: show rare ones more often, weight the loss, or nothing",
            DefaultValueFactory = _ => BalanceMode.Auto
        };
        var folds = new Option<int?>("--folds") { Description = "judge candidates by cross-validation; default 5 where a class has under 100 pictures; 0: off" };
        var output = new Option<string?>("--out") { Description = "run folder; default runs/fit-DATA-TIME" };
        var resume = new Option<bool>("--resume") { Description = "go on with the run in --out" };
        var epochs = new Option<int?>("--epochs") { Description = "passes of the winner's training; default about 1.5 million pictures in all" };
        var proposals = new Option<int>("--proposals") { Description = "first proposals, from small to large", DefaultValueFactory = _ => 8 };
        var measure = new Option<int>("--measure") { Description = "measure so many candidates and predict the others' cost; 0: measure all" };
        var near = new Option<int>("--near") { Description = "further proposals near the budget", DefaultValueFactory = _ => 6 };
        var trainees = new Option<int>("--trainees") { Description = "candidates that are trained", DefaultValueFactory = _ => 6 };
        var effort = new Option<long?>("--effort") { Description = "pictures a candidate sees in the first round" };
        var rounds = new Option<int>("--rounds") { Description = "rounds of successive halving", DefaultValueFactory = _ => 2 };
        var loss = new Option<double>("--max-int8-loss")
        {
            Description = "accuracy INT8 may cost before layers go back to float, 0.005: half a point",
            DefaultValueFactory = _ => 0.005
        };
        var val = new Option<double?>("--val-fraction") { Description = "part of the pictures for validation where the data bring none" };
        var test = new Option<double?>("--test-fraction") { Description = "part of the pictures for the test where the data bring none" };
        var noRobustness = new Option<bool>("--no-robustness") { Description = "leave the corruptions out of the report" };
        var recipe = new RecipeOptions();
        var (seed, threads, json) = (Common.Seed(), Common.Threads(), Common.Json());
        command.Add(data);
        foreach (var option in (Option[])[latency, parameters, macs, ace, size, init, initModel, noScratch, teacher, teacherWeight, time, balance, folds,
            output, resume, epochs, proposals, near, measure, trainees, effort, rounds, loss, val, test, noRobustness, .. recipe.All, seed, threads,
            json]) command.Add(option);

        command.SetAction((parsed, cancel) =>
        {
            var latencyText = parsed.GetValue(latency);
            var median = string.Equals(latencyText, "median", StringComparison.OrdinalIgnoreCase);
            var source = parsed.GetValue(data)!;
            var folder = parsed.GetValue(output);
            if (folder is null && parsed.GetValue(resume)) throw new BayouException("--resume needs --out: the folder of the run to go on with");
            var options = new FitOptions
            {
                Data = source,
                Budget = new Budget
                {
                    LatencyMs = latencyText is null || median ? null : Budget.ParseMilliseconds(latencyText),
                    Parameters = Count(parsed.GetValue(parameters)),
                    Macs = Count(parsed.GetValue(macs)),
                    Ace = Count(parsed.GetValue(ace)),
                    SizeBytes = Count(parsed.GetValue(size)),
                },
                MedianLatency = median,
                Init = Absolute(parsed.GetValue(init)),
                InitModel = parsed.GetValue(initModel),
                CompareScratch = !parsed.GetValue(noScratch),
                Teacher = Absolute(parsed.GetValue(teacher)),
                TeacherWeight = parsed.GetValue(teacherWeight),
                TimeLimit = parsed.GetValue(time) is { } limit ? Budget.ParseSeconds(limit) : null,
                Balance = parsed.GetValue(balance),
                Folds = parsed.GetValue(folds),
                Folder = folder ?? Common.NewRunFolder("fit", source),
                Resume = parsed.GetValue(resume),
                Seed = parsed.GetValue(seed),
                Threads = parsed.GetValue(threads),
                Epochs = parsed.GetValue(epochs),
                Proposals = parsed.GetValue(proposals),
                NearProposals = parsed.GetValue(near),
                MeasureAtMost = parsed.GetValue(measure),
                Trainees = parsed.GetValue(trainees),
                Effort = parsed.GetValue(effort),
                Rounds = parsed.GetValue(rounds),
                MaxInt8Loss = parsed.GetValue(loss),
                ValFraction = parsed.GetValue(val),
                TestFraction = parsed.GetValue(test),
                Robustness = !parsed.GetValue(noRobustness),
                ChangeRecipe = r => recipe.Apply(r, parsed),
                Command = CommandLine(parsed),
            };
            return Task.FromResult(Run(options, parsed.GetValue(json), cancel));
        });
        return command;
    }

    /// <summary>Runs a fit and prints its summary.</summary>
    public static int Run(FitOptions options, bool json, CancellationToken cancel)
    {
        var result = ConsoleProgress.Run(progress => FitJob.Run(options, progress, cancel));
        if (json) Common.PrintJson(result);
        else Print(result);
        return result.MeetsBudget ? 0 : 1;
    }

    private static void Print(FitResult r)
    {
        var table = new Table().Border(TableBorder.Rounded).Title("[bold]Result[/]");
        table.AddColumn("");
        table.AddColumn("form");
        table.AddColumn(new TableColumn("accuracy").RightAligned());
        table.AddColumn(new TableColumn("latency p50").RightAligned());
        table.AddColumn(new TableColumn("size").RightAligned());
        void Row(string what, string form, string accuracy, double ms, long? bytes, bool shipped) => table.AddRow(
            Markup.Escape(what), shipped ? $"[bold green]{form} (shipped)[/]" : form, accuracy, $"{ms:0.000} ms", bytes is { } b ? $"{Budget.Si(b)}B" : "");
        Row("chosen", "fp32", $"{r.AccuracyFp32:P2} test", r.LatencyFp32Ms, r.SizeFp32Bytes, r.Shipped == "fp32");
        Row("chosen", "int8", $"{r.AccuracyInt8:P2} test", r.LatencyInt8Ms, r.SizeInt8Bytes, r.Shipped == "int8");
        if (r.BestDiscarded is { } d)
        {
            Row("best discarded", "fp32", $"{d.ValAccuracy:P1} search (chosen {d.ChosenValAccuracy:P1})", d.LatencyFp32Ms, null, false);
            Row("best discarded", "int8", "", d.LatencyInt8Ms, null, false);
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"chosen          {r.Model}: {Budget.Si(r.Params)} parameters, {Budget.Si(r.Macs)} MACs");
        if (r.BestDiscarded is { } b) AnsiConsole.MarkupLineInterpolated($"best discarded  {b.Model}");
        AnsiConsole.MarkupLineInterpolated($"budget          {r.Budget}: {(r.MeetsBudget ? "met" : "NOT met")}; {r.Candidates} candidates {(r.CandidatesPredicted > 0 ? $"({r.Candidates - r.CandidatesPredicted} measured, {r.CandidatesPredicted} predicted)" : "measured")}, {r.CandidatesFitting} within it, {r.CandidatesTrained} trained");
        var saved = (double)r.SizeInt8Bytes / r.SizeFp32Bytes;
        AnsiConsole.MarkupLineInterpolated($"INT8 buys       {r.LatencyFp32Ms / r.LatencyInt8Ms:0.00}x the speed and {saved:P0} of the size for {(r.AccuracyFp32 - r.AccuracyInt8) * 100:0.00} points ({r.KeptInFloat.Count} layers kept in float)");
        AnsiConsole.MarkupLineInterpolated($"checks          fp32 ONNX = TorchSharp to {r.OnnxMaxAbsDiff:G2}; INT8 ONNX and fake-quantised agree on {r.Int8Top1Agreement:P2} of {r.TestPictures} test pictures");
        if (r.Scratch is { } s)
            AnsiConsole.MarkupLineInterpolated($"checkpoint      {s.TestAccuracy:P2} on the test part; from scratch {s.ScratchTestAccuracy:P2} with the same pictures and {s.Epochs} passes");
        if (r.CrossValidation is { } f)
            AnsiConsole.MarkupLineInterpolated($"folds           {f.Mean:P1} +- {f.Deviation * 100:0.0} points over {f.Accuracies.Length} folds in the search");
        AnsiConsole.MarkupLineInterpolated($"time            {r.Seconds:0} s, training at {r.PicturesPerSecond:0} pictures/s");
        AnsiConsole.MarkupLineInterpolated($"model           {r.Onnx}");
        AnsiConsole.MarkupLineInterpolated($"report          {r.Report}");
    }

    /// <summary>The command as it was typed, for the report.</summary>
    public static string CommandLine(ParseResult parsed) => "./bayou " + string.Join(' ', parsed.Tokens.Select(t => Quote(t.Value)));

    private static string Quote(string word) =>
        word.Length > 0 && word.All(c => char.IsLetterOrDigit(c) || "-_./=:,@%+".Contains(c)) ? word : "'" + word.Replace("'", "'\\''") + "'";

    private static string? Absolute(string? path) => path is null ? null : Path.GetFullPath(path);

    private static long? Count(string? text) => text is null ? null : Budget.ParseCount(text);
}

/// <summary>The switches of a recipe on the command line; what is not given stays as the recipe has it.</summary>
internal sealed class RecipeOptions
{
    private readonly Option<int?> batch = new("--batch") { Description = "pictures a step" };
    private readonly Option<double?> lr = new("--lr") { Description = "top learning rate (AdamW, cosine with warm-up)" };
    private readonly Option<double?> weightDecay = new("--weight-decay") { Description = "decoupled weight decay" };
    private readonly Option<double?> warmup = new("--warmup") { Description = "epochs of linear warm-up" };
    private readonly Option<double?> ema = new("--ema") { Description = "decay of the averaged weights; 0: off" };
    private readonly Option<double?> smoothing = new("--label-smoothing") { Description = "0: off" };
    private readonly Option<double?> mixup = new("--mixup") { Description = "mixup alpha; 0: off" };
    private readonly Option<double?> cutmix = new("--cutmix") { Description = "CutMix alpha; 0: off" };
    private readonly Option<string?> randAugment = new("--randaugment") { Description = "e.g. rand-m9-mstd0.5-inc1; 'off': off" };
    private readonly Option<double?> erasing = new("--erasing") { Description = "probability of random erasing; 0: off" };
    private readonly Option<double?> dropPath = new("--drop-path") { Description = "stochastic depth of the last block; 0: off" };

    public Option[] All => [batch, lr, weightDecay, warmup, ema, smoothing, mixup, cutmix, randAugment, erasing, dropPath];

    public Recipe Apply(Recipe r, ParseResult parsed) => r with
    {
        Batch = parsed.GetValue(batch) ?? r.Batch,
        BaseLr = parsed.GetValue(lr) ?? r.BaseLr,
        MinLr = parsed.GetValue(lr) is { } top ? top / 100 : r.MinLr,
        WeightDecay = parsed.GetValue(weightDecay) ?? r.WeightDecay,
        WarmupEpochs = parsed.GetValue(warmup) ?? r.WarmupEpochs,
        EmaDecay = parsed.GetValue(ema) ?? r.EmaDecay,
        LabelSmoothing = parsed.GetValue(smoothing) ?? r.LabelSmoothing,
        MixupAlpha = parsed.GetValue(mixup) ?? r.MixupAlpha,
        CutmixAlpha = parsed.GetValue(cutmix) ?? r.CutmixAlpha,
        RandAugment = parsed.GetValue(randAugment) is { } text ? text == "off" ? "" : text : r.RandAugment,
        RandomErasing = parsed.GetValue(erasing) ?? r.RandomErasing,
        DropPath = parsed.GetValue(dropPath) ?? r.DropPath,
    };
}
