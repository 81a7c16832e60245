using System.Text.Json;
using System.Text.Json.Serialization;

namespace Bayou.Fit;

/// <summary>
/// Everything <c>report.html</c> shows about one fit, as plain data: <see cref="FitReport"/> turns it into a page and <c>run.json</c> may hold it as it is.
/// Shares (accuracy, confidence) are in [0, 1], latencies in milliseconds, sizes in bytes, durations in seconds. Only the data set's name and the verdict
/// are required; a part that is null or empty is left out of the page.
/// </summary>
public sealed record FitReportData
{
    /// <summary>Name of the data set, such as <c>fashion-mnist</c> or the folder's name.</summary>
    public required string Dataset { get; init; }

    /// <summary>What was shipped and how good it is.</summary>
    public required ReportVerdict Verdict { get; init; }

    /// <summary>When the run ended.</summary>
    public DateTimeOffset? Created { get; init; }

    /// <summary>Duration of the whole fit (s).</summary>
    public double? Seconds { get; init; }

    /// <summary>The command that reproduces the run.</summary>
    public string? Command { get; init; }

    /// <summary>The run's seed.</summary>
    public long? Seed { get; init; }

    /// <summary>Class names in label order; pictures and the confusion matrix index into it.</summary>
    public IReadOnlyList<string> Classes { get; init; } = [];

    /// <summary>The limits the shipped model had to meet.</summary>
    public IReadOnlyList<ReportBudget> Budgets { get; init; } = [];

    /// <summary>The summary table: chosen and best discarded, one row for each form that was made.</summary>
    public IReadOnlyList<ReportSummaryRow> Summary { get; init; } = [];

    /// <summary>Counts, sample pictures and warnings of the data.</summary>
    public ReportDataCheck? Data { get; init; }

    /// <summary>All candidates of the search, in the order they were proposed.</summary>
    public IReadOnlyList<ReportCandidate> Candidates { get; init; } = [];

    /// <summary>Measured latencies beside what the fit to the other candidates predicts (ms), where the search predicted most costs.</summary>
    public IReadOnlyList<(string Form, double Measured, double Predicted)> LatencyPredictions { get; init; } = [];

    /// <summary>The rounds of successive halving.</summary>
    public IReadOnlyList<ReportRound> Rounds { get; init; } = [];

    /// <summary>The winner's training.</summary>
    public ReportTraining? Training { get; init; }

    /// <summary>Test confusion matrix of the shipped model: <c>Confusion[truth][predicted]</c> is a number of pictures.</summary>
    public IReadOnlyList<IReadOnlyList<int>>? Confusion { get; init; }

    /// <summary>Wrong test pictures, most confident first.</summary>
    public IReadOnlyList<ReportPicture> Mistakes { get; init; } = [];

    /// <summary>The shipped graph, layer by layer.</summary>
    public IReadOnlyList<ReportLayer> Layers { get; init; } = [];

    /// <summary>What quantisation did; null if INT8 was not made.</summary>
    public ReportQuantisation? Quantisation { get; init; }

    /// <summary>How the shipped model does under corruptions; null if that was not measured.</summary>
    public ReportRobustness? Robustness { get; init; }

    /// <summary>Numerical checks of what was shipped (ONNX against TorchSharp, INT8 against the fake-quantised model, ...).</summary>
    public IReadOnlyList<ReportCheck> Checks { get; init; } = [];

    /// <summary>Files the run wrote.</summary>
    public IReadOnlyList<ReportFile> Files { get; init; } = [];

    /// <summary>Where it ran.</summary>
    public ReportMachine? Machine { get; init; }

    /// <summary>Things a reader must know, one sentence each (INT8 was skipped because ..., training stopped early, ...).</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>How the data is written as JSON: camel case, nulls left out, NaN and infinities by name, pictures in base 64.</summary>
    public static JsonSerializerOptions JsonOptions { get; } = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
    };

    /// <summary>The data as JSON; <see cref="FromJson"/> reads it back.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, JsonOptions);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="Core.BayouException">The text is not a report's data.</exception>
    public static FitReportData FromJson(string json)
    {
        try
        {
            return JsonSerializer.Deserialize<FitReportData>(json, JsonOptions)
                ?? throw new Core.BayouException("The report data is `null`. Give the JSON that `bayou fit` wrote into run.json.");
        }
        catch (JsonException e)
        {
            throw new Core.BayouException($"The report data cannot be read as JSON: {e.Message} Give the JSON that `bayou fit` wrote into run.json.", e);
        }
    }

    /// <summary>The same data without any picture, for a small <c>run.json</c>.</summary>
    public FitReportData WithoutPictures() =>
        this with
        {
            Mistakes = [],
            Data = Data is null ? null : Data with { Samples = [] },
            Robustness = Robustness is null ? null : Robustness with { Strip = [] }
        };
}

/// <summary>What was shipped.</summary>
public sealed record ReportVerdict
{
    /// <summary>The shipped model's name.</summary>
    public required string Model { get; init; }

    /// <summary>The shipped form, <c>fp32</c> or <c>int8</c>.</summary>
    public required string Form { get; init; }

    /// <summary>Whether the shipped model, measured again after training, meets every budget.</summary>
    public required bool MeetsBudget { get; init; }

    /// <summary>One line on its shape, such as "width 32-64-128, depth 1-1-3, patch 2, input 28x28".</summary>
    public string? Description { get; init; }

    /// <summary>Top-1 accuracy on the test part.</summary>
    public double? Accuracy { get; init; }

    /// <summary>Top-5 accuracy on the test part, where there are more than five classes.</summary>
    public double? AccuracyTop5 { get; init; }

    /// <summary>Number of test pictures the accuracy was measured on.</summary>
    public int? TestPictures { get; init; }

    /// <summary>Median latency at batch 1 (ms).</summary>
    public double? LatencyMs { get; init; }

    /// <summary>Size of the shipped file (bytes).</summary>
    public long? SizeBytes { get; init; }

    /// <summary>Parameters.</summary>
    public long? Params { get; init; }

    /// <summary>Multiply-accumulates for one picture.</summary>
    public long? Macs { get; init; }

    /// <summary>Arithmetic computation effort (MACs times bits times bits) for one picture.</summary>
    public double? Ace { get; init; }
}

/// <summary>What a budget limits.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ReportQuantity>))]
public enum ReportQuantity
{
    /// <summary>Median latency at batch 1 (ms).</summary>
    Latency,

    /// <summary>Parameters.</summary>
    Params,

    /// <summary>Multiply-accumulates.</summary>
    Macs,

    /// <summary>Arithmetic computation effort.</summary>
    Ace,

    /// <summary>Size of the shipped file (bytes).</summary>
    Size,
}

/// <summary>One limit and what the shipped model uses of it, both in the quantity's unit.</summary>
/// <param name="Quantity">What is limited.</param>
/// <param name="Limit">The largest allowed value.</param>
/// <param name="Measured">The shipped model's value.</param>
public sealed record ReportBudget(ReportQuantity Quantity, double Limit, double? Measured = null);

/// <summary>The part a candidate played in the run.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ReportRole>))]
public enum ReportRole
{
    /// <summary>Took part in the search and did not win it.</summary>
    Candidate,

    /// <summary>Won the search: trained in full and shipped.</summary>
    Chosen,

    /// <summary>The most accurate of those that were not chosen.</summary>
    BestDiscarded,

    /// <summary>The chosen network trained from fresh weights, for comparison with a checkpoint.</summary>
    Scratch,
}

/// <summary>One row of the summary table: one model in one form.</summary>
public sealed record ReportSummaryRow
{
    /// <summary>The model's part in the run.</summary>
    public required ReportRole Role { get; init; }

    /// <summary>The model's name.</summary>
    public required string Model { get; init; }

    /// <summary><c>fp32</c> or <c>int8</c>.</summary>
    public required string Form { get; init; }

    /// <summary>Top-1 accuracy.</summary>
    public double? Accuracy { get; init; }

    /// <summary>What the accuracy was measured on, such as "test" or "validation, 2 epochs".</summary>
    public string? AccuracyOn { get; init; }

    /// <summary>Median latency at batch 1 (ms).</summary>
    public double? LatencyMs { get; init; }

    /// <summary>File size (bytes).</summary>
    public long? SizeBytes { get; init; }

    /// <summary>Parameters.</summary>
    public long? Params { get; init; }

    /// <summary>Multiply-accumulates.</summary>
    public long? Macs { get; init; }

    /// <summary>Arithmetic computation effort.</summary>
    public double? Ace { get; init; }

    /// <summary>Whether this form meets every budget; null if it was not measured.</summary>
    public bool? MeetsBudget { get; init; }

    /// <summary>True on the one row that was shipped.</summary>
    public bool Shipped { get; init; }

    /// <summary>A short remark, such as why it was discarded.</summary>
    public string? Note { get; init; }
}

/// <summary>A picture of the data set.</summary>
/// <param name="Png">The encoded picture (PNG, JPEG or WebP), preferably small: it is inlined as it is.</param>
/// <param name="Label">Index of its true class.</param>
/// <param name="Predicted">Index of the predicted class.</param>
/// <param name="Confidence">Probability the model gave to the predicted class.</param>
/// <param name="Name">File name or position in the data set.</param>
public sealed record ReportPicture(byte[] Png, int Label, int? Predicted = null, double? Confidence = null, string? Name = null);

/// <summary>Pictures of one class in the three parts of the data.</summary>
/// <param name="Train">Pictures to train on.</param>
/// <param name="Validation">Pictures that choose between candidates.</param>
/// <param name="Test">Pictures used once, at the end.</param>
public sealed record ReportClassCount(int Train, int Validation, int Test);

/// <summary>A group of things found while checking the data.</summary>
/// <param name="Title">What was found, such as "3 files could not be read".</param>
/// <param name="Detail">What was done about it and what a person may do.</param>
/// <param name="Items">The files or classes concerned (may be shortened; the title carries the true number).</param>
public sealed record ReportWarning(string Title, string? Detail = null, IReadOnlyList<string>? Items = null);

/// <summary>What reading the data found.</summary>
public sealed record ReportDataCheck
{
    /// <summary>One line on the source and the pictures, such as "70,000 grey pictures, 28x28, from a folder".</summary>
    public string? Description { get; init; }

    /// <summary>Counts in label order.</summary>
    public IReadOnlyList<ReportClassCount> Counts { get; init; } = [];

    /// <summary>Some pictures of every class (<see cref="ReportPicture.Label"/> says which).</summary>
    public IReadOnlyList<ReportPicture> Samples { get; init; } = [];

    /// <summary>Unreadable files, duplicates, imbalance, ...</summary>
    public IReadOnlyList<ReportWarning> Warnings { get; init; } = [];
}

/// <summary>Accuracy of the shipped model under one corruption.</summary>
/// <param name="Name">The corruption.</param>
/// <param name="Group">noise, blur, weather or digital.</param>
/// <param name="Accuracy">Accuracy, 0..1.</param>
public sealed record ReportCorruption(string Name, string Group, double Accuracy);

/// <summary>The shipped model under the corruptions of ImageNet-C.</summary>
public sealed record ReportRobustness
{
    /// <summary>Test pictures used.</summary>
    public required int Pictures { get; init; }

    /// <summary>Severity, 1 to 5.</summary>
    public required int Severity { get; init; }

    /// <summary>Accuracy on the same pictures, clean.</summary>
    public required double Clean { get; init; }

    /// <summary>Mean accuracy over the corruptions.</summary>
    public required double Mean { get; init; }

    /// <summary>Each corruption.</summary>
    public IReadOnlyList<ReportCorruption> Corruptions { get; init; } = [];

    /// <summary>Corruptions that were left out because their time was over.</summary>
    public int Left { get; init; }

    /// <summary>A picture of one test picture under each corruption, PNG; empty: none.</summary>
    public byte[] Strip { get; init; } = [];
}

/// <summary>A number that had to stay within a bound.</summary>
/// <param name="Name">What was compared.</param>
/// <param name="Value">What came out, formatted with its unit.</param>
/// <param name="Bound">What was allowed, formatted with its unit.</param>
/// <param name="Passed">Whether it held.</param>
public sealed record ReportCheck(string Name, string Value, string? Bound, bool Passed);

/// <summary>A file the run wrote.</summary>
/// <param name="Name">Its name, relative to the run folder.</param>
/// <param name="SizeBytes">Its size (bytes), where known.</param>
/// <param name="Contents">What is in it.</param>
public sealed record ReportFile(string Name, long? SizeBytes = null, string? Contents = null);

/// <summary>A name and a value, such as a package and its version.</summary>
/// <param name="Name">What.</param>
/// <param name="Value">Its value.</param>
public sealed record ReportFact(string Name, string Value);

/// <summary>Where the run took place: whatever is worth knowing, in the order it is shown.</summary>
public sealed record ReportMachine
{
    /// <summary>Processor, cores, threads used, memory, operating system.</summary>
    public IReadOnlyList<ReportFact> Facts { get; init; } = [];

    /// <summary>Bayou, runtime and packages with their versions.</summary>
    public IReadOnlyList<ReportFact> Versions { get; init; } = [];
}
