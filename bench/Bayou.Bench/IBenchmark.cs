namespace Bayou.Bench;

/// <summary>A side-by-side speed table: ours, what a user would take otherwise, and the machine's measured limit, all in one run.</summary>
public interface IBenchmark
{
    /// <summary>Name on the command line.</summary>
    string Name { get; }

    /// <summary>What is compared, in a line.</summary>
    string Summary { get; }

    /// <summary>Measures; rows and marks go to the context.</summary>
    void Run(BenchContext context);
}

/// <summary>One row of a table.</summary>
/// <param name="Name">What is timed, e.g. depthwise_forward.</param>
/// <param name="Case">Shape or network.</param>
/// <param name="OursMs">Median milliseconds of ours.</param>
/// <param name="Peers">Median milliseconds of the others.</param>
/// <param name="RatioBestPeer">Time of the fastest peer by ours: above 1, ours is faster; null without peers.</param>
/// <param name="PeakShare">Useful arithmetic by the machine's measured limit, 0..1; null where arithmetic is not the limit.</param>
/// <param name="Notes">Further figures by name, such as img/s.</param>
public sealed record BenchRow(
    string Name, string Case, double OursMs, IReadOnlyDictionary<string, double> Peers, double? RatioBestPeer, double? PeakShare,
    IReadOnlyDictionary<string, double> Notes);

/// <summary>A mark that the project has set itself.</summary>
/// <param name="Name">The mark.</param>
/// <param name="Value">What was measured.</param>
/// <param name="Wanted">What is wanted, at least.</param>
/// <param name="Met">Whether it is met.</param>
public sealed record BenchMark(string Name, double Value, double Wanted, bool Met);
