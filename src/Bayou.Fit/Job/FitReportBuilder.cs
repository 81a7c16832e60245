using Bayou.Compress;
using Bayou.Core;
using Bayou.Data;
using Bayou.Onnx;
using Bayou.Search;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>Turns what a fit knows at its end into the data of its report.</summary>
internal sealed record FitReportBuilder(
    FitOptions Options, DataSplits Splits, DataReport Data, IReadOnlyList<Candidate> Candidates, IReadOnlyDictionary<string, CandidateCost> Costs,
    IReadOnlyList<Trial> Trials,
    HalvingPlan Plan, Candidate Chosen, Budget Budget, TrainResult Training, Recipe Recipe, QuantizedModel Quantized, ShippedForms Shipped, FitTest Test,
    FitResult Result,
    Preprocessing Preprocessing, IReadOnlyList<string> RunNotes)
{
    private const int SamplesPerClass = 8, MaxSamples = 240, MaxMistakes = 24, ThumbnailSide = 96;

    private Evaluation ShippedTest => Shipped.Form == ModelForm.Fp32 ? Test.Fp32 : Test.Int8;

    private FormCost ShippedCost => Shipped.Form == ModelForm.Fp32 ? Shipped.Fp32 : Shipped.Int8;

    private IEnumerable<(string, double, double)> Predictions(string name, Func<CandidateCost, FormCost> form)
    {
        var measured = Candidates.Where(c => !form(Costs[c.Key]).Predicted).Select(c => (c.Estimate, form(Costs[c.Key]).LatencyMs)).ToArray();
        return measured.Length < 4 ? [] : measured.Zip(LatencyFit.LeaveOneOut(measured), (m, p) => (name, m.LatencyMs, p));
    }

    public FitReportData Build() => new()
    {
        Dataset = Splits.Name,
        Verdict = new ReportVerdict
        {
            Model = Options.Init is null ? "ConvNeXt" : "Fine-tuned",
            Form = Result.Shipped,
            MeetsBudget = Shipped.MeetsBudget,
            Description = Chosen.Description,
            Accuracy = ShippedTest.Top1,
            AccuracyTop5 = Splits.Classes.Count > 5 ? ShippedTest.Top5 : null,
            TestPictures = ShippedTest.Predictions.Count,
            LatencyMs = ShippedCost.LatencyMs,
            SizeBytes = ShippedCost.SizeBytes,
            Params = ShippedCost.Parameters,
            Macs = ShippedCost.Macs,
            Ace = ShippedCost.Ace,
        },
        Created = DateTimeOffset.Now,
        Seconds = Result.Seconds,
        Command = Options.Command,
        Seed = Options.Seed,
        Classes = Splits.Classes,
        Budgets = Budgets(),
        Summary = Summary(),
        Data = DataSection(),
        Candidates = Candidates.Select(Describe).ToList(),
        LatencyPredictions = Options.MeasureAtMost > 0 ? [.. Predictions("fp32", c => c.Fp32), .. Predictions("INT8", c => c.Int8)] : [],
        Rounds = Rounds(),
        Training = TrainingSection(),
        Confusion = Enumerable.Range(0, Splits.Classes.Count)
            .Select(t => (IReadOnlyList<int>)Enumerable.Range(0, Splits.Classes.Count).Select(p => (int)ShippedTest.Confusion[t, p]).ToList()).ToList(),
        Mistakes = ShippedTest.ConfidentMistakes.Take(MaxMistakes)
            .Select(m => new ReportPicture(Thumbnail(Splits.Test, m.Index), m.Label, m.Predicted, m.Confidence, Splits.Test.Id(m.Index))).ToList(),
        Layers = Layers(),
        Quantisation = QuantisationSection(),
        Checks =
        [
            new("fp32 ONNX against TorchSharp, real pictures", $"{Shipped.Difference:G2}", "1e-3 at most", Shipped.Difference <= 1e-3),
            new("INT8 ONNX against the fake-quantised network, same class", $"{Test.Agreement:P2}", "99 % at least", Test.Agreement >= 0.99),
            new("budget, measured after training", Shipped.MeetsBudget ? "met" : string.Join(", ", Budget.Excess(ShippedCost)), Budget.ToString(),
                Shipped.MeetsBudget),
        ],
        Files =
        [
            FileOf("model.onnx", $"the shipped model ({Result.Shipped}): preprocessing, labels and input size are inside"),
            FileOf("model.fp32.onnx", "the fp32 form"),
            FileOf("model.int8.onnx", "the INT8 form"),
            FileOf("model.safetensors", "weights in fp32"),
            new("run.json", null, "this page's figures"),
            new("run.db", null, "the run store (SQLite): trials, measurements, curves"),
        ],
        Machine = new ReportMachine
        {
            Facts =
            [
                new("Processor", Machine.Here.Cpu), new("Cores", $"{Machine.Here.Cores} ({Options.ThreadCount} used)"),
                new("Vector instructions", Machine.Here.Isa), new("System", Machine.Here.Os),
            ],
            Versions = [new("Bayou", Machine.Here.Bayou), new(".NET", Machine.Here.DotNet), new("TorchSharp", Version(typeof(TorchSharp.torch))),
                new("ONNX Runtime", Microsoft.ML.OnnxRuntime.OrtEnv.Instance().GetVersionString())],
        },
        Notes = Notes(),
    };

    private List<string> Notes()
    {
        var notes = new List<string>(RunNotes);
        if (Result.Scratch is { } s)
            notes.Add($"From the checkpoint {s.TestAccuracy:P2} on the test part, from scratch {s.ScratchTestAccuracy:P2}, with the same network, pictures and {s.Epochs} passes.");
        if (Result.CrossValidation is { } f)
            notes.Add($"Cross-validation of the chosen network in its last round: {f.Mean:P1}, standard deviation {f.Deviation * 100:0.0} points over {f.Accuracies.Length} folds.");
        if (!Shipped.MeetsBudget)
            notes.Add($"No form meets the budget after training: {string.Join(", ", Budget.Excess(ShippedCost))}. The faster form is shipped.");
        if (Training.Outcome == TrainOutcome.Diverged) notes.Add(Training.Message);
        var noisy = Costs.Values.Count(c => c.Fp32.Noisy || c.Int8.Noisy);
        if (noisy > 0) notes.Add($"{noisy} of {Costs.Count} latency measurements were noisy: something else used the machine.");
        if (Quantized.Report.ReducedRange) notes.Add("INT8 weights use 7 bits: on this processor (no VNNI) ONNX Runtime's 8-bit products can saturate.");
        return notes;
    }

    private List<ReportBudget> Budgets()
    {
        var budgets = new List<ReportBudget>();
        if (Budget.LatencyMs is { } ms) budgets.Add(new(ReportQuantity.Latency, ms, ShippedCost.LatencyMs));
        if (Budget.Parameters is { } p) budgets.Add(new(ReportQuantity.Params, p, ShippedCost.Parameters));
        if (Budget.Macs is { } m) budgets.Add(new(ReportQuantity.Macs, m, ShippedCost.Macs));
        if (Budget.Ace is { } a) budgets.Add(new(ReportQuantity.Ace, a, ShippedCost.Ace));
        if (Budget.SizeBytes is { } s) budgets.Add(new(ReportQuantity.Size, s, ShippedCost.SizeBytes));
        return budgets;
    }

    private List<ReportSummaryRow> Summary()
    {
        var rows = new List<ReportSummaryRow>
        {
            Row(ReportRole.Chosen, Chosen.Description, Shipped.Fp32, Test.Fp32.Top1, "test", Shipped.Form == ModelForm.Fp32),
            Row(ReportRole.Chosen, Chosen.Description, Shipped.Int8, Test.Int8.Top1, "test", Shipped.Form == ModelForm.Int8),
        };
        if (Result.BestDiscarded is { } discarded)
        {
            var key = Candidates.First(c => c.Description == discarded.Model).Key;
            var round = Trials.Where(t => t.Key == key).Max(t => t.Rung) + 1;
            rows.Add(Row(ReportRole.BestDiscarded, discarded.Model, Costs[key].Fp32, discarded.ValAccuracy, $"validation, search round {round}", false));
            rows.Add(Row(ReportRole.BestDiscarded, discarded.Model, Costs[key].Int8, null, null, false));
        }
        if (Result.Scratch is { } scratch)
        {
            rows.Add(Row(ReportRole.Scratch, Chosen.Description, Shipped.Fp32, scratch.ScratchTestAccuracy, $"test, {scratch.Epochs} passes from scratch",
                false));
        }
        return rows;
    }

    private ReportSummaryRow Row(ReportRole role, string model, FormCost cost, double? accuracy, string? on, bool shipped) => new()
    {
        Role = role,
        Model = model,
        Form = Name(cost.Form),
        Accuracy = accuracy,
        AccuracyOn = on,
        LatencyMs = cost.LatencyMs,
        SizeBytes = cost.SizeBytes,
        Params = cost.Parameters,
        Macs = cost.Macs,
        Ace = cost.Ace,
        MeetsBudget = Budget.Fits(cost),
        Shipped = shipped,
    };

    private ReportDataCheck DataSection()
    {
        var counts = new List<ReportClassCount>();
        int Count(string part, int label) => Data.Parts.FirstOrDefault(p => p.Part == part) is { } r && label < r.ClassCounts.Length ? r.ClassCounts[label] : 0;
        for (var c = 0; c < Splits.Classes.Count; c++) counts.Add(new(Count("train", c), Count("val", c), Count("test", c)));
        var warnings = Data.Warnings.Select(w => new ReportWarning(w)).ToList();
        if (Data.Unreadable.Length > 0)
            warnings.Add(new($"{Data.Unreadable.Length} pictures could not be read and were skipped", null,
            Data.Unreadable.Take(50).Select(u => $"{u.Id}: {u.Reason}").ToList()));
        if (Data.Skipped.Length > 0)
            warnings.Add(new($"{Data.Skipped.Length} files are not used", null, Data.Skipped.Take(50).Select(s => $"{s.Path}: {s.Reason}").ToList()));
        return new ReportDataCheck
        {
            Description = $"{Data.Count} {(Data.Colour == 0 ? "grey" : Data.Grey == 0 ? "colour" : "grey and colour")} pictures" +
                (Data.Width is { } w && Data.Height is { } h
                    ? w.Min == w.Max && h.Min == h.Max ? $", {w.Min} x {h.Min} pixels" : $", {w.Min} to {w.Max} pixels wide, {h.Min} to {h.Max} high" : "")
                    + $"; {Data.Origin}",
            Counts = counts,
            Samples = Samples(),
            Warnings = warnings,
        };
    }

    private List<ReportPicture> Samples()
    {
        var each = Math.Max(1, Math.Min(SamplesPerClass, MaxSamples / Splits.Classes.Count));
        var taken = new int[Splits.Classes.Count];
        var samples = new List<ReportPicture>();
        for (var i = 0; i < Splits.Train.Count && samples.Count < MaxSamples; i++)
        {
            var label = Splits.Train.Label(i);
            if (taken[label] >= each) continue;
            taken[label]++;
            samples.Add(new ReportPicture(Thumbnail(Splits.Train, i), label, Name: Splits.Train.Id(i)));
        }
        return samples.OrderBy(s => s.Label).ToList();
    }

    private static byte[] Thumbnail(IImageDataset data, int index)
    {
        var picture = data.Read(index);
        var scale = Math.Min(1, (double)ThumbnailSide / Math.Max(picture.Width, picture.Height));
        return ImageEncoder.Png(scale == 1 ? picture : picture.Resize(Math.Max(1, (int)(picture.Width * scale)), Math.Max(1, (int)(picture.Height * scale))));
    }

    private ReportCandidate Describe(Candidate candidate)
    {
        var cost = Costs[candidate.Key];
        var trials = Trials.Where(t => t.Key == candidate.Key).ToList();
        var last = trials.MaxBy(t => t.Rung);
        var discarded = Result.BestDiscarded?.Model == candidate.Description;
        return new ReportCandidate
        {
            Name = candidate.Key,
            Role = candidate.Key == Chosen.Key ? ReportRole.Chosen : discarded ? ReportRole.BestDiscarded : ReportRole.Candidate,
            Description = candidate.Description,
            Params = cost.Fp32.Parameters,
            Macs = cost.Fp32.Macs,
            Accuracy = last is null || double.IsNaN(last.Accuracy) ? null : last.Accuracy,
            RoundsTrained = trials.Count,
            Forms = cost.Forms.Select(f => new ReportForm(Name(f.Form), f.LatencyMs, f.SizeBytes, Budget.Fits(f))).ToList(),
            Reason = candidate.Key == Chosen.Key ? null
                : !cost.Forms.Any(Budget.Fits) ? "over the budget in both forms"
                : last is null ? "fits, but larger or more different ones were tried"
                : double.IsNaN(last.Accuracy) ? last.Note
                : $"less accurate in round {last.Rung + 1}",
        };
    }

    private List<ReportRound> Rounds() => Trials.GroupBy(t => t.Rung).OrderBy(g => g.Key).Select(g => new ReportRound(
        $"Round {g.Key + 1}",
        $"{g.First().Effort:N0} pictures each{(g.First().Folds is { } folds ? $" in {folds.Length} folds" : "")}",
        g.OrderByDescending(t => double.IsNaN(t.Accuracy) ? -1 : t.Accuracy).Select(t => new ReportTrial(
            Candidates.First(c => c.Key == t.Key).Description, double.IsNaN(t.Accuracy) ? null : t.Accuracy, double.IsNaN(t.Loss) ? null : t.Loss, t.Seconds,
            t.Key == Chosen.Key || Trials.Any(u => u.Key == t.Key && u.Rung > t.Rung), t.Note)).ToList())).ToList();

    private ReportTraining TrainingSection()
    {
        var curves = Training.Curves;
        var epochs = curves.Select(c => c.Epoch + 1.0).ToArray();
        ReportCurve Curve(string name, Func<EpochRecord, double?> value)
        {
            var points = curves.Where(c => value(c) is not null).ToList();
            return new ReportCurve(name, points.Select(c => c.Epoch + 1.0).ToList(), points.Select(c => value(c)!.Value).ToList());
        }
        var steps = curves.Count == 0 ? 0 : curves[0].Step / Math.Max(1, curves[0].Epoch + 1);
        var rates = steps == 0 ? [] : Recipe.LearningRates(steps);
        var thin = Math.Max(1, rates.Length / 400);
        return new ReportTraining
        {
            Recipe =
            [
                new("Optimiser", $"AdamW, learning rate {Recipe.LearningRate:G3}, weight decay {Recipe.WeightDecay:G2}"), new("Epochs", $"{Recipe.Epochs}"),
                new("Batch", $"{Recipe.Batch}"),
                new("Schedule", $"cosine to {Recipe.MinLr:G2}, warm-up {Recipe.WarmupEpochs:G2} epochs"),
                new("Averaged weights", Recipe.EmaDecay > 0 ? $"decay {Recipe.EmaDecay}" : "off"),
                new("Label smoothing", Off(Recipe.LabelSmoothing)),
                new("Mixup / CutMix", Recipe.Mixes ? $"{Off(Recipe.MixupAlpha)} / {Off(Recipe.CutmixAlpha)}, probability {Recipe.MixProbability}" : "off"),
                new("RandAugment", Recipe.RandAugment.Length == 0 ? "off" : Recipe.RandAugment), new("Random erasing", Off(Recipe.RandomErasing)),
                new("Stochastic depth", Off(Recipe.DropPath)),
                .. Recipe.LayerDecay < 1 ? [new ReportFact("Layer-wise decay", $"{Recipe.LayerDecay}")] : Array.Empty<ReportFact>(),
                .. Recipe.DistillWeight > 0
                    ? [new ReportFact("Distillation", $"{Recipe.DistillWeight:P0} of the loss, temperature {Recipe.DistillTemperature}")]
                    : Array.Empty<ReportFact>(),
            ],
            Loss = [Curve("training loss", c => c.TrainLoss), Curve("validation loss", c => c.Val?.Loss),
                Curve("validation loss, averaged weights", c => c.EmaVal?.Loss)],
            Accuracy = [Curve("validation", c => c.Val?.Top1), Curve("validation, averaged weights", c => c.EmaVal?.Top1)],
            LearningRate = rates.Length == 0
                ? [] : [new("learning rate", Enumerable.Range(0, rates.Length).Where(i => i % thin == 0).Select(i => (double)i / steps).ToList(),
                rates.Where((_, i) => i % thin == 0).ToList())],
            PicturesPerSecond = Result.PicturesPerSecond,
            Seconds = Training.Seconds,
        };
    }

    private List<ReportLayer> Layers()
    {
        var graph = Shipped.Form == ModelForm.Fp32 ? Quantized.FloatGraph : Quantized.Graph;
        var latencies = OnnxProfile.PerNodeLatency(Shipped.OnnxPath, new OnnxRunnerOptions { Threads = Options.ThreadCount }).GroupBy(n => n.Node)
            .ToDictionary(g => g.Key, g => g.Sum(n => n.Microseconds) / 1000);
        var shapes = graph.Nodes.ToDictionary(n => n.Name, n => string.Join(" x ", n.Output.ShapeAt(1).Skip(1)));
        return Cost.Of(graph).Nodes.Select(n => new ReportLayer
        {
            Name = n.Node,
            Op = n.Op,
            Output = shapes[n.Node],
            Form = n.Macs == 0 ? null : n.Quantized ? "int8" : "fp32",
            Params = n.Parameters,
            Macs = n.Macs,
            Ace = n.Quantized ? n.Ace(NumberFormat.Int8, NumberFormat.Int8) : n.Ace(NumberFormat.Fp32, NumberFormat.Fp32),
            LatencyMs = latencies.TryGetValue(n.Node, out var ms) ? ms : null,
        }).ToList();
    }

    private ReportQuantisation QuantisationSection()
    {
        var r = Quantized.Report;
        return new ReportQuantisation
        {
            Description = $"Weights {r.WeightBits} bits per output channel ({r.WeightObserver}), activations {r.ActivationType} per tensor ({r.ActivationObserver}); " +
                $"{r.CalibrationPictures} calibration and {r.EvaluationPictures} validation pictures; {r.KeptInFloat.Count} of {r.QuantizableLayers} layers stay in float",
            AccuracyFp32 = r.Final.FloatAccuracy,
            AccuracyAllInt8 = r.AllQuantized.Accuracy,
            AccuracyInt8 = r.Final.Accuracy,
            AccuracyOn = $"{r.EvaluationPictures} validation pictures",
            SensitivityUnit = "KL divergence of the outputs when only this layer is quantised (nats)",
            Layers = r.Layers.Select(l => new ReportSensitivity(l.Layer, l.Loss.Kl, l.KeptInFloat, l.Why)).ToList(),
        };
    }

    private ReportFile FileOf(string name, string contents) => new(name, new FileInfo(Path.Combine(Options.Folder, name)).Length, contents);

    private static string Off(double value) => value == 0 ? "off" : $"{value:G3}";

    private static string Name(ModelForm form) => form.ToString().ToLowerInvariant();

    private static string Version(Type type) => type.Assembly.GetName().Version?.ToString(3) ?? "";
}
