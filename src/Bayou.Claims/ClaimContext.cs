using Bayou.Core;
using Bayou.Fit;

namespace Bayou.Claims;

/// <summary>
/// What a claim measures with: seeds, a store of finished measurements (a stopped claim goes on from them), progress, and the judgement of effects.
/// </summary>
public sealed class ClaimContext
{
    private readonly RunStore store;
    private readonly IFitProgress progress;
    private readonly Action measured;
    private readonly List<ClaimEffect> effects = [];
    private readonly List<ClaimTable> tables = [];
    private readonly List<string> notes = [], figures = [];

    internal ClaimContext(RunStore store, IFitProgress progress, bool full, string figureFolder, int threads, Action measured, CancellationToken cancel)
    {
        this.measured = measured;
        (this.store, this.progress, Full, FigureFolder, Threads, Cancel) = (store, progress, full, figureFolder, threads, cancel);
        Seeds = full ? [0, 1, 2, 3, 4] : [0, 1, 2];
    }

    /// <summary>True for --full: more seeds, more data, longer trainings.</summary>
    public bool Full { get; }

    /// <summary>The fixed seeds: three in quick mode, five in full mode. A claim whose units are expensive may take fewer and say so.</summary>
    public int[] Seeds { get; init; }

    /// <summary>Threads in use.</summary>
    public int Threads { get; }

    /// <summary>Ends the claim; finished measurements are kept.</summary>
    public CancellationToken Cancel { get; }

    /// <summary>Folder for pictures of the claim (docs/claims).</summary>
    public string FigureFolder { get; }

    /// <summary>The run folder, for weights that later measurements need.</summary>
    public string RunFolder => store.Folder;

    /// <summary>A value of the mode: <paramref name="quick"/> or <paramref name="full"/>.</summary>
    public T Pick<T>(T quick, T full) => Full ? full : quick;

    /// <summary>A line for the person who watches.</summary>
    public void Line(string text) => progress.Line(text);

    /// <summary>Where the present step stands.</summary>
    public void Status(double fraction, string text) => progress.Status(fraction, text);

    /// <summary>A measured number under a key: measured once, then remembered by the run.</summary>
    public double Measure(string key, Func<double> measure) => Remember(key, () => new Number1(measure())).Value;

    /// <summary>Any result that JSON can hold, under a key: computed once, then remembered by the run.</summary>
    public T Remember<T>(string key, Func<T> compute)
        where T : class
    {
        Cancel.ThrowIfCancellationRequested();
        var computed = false;
        var value = store.Measurements.GetOrAdd(key, () =>
        {
            computed = true;
            return compute();
        });
        if (computed) measured();
        return value;
    }

    /// <summary>Compares two ways over the seeds: paired differences, 95 % interval of Student's t.</summary>
    /// <param name="name">What is compared.</param>
    /// <param name="unit">Unit of the values.</param>
    /// <param name="ours">What ours is, and its value for a seed.</param>
    /// <param name="baseline">What the baseline is, and its value for a seed.</param>
    /// <param name="higherIsBetter">Whether the claim is that ours is larger.</param>
    /// <param name="paper">The paper's two values in its own setting.</param>
    /// <param name="note">What a reader should know.</param>
    public ClaimEffect Compare(
        string name, string unit, (string Name, Func<int, double> Of) ours, (string Name, Func<int, double> Of) baseline, bool higherIsBetter = true,
        (string Ours, string Baseline)? paper = null, string? note = null)
    {
        var (a, b) = (new double[Seeds.Length], new double[Seeds.Length]);
        // Seed by seed, so that a run that is stopped early has whole pairs.
        for (var i = 0; i < Seeds.Length; i++) (a[i], b[i]) = (ours.Of(Seeds[i]), baseline.Of(Seeds[i]));
        var (mean, low, high) = PairedInterval.Of(a, b);
        var sign = higherIsBetter ? 1 : -1;
        var (worst, best) = (low is { } l && high is { } h) ? (Math.Min(sign * l, sign * h), Math.Max(sign * l, sign * h)) : (sign * mean, sign * mean);
        var verdict = worst > 0 ? Verdict.Shown : best < 0 ? Verdict.Opposite : Verdict.NotShown;
        return Add(new(name, unit, ours.Name, baseline.Name, a, b, mean, low, high, paper?.Ours, paper?.Baseline, verdict, note));
    }

    /// <summary>A quantity that must stay within a bound, such as the difference of two forms that should be equal.</summary>
    /// <param name="name">What is checked.</param>
    /// <param name="unit">Unit.</param>
    /// <param name="value">What was measured, e.g. "max |merged - train form|", and its value.</param>
    /// <param name="bound">The bound and where it comes from.</param>
    /// <param name="atMost">True: value must be at most the bound; false: at least.</param>
    /// <param name="note">What a reader should know.</param>
    public ClaimEffect Check(string name, string unit, (string Name, double Value) value, (string Name, double Value) bound, bool atMost = true,
        string? note = null)
    {
        var holds = atMost ? value.Value <= bound.Value : value.Value >= bound.Value;
        return Add(new(name, unit, value.Name, bound.Name, [value.Value], [bound.Value], value.Value - bound.Value, null, null, null, null,
            holds ? Verdict.Shown : Verdict.NotShown, note));
    }

    /// <summary>Rows that are printed and not judged.</summary>
    public void Table(string title, string[] columns, IEnumerable<string[]> rows) => tables.Add(new(title, columns, rows.ToArray()));

    /// <summary>A sentence for the page: what explains a result, what was left out.</summary>
    public void Note(string text) => notes.Add(text);

    /// <summary>A file name in <see cref="FigureFolder"/> for a picture that the page then shows; keep it small.</summary>
    public string Figure(string fileName)
    {
        Directory.CreateDirectory(FigureFolder);
        figures.Add(fileName);
        return Path.Combine(FigureFolder, fileName);
    }

    internal ClaimResult Result(IClaim claim, double seconds) => new(
        claim.Name, claim.Paper, claim.Statement, claim.Data, Full ? "full" : "quick", Seeds, Threads, Machine.Here, seconds, [.. effects], [.. tables],
        [.. figures], [.. notes]);

    private ClaimEffect Add(ClaimEffect effect)
    {
        effects.Add(effect);
        progress.Line($"  {effect.Name}: {ClaimPage.Values(effect.OursValues)} against {ClaimPage.Values(effect.BaselineValues)} {effect.Unit}: {ClaimPage.Word(effect.Verdict)}");
        return effect;
    }

    // Numbers go into the store as objects: absent is null, which a number cannot be.
    private sealed record Number1(double Value);
}
