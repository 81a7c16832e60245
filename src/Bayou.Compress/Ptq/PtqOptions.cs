using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>How the range of an activation is chosen from its histogram.</summary>
public enum ActivationObserver
{
    /// <summary>The smallest and largest value seen.</summary>
    MinMax,

    /// <summary>Clips |x| at a quantile of itself (<see cref="PtqOptions.Percentile"/>).</summary>
    Percentile,

    /// <summary>The clip with the least squared quantisation error.</summary>
    Mse,

    /// <summary>The clip whose quantised histogram is nearest to the original in Kullback-Leibler divergence (as TensorRT calibrates).</summary>
    Kl,
}

/// <summary>How the range of a weight (of each output channel) is chosen.</summary>
public enum WeightObserver
{
    /// <summary>The largest magnitude.</summary>
    MinMax,

    /// <summary>The clip with the least squared error.</summary>
    Mse,
}

/// <summary>The integer type of activations.</summary>
public enum ActivationType
{
    /// <summary>
    /// 0..255 with a zero point: nothing is wasted on one-sided data (after ReLU or GELU), and ONNX Runtime folds a ReLU into the quantised convolution.
    /// </summary>
    UInt8,

    /// <summary>-127..127, zero point 0 (TensorRT's scheme).</summary>
    Int8,
}

/// <summary>Settings of <see cref="PostTrainingQuantization"/>.</summary>
public sealed record PtqOptions
{
    /// <summary>Activation observer, where <see cref="Search"/> does not choose it.</summary>
    public ActivationObserver ActivationObserver { get; init; } = ActivationObserver.Percentile;

    /// <summary>Weight observer, where <see cref="Search"/> does not choose it.</summary>
    public WeightObserver WeightObserver { get; init; } = WeightObserver.MinMax;

    /// <summary>Try every pair of observers on the evaluation pictures and take the one with the least loss.</summary>
    public bool Search { get; init; } = true;

    /// <summary>Integer type of activations.</summary>
    public ActivationType ActivationType { get; init; } = ActivationType.UInt8;

    /// <summary>Bits of weights, 2 to 8.</summary>
    public int WeightBits { get; init; } = 8;

    /// <summary>One scale for each output channel of a weight (true) or one for the whole tensor.</summary>
    public bool PerChannel { get; init; } = true;

    /// <summary>
    /// 7-bit weights (-64..64) instead of 8, which 16-bit pair sums cannot overflow. Null: decided for this machine
    /// (<see cref="IntegerKernels.SaturatesInt8"/>). Set it to true when the model will run on an x86 processor without VNNI.
    /// </summary>
    public bool? ReduceRange { get; init; }

    /// <summary>Quantile of |x| that <see cref="Compress.ActivationObserver.Percentile"/> keeps.</summary>
    public double Percentile { get; init; } = 0.9999;

    /// <summary>Points (0.005 = half a point) of accuracy, or of top-1 agreement with the float network when there are no labels, that may be lost.</summary>
    public double MaxLoss { get; init; } = 0.005;

    /// <summary>Measure every layer and keep the most sensitive ones in float until <see cref="MaxLoss"/> holds.</summary>
    public bool KeepSensitiveInFloat { get; init; } = true;

    /// <summary>At most this share of the layers is kept in float.</summary>
    public double MaxFloatShare { get; init; } = 0.5;

    /// <summary>Layers (node names) that stay in float whatever they cost.</summary>
    public IReadOnlyCollection<string> KeepFloat { get; init; } = [];

    /// <summary>Also quantise elementwise additions of two activations.</summary>
    public bool QuantizeAdd { get; init; }

    /// <summary>Also quantise average, global-average and max pooling.</summary>
    public bool QuantizePool { get; init; }

    /// <summary>Shift each bias by what rounding the weights adds to the layer's mean output.</summary>
    public bool BiasCorrection { get; init; }

    /// <summary>Pictures [N, C, H, W] to judge by; null: a quarter of the calibration pictures (at most 1024) is held out for it.</summary>
    public Tensor? EvaluationImages { get; init; }

    /// <summary>Classes (int64, [N]) of <see cref="EvaluationImages"/>; null: agreement with the float network is judged instead of accuracy.</summary>
    public Tensor? EvaluationLabels { get; init; }

    /// <summary>Pictures used for measuring single layers.</summary>
    public int SensitivityCount { get; init; } = 256;

    /// <summary>Pictures that run at once.</summary>
    public int BatchSize { get; init; } = 64;

    /// <summary>Receives one line for each step.</summary>
    public Action<string>? Progress { get; init; }
}
