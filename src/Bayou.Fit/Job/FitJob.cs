using System.Diagnostics;
using System.Text.Json;
using Bayou.Compress;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Search;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>
/// The main job: data and a budget go in; a model that was found, trained, shrunk, measured and exported comes out. It reads straight down; every finished step is in
/// the run store, so that a killed fit resumes without repeating one.
/// </summary>
public sealed class FitJob
{
    private const int EvalBatch = 250;

    private readonly FitOptions options;
    private readonly IFitProgress progress;
    private readonly CancellationToken cancel;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly List<string> notes = [];

    private FitJob(FitOptions options, IFitProgress progress, CancellationToken cancel) => (this.options, this.progress, this.cancel) = (options.Checked() with { Folder = Path.GetFullPath(options.Folder) }, progress, cancel);

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
            return Run(store, plan);
        }
        finally
        {
            plan.Save();
        }
    }

    private FitResult Run(RunStore store, TimePlan plan)
    {
        Stage("Data", plan);
        var splits = ReadData(out var data);
        var pretrained = options.Init is null ? null : PretrainedModel.Open(options.Init, options.InitModel);
        var channels = pretrained?.Channels == 3 || data.Colour > 0 ? 3 : 1;
        var context = new ProposalContext(Math.Min(data.Width?.Median ?? 32, data.Height?.Median ?? 32), channels, splits.Classes.Count);
        using var teacher = options.Teacher is null ? null : Teacher.Open(options.Teacher, splits.Classes, options.ThreadCount);
        var setup = new TrainingSetup(splits, new ModelOptions(splits.Classes.Count, channels), Preprocessings(splits, pretrained, channels), options.Seed, Balance(splits))
        {
            Teacher = teacher,
            TeacherWeight = options.TeacherWeight,
            FineTune = pretrained is not null,
            Change = options.ChangeRecipe ?? (r => r),
        };
        if (teacher is not null) Note($"every training also learns from {Path.GetFileName(options.Teacher)}: {options.TeacherWeight:P0} of the loss is distillation");

        Stage("Candidates", plan);
        var calibration = new CalibrationPictures(splits, setup.Preprocessing, options.Seed);
        IProposer proposer = pretrained is null ? new ConvNeXtSpace((ulong)options.Seed) : new CheckpointSpace(pretrained, splits.Classes);
        ICostModel costModel = new MeasuredCost(setup.Model, options.ThreadCount, options.Seed, size => calibration.Images(size, 64), store);
        if (options.MeasureAtMost > 0) costModel = new PredictedCost(costModel, options.MeasureAtMost);
        var (candidates, costs, budget) = Propose(proposer, costModel, context, plan, store);
        var fitting = candidates.Where(c => costs[c.Key].Forms.Any(Margin(budget).Fits)).OrderByDescending(c => c.Estimate.Macs).ToList();
        var predicted = costs.Values.Count(c => c.Fp32.Predicted);
        progress.Line($"{candidates.Count} candidates{(predicted > 0 ? $", {candidates.Count - predicted} of them measured and {predicted} predicted" : " measured")} in both forms, {fitting.Count} within the budget ({budget})");
        if (fitting.Count == 0) throw new BayouException(NothingFits(candidates, costs, budget));

        Stage("Search", plan);
        var search = SearchPlanFor(fitting, setup, plan);
        var halving = new HalvingPlan(3, search.Effort, 3, search.Rounds);
        var (trials, ranking) = Search(Spread(fitting, search.Trainees), halving, setup, plan, store);
        var chosen = ranking[0];
        progress.Line($"chosen: {chosen.Description}");

        Stage("Training", plan);
        var training = Train(chosen, setup, "train", plan, store, trials);
        using var network = training.Network;
        var scratch = pretrained is null ? null : TrainFromScratch(chosen, pretrained, setup, training, plan, store);
        using var scratchNetwork = scratch?.Network;

        Stage("Quantisation", plan);
        using var scope = NewDisposeScope();
        var graph = Shipping.Prepare(network, channels, chosen.InputSize);
        var quantized = Quantize(graph, calibration, chosen.InputSize);

        Stage("Shipping", plan);
        var preprocessing = setup.Preprocessing(chosen.InputSize);
        var shipped = Ship(graph, quantized, network, splits, preprocessing, chosen, budget, calibration);

        Stage("Test", plan);
        var test = Test(shipped, quantized, splits, preprocessing);
        var comparison = scratch is null ? null : Compare(scratch, training, chosen, setup, test);
        var result = Result(chosen, candidates, costs, fitting, trials, budget, shipped, quantized, test, training.Result, comparison);

        Stage("Report", plan);
        var report = new FitReportBuilder(
            options, splits, data, candidates, costs, trials, halving, chosen, budget, training.Result, training.Recipe, quantized, shipped, test, result, preprocessing, notes).Build()
            with
        { Robustness = FitRobustness.Measure(result.Onnx, splits.Test, options, store, progress, cancel) };
        FitReport.Write(report, result.Report);
        AtomicFile.WriteAllText(Path.Combine(options.Folder, "run.json"), JsonSerializer.Serialize(new { result, report = report.WithoutPictures() }, FitResult.Json));
        store.Facts.Put("finished", DateTime.UtcNow);
        return result;
    }

    private void Stage(string title, TimePlan plan)
    {
        plan.Save();
        progress.Stage(title);
    }

    // For the terminal and for the report.
    private void Note(string text)
    {
        notes.Add(text);
        progress.Line($"  note: {text}");
    }

    // --- the run folder ------------------------------------------------------------------------------------------------------------------------------------------------------

    private RunStore OpenStore()
    {
        var exists = File.Exists(Path.Combine(options.Folder, "run.db"));
        if (exists && !options.Resume) throw new BayouException($"'{options.Folder}' already holds a run: add --resume to go on with it, or choose another folder with --out");
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

    // --- data ----------------------------------------------------------------------------------------------------------------------------------------------------------------

    private DataSplits ReadData(out DataReport report)
    {
        var splits = DataSplits.Open(options.Data, new SplitOptions
        {
            Seed = options.Seed,
            ValFraction = options.ValFraction,
            TestFraction = options.TestFraction,
            Progress = p => progress.Status(p.Fraction ?? 0, $"downloading {p.File}"),
        });
        report = DataCheck.Run(splits, new DataCheckOptions { Cancellation = cancel, Progress = (done, all) => progress.Status((double)done / all, $"checking {done} of {all} pictures") });
        progress.Line($"{report.Name}: {splits.Classes.Count} classes, {splits.Train.Count} training, {splits.Val.Count} validation and {splits.Test.Count} test pictures ({report.Origin})");
        foreach (var picture in report.Unreadable.Take(5)) progress.Line($"  unreadable, skipped: {picture.Id}: {picture.Reason}");
        if (report.Unreadable.Length > 5) progress.Line($"  ... and {report.Unreadable.Length - 5} more unreadable pictures (all are in the report)");
        foreach (var warning in report.Warnings) progress.Line($"  note: {warning}");
        return splits.Without(report);
    }

    // A trained network expects the mean and deviation it was trained with.
    private Func<int, Preprocessing> Preprocessings(DataSplits splits, PretrainedModel? pretrained, int channels)
    {
        if (pretrained is null) return FitRecipe.Preprocessings(splits, channels, options.Seed);
        if (pretrained.Preprocessing is { } stored && stored.Channels == channels) return size => stored with { Size = size };
        return size => Preprocessing.For(size, channels);
    }

    private BalanceMode Balance(DataSplits splits)
    {
        var counts = ClassBalance.Counts(splits.Train);
        var mode = ClassBalance.Resolve(options.Balance, counts);
        var sizes = $"the largest class has {ClassBalance.Ratio(counts):0.#} times the training pictures of the smallest";
        if (mode == BalanceMode.Sampling) Note($"{sizes}: pictures of rare classes are shown up to {ClassBalance.RepeatFactors(counts).Max():0.0} times an epoch (repeat-factor sampling)");
        if (mode == BalanceMode.Weights) Note($"{sizes}: the loss of each picture is weighted by the inverse frequency of its class");
        return mode;
    }

    // --- candidates ----------------------------------------------------------------------------------------------------------------------------------------------------------

    // Latencies vary from run to run: what is chosen keeps a little distance from the limit, and is measured again after training.
    private static Budget Margin(Budget budget) => budget with { LatencyMs = budget.LatencyMs * 0.97 };

    private (IReadOnlyList<Candidate>, Dictionary<string, CandidateCost>, Budget) Propose(IProposer proposer, ICostModel costModel, ProposalContext context, TimePlan plan, RunStore store)
    {
        // Under a time limit not all are measured: a resumed run takes the same ones.
        var decided = store.Facts.Get<string[]>("plan/candidates")?.ToHashSet();
        var costs = new Dictionary<string, CandidateCost>();
        var candidates = proposer.Spread(context, options.Proposals).ToList();
        if (candidates.Count == 0) throw new BayouException($"fit: {proposer.Name} has nothing to propose for pictures of {context.PictureSize} pixels");
        candidates = Cost(candidates, 0, options.NearProposals);
        var budget = options.Budget;
        if (options.MedianLatency)
        {
            var sorted = candidates.Select(c => costs[c.Key].Fp32.LatencyMs).Order().ToArray();
            var median = (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
            budget = budget with { LatencyMs = Math.Round(median, 4) };
            progress.Line($"budget: the median latency of the first {candidates.Count} proposals, {median:0.000} ms");
        }
        var fp32 = LatencyFit.Of(candidates.Select(c => (c.Estimate, costs[c.Key].Fp32.LatencyMs)).ToList());
        var int8 = LatencyFit.Of(candidates.Select(c => (c.Estimate, costs[c.Key].Int8.LatencyMs)).ToList());
        var near = proposer.Near(context, options.NearProposals, e => Math.Min(Load(e, fp32.Predict(e), 1, budget), Load(e, int8.Predict(e), 0.25, budget)), candidates.Select(c => c.Key).ToHashSet());
        candidates.AddRange(Cost(near, candidates.Count, 0));
        if (plan.Limited) store.Facts.Put("plan/candidates", candidates.Select(c => c.Key).ToArray());
        return (candidates, costs, budget);

        List<Candidate> Cost(IReadOnlyList<Candidate> list, int before, int after)
        {
            var measured = new List<Candidate>();
            for (var i = 0; i < list.Count; i++)
            {
                if (decided is null ? plan.EnoughCandidates(before + i) : !decided.Contains(list[i].Key)) continue;
                cancel.ThrowIfCancellationRequested();
                progress.Status((double)(before + i) / (before + list.Count + after), $"measuring {list[i].Description}");
                var cost = costs[list[i].Key] = costModel.Cost(list[i]);
                progress.Line($"  {list[i].Description}: {Budget.Si(cost.Fp32.Macs)} MACs, fp32 {cost.Fp32.LatencyMs:0.000} ms, int8 {cost.Int8.LatencyMs:0.000} ms{(cost.Fp32.Predicted ? " (predicted)" : cost.Fp32.Noisy || cost.Int8.Noisy ? " (noisy)" : "")}");
                measured.Add(list[i]);
            }
            return measured;
        }
    }

    // Use of the budget by the tightest limit, from the configuration alone. A file is its weights and little more.
    private static double Load(CostEstimate e, double ms, double weightBytes, Budget b)
    {
        var load = 0.0;
        if (b.LatencyMs is { } l) load = Math.Max(load, ms / (l * 0.97));
        if (b.Parameters is { } p) load = Math.Max(load, (double)e.Parameters / p);
        if (b.Macs is { } m) load = Math.Max(load, (double)e.Macs / m);
        if (b.Ace is { } a) load = Math.Max(load, e.Macs * (weightBytes == 1 ? 1024.0 : 64.0) / a);
        if (b.SizeBytes is { } s) load = Math.Max(load, (e.Parameters * 4 * weightBytes + 250.0 * e.Nodes) / s);
        return load;
    }

    // The largest that fit, and of the rest every so many: capacity is the best first guess, not the only one.
    private static List<Candidate> Spread(List<Candidate> fitting, int count)
    {
        if (fitting.Count <= count) return fitting;
        var large = fitting.Take((count + 1) / 2).ToList();
        var rest = fitting.Skip(large.Count).ToList();
        var more = count - large.Count;
        return [.. large, .. Enumerable.Range(0, more).Select(i => rest[i * rest.Count / more])];
    }

    private static string NothingFits(IReadOnlyList<Candidate> candidates, Dictionary<string, CandidateCost> costs, Budget budget)
    {
        var nearest = candidates.SelectMany(c => costs[c.Key].Forms.Select(f => (c, f))).MinBy(p => p.f.LatencyMs);
        return $"fit: none of {candidates.Count} candidates fits the budget ({budget}) in fp32 or INT8. The fastest is {nearest.c.Description} in {nearest.f.Form.ToString().ToLowerInvariant()}: " +
            $"{nearest.f.LatencyMs:0.###} ms, {Budget.Si(nearest.f.Parameters)} parameters, {Budget.Si(nearest.f.Macs)} MACs, {Budget.Si(nearest.f.SizeBytes)}B. Raise the budget, or allow more --threads";
    }

    // --- search --------------------------------------------------------------------------------------------------------------------------------------------------------------

    // The halving as asked for, or as much of it as 30 % of the time allow.
    private SearchPlan SearchPlanFor(List<Candidate> fitting, TrainingSetup setup, TimePlan plan)
    {
        var asked = new SearchPlan(options.Trainees, options.Effort ?? Math.Max(4000, setup.Splits.Train.Count / 10), options.Rounds);
        if (!plan.Limited) return asked;
        return plan.Decide("search", () =>
        {
            progress.Status(0, "measuring the speed of training");
            var speed = ShortTraining.Speed(fitting[0], setup) / Math.Max(1, FoldCount(setup.Splits));
            var pictures = 0.3 * plan.Limit * speed;
            foreach (var trainees in new[] { asked.Trainees, 4, 3, 2 }.Where(t => t <= asked.Trainees))
            {
                // Every further round sees three times the pictures with a third of the candidates.
                var share = Enumerable.Range(0, asked.Rounds).Sum(r => Math.Pow(3, r) * Math.Ceiling(trainees / Math.Pow(3, r)));
                var effort = (long)Math.Min(asked.Effort, pictures / share);
                if (effort >= Math.Min(asked.Effort, 1500)) return new SearchPlan(trainees, effort, asked.Rounds);
            }
            // No time to compare: the largest that fits.
            return new SearchPlan(1, asked.Effort, 1);
        });
    }

    private int FoldCount(DataSplits splits)
    {
        if (options.Folds is { } asked) return asked <= 1 ? 0 : asked;
        var smallest = ClassBalance.Counts(new Concatenation(splits.Train, splits.Val)).Where(c => c > 0).Min();
        return smallest < 100 ? 5 : 0;
    }

    private (IReadOnlyList<Trial>, IReadOnlyList<Candidate>) Search(List<Candidate> trainees, HalvingPlan halving, TrainingSetup setup, TimePlan plan, RunStore store)
    {
        var folds = FoldCount(setup.Splits);
        if (folds > 0 && trainees.Count > 1)
            Note(options.Folds is null ? $"a class has fewer than 100 pictures: candidates are judged by {folds}-fold cross-validation" : $"candidates are judged by {folds}-fold cross-validation");
        var (rung, index, count) = (0, 0, 1);
        // A trial that takes far more than its share ends where it is.
        var most = plan.Limited ? Math.Max(10, 0.3 * plan.Limit) : 0;
        var judge = new ShortTraining(setup, folds, most, (fraction, text) => progress.Status((index + fraction) / count, $"round {rung + 1}, candidate {index + 1} of {count}: {text}"));
        return SuccessiveHalving.Run(trainees, halving, judge, store, (candidate, r, i, n, trial) =>
        {
            (rung, index, count) = (r, i, n);
            if (trial is null) progress.Status((double)i / n, $"round {r + 1}, candidate {i + 1} of {n}");
            else progress.Line($"  round {r + 1}: {candidate.Description}: {(double.IsNaN(trial.Accuracy) ? trial.Note : $"{trial.Accuracy:P1} on validation after {trial.Effort} pictures, {trial.Seconds:0.0} s")}");
        }, cancel);
    }

    // --- training ------------------------------------------------------------------------------------------------------------------------------------------------------------

    private Training Train(Candidate chosen, TrainingSetup setup, string part, TimePlan plan, RunStore store, IReadOnlyList<Trial> trials)
    {
        var all = setup.Splits.Train.Count;
        var asked = new TrainingPlan(options.Epochs ?? (setup.FineTune ? FitRecipe.FineTuneEpochs(all) : FitRecipe.Epochs(all)), all);
        var planned = !plan.Limited ? asked : plan.Decide(part, () =>
        {
            // A trial of this very network tells the speed with loader and evaluation, but for small batches.
            var batch = FitRecipe.BatchFor(asked.Epochs, all, 64);
            var last = trials.Where(t => t.Key == chosen.Key && !double.IsNaN(t.Accuracy)).MaxBy(t => t.Rung);
            var speed = ShortTraining.Speed(chosen, setup, batch);
            if (last is not null) speed = Math.Min(speed, last.Effort / last.Seconds);
            // With a checkpoint the same passes follow from scratch.
            var seconds = 0.9 * plan.Left / (setup.FineTune && options.CompareScratch ? 2 : 1);
            var epochs = (int)Math.Min(asked.Epochs, seconds * speed / all);
            return epochs >= 1 ? new TrainingPlan(epochs, all) : new TrainingPlan(1, (int)Math.Clamp(seconds * speed, Math.Min(all, 500), all));
        });
        if (planned.Epochs < asked.Epochs || planned.Pictures < all)
            Note($"the time allows {planned.Epochs} passes over {planned.Pictures} of {all} training pictures (without a limit it would be {asked.Epochs} passes)");
        manual_seed(options.Seed);
        Recipe recipe;
        // Stochastic depth is part of the recipe, and of the network: one is built to know the recipe.
        using (var probe = chosen.Build(setup.Model)) recipe = setup.RecipeFor(probe, planned.Epochs, planned.Pictures);
        manual_seed(options.Seed);
        var network = chosen.Build(setup.Model with { DropPath = recipe.DropPath, LayerScale = recipe.LayerScale });
        return Train(network, setup, recipe, planned, chosen.InputSize, part, plan, store);
    }

    // The same network, pictures and passes without the checkpoint.
    private Training? TrainFromScratch(Candidate chosen, PretrainedModel pretrained, TrainingSetup setup, Training tuned, TimePlan plan, RunStore store)
    {
        if (!options.CompareScratch) return null;
        if (plan.Limited && plan.Left < 0.7 * tuned.Result.Seconds)
        {
            Note("no time was left to train the network from scratch for comparison");
            return null;
        }
        progress.Line("from scratch, for comparison:");
        var fresh = setup with { FineTune = false };
        var model = setup.Model;
        manual_seed(options.Seed);
        Recipe recipe;
        using (var probe = pretrained.CreateFresh(model)) recipe = fresh.RecipeFor(probe, tuned.Plan.Epochs, tuned.Plan.Pictures);
        manual_seed(options.Seed);
        var network = pretrained.CreateFresh(model with { DropPath = recipe.DropPath, LayerScale = recipe.LayerScale });
        return Train(network, fresh, recipe, tuned.Plan, chosen.InputSize, "scratch", plan, store);
    }

    private Training Train(Layer network, TrainingSetup setup, Recipe recipe, TrainingPlan planned, int size, string part, TimePlan plan, RunStore store)
    {
        IImageDataset pictures = setup.Splits.Train;
        if (planned.Pictures < pictures.Count)
        {
            var order = Enumerable.Range(0, pictures.Count).ToArray();
            new Random(options.Seed).Shuffle(order);
            pictures = new Subset(pictures, order.Take(planned.Pictures));
        }
        var result = setup.Train(network, pictures, setup.Splits.Val, recipe, size, new TrainerOptions
        {
            RunFolder = Path.Combine(options.Folder, part),
            Resume = true,
            Cancellation = cancel,
            CheckpointEvery = 500,
            MaxSeconds = plan.Limited ? Math.Max(1, plan.Left) : 0,
            Note = progress.Line,
            Progress = p => progress.Status((double)p.Step / p.Steps, $"epoch {p.Epoch + 1} of {p.Epochs}, loss {p.Loss:0.000}, {p.ImagesPerSecond:0} img/s, {Time(p.Eta)} left"),
            EpochDone = e =>
            {
                if (part == "train")
                {
                    store.AddPoint("train/loss", e.Step, e.TrainLoss);
                    store.AddPoint("train/lr", e.Step, e.LearningRate);
                    if (e.Val is { } v) store.AddPoint("val/accuracy", e.Step, v.Top1);
                    if (e.EmaVal is { } m) store.AddPoint("val/accuracy-ema", e.Step, m.Top1);
                }
                progress.Line($"  epoch {e.Epoch + 1}: loss {e.TrainLoss:0.000}, validation {e.Val?.Top1:P2}{(e.EmaVal is { } a ? $", averaged weights {a.Top1:P2}" : "")}, {e.ImagesPerSecond:0} img/s");
            },
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(cancel);
        if (result.Outcome == TrainOutcome.Diverged)
        {
            if (result.Best is null) throw new BayouException(result.Message);
            Note(result.Message + "; the best weights so far are used");
        }
        if (result.Outcome == TrainOutcome.TimeUp) Note($"the time was over after {result.Steps} steps: the best weights so far are used");
        result.UseBest(network);
        network.eval();
        return new Training(network, result, recipe, planned);
    }

    private FitScratch Compare(Training scratch, Training tuned, Candidate chosen, TrainingSetup setup, FitTest test)
    {
        var evaluation = Evaluator.Evaluate(scratch.Network, new LoaderSource(setup.Eval(setup.Splits.Test, chosen.InputSize)), cancel);
        progress.Line($"test: {test.Fp32.Top1:P2} from the checkpoint, {evaluation.Top1:P2} from scratch with the same pictures and passes");
        return new FitScratch(tuned.Result.BestAccuracy, test.Fp32.Top1, scratch.Result.BestAccuracy, evaluation.Top1, tuned.Plan.Epochs, tuned.Result.Seconds, scratch.Result.Seconds);
    }

    // --- compression and shipping --------------------------------------------------------------------------------------------------------------------------------------------

    private QuantizedModel Quantize(Graph graph, CalibrationPictures calibration, int size)
    {
        var (images, labels) = calibration.Validation(size, 1500);
        var quantized = PostTrainingQuantization.Quantize(graph, [calibration.Images(size, options.Calibration)], new PtqOptions
        {
            MaxLoss = options.MaxInt8Loss,
            EvaluationImages = images,
            EvaluationLabels = labels,
            Progress = text => progress.Status(0.5, text),
        });
        var report = quantized.Report;
        progress.Line($"INT8: {report.QuantizableLayers - report.KeptInFloat.Count} of {report.QuantizableLayers} layers, observers {report.ActivationObserver} / {report.WeightObserver}; " +
            $"validation {report.Final.FloatAccuracy:P2} float, {report.AllQuantized.Accuracy:P2} all INT8, {report.Final.Accuracy:P2} as shipped");
        if (report.KeptInFloat.Count > 0) progress.Line($"  kept in float: {string.Join(", ", report.KeptInFloat)}");
        return quantized;
    }

    private ShippedForms Ship(Graph graph, QuantizedModel quantized, Layer network, DataSplits splits, Preprocessing preprocessing, Candidate chosen, Budget budget, CalibrationPictures calibration)
    {
        var metadata = OnnxClassifier.Metadata(preprocessing, splits.Classes, chosen.Key);
        var samples = calibration.Validation(chosen.InputSize, 64).Images;
        var (fp32Path, int8Path) = (Path.Combine(options.Folder, "model.fp32.onnx"), Path.Combine(options.Folder, "model.int8.onnx"));
        OnnxWriter.Write(graph, fp32Path, new OnnxOptions { Metadata = metadata, Samples = [samples], Description = chosen.Description });
        OnnxWriter.Write(quantized.Graph, int8Path, new OnnxOptions { Metadata = metadata, Samples = [samples], Description = chosen.Description + ", INT8" });
        // The graph had layer scale and norms folded: what counts is the difference to the network as trained.
        double difference;
        using (var runner = new OnnxRunner(fp32Path, new OnnxRunnerOptions { Threads = options.ThreadCount }))
        using (no_grad())
        {
            difference = (runner.Run(samples) - network.call(samples)).abs().max().item<float>();
        }
        if (difference > 1e-3) throw new BayouException($"fit: the fp32 ONNX file differs from TorchSharp by {difference:G3} on real pictures; it is not shipped");
        network.Save(Path.Combine(options.Folder, "model.safetensors"), metadata);

        var (fp32Bytes, int8Bytes) = (File.ReadAllBytes(fp32Path), File.ReadAllBytes(int8Path));
        FormCost fp32 = null!, int8 = null!;
        var accuracy = quantized.Report.Final;
        ModelForm? form = null;
        for (var attempt = 0; attempt < 3 && form is null; attempt++)
        {
            fp32 = Shipping.Measure(fp32Bytes, Cost.Of(graph), ModelForm.Fp32, options.ThreadCount, quick: false);
            int8 = Shipping.Measure(int8Bytes, Cost.Of(quantized.Graph), ModelForm.Int8, options.ThreadCount, quick: false);
            // Of the forms that fit the more accurate on validation; on a tie the faster.
            form = new[] { (Cost: fp32, Accuracy: accuracy.FloatAccuracy ?? 0), (Cost: int8, Accuracy: accuracy.Accuracy ?? 0) }
                .Where(f => budget.Fits(f.Cost)).OrderByDescending(f => f.Accuracy).ThenBy(f => f.Cost.LatencyMs).Select(f => (ModelForm?)f.Cost.Form).FirstOrDefault();
        }
        var meets = form is not null;
        form ??= fp32.LatencyMs <= int8.LatencyMs ? ModelForm.Fp32 : ModelForm.Int8;
        var cost = form == ModelForm.Fp32 ? fp32 : int8;
        var onnx = Path.Combine(options.Folder, "model.onnx");
        AtomicFile.Copy(form == ModelForm.Fp32 ? fp32Path : int8Path, onnx);
        progress.Line($"fp32 {fp32.LatencyMs:0.000} ms, int8 {int8.LatencyMs:0.000} ms: {form.ToString()!.ToLowerInvariant()} is shipped");
        if (!meets) progress.Line($"  warning: no form meets the budget after training: {string.Join(", ", budget.Excess(cost))}");
        return new ShippedForms(form.Value, meets, fp32, int8, fp32Path, int8Path, onnx, difference);
    }

    // --- the test part, used once --------------------------------------------------------------------------------------------------------------------------------------------

    private FitTest Test(ShippedForms shipped, QuantizedModel quantized, DataSplits splits, Preprocessing preprocessing)
    {
        var loader = new LoaderSource(new ImageLoader(splits.Test, EvalBatch, new LoaderOptions { Preprocessing = preprocessing }));
        Evaluation Through(string path)
        {
            using var runner = new OnnxRunner(path, new OnnxRunnerOptions { Threads = options.ThreadCount });
            return Evaluator.Evaluate(runner.Run, loader, cancel);
        }
        progress.Status(0, "fp32 through ONNX Runtime");
        var fp32 = Through(shipped.Fp32Path);
        progress.Status(0.33, "INT8 through ONNX Runtime");
        var int8 = Through(shipped.Int8Path);
        progress.Status(0.66, "INT8 as the fake-quantised network");
        using var module = new GraphModule(quantized.Graph);
        module.eval();
        using var noGrad = no_grad();
        var fake = Evaluator.Evaluate(module, loader, cancel).Predictions.ToDictionary(p => p.Index, p => p.Predicted);
        var agreement = int8.Predictions.Count == 0 ? double.NaN : int8.Predictions.Average(p => fake[p.Index] == p.Predicted ? 1.0 : 0.0);
        progress.Line($"test ({fp32.Predictions.Count} pictures): fp32 {fp32.Top1:P2}, int8 {int8.Top1:P2}; INT8 file and fake-quantised network agree on {agreement:P2}");
        return new FitTest(fp32, int8, agreement);
    }

    private FitResult Result(Candidate chosen, IReadOnlyList<Candidate> candidates, Dictionary<string, CandidateCost> costs, List<Candidate> fitting, IReadOnlyList<Trial> trials,
        Budget budget, ShippedForms shipped, QuantizedModel quantized, FitTest test, TrainResult training, FitScratch? scratch)
    {
        var discarded = trials.Where(t => t.Key != chosen.Key && !double.IsNaN(t.Accuracy)).GroupBy(t => t.Rung).OrderByDescending(g => g.Key).Select(g => g.MaxBy(t => t.Accuracy)!).FirstOrDefault();
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
            CandidatesFitting = fitting.Count,
            CandidatesTrained = trials.Select(t => t.Key).Distinct().Count(),
            BestDiscarded = discarded is null ? null : new DiscardedCandidate(
                candidates.First(c => c.Key == discarded.Key).Description, discarded.Accuracy, trials.First(t => t.Key == chosen.Key && t.Rung == discarded.Rung).Accuracy,
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

    private static string Time(TimeSpan t) => t.TotalHours >= 1 ? $"{(int)t.TotalHours}:{t.Minutes:00}:{t.Seconds:00}" : $"{t.Minutes}:{t.Seconds:00}";
}

/// <summary>A network with the training it has behind it.</summary>
internal sealed record Training(Layer Network, TrainResult Result, Recipe Recipe, TrainingPlan Plan);

/// <summary>Both forms as written and measured after training.</summary>
internal sealed record ShippedForms(ModelForm Form, bool MeetsBudget, FormCost Fp32, FormCost Int8, string Fp32Path, string Int8Path, string OnnxPath, double Difference);

/// <summary>What the test part said.</summary>
internal sealed record FitTest(Evaluation Fp32, Evaluation Int8, double Agreement);
