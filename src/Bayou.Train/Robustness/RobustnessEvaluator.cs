using System.Collections.Concurrent;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Train;

/// <summary>What to measure.</summary>
public sealed record RobustnessOptions
{
    /// <summary>Which corruptions; the 15 of the test unless set.</summary>
    public IReadOnlyList<Corruption> Corruptions { get; init; } = Data.Corruptions.Test;

    /// <summary>Which severities.</summary>
    public IReadOnlyList<int> Severities { get; init; } = [1, 2, 3, 4, 5];

    /// <summary>Seed of the corruptions' random numbers.</summary>
    public int Seed { get; init; }

    /// <summary>Pictures of ice; null for procedural ones.</summary>
    public FrostPictures? Frost { get; init; }

    /// <summary>Which channel the corruptions take for red.</summary>
    public ChannelOrder Order { get; init; }

    /// <summary>Keeps finished measurements: a stopped evaluation goes on from them.</summary>
    public RunStore? Store { get; init; }

    /// <summary>Ends the measurement of further corruptions after this many seconds; what is measured by then is reported. Null: no limit.</summary>
    public double? Seconds { get; init; }

    /// <summary>Corrupted pictures are kept for the next model up to this many bytes.</summary>
    public long CacheBytes { get; init; } = 512L << 20;

    /// <summary>Called before every measurement with the part that is done and what comes.</summary>
    public Action<double, string>? Progress { get; init; }

    internal void Check()
    {
        if (Corruptions.Count == 0) throw new BayouException("Robustness: no corruption is chosen.");
        if (Severities.Count == 0 || Severities.Any(s => s is < 1 or > 5))
            throw new BayouException("Robustness: severities from 1 to 5 are possible, at least one.");
    }
}

/// <summary>One measurement.</summary>
/// <param name="Corruption">Under which corruption.</param>
/// <param name="Severity">1 to 5.</param>
/// <param name="Quality">The task's metric, 0..1.</param>
public sealed record RobustnessCell(Corruption Corruption, int Severity, double Quality);

/// <summary>How one model does.</summary>
/// <param name="Model">Its name.</param>
/// <param name="Metric">What was measured.</param>
/// <param name="Pictures">On how many pictures.</param>
/// <param name="Clean">Quality on clean pictures.</param>
/// <param name="Cells">Quality under every corruption and severity that was measured.</param>
/// <param name="Sets">Sets of constants that were used.</param>
public sealed record RobustnessResult(string Model, string Metric, int Pictures, double Clean, IReadOnlyList<RobustnessCell> Cells,
    IReadOnlyList<CorruptionSet> Sets)
{
    /// <summary>Corruptions that were measured, in the order of the tables.</summary>
    public IReadOnlyList<Corruption> Corruptions => [.. Cells.Select(c => c.Corruption).Distinct().Order()];

    /// <summary>Mean quality under a corruption over its severities.</summary>
    public double Quality(Corruption corruption) => Cells.Where(c => c.Corruption == corruption).Average(c => c.Quality);

    /// <summary>Mean quality over the test corruptions (validation ones where no other was measured).</summary>
    public double MeanQuality => Counting.Average(Quality);

    /// <summary>Mean quality under corruption as a part of the clean one.</summary>
    public double Retention => CorruptionErrors.Retention(MeanQuality, Clean);

    /// <summary>CE of a corruption in percent, against a baseline's mean errors.</summary>
    public double Ce(Corruption corruption, double baselineError) =>
        CorruptionErrors.Ce([.. Cells.Where(c => c.Corruption == corruption).Select(c => 1 - c.Quality)], baselineError);

    /// <summary>mCE in percent: the mean over the test corruptions that have a baseline; null when there is none.</summary>
    /// <param name="baseline">Mean errors of the baseline by corruption.</param>
    public double? Mce(IReadOnlyDictionary<Corruption, double> baseline)
    {
        var ce = Corruptions.Where(c => !c.IsValidation() && baseline.GetValueOrDefault(c) > 0).ToDictionary(c => c, c => Ce(c, baseline[c]));
        return ce.Count == 0 ? null : CorruptionErrors.Mce(ce);
    }

    /// <summary>Mean errors by corruption, as the baseline of others.</summary>
    public IReadOnlyDictionary<Corruption, double> Errors => Corruptions.ToDictionary(c => c, c => 1 - Quality(c));

    private List<Corruption> Counting
    {
        get
        {
            var test = Corruptions.Where(c => !c.IsValidation()).ToList();
            return test.Count > 0 ? test : [.. Corruptions];
        }
    }
}

/// <summary>
/// Measures models under corruptions. Every picture is corrupted once for all models that see it at the same size, drawn by (seed, index, corruption,
/// severity): the pixels do not depend on threads, models or order.
/// </summary>
public static class RobustnessEvaluator
{
    /// <summary>Measures all tasks; corruption by corruption, the models side by side.</summary>
    /// <exception cref="BayouException">Nothing to measure, or a picture or model that does not fit.</exception>
    /// <exception cref="OperationCanceledException">Stopped; finished measurements are in the store.</exception>
    public static IReadOnlyList<RobustnessResult> Run(IReadOnlyList<IRobustnessTask> tasks, RobustnessOptions options, CancellationToken cancellation = default)
    {
        options.Check();
        if (tasks.Count == 0) throw new BayouException("Robustness: no model is given.");
        var clock = System.Diagnostics.Stopwatch.StartNew();
        var steps = options.Corruptions.SelectMany(c => options.Severities.Distinct().Order().Select(s => (Corruption: c, Severity: s))).ToList();
        int done = 0, all = tasks.Count * (steps.Count + 1);
        var sets = new ConcurrentDictionary<CorruptionSet, bool>();

        double Measured(IRobustnessTask task, string step, SeePicture see)
        {
            cancellation.ThrowIfCancellationRequested();
            options.Progress?.Invoke((double)done++ / all, tasks.Count > 1 ? $"{task.Name}, {step}" : step);
            Score Fresh() => new(task.Measure(see, cancellation));
            return (options.Store is { } store ? store.Measurements.GetOrAdd($"robustness/{Fingerprint(task, options)}/{step}", Fresh) : Fresh()).Value;
        }

        var clean = tasks.Select(t => Measured(t, "clean", (_, picture) => picture())).ToList();
        var cells = tasks.Select(_ => new List<RobustnessCell>()).ToList();
        foreach (var (corruption, severity) in steps)
        {
            // Whole corruptions only: half the severities of one would not be comparable with the others.
            if (options.Seconds is { } limit && severity == steps[0].Severity && clock.Elapsed.TotalSeconds > limit) break;
            var kept = new PictureCache(tasks.Count > 1 ? options.CacheBytes : 0);
            for (var i = 0; i < tasks.Count; i++)
            {
                var task = tasks[i];
                var quality = Measured(task, $"{corruption.Name()} {severity}", (index, picture) =>
                    kept.GetOrAdd((task.Geometry, index), () => Corrupt(picture(), index, corruption, severity, options, sets)));
                cells[i].Add(new(corruption, severity, quality));
            }
        }
        // A resumed run sees no picture: the sets then follow from one.
        if (sets.IsEmpty && tasks[0].Count > 0 && FirstPicture(tasks[0]) is { } first) sets[Corruptor.SetFor(first.Width, first.Height)] = true;
        return [.. tasks.Select((t, i) => new RobustnessResult(t.Name, t.Metric, t.Count, clean[i], cells[i], [.. sets.Keys.Order()]))];
    }

    /// <summary>One picture as <see cref="Run"/> shows it to models.</summary>
    public static ImageBuffer Corrupt(ImageBuffer picture, int index, Corruption corruption, int severity, RobustnessOptions options) =>
        Corrupt(picture, index, corruption, severity, options, null);

    private static ImageBuffer Corrupt(
        ImageBuffer picture, int index, Corruption corruption, int severity, RobustnessOptions options, ConcurrentDictionary<CorruptionSet, bool>? sets)
    {
        var set = Corruptor.SetFor(picture.Width, picture.Height);
        sets?.TryAdd(set, true);
        return new Corruptor(set, options.Frost, options.Order)
            .Apply(picture, corruption, severity, SeededDraws.For(options.Seed, index, corruption, severity));
    }

    private static ImageBuffer? FirstPicture(IRobustnessTask task)
    {
        try
        {
            return task.Clean(0);
        }
        catch (BayouException)
        {
            return null;
        }
    }

    private static string Fingerprint(IRobustnessTask task, RobustnessOptions options) =>
        $"{StableHash.Of((ulong)options.Seed, $"{task.Identity}|{options.Order}|{options.Frost?.IsProcedural ?? true}"):x16}";

    // The store keeps objects.
    private sealed record Score(double Value);

    private sealed class PictureCache(long limit)
    {
        private readonly ConcurrentDictionary<(string, int), ImageBuffer> pictures = new();
        private long bytes;

        public ImageBuffer GetOrAdd((string, int) key, Func<ImageBuffer> make)
        {
            if (pictures.TryGetValue(key, out var kept)) return kept;
            var picture = make();
            if (Interlocked.Read(ref bytes) + picture.Pixels.Length <= limit && pictures.TryAdd(key, picture))
                Interlocked.Add(ref bytes, picture.Pixels.Length);
            return picture;
        }
    }
}
