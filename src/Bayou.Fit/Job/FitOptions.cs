using Bayou.Core;
using Bayou.Data;
using Bayou.Search;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>What `bayou fit` is asked to do. Everything has a default but the data.</summary>
public sealed record FitOptions
{
    /// <summary>A folder with one sub-folder a class, a .zip of one, or a built-in name.</summary>
    public required string Data { get; init; }

    /// <summary>The limits.</summary>
    public Budget Budget { get; init; } = new();

    /// <summary>Sets the latency limit to the median of the first proposals in fp32, so that it binds on any machine.</summary>
    public bool MedianLatency { get; init; }

    /// <summary>A checkpoint to start from instead of fresh weights; the candidates are then its network at several input sizes.</summary>
    public string? Init { get; init; }

    /// <summary>Catalog name of the checkpoint's network, where it cannot be recognised.</summary>
    public string? InitModel { get; init; }

    /// <summary>With <see cref="Init"/>: train the same network from fresh weights too, so that the report can say what the checkpoint was worth.</summary>
    public bool CompareScratch { get; init; } = true;

    /// <summary>A teacher to distil from: a model.onnx or a checkpoint with the same classes.</summary>
    public string? Teacher { get; init; }

    /// <summary>Share of the teacher in the loss, 0..1.</summary>
    public double TeacherWeight { get; init; } = 0.7;

    /// <summary>What is done about classes of unequal size.</summary>
    public BalanceMode Balance { get; init; } = BalanceMode.Auto;

    /// <summary>
    /// Folds of the cross-validation that judges candidates; null: 5 where the smallest class has under 100 pictures, else none; 0 or 1: none.
    /// </summary>
    public int? Folds { get; init; }

    /// <summary>Limit of the whole run in seconds; null: none. Search and training are cut to fit, and a model is shipped all the same.</summary>
    public double? TimeLimit { get; init; }

    /// <summary>The run folder.</summary>
    public required string Folder { get; init; }

    /// <summary>Go on with the run that the folder holds.</summary>
    public bool Resume { get; init; }

    /// <summary>Makes the run repeatable, given its measurements.</summary>
    public int Seed { get; init; }

    /// <summary>Threads for training and for the shipped model; 0 for all cores.</summary>
    public int Threads { get; init; }

    /// <summary>First proposals, spread from small to large.</summary>
    public int Proposals { get; init; } = 8;

    /// <summary>Further proposals near the budget.</summary>
    public int NearProposals { get; init; } = 6;

    /// <summary>Candidates that are measured; the cost of the others is predicted from these. 0 measures all.</summary>
    public int MeasureAtMost { get; init; }

    /// <summary>Candidates that are trained at all.</summary>
    public int Trainees { get; init; } = 6;

    /// <summary>Pictures each candidate sees in the first round; null: a tenth of an epoch of at least 4,000.</summary>
    public long? Effort { get; init; }

    /// <summary>Rounds of successive halving.</summary>
    public int Rounds { get; init; } = 2;

    /// <summary>Passes of the winner's training; null: about 1.5 million pictures in all, at least 10 and at most 100.</summary>
    public int? Epochs { get; init; }

    /// <summary>Changes the recipe before it is used: the command line's switches.</summary>
    public Func<Recipe, Recipe>? ChangeRecipe { get; init; }

    /// <summary>Accuracy (0.005 = half a point on validation pictures) that INT8 may cost before sensitive layers go back to float.</summary>
    public double MaxInt8Loss { get; init; } = 0.005;

    /// <summary>Calibration pictures for INT8.</summary>
    public int Calibration { get; init; } = 512;

    /// <summary>Part of the pictures for validation and test where the data bring no split.</summary>
    public double? ValFraction { get; init; }

    /// <summary>See <see cref="ValFraction"/>.</summary>
    public double? TestFraction { get; init; }

    /// <summary>Measure the shipped model under corruptions for the report (a few seconds).</summary>
    public bool Robustness { get; init; } = true;

    /// <summary>The command line, for the report.</summary>
    public string Command { get; init; } = "";

    /// <summary>Threads resolved.</summary>
    public int ThreadCount => Threads > 0 ? Threads : Environment.ProcessorCount;

    /// <summary>What must be equal for a run to be resumed.</summary>
    internal string Identity() => string.Join('|', Data, Budget, MedianLatency, Seed, ThreadCount, Proposals, NearProposals, Trainees, Effort, Rounds, Epochs,
        Init, InitModel, CompareScratch, Teacher, TeacherWeight, Balance, Folds, TimeLimit, MaxInt8Loss, Calibration, ValFraction, TestFraction,
        (ChangeRecipe ?? (r => r))(new Recipe()).ToJson()) + (MeasureAtMost > 0 ? $"|measure {MeasureAtMost}" : "");

    internal FitOptions Checked()
    {
        if (Proposals < 2) throw new BayouException("fit: at least 2 proposals are needed");
        if (NearProposals < 0 || Trainees < 1 || Rounds < 1) throw new BayouException("fit: the numbers of proposals, trainees and rounds must be positive");
        if (Epochs is <= 0) throw new BayouException("fit: the number of epochs must be positive");
        if (Effort is <= 0) throw new BayouException("fit: the effort of a trial must be positive");
        if (Budget.IsEmpty && !MedianLatency)
            throw new BayouException("fit: a budget is needed: --latency 3ms, --params 200k, --macs 10M, --ace 640M or --size 500kB");
        if (Folds is < 0 or > 20) throw new BayouException("fit: 2 to 20 folds are possible; 0 switches cross-validation off");
        if (TimeLimit is < 60) throw new BayouException("fit: a time limit of at least a minute is needed");
        if (TeacherWeight is < 0 or > 1) throw new BayouException("fit: the teacher's share of the loss must be between 0 and 1");
        if (InitModel is not null && Init is null)
            throw new BayouException("fit: --init-model names the network of a checkpoint, and there is none: add --init");
        return this;
    }
}

/// <summary>Receives what a person should see while a fit runs.</summary>
public interface IFitProgress
{
    /// <summary>A stage begins.</summary>
    void Stage(string title);

    /// <summary>A line to keep.</summary>
    void Line(string text);

    /// <summary>Where the stage stands now; replaced by the next.</summary>
    void Status(double fraction, string text);
}
