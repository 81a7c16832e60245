using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>
/// The short robustness measurement at the end of a fit: the 15 test corruptions at one severity on some test pictures, within a few seconds.
/// </summary>
internal static class FitRobustness
{
    private const int Severity = 3, MaxPictures = 200, LeastPictures = 24;
    private const double Seconds = 4;

    /// <summary>Measures the shipped model.</summary>
    /// <param name="shipped">Its .onnx file.</param>
    /// <param name="test">The test part.</param>
    /// <param name="options">Seed and threads.</param>
    /// <param name="store">The run's store: a resumed fit does not measure again.</param>
    /// <param name="progress">Where it says how far it is.</param>
    /// <param name="cancel">Ends the fit.</param>
    /// <returns>The report's section; null when it is switched off or nothing was measured in time.</returns>
    public static ReportRobustness? Measure(string shipped, IImageDataset test, FitOptions options, RunStore store, IFitProgress progress,
        CancellationToken cancel)
    {
        if (!options.Robustness || test.Count == 0) return null;
        using var classifier = new OnnxClassifier(shipped, options.ThreadCount);
        // The work of a picture grows with its area.
        var side = Math.Max(64, classifier.Preprocessing.Size);
        var count = Math.Min(test.Count, Math.Max(LeastPictures, MaxPictures * 64 * 64 / (side * side)));
        var order = Enumerable.Range(0, test.Count).ToArray();
        SampleRandom.For(options.Seed, 0, -1).Shuffle<int>(order);
        var pictures = new Subset(test, order.Take(count));
        var task = new ClassificationRobustness("shipped", $"{new FileInfo(shipped).Length}", classifier.Runner.Run, classifier.Preprocessing, pictures,
            options.ThreadCount);
        var robustness = new RobustnessOptions
        {
            Severities = [Severity],
            Seed = options.Seed,
            Store = store,
            Seconds = Seconds,
            Progress = (done, what) => progress.Status(done, $"robustness: {what}"),
        };
        var result = RobustnessEvaluator.Run([task], robustness, cancel)[0];
        if (result.Cells.Count == 0) return null;
        progress.Line($"robustness (severity {Severity}, {count} pictures): {result.Clean:P1} clean, {result.MeanQuality:P1} under {result.Corruptions.Count} corruptions: {result.Retention:P0} kept");
        return new ReportRobustness
        {
            Pictures = count,
            Severity = Severity,
            Clean = result.Clean,
            Mean = result.MeanQuality,
            Corruptions = [.. result.Cells.Select(c =>
                new ReportCorruption(RobustnessPlots.Label(c.Corruption), c.Corruption.Group().ToString().ToLowerInvariant(), c.Quality))],
            Left = Corruptions.Test.Count - result.Cells.Count,
            Strip = RobustnessStrip.Draw([task], task.Clean(0), 0, Severity, robustness),
        };
    }
}
