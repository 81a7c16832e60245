using Bayou.Compress;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Onnx;
using Bayou.Search;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Fit;

/// <summary>INT8, the files, what they cost after training, which one is shipped, and the test part, used once.</summary>
internal sealed class FitShipping(FitRun run) : FitStep(run)
{
    private const int EvalBatch = 250;

    public QuantizedModel Quantize(Graph graph, CalibrationPictures calibration, int size)
    {
        var (images, labels) = calibration.Validation(size, 1500);
        var quantized = PostTrainingQuantization.Quantize(graph, [calibration.Images(size, Options.Calibration)], new PtqOptions
        {
            MaxLoss = Options.MaxInt8Loss,
            EvaluationImages = images,
            EvaluationLabels = labels,
            Progress = text => Progress.Status(0.5, text),
        });
        var report = quantized.Report;
        Progress.Line($"INT8: {report.QuantizableLayers - report.KeptInFloat.Count} of {report.QuantizableLayers} layers, observers {report.ActivationObserver} / {report.WeightObserver}; " +
            $"validation {report.Final.FloatAccuracy:P2} float, {report.AllQuantized.Accuracy:P2} all INT8, {report.Final.Accuracy:P2} as shipped");
        if (report.KeptInFloat.Count > 0) Progress.Line($"  kept in float: {string.Join(", ", report.KeptInFloat)}");
        return quantized;
    }

    public ShippedForms Ship(Graph graph, QuantizedModel quantized, Layer network, DataSplits splits, Preprocessing preprocessing, Candidate chosen,
        Budget budget, CalibrationPictures calibration)
    {
        var metadata = OnnxClassifier.Metadata(preprocessing, splits.Classes, chosen.Key);
        var samples = calibration.Validation(chosen.InputSize, 64).Images;
        var (fp32Path, int8Path) = (Path.Combine(Options.Folder, "model.fp32.onnx"), Path.Combine(Options.Folder, "model.int8.onnx"));
        OnnxWriter.Write(graph, fp32Path, new OnnxOptions { Metadata = metadata, Samples = [samples], Description = chosen.Description });
        OnnxWriter.Write(quantized.Graph, int8Path, new OnnxOptions { Metadata = metadata, Samples = [samples], Description = chosen.Description + ", INT8" });
        // The graph had layer scale and norms folded: what counts is the difference to the network as trained.
        double difference;
        using (var runner = new OnnxRunner(fp32Path, new OnnxRunnerOptions { Threads = Options.ThreadCount }))
        using (no_grad())
        {
            difference = (runner.Run(samples) - network.call(samples)).abs().max().item<float>();
        }
        if (difference > 1e-3)
            throw new BayouException($"fit: the fp32 ONNX file differs from TorchSharp by {difference:G3} on real pictures; it is not shipped");
        network.Save(Path.Combine(Options.Folder, "model.safetensors"), metadata);

        var (fp32Bytes, int8Bytes) = (File.ReadAllBytes(fp32Path), File.ReadAllBytes(int8Path));
        FormCost fp32 = null!, int8 = null!;
        var accuracy = quantized.Report.Final;
        ModelForm? form = null;
        for (var attempt = 0; attempt < 3 && form is null; attempt++)
        {
            fp32 = Shipping.Measure(fp32Bytes, Cost.Of(graph), ModelForm.Fp32, Options.ThreadCount, quick: false);
            int8 = Shipping.Measure(int8Bytes, Cost.Of(quantized.Graph), ModelForm.Int8, Options.ThreadCount, quick: false);
            // Of the forms that fit the more accurate on validation; on a tie the faster.
            form = new[] { (Cost: fp32, Accuracy: accuracy.FloatAccuracy ?? 0), (Cost: int8, Accuracy: accuracy.Accuracy ?? 0) }
                .Where(f => budget.Fits(f.Cost)).OrderByDescending(f => f.Accuracy).ThenBy(f => f.Cost.LatencyMs).Select(f => (ModelForm?)f.Cost.Form)
                    .FirstOrDefault();
        }
        var meets = form is not null;
        form ??= fp32.LatencyMs <= int8.LatencyMs ? ModelForm.Fp32 : ModelForm.Int8;
        var cost = form == ModelForm.Fp32 ? fp32 : int8;
        var onnx = Path.Combine(Options.Folder, "model.onnx");
        AtomicFile.Copy(form == ModelForm.Fp32 ? fp32Path : int8Path, onnx);
        Progress.Line($"fp32 {fp32.LatencyMs:0.000} ms, int8 {int8.LatencyMs:0.000} ms: {form.ToString()!.ToLowerInvariant()} is shipped");
        if (!meets) Progress.Line($"  warning: no form meets the budget after training: {string.Join(", ", budget.Excess(cost))}");
        return new ShippedForms(form.Value, meets, fp32, int8, fp32Path, int8Path, onnx, difference);
    }

    public FitTest Test(ShippedForms shipped, QuantizedModel quantized, DataSplits splits, Preprocessing preprocessing)
    {
        var loader = new LoaderSource(new ImageLoader(splits.Test, EvalBatch, new LoaderOptions { Preprocessing = preprocessing }));
        Evaluation Through(string path)
        {
            using var runner = new OnnxRunner(path, new OnnxRunnerOptions { Threads = Options.ThreadCount });
            return Evaluator.Evaluate(runner.Run, loader, Cancel);
        }
        Progress.Status(0, "fp32 through ONNX Runtime");
        var fp32 = Through(shipped.Fp32Path);
        Progress.Status(0.33, "INT8 through ONNX Runtime");
        var int8 = Through(shipped.Int8Path);
        Progress.Status(0.66, "INT8 as the fake-quantised network");
        using var module = new GraphModule(quantized.Graph);
        module.eval();
        using var noGrad = no_grad();
        var fake = Evaluator.Evaluate(module, loader, Cancel).Predictions.ToDictionary(p => p.Index, p => p.Predicted);
        var agreement = int8.Predictions.Count == 0 ? double.NaN : int8.Predictions.Average(p => fake[p.Index] == p.Predicted ? 1.0 : 0.0);
        Progress.Line($"test ({fp32.Predictions.Count} pictures): fp32 {fp32.Top1:P2}, int8 {int8.Top1:P2}; INT8 file and fake-quantised network agree on {agreement:P2}");
        return new FitTest(fp32, int8, agreement);
    }
}

/// <summary>Both forms as written and measured after training.</summary>
internal sealed record ShippedForms(ModelForm Form, bool MeetsBudget, FormCost Fp32, FormCost Int8, string Fp32Path, string Int8Path, string OnnxPath,
    double Difference);

/// <summary>What the test part said.</summary>
internal sealed record FitTest(Evaluation Fp32, Evaluation Int8, double Agreement);
