using System.Diagnostics;
using System.Text.Json;
using Bayou.Compress;
using Bayou.Core;
using Bayou.Search;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// The main job: data and a budget go in; a model that was found, trained, shrunk, measured and exported comes out. It reads straight down; every finished step
/// is in the run store, so that a killed fit resumes without repeating one.
/// </summary>
public sealed class FitJob
{
    private readonly FitOptions options;
    private readonly IFitProgress progress;
    private readonly CancellationToken cancel;
    private readonly Stopwatch clock = Stopwatch.StartNew();

    private FitJob(FitOptions options, IFitProgress progress, CancellationToken cancel)
    {
        this.options = options.Checked() with { Folder = Path.GetFullPath(options.Folder) };
        (this.progress, this.cancel) = (progress, cancel);
    }

    /// <summary>Runs or resumes a fit.</summary>
    /// <exception cref="BayouException">Bad data or options, nothing fits the budget, or the folder holds another run.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; everything finished is kept, and the run can be resumed.</exception>
    public static FitResult Run(FitOptions options, IFitProgress progress, CancellationToken cancel) => new FitJob(options, progress, cancel).Run();

    private FitResult Run()
    {
        using var store = OpenStore();
        set_num_threads(options.ThreadCount);
        Kernels.KernelThreads.Count = options.ThreadCount;
        var plan = new TimePlan(options.TimeLimit, store);
        try
        {
            return Run(new FitRun(options, progress, store, plan, [], cancel));
        }
        finally
        {
            plan.Save();
        }
    }

    private FitResult Run(FitRun run)
    {
        run.Stage("Data");
        var reading = new FitData(run);
        var splits = reading.ReadData(out var data);
        var pretrained = options.Init is null ? null : PretrainedModel.Open(options.Init, options.InitModel);
        var channels = pretrained?.Channels == 3 || data.Colour > 0 ? 3 : 1;
        var context = new ProposalContext(Math.Min(data.Width?.Median ?? 32, data.Height?.Median ?? 32), channels, splits.Classes.Count);
        using var teacher = options.Teacher is null ? null : Teacher.Open(options.Teacher, splits.Classes, options.ThreadCount);
        var model = new ModelOptions(splits.Classes.Count, channels);
        var setup = new TrainingSetup(splits, model, reading.Preprocessings(splits, pretrained, channels), options.Seed, reading.Balance(splits))
        {
            Teacher = teacher,
            TeacherWeight = options.TeacherWeight,
            FineTune = pretrained is not null,
            Change = options.ChangeRecipe ?? (r => r),
        };
        if (teacher is not null)
            run.Note($"every training also learns from {Path.GetFileName(options.Teacher)}: {options.TeacherWeight:P0} of the loss is distillation");

        run.Stage("Candidates");
        var calibration = new CalibrationPictures(splits, setup.Preprocessing, options.Seed);
        IProposer proposer = pretrained is null ? new ConvNeXtSpace((ulong)options.Seed) : new CheckpointSpace(pretrained, splits.Classes);
        ICostModel costModel = new MeasuredCost(setup.Model, options.ThreadCount, options.Seed, size => calibration.Images(size, 64), run.Store);
        if (options.MeasureAtMost > 0) costModel = new PredictedCost(costModel, options.MeasureAtMost);
        var (candidates, costs, budget) = new FitCandidates(run).Propose(proposer, costModel, context);
        var fitting = candidates.Where(c => costs[c.Key].Forms.Any(FitCandidates.Margin(budget).Fits)).OrderByDescending(c => c.Estimate.Macs).ToList();
        var predicted = costs.Values.Count(c => c.Fp32.Predicted);
        var how = predicted > 0 ? $", {candidates.Count - predicted} of them measured and {predicted} predicted" : " measured";
        progress.Line($"{candidates.Count} candidates{how} in both forms, {fitting.Count} within the budget ({budget})");
        if (fitting.Count == 0) throw new BayouException(FitCandidates.NothingFits(candidates, costs, budget));

        run.Stage("Search");
        var searching = new FitSearch(run);
        var search = searching.SearchPlanFor(fitting, setup);
        var halving = new HalvingPlan(3, search.Effort, 3, search.Rounds);
        var (trials, ranking) = searching.Search(FitCandidates.Spread(fitting, search.Trainees), halving, setup);
        var chosen = ranking[0];
        progress.Line($"chosen: {chosen.Description}");

        run.Stage("Training");
        var trainer = new FitTraining(run);
        var training = trainer.Train(chosen, setup, "train", trials);
        using var network = training.Network;
        var scratch = pretrained is null ? null : trainer.TrainFromScratch(chosen, pretrained, setup, training);
        using var scratchNetwork = scratch?.Network;

        run.Stage("Quantisation");
        using var scope = NewDisposeScope();
        var shipping = new FitShipping(run);
        var graph = Shipping.Prepare(network, channels, chosen.InputSize);
        var quantized = shipping.Quantize(graph, calibration, chosen.InputSize);

        run.Stage("Shipping");
        var preprocessing = setup.Preprocessing(chosen.InputSize);
        var shipped = shipping.Ship(graph, quantized, network, splits, preprocessing, chosen, budget, calibration);

        run.Stage("Test");
        var test = shipping.Test(shipped, quantized, splits, preprocessing);
        var comparison = scratch is null ? null : trainer.Compare(scratch, training, chosen, setup, test);
        var result = Result(chosen, candidates, costs, fitting, trials, budget, shipped, quantized, test, training.Result, comparison, run.Notes);

        run.Stage("Report");
        var report = new FitReportBuilder(
            options, splits, data, candidates, costs, trials, halving, chosen, budget, training.Result, training.Recipe, quantized, shipped, test, result,
            preprocessing, run.Notes).Build()
            with
        { Robustness = FitRobustness.Measure(result.Onnx, splits.Test, options, run.Store, progress, cancel) };
        FitReport.Write(report, result.Report);
        AtomicFile.WriteAllText(Path.Combine(options.Folder, "run.json"),
            JsonSerializer.Serialize(new { result, report = report.WithoutPictures() }, FitResult.Json));
        run.Store.Facts.Put("finished", DateTime.UtcNow);
        return result;
    }

    // --- the run folder
    // ------------------------------------------------------------------------------------------------------------------------------------------------------

    private RunStore OpenStore()
    {
        var exists = File.Exists(Path.Combine(options.Folder, "run.db"));
        if (exists && !options.Resume)
            throw new BayouException($"'{options.Folder}' already holds a run: add --resume to go on with it, or choose another folder with --out");
        if (!exists && options.Resume) throw new BayouException($"'{options.Folder}' holds no run to resume");
        var store = RunStore.Open(options.Folder);
        var identity = options.Identity();
        if (store.Facts.Get<string>("identity") is { } before && before != identity)
        {
            store.Dispose();
            throw new BayouException($"'{options.Folder}' holds a run with other data, budget, seed, threads or options; resume it with its own ({store.Facts.Get<string>("command")}), or choose another folder");
        }
        store.Facts.Put("identity", identity);
        store.Facts.Put("command", options.Command);
        store.Facts.Put("seed", options.Seed);
        store.Facts.Put("machine", Machine.Here);
        return store;
    }

    // --- the result
    // ----------------------------------------------------------------------------------------------------------------------------------------------------------
    // 

    private FitResult Result(Candidate chosen, IReadOnlyList<Candidate> candidates, Dictionary<string, CandidateCost> costs, List<Candidate> fitting,
        IReadOnlyList<Trial> trials,
        Budget budget, ShippedForms shipped, QuantizedModel quantized, FitTest test, TrainResult training, FitScratch? scratch, IReadOnlyList<string> notes)
    {
        var discarded = trials.Where(t => t.Key != chosen.Key && !double.IsNaN(t.Accuracy)).GroupBy(t => t.Rung).OrderByDescending(g => g.Key)
            .Select(g => g.MaxBy(t => t.Accuracy)!).FirstOrDefault();
        var cost = shipped.Form == ModelForm.Fp32 ? shipped.Fp32 : shipped.Int8;
        return new FitResult
        {
            AccuracyFp32 = test.Fp32.Top1,
            AccuracyInt8 = test.Int8.Top1,
            Shipped = shipped.Form.ToString().ToLowerInvariant(),
            MeetsBudget = shipped.MeetsBudget,
            LatencyP50Ms = cost.LatencyMs,
            LatencyFp32Ms = shipped.Fp32.LatencyMs,
            LatencyInt8Ms = shipped.Int8.LatencyMs,
            BudgetMs = budget.LatencyMs,
            Budget = budget.ToString(),
            OnnxMaxAbsDiff = shipped.Difference,
            Int8Top1Agreement = test.Agreement,
            Params = cost.Parameters,
            Macs = cost.Macs,
            Ace = cost.Ace,
            SizeBytes = cost.SizeBytes,
            SizeFp32Bytes = shipped.Fp32.SizeBytes,
            SizeInt8Bytes = shipped.Int8.SizeBytes,
            Model = chosen.Description,
            KeptInFloat = quantized.KeptInFloat,
            Candidates = candidates.Count,
            CandidatesPredicted = costs.Values.Count(c => c.Fp32.Predicted),
            CandidatesFitting = fitting.Count,
            CandidatesTrained = trials.Select(t => t.Key).Distinct().Count(),
            BestDiscarded = discarded is null ? null : new DiscardedCandidate(
                candidates.First(c => c.Key == discarded.Key).Description, discarded.Accuracy,
                trials.First(t => t.Key == chosen.Key && t.Rung == discarded.Rung).Accuracy,
                costs[discarded.Key].Fp32.LatencyMs, costs[discarded.Key].Int8.LatencyMs),
            Scratch = scratch,
            CrossValidation = trials.Where(t => t.Key == chosen.Key).MaxBy(t => t.Rung)?.Folds is { } folds ? FitFolds.Of(folds) : null,
            Notes = [.. notes],
            TestPictures = test.Fp32.Predictions.Count,
            PicturesPerSecond = training.Curves.Count == 0 ? 0 : training.Curves.Average(c => c.ImagesPerSecond),
            Seed = options.Seed,
            Seconds = clock.Elapsed.TotalSeconds,
            Onnx = shipped.OnnxPath,
            Report = Path.Combine(options.Folder, "report.html"),
        };
    }
}

