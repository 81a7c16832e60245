namespace Bayou.Bench;

/// <summary>All benchmarks by name.</summary>
public static class Benchmarks
{
    /// <summary>One a topic.</summary>
    public static IReadOnlyList<IBenchmark> All { get; } =
    [
        new DepthwiseBench(),
        new CoreBench(),
        new TransformersBench(),
        new CorruptionsBenchmark(),
        new PointsBenchmark(),
        new LatencyBench(),
    ];
}
