using System.Diagnostics;

namespace Bayou.Bench;

/// <summary>Timing of one benchmark: ours and the peers take turns, so that what else the machine does meets all of them; medians are reported.</summary>
public sealed class BenchContext(int threads, int seed, Action<BenchRow> print)
{
    // Longer than OpenMP's threads wait in their loop.
    private const int PauseMs = 5;

    private readonly List<BenchRow> rows = [];
    private readonly List<BenchMark> marks = [];
    private double? fma, gemm;

    /// <summary>Threads of ours and of the peers.</summary>
    public int Threads { get; } = threads;

    /// <summary>Seed of whatever a benchmark draws; printed.</summary>
    public int Seed { get; } = seed;

    /// <summary>Rows so far.</summary>
    public IReadOnlyList<BenchRow> Rows => rows;

    /// <summary>Marks so far.</summary>
    public IReadOnlyList<BenchMark> Marks => marks;

    /// <summary>Multiply-adds a second of a loop of independent fused multiply-adds in registers, all threads, in G (1e9).</summary>
    public double FmaPeak => fma ??= MachinePeak.FmaGiga(Threads);

    /// <summary>Multiply-adds a second of libtorch's matrix product (1024 x 1024 x 1024, float), in G.</summary>
    public double GemmPeak => gemm ??= MachinePeak.GemmGiga();

    /// <summary>Least time a set of competitors is measured for, in seconds.</summary>
    public double Seconds { get; set; } = 1;

    /// <summary>Part of the names of the rows that are wanted; empty: all.</summary>
    public string Only { get; set; } = "";

    /// <summary>Whether rows of this name are wanted: benchmarks ask before they measure.</summary>
    public bool Wants(string name) => name.Contains(Only.Split(':')[0], StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a case of wanted rows is wanted.</summary>
    public bool WantsCase(string @case) => !Only.Contains(':') || @case.Contains(Only[(Only.IndexOf(':') + 1)..], StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// Median milliseconds of every competitor. They take turns until the time is over and each has run at least <paramref name="least"/> times, and somebody
    /// else begins each time. Threads of the one before still wait in a busy loop when a turn ends, on a core of the next one if that has threads of its own: hence
    /// a pause, and in each turn the second of two runs counts (of runs above a tenth of a second the only one).
    /// </summary>
    /// <param name="least">Fewest measured runs of each. A competitor more than twenty times slower than the fastest gets a third of the turns.</param>
    /// <param name="competitors">What to time.</param>
    public double[] Time(int least, params Action[] competitors)
    {
        var times = competitors.Select(_ => new List<double>()).ToArray();
        var clock = Stopwatch.StartNew();
        for (var turn = 0; turn < least || (clock.Elapsed.TotalSeconds < Seconds && turn < 1000); turn++)
        {
            var fastest = times.Where(t => t.Count > 0).Select(t => t.Min()).DefaultIfEmpty(0).Min();
            for (var j = 0; j < competitors.Length; j++)
            {
                var i = (turn + j) % competitors.Length;
                if (times[i].Count > 0 && times[i].Min() > 20 * fastest && turn % 3 != 0) continue;
                Thread.Sleep(PauseMs);
                if (times[i].Count == 0 || times[i].Min() < 100) competitors[i]();
                var start = Stopwatch.GetTimestamp();
                competitors[i]();
                times[i].Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            }
        }
        return times.Select(Median).ToArray();
    }

    /// <summary>Times ours against peers and adds the row.</summary>
    /// <param name="name">What is timed.</param>
    /// <param name="case">Shape or network.</param>
    /// <param name="ours">One run of ours.</param>
    /// <param name="peers">One run of each peer.</param>
    /// <param name="multiplyAdds">Useful multiply-adds of one run; 0: no share of the peak is reported.</param>
    /// <param name="peak">Giga multiply-adds a second to compare with; null: <see cref="FmaPeak"/>.</param>
    /// <param name="least">Fewest measured runs of each.</param>
    public BenchRow Row(string name, string @case, Action ours, IReadOnlyList<(string Name, Action Run)> peers, double multiplyAdds = 0, double? peak = null,
        int least = 5)
    {
        var times = Time(least, [ours, .. peers.Select(p => p.Run)]);
        return Add(name, @case, times[0], peers.Zip(times.Skip(1)).ToDictionary(p => p.First.Name, p => p.Second),
            multiplyAdds > 0 ? multiplyAdds / (times[0] * 1e6) / (peak ?? FmaPeak) : null);
    }

    /// <summary>Adds a row of times measured elsewhere.</summary>
    public BenchRow Add(string name, string @case, double oursMs, IReadOnlyDictionary<string, double> peers, double? peakShare = null,
        IReadOnlyDictionary<string, double>? notes = null)
    {
        var row = new BenchRow(name, @case, oursMs, peers, peers.Count > 0 ? peers.Values.Min() / oursMs : null, peakShare,
            notes ?? new Dictionary<string, double>());
        rows.Add(row);
        print(row);
        return row;
    }

    /// <summary>Judges a mark: <paramref name="value"/> should be at least <paramref name="wanted"/>.</summary>
    public void Mark(string name, double value, double wanted) => marks.Add(new(name, value, wanted, value >= wanted));

    /// <summary>Geometric mean.</summary>
    public static double GeometricMean(IEnumerable<double> values) => Math.Exp(values.Select(v => Math.Log(v)).DefaultIfEmpty(double.NaN).Average());

    /// <summary>Median.</summary>
    public static double Median(IReadOnlyCollection<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
