using Bayou.Data;
using Bayou.Train;

namespace Bayou.Fit;

/// <summary>One corruption of one model.</summary>
/// <param name="Name">Published name.</param>
/// <param name="Group">noise, blur, weather or digital.</param>
/// <param name="Validation">True for the four that never count in the mCE.</param>
/// <param name="Accuracy">Mean over the severities, 0..1.</param>
/// <param name="BySeverity">In the order of the report's severities.</param>
/// <param name="Ce">Percent of the baseline's error; null without a baseline for it.</param>
public sealed record CorruptionRow(string Name, string Group, bool Validation, double Accuracy, IReadOnlyList<double> BySeverity, double? Ce);

/// <summary>One model.</summary>
/// <param name="Model">Its name.</param>
/// <param name="Clean">Accuracy on clean pictures, 0..1.</param>
/// <param name="MeanAccuracy">Mean over the test corruptions.</param>
/// <param name="Retention">MeanAccuracy as a part of Clean.</param>
/// <param name="Mce">Mean CE of the test corruptions in percent.</param>
/// <param name="Corruptions">All corruptions measured.</param>
public sealed record ModelRobustness(string Model, double Clean, double MeanAccuracy, double Retention, double? Mce, IReadOnlyList<CorruptionRow> Corruptions);

/// <summary>What `bayou robustness` prints and writes as robustness.json.</summary>
/// <param name="Metric">What was measured.</param>
/// <param name="Pictures">On how many pictures.</param>
/// <param name="Severities">Which severities.</param>
/// <param name="Constants">Sets of constants in words.</param>
/// <param name="Baseline">What CE and mCE are relative to.</param>
/// <param name="Notes">What a reader must know.</param>
/// <param name="Models">The models.</param>
public sealed record RobustnessReport(
    string Metric, int Pictures, IReadOnlyList<int> Severities, IReadOnlyList<string> Constants, string Baseline, IReadOnlyList<string> Notes,
    IReadOnlyList<ModelRobustness> Models)
{
    /// <summary>Puts measurements in relation to a baseline.</summary>
    /// <param name="results">At least one.</param>
    /// <param name="baseline">Name and mean errors; a corruption it does not have gets no CE.</param>
    /// <param name="severities">Severities measured.</param>
    /// <param name="options">How it was measured.</param>
    public static RobustnessReport Of(
        IReadOnlyList<RobustnessResult> results, (string Name, IReadOnlyDictionary<Corruption, double> Errors) baseline, IReadOnlyList<int> severities,
        RobustnessOptions options)
    {
        var notes = new List<string>();
        var published = ReferenceEquals(baseline.Errors, CorruptionErrors.AlexNet);
        if (published && severities.Count < 5)
            notes.Add("AlexNet's published errors are means over all five severities: with fewer, CE and mCE are no published figures.");
        if (published && !results[0].Sets.Contains(CorruptionSet.ImageNet224))
            notes.Add("AlexNet's published errors are of ImageNet-C: on other data they are a yardstick only.");
        if (options.Corruptions.Contains(Corruption.Frost) && (options.Frost ?? FrostPictures.Procedural).IsProcedural)
            notes.Add("Frost is blended from procedural pictures; --frost takes a folder with the published ones.");
        if (options.Corruptions.Any(c => c.IsValidation())) notes.Add("Validation corruptions are listed and count neither in the mean nor in the mCE.");
        return new(results[0].Metric, results[0].Pictures, severities, [.. results[0].Sets.Select(Words)], baseline.Name, notes,
            [.. results.Select(r => Model(r, baseline.Errors))]);
    }

    private static ModelRobustness Model(RobustnessResult r, IReadOnlyDictionary<Corruption, double> baseline) =>
        new(r.Model, r.Clean, r.MeanQuality, r.Retention, r.Mce(baseline), [.. r.Corruptions.Select(c => new CorruptionRow(
            c.Name(), c.Group().ToString().ToLowerInvariant(), c.IsValidation(), r.Quality(c),
            [.. r.Cells.Where(x => x.Corruption == c).OrderBy(x => x.Severity).Select(x => x.Quality)],
            baseline.GetValueOrDefault(c) is > 0 and var error ? r.Ce(c, error) : null))]);

    private static string Words(CorruptionSet set) => set switch
    {
        CorruptionSet.ImageNet224 => "ImageNet-C (224x224)",
        CorruptionSet.Small32 => "CIFAR-10-C (pictures up to 48 pixels)",
        _ => "any size (Michaelis et al. 2019)",
    };
}
