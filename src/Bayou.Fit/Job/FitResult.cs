using System.Text.Json;
using System.Text.Json.Serialization;
using Bayou.Core;
using Bayou.Search;

namespace Bayou.Fit;

/// <summary>What a fit ended with; its JSON is what `bayou fit --json` prints.</summary>
public sealed record FitResult
{
    /// <summary>Test accuracy of the fp32 form through ONNX Runtime, 0..1.</summary>
    public required double AccuracyFp32 { get; init; }

    /// <summary>Test accuracy of the INT8 form through ONNX Runtime.</summary>
    public required double AccuracyInt8 { get; init; }

    /// <summary>Form of model.onnx: fp32 or int8.</summary>
    public required string Shipped { get; init; }

    /// <summary>Whether the shipped form meets the budget, measured after training.</summary>
    public required bool MeetsBudget { get; init; }

    /// <summary>Median latency of the shipped form at batch 1.</summary>
    public required double LatencyP50Ms { get; init; }

    /// <summary>Latency of the fp32 form.</summary>
    public required double LatencyFp32Ms { get; init; }

    /// <summary>Latency of the INT8 form.</summary>
    public required double LatencyInt8Ms { get; init; }

    /// <summary>The latency limit; null when there was none.</summary>
    public required double? BudgetMs { get; init; }

    /// <summary>All limits as text.</summary>
    public required string Budget { get; init; }

    /// <summary>Largest difference between the fp32 ONNX file and TorchSharp on real pictures.</summary>
    public required double OnnxMaxAbsDiff { get; init; }

    /// <summary>Share of test pictures for which the INT8 file and the fake-quantised network agree on the class.</summary>
    public required double Int8Top1Agreement { get; init; }

    /// <summary>Parameters.</summary>
    public required long Params { get; init; }

    /// <summary>Multiply-accumulates a picture.</summary>
    public required long Macs { get; init; }

    /// <summary>ACE of the shipped form.</summary>
    public required long Ace { get; init; }

    /// <summary>Size of model.onnx in bytes.</summary>
    public required long SizeBytes { get; init; }

    /// <summary>Size of the fp32 form.</summary>
    public required long SizeFp32Bytes { get; init; }

    /// <summary>Size of the INT8 form.</summary>
    public required long SizeInt8Bytes { get; init; }

    /// <summary>The chosen network.</summary>
    public required string Model { get; init; }

    /// <summary>Layers that stayed in float in the INT8 form.</summary>
    public required IReadOnlyList<string> KeptInFloat { get; init; }

    /// <summary>Candidates whose cost was measured or predicted.</summary>
    public required int Candidates { get; init; }

    /// <summary>Those of them whose cost was predicted.</summary>
    public int CandidatesPredicted { get; init; }

    /// <summary>Candidates that fit in at least one form.</summary>
    public required int CandidatesFitting { get; init; }

    /// <summary>Candidates that were trained.</summary>
    public required int CandidatesTrained { get; init; }

    /// <summary>The best of the trained candidates that were not chosen; null when there was only one.</summary>
    public required DiscardedCandidate? BestDiscarded { get; init; }

    /// <summary>What the checkpoint was worth; null without one.</summary>
    public required FitScratch? Scratch { get; init; }

    /// <summary>The chosen candidate's cross-validation in its last round; null where there was none.</summary>
    public required FitFolds? CrossValidation { get; init; }

    /// <summary>What a person should know about this run.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Test pictures.</summary>
    public required int TestPictures { get; init; }

    /// <summary>Training speed.</summary>
    public required double PicturesPerSecond { get; init; }

    /// <summary>The run's seed.</summary>
    public required int Seed { get; init; }

    /// <summary>Time of this process for the run.</summary>
    public required double Seconds { get; init; }

    /// <summary>Path of model.onnx.</summary>
    public required string Onnx { get; init; }

    /// <summary>Path of report.html.</summary>
    public required string Report { get; init; }

    /// <summary>How results are written as JSON: snake case, NaN by name.</summary>
    public static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };
}

/// <summary>Fine-tuning against training from scratch: same network, pictures and passes.</summary>
/// <param name="ValAccuracy">From the checkpoint, best on validation.</param>
/// <param name="TestAccuracy">From the checkpoint, on the test part (fp32).</param>
/// <param name="ScratchValAccuracy">From fresh weights, best on validation.</param>
/// <param name="ScratchTestAccuracy">From fresh weights, on the test part.</param>
/// <param name="Epochs">Passes of both.</param>
/// <param name="Seconds">Time of the fine-tuning.</param>
/// <param name="ScratchSeconds">Time of the training from scratch.</param>
public sealed record FitScratch(double? ValAccuracy, double TestAccuracy, double? ScratchValAccuracy, double ScratchTestAccuracy, int Epochs, double Seconds,
    double ScratchSeconds);

/// <summary>Accuracy over the folds of a cross-validation.</summary>
/// <param name="Accuracies">Of every fold.</param>
/// <param name="Mean">Their mean.</param>
/// <param name="Deviation">Their standard deviation (n - 1).</param>
public sealed record FitFolds(double[] Accuracies, double Mean, double Deviation)
{
    /// <summary>Mean and deviation of the folds.</summary>
    public static FitFolds Of(double[] accuracies)
    {
        var mean = accuracies.Average();
        return new(accuracies, mean, Math.Sqrt(accuracies.Sum(a => (a - mean) * (a - mean)) / Math.Max(1, accuracies.Length - 1)));
    }
}

/// <summary>A candidate that was trained and not chosen.</summary>
/// <param name="Model">Its name.</param>
/// <param name="ValAccuracy">Validation accuracy of its last trial.</param>
/// <param name="ChosenValAccuracy">The chosen one's in the same round.</param>
/// <param name="LatencyFp32Ms">fp32 latency.</param>
/// <param name="LatencyInt8Ms">INT8 latency.</param>
public sealed record DiscardedCandidate(string Model, double ValAccuracy, double ChosenValAccuracy, double LatencyFp32Ms, double LatencyInt8Ms);
