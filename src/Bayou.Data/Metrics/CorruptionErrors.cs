using Bayou.Core;

namespace Bayou.Data;

/// <summary>
/// The figures of a robustness measurement (Hendrycks and Dietterich, section 4.3): corruption error CE relative to a baseline's, their mean over the test
/// corruptions (mCE), the same of what was lost against clean pictures (relative mCE), and retention (Zhou et al., FAN). Errors and accuracies are parts of 1,
/// CE and mCE percent.
/// </summary>
public static class CorruptionErrors
{
    /// <summary>Published mean top-1 errors of AlexNet on ImageNet-C, each over the five severities: the denominators of published mCEs.</summary>
    public static IReadOnlyDictionary<Corruption, double> AlexNet { get; } = new Dictionary<Corruption, double>
    {
        [Corruption.GaussianNoise] = .886428,
        [Corruption.ShotNoise] = .894468,
        [Corruption.ImpulseNoise] = .922640,
        [Corruption.DefocusBlur] = .819880,
        [Corruption.GlassBlur] = .826268,
        [Corruption.MotionBlur] = .785948,
        [Corruption.ZoomBlur] = .798360,
        [Corruption.Snow] = .866816,
        [Corruption.Frost] = .826572,
        [Corruption.Fog] = .819324,
        [Corruption.Brightness] = .564592,
        [Corruption.Contrast] = .853204,
        [Corruption.ElasticTransform] = .646056,
        [Corruption.Pixelate] = .717840,
        [Corruption.JpegCompression] = .606500,
    };

    /// <summary>CE in percent: the mean error over severities as a part of the baseline's.</summary>
    /// <param name="errors">Errors, one per severity.</param>
    /// <param name="baseline">The baseline's mean error over the same severities, above 0.</param>
    /// <exception cref="BayouException">No errors, or a baseline of 0.</exception>
    public static double Ce(IReadOnlyCollection<double> errors, double baseline)
    {
        if (errors.Count == 0) throw new BayouException("Corruption error: no severity was measured.");
        if (!(baseline > 0))
            throw new BayouException($"Corruption error: the baseline's error is {baseline}; one that makes no mistakes cannot be compared with.");
        return 100 * errors.Average() / baseline;
    }

    /// <summary>Relative CE in percent: what the corruption adds to the clean error, as a part of what it adds to the baseline's.</summary>
    /// <exception cref="BayouException">No errors, or a baseline that loses nothing.</exception>
    public static double RelativeCe(IReadOnlyCollection<double> errors, double clean, double baseline, double baselineClean)
    {
        if (errors.Count == 0) throw new BayouException("Relative corruption error: no severity was measured.");
        if (!(baseline > baselineClean))
            throw new BayouException("Relative corruption error: the baseline loses nothing under this corruption; it cannot be compared with.");
        return 100 * (errors.Average() - clean) / (baseline - baselineClean);
    }

    /// <summary>mCE in percent: the mean of the CEs of the test corruptions. Validation corruptions are left out, whatever was measured.</summary>
    /// <param name="ce">CE in percent by corruption.</param>
    /// <exception cref="BayouException">None of them is a test corruption.</exception>
    public static double Mce(IReadOnlyDictionary<Corruption, double> ce)
    {
        var test = ce.Where(c => !c.Key.IsValidation()).Select(c => c.Value).ToList();
        return test.Count > 0 ? test.Average() : throw new BayouException("mCE: none of the 15 test corruptions was measured.");
    }

    /// <summary>Robust accuracy as a part of the clean one; NaN when the clean one is 0.</summary>
    public static double Retention(double robustAccuracy, double cleanAccuracy) => cleanAccuracy > 0 ? robustAccuracy / cleanAccuracy : double.NaN;
}
