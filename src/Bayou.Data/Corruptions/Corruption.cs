using Bayou.Core;

namespace Bayou.Data;

/// <summary>The corruptions of Hendrycks and Dietterich (ICLR 2019): 15 that test a model, then 4 for validation, against which a model may be tuned.</summary>
public enum Corruption
{
    /// <summary>x + c z.</summary>
    GaussianNoise,

    /// <summary>Poisson counts of c photons at full scale.</summary>
    ShotNoise,

    /// <summary>Values that are black or white.</summary>
    ImpulseNoise,

    /// <summary>A disk: a lens out of focus.</summary>
    DefocusBlur,

    /// <summary>Pixels displaced at random: frosted glass.</summary>
    GlassBlur,

    /// <summary>A line of one-sided Gaussian weights.</summary>
    MotionBlur,

    /// <summary>Mean over growing zooms.</summary>
    ZoomBlur,

    /// <summary>Streaks of white.</summary>
    Snow,

    /// <summary>A picture of ice blended in.</summary>
    Frost,

    /// <summary>A plasma fractal blended in.</summary>
    Fog,

    /// <summary>A constant added to HSV's V.</summary>
    Brightness,

    /// <summary>Differences from the mean scaled down.</summary>
    Contrast,

    /// <summary>Small affine and smooth random displacements.</summary>
    ElasticTransform,

    /// <summary>Fewer, larger pixels.</summary>
    Pixelate,

    /// <summary>JPEG at a low quality.</summary>
    JpegCompression,

    /// <summary>x + x c z (validation).</summary>
    SpeckleNoise,

    /// <summary>Gaussian filter (validation).</summary>
    GaussianBlur,

    /// <summary>Drops of water or mud (validation).</summary>
    Spatter,

    /// <summary>HSV's S scaled (validation).</summary>
    Saturate,
}

/// <summary>Groups of the paper's tables.</summary>
public enum CorruptionGroup
{
    /// <summary>Noise.</summary>
    Noise,

    /// <summary>Blur.</summary>
    Blur,

    /// <summary>Weather.</summary>
    Weather,

    /// <summary>Digital.</summary>
    Digital,
}

/// <summary>The three published sets of constants.</summary>
public enum CorruptionSet
{
    /// <summary>ImageNet-C: pictures of 224x224.</summary>
    ImageNet224,

    /// <summary>The port of Michaelis et al. (arXiv 1907.07484) for pictures of any size.</summary>
    AnySize,

    /// <summary>CIFAR-10-C: pictures of 32x32; by the same rules any picture of 16 to 64 pixels a side.</summary>
    Small32,
}

/// <summary>Names and lists of corruptions.</summary>
public static class Corruptions
{
    /// <summary>Mildest and hardest severity.</summary>
    public const int MinSeverity = 1, MaxSeverity = 5;

    /// <summary>All 19.</summary>
    public static IReadOnlyList<Corruption> All { get; } = Enum.GetValues<Corruption>();

    /// <summary>The 15 that a model is tested with, in the order of the paper's tables.</summary>
    public static IReadOnlyList<Corruption> Test { get; } = [.. All.Where(c => !c.IsValidation())];

    /// <summary>The 4 kept apart for validation.</summary>
    public static IReadOnlyList<Corruption> Validation { get; } = [.. All.Where(c => c.IsValidation())];

    /// <summary>The published name, as "gaussian_noise".</summary>
    public static string Name(this Corruption corruption) =>
        string.Concat(corruption.ToString().Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(c) : c.ToString()));

    /// <summary>True for the four that never count in an mCE.</summary>
    public static bool IsValidation(this Corruption corruption) => corruption >= Corruption.SpeckleNoise;

    /// <summary>The group a corruption belongs to.</summary>
    public static CorruptionGroup Group(this Corruption corruption) => corruption switch
    {
        Corruption.GaussianNoise or Corruption.ShotNoise or Corruption.ImpulseNoise or Corruption.SpeckleNoise => CorruptionGroup.Noise,
        Corruption.DefocusBlur or Corruption.GlassBlur or Corruption.MotionBlur or Corruption.ZoomBlur or Corruption.GaussianBlur => CorruptionGroup.Blur,
        Corruption.Snow or Corruption.Frost or Corruption.Fog or Corruption.Brightness or Corruption.Spatter => CorruptionGroup.Weather,
        _ => CorruptionGroup.Digital,
    };

    /// <summary>
    /// Corruptions by name: published names ("fog"), groups ("noise", of the 15), "test" (the 15), "validation" (the 4), "all" (the 19); each once, in the
    /// order of <see cref="All"/>.
    /// </summary>
    /// <exception cref="BayouException">An unknown name.</exception>
    public static IReadOnlyList<Corruption> Parse(IEnumerable<string> names)
    {
        var chosen = new SortedSet<Corruption>();
        foreach (var name in names.SelectMany(n => n.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)))
        {
            var key = name.ToLowerInvariant().Replace('-', '_');
            IEnumerable<Corruption> meant = key switch
            {
                "all" => All,
                "test" => Test,
                "validation" => Validation,
                _ when Enum.TryParse<CorruptionGroup>(key, true, out var group) && !char.IsDigit(key[0]) => Test.Where(c => c.Group() == group),
                _ => All.Where(c => c.Name() == key),
            };
            var before = chosen.Count;
            chosen.UnionWith(meant);
            if (!meant.Any())
                throw new BayouException($"'{name}' is no corruption. Known: {string.Join(", ", All.Select(Name))}; groups: noise, blur, weather, digital; test, validation, all.");
        }
        return [.. chosen];
    }
}
