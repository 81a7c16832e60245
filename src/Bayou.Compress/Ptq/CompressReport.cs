using System.Text.Json;
using System.Text.Json.Serialization;

namespace Bayou.Compress;

/// <summary>How far a quantised network is from the float one on the same pictures.</summary>
/// <param name="RelativeMse">Squared error of all outputs over the float outputs' power.</param>
/// <param name="Kl">Mean Kullback-Leibler divergence of softmax(first output over axis 1), in nats.</param>
/// <param name="Agreement">Share of pictures (or positions) with the same top-1 class.</param>
/// <param name="Accuracy">Top-1 accuracy where labels were given.</param>
/// <param name="FloatAccuracy">The float network's.</param>
public sealed record QuantizationLoss(double RelativeMse, double Kl, double Agreement, double? Accuracy, double? FloatAccuracy)
{
    /// <summary>What <see cref="PtqOptions.MaxLoss"/> bounds: accuracy lost, or disagreement where there are no labels.</summary>
    [JsonIgnore]
    public double Points => Accuracy is { } a && FloatAccuracy is { } f ? f - a : 1 - Agreement;
}

/// <summary>What one layer does to the network when only it is quantised.</summary>
/// <param name="Layer">The node's name.</param>
/// <param name="Op">Its op.</param>
/// <param name="WeightBits">Bits of its weight.</param>
/// <param name="WeightObserver">How the weight's range was chosen.</param>
/// <param name="ActivationObserver">How its input's range was chosen.</param>
/// <param name="Low">Smallest input value that the codes reach.</param>
/// <param name="High">Largest.</param>
/// <param name="ObservedLow">Smallest input seen.</param>
/// <param name="ObservedHigh">Largest.</param>
/// <param name="SqnrDb">Signal to quantisation noise of the layer's own output, in decibels.</param>
/// <param name="Loss">Loss of the network.</param>
/// <param name="KeptInFloat">Whether it stayed in float.</param>
/// <param name="Why">Why, where it did.</param>
public sealed record LayerSensitivity(
    string Layer, string Op, int WeightBits, WeightObserver WeightObserver, ActivationObserver ActivationObserver, double Low, double High,
    double ObservedLow, double ObservedHigh, double SqnrDb, QuantizationLoss Loss, bool KeptInFloat = false, string? Why = null);

/// <summary>One pair of observers that was tried.</summary>
public sealed record ObserverTrial(ActivationObserver ActivationObserver, WeightObserver WeightObserver, QuantizationLoss Loss);

/// <summary>One step of the greedy choice.</summary>
/// <param name="Layer">The layer that changed side.</param>
/// <param name="ToFloat">Whether it went to float, or back to integers.</param>
/// <param name="Loss">The network's loss after it.</param>
public sealed record GreedyStep(string Layer, bool ToFloat, QuantizationLoss Loss);

/// <summary>Everything the quantisation found, ready for a report page.</summary>
public sealed record CompressReport
{
    /// <summary>Layers from the most to the least sensitive; empty when they were not measured.</summary>
    public required IReadOnlyList<LayerSensitivity> Layers { get; init; }

    /// <summary>Observers tried.</summary>
    public required IReadOnlyList<ObserverTrial> Trials { get; init; }

    /// <summary>Steps of the choice of float layers.</summary>
    public required IReadOnlyList<GreedyStep> Steps { get; init; }

    /// <summary>Names of the layers left in float.</summary>
    public required IReadOnlyList<string> KeptInFloat { get; init; }

    /// <summary>Layers that could be quantised.</summary>
    public required int QuantizableLayers { get; init; }

    /// <summary>Observer in use.</summary>
    public required ActivationObserver ActivationObserver { get; init; }

    /// <summary>Observer in use.</summary>
    public required WeightObserver WeightObserver { get; init; }

    /// <summary>Type of activations.</summary>
    public required ActivationType ActivationType { get; init; }

    /// <summary>Bits of weights (7 with a reduced range).</summary>
    public required int WeightBits { get; init; }

    /// <summary>Whether weights were kept to 7 bits because 8-bit products saturate on the target.</summary>
    public required bool ReducedRange { get; init; }

    /// <summary>Pictures that gave the ranges, and pictures that judged.</summary>
    public required long CalibrationPictures { get; init; }

    /// <summary>Pictures that judged.</summary>
    public required long EvaluationPictures { get; init; }

    /// <summary>Loss with every layer quantised.</summary>
    public required QuantizationLoss AllQuantized { get; init; }

    /// <summary>Loss of the result.</summary>
    public required QuantizationLoss Final { get; init; }

    /// <summary>Bound on <see cref="QuantizationLoss.Points"/>.</summary>
    public required double MaxLoss { get; init; }

    /// <summary>Whether the result is within it.</summary>
    public required bool WithinMaxLoss { get; init; }

    /// <summary>Time taken.</summary>
    public required double Seconds { get; init; }

    /// <summary>Options that <see cref="ToJson"/> uses: enums by name, infinities as strings.</summary>
    public static JsonSerializerOptions Json { get; } = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    /// <summary>The report as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);
}
