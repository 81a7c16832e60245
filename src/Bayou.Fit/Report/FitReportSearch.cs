namespace Bayou.Fit;

/// <summary>A candidate of the search, with its cost in every form it could be shipped in.</summary>
public sealed record ReportCandidate
{
    /// <summary>Short name, unique in the run.</summary>
    public required string Name { get; init; }

    /// <summary>Its part in the run.</summary>
    public ReportRole Role { get; init; }

    /// <summary>One line on its shape.</summary>
    public string? Description { get; init; }

    /// <summary>Parameters.</summary>
    public long? Params { get; init; }

    /// <summary>Multiply-accumulates.</summary>
    public long? Macs { get; init; }

    /// <summary>Validation accuracy after its longest short training; null if it was discarded untrained.</summary>
    public double? Accuracy { get; init; }

    /// <summary>How many rounds of successive halving it was trained in.</summary>
    public int RoundsTrained { get; init; }

    /// <summary>Its forms.</summary>
    public IReadOnlyList<ReportForm> Forms { get; init; } = [];

    /// <summary>Why it was discarded; null for the chosen one.</summary>
    public string? Reason { get; init; }
}

/// <summary>One form of a candidate.</summary>
/// <param name="Form"><c>fp32</c> or <c>int8</c>.</param>
/// <param name="LatencyMs">Median latency at batch 1 (ms); null if not measured.</param>
/// <param name="SizeBytes">File size (bytes).</param>
/// <param name="MeetsBudget">Whether it meets every budget.</param>
/// <param name="Accuracy">Accuracy in this form, where measured; otherwise the candidate's stands for it.</param>
public sealed record ReportForm(string Form, double? LatencyMs, long? SizeBytes, bool MeetsBudget, double? Accuracy = null);

/// <summary>A round of successive halving.</summary>
/// <param name="Name">How it is called, such as "Round 1".</param>
/// <param name="Effort">What each trial was given, such as "1 epoch of 6,000 pictures".</param>
/// <param name="Trials">Its trials.</param>
public sealed record ReportRound(string Name, string? Effort, IReadOnlyList<ReportTrial> Trials);

/// <summary>One short training.</summary>
/// <param name="Candidate">The candidate's name.</param>
/// <param name="Accuracy">Validation accuracy at the end.</param>
/// <param name="Loss">Training loss at the end.</param>
/// <param name="Seconds">Duration (s).</param>
/// <param name="Promoted">Whether it went into the next round (in the last round: won).</param>
/// <param name="Note">A remark, such as "resumed from the run store" or "diverged".</param>
public sealed record ReportTrial(string Candidate, double? Accuracy, double? Loss, double? Seconds, bool Promoted, string? Note = null);

/// <summary>A named line: y over x.</summary>
/// <param name="Name">What it shows.</param>
/// <param name="X">Positions, ascending (epochs).</param>
/// <param name="Y">Values, as many as <paramref name="X"/>; those that are not finite leave a gap.</param>
public sealed record ReportCurve(string Name, IReadOnlyList<double> X, IReadOnlyList<double> Y);

/// <summary>The full training of the chosen candidate. All curves are over epochs.</summary>
public sealed record ReportTraining
{
    /// <summary>The recipe, as name and value (optimiser, epochs, EMA decay, mixup, ...).</summary>
    public IReadOnlyList<ReportFact> Recipe { get; init; } = [];

    /// <summary>Losses (training, validation).</summary>
    public IReadOnlyList<ReportCurve> Loss { get; init; } = [];

    /// <summary>Validation accuracies in [0, 1] (weights, EMA of the weights).</summary>
    public IReadOnlyList<ReportCurve> Accuracy { get; init; } = [];

    /// <summary>Learning rate.</summary>
    public IReadOnlyList<ReportCurve> LearningRate { get; init; } = [];

    /// <summary>Mean speed (pictures a second).</summary>
    public double? PicturesPerSecond { get; init; }

    /// <summary>Duration (s).</summary>
    public double? Seconds { get; init; }
}

/// <summary>A layer (a node of the shipped graph, or a few that run as one).</summary>
public sealed record ReportLayer
{
    /// <summary>Its module path, such as <c>stages.0.1.dwconv</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The operation, such as <c>Conv2d 7x7 dw</c>.</summary>
    public required string Op { get; init; }

    /// <summary>Its output for one picture, such as <c>32x14x14</c>.</summary>
    public string? Output { get; init; }

    /// <summary>The form it runs in, <c>int8</c> or <c>fp32</c>.</summary>
    public string? Form { get; init; }

    /// <summary>Parameters.</summary>
    public long Params { get; init; }

    /// <summary>Multiply-accumulates for one picture.</summary>
    public long Macs { get; init; }

    /// <summary>Arithmetic computation effort for one picture in the form it runs in.</summary>
    public double? Ace { get; init; }

    /// <summary>Its own latency (ms), where the runtime reports it.</summary>
    public double? LatencyMs { get; init; }
}

/// <summary>What quantisation did.</summary>
public sealed record ReportQuantisation
{
    /// <summary>One line on the method, such as "QDQ, weights per channel, activations per tensor, MSE observer, 512 pictures".</summary>
    public string? Description { get; init; }

    /// <summary>fp32 accuracy on the part named by <see cref="AccuracyOn"/>.</summary>
    public double? AccuracyFp32 { get; init; }

    /// <summary>Accuracy with every layer quantised (blind INT8).</summary>
    public double? AccuracyAllInt8 { get; init; }

    /// <summary>Accuracy of the INT8 form as made, with the sensitive layers in float.</summary>
    public double? AccuracyInt8 { get; init; }

    /// <summary>What these accuracies were measured on, such as "validation".</summary>
    public string? AccuracyOn { get; init; }

    /// <summary>Header of the sensitivity column, such as "accuracy lost (points)" or "output MSE".</summary>
    public string SensitivityUnit { get; init; } = "sensitivity";

    /// <summary>The quantised layers.</summary>
    public IReadOnlyList<ReportSensitivity> Layers { get; init; } = [];
}

/// <summary>What quantising one layer alone costs.</summary>
/// <param name="Layer">Its module path.</param>
/// <param name="Sensitivity">The cost in <see cref="ReportQuantisation.SensitivityUnit"/>; larger is worse, negative is a gain.</param>
/// <param name="KeptInFloat">Whether it was left in float.</param>
/// <param name="Reason">Why.</param>
public sealed record ReportSensitivity(string Layer, double? Sensitivity, bool KeptInFloat, string? Reason = null);
