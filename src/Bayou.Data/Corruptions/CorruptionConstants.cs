namespace Bayou.Data;

/// <summary>The published constants: for each corruption five rows, severity 1 to 5. Their meanings stand beside the code that uses them.</summary>
internal static class CorruptionConstants
{
    /// <summary>The row of a corruption at a severity.</summary>
    public static double[] Of(Corruption corruption, CorruptionSet set, int severity)
    {
        var table = set switch
        {
            CorruptionSet.Small32 => Small(corruption),
            CorruptionSet.AnySize when corruption == Corruption.ElasticTransform => anySizeElastic,
            _ => Large(corruption),
        };
        return table[severity - 1];
    }

    // alpha; the deviation and the range of the field depend on the picture's size.
    private static readonly double[][] anySizeElastic = Column(250 * 0.05, 250 * 0.065, 250 * 0.085, 250 * 0.1, 250 * 0.12);

    private static readonly Dictionary<Corruption, double[][]> large = new()
    {
        [Corruption.GaussianNoise] = Column(.08, .12, .18, .26, .38),
        [Corruption.ShotNoise] = Column(60, 25, 12, 5, 3),
        [Corruption.ImpulseNoise] = Column(.03, .06, .09, .17, .27),
        [Corruption.SpeckleNoise] = Column(.15, .2, .35, .45, .6),
        [Corruption.GaussianBlur] = Column(1, 2, 3, 4, 6),
        [Corruption.GlassBlur] = [[.7, 1, 2], [.9, 2, 1], [1, 2, 3], [1.1, 3, 2], [1.5, 4, 2]],
        [Corruption.DefocusBlur] = [[3, .1], [4, .5], [6, .5], [8, .5], [10, .5]],
        [Corruption.MotionBlur] = [[10, 3], [15, 5], [15, 8], [15, 12], [20, 15]],
        // Step and number of factors; the numbers are those the published floating-point ranges really have.
        [Corruption.ZoomBlur] = [[.01, 12], [.01, 16], [.02, 11], [.02, 13], [.03, 11]],
        [Corruption.Snow] =
            [[.1, .3, 3, .5, 10, 4, .8], [.2, .3, 2, .5, 12, 4, .7], [.55, .3, 4, .9, 12, 8, .7], [.55, .3, 4.5, .85, 12, 8, .65],
                [.55, .3, 2.5, .85, 12, 12, .55]],
        [Corruption.Frost] = [[1, .4], [.8, .6], [.7, .7], [.65, .7], [.6, .75]],
        [Corruption.Fog] = [[1.5, 2], [2, 2], [2.5, 1.7], [2.5, 1.5], [3, 1.4]],
        [Corruption.Brightness] = Column(.1, .2, .3, .4, .5),
        [Corruption.Contrast] = Column(.4, .3, .2, .1, .05),
        [Corruption.Saturate] = [[.3, 0], [.1, 0], [2, 0], [5, .1], [20, .2]],
        // 244, not 224: the published code's own slip, kept because the published data have it.
        [Corruption.ElasticTransform] = Scaled(244, [2, .7, .1], [2, .08, .2], [.05, .01, .02], [.07, .01, .02], [.12, .01, .02]),
        [Corruption.Pixelate] = Column(.6, .5, .4, .3, .25),
        [Corruption.JpegCompression] = Column(25, 18, 15, 10, 7),
        [Corruption.Spatter] =
            [[.65, .3, 4, .69, .6, 0], [.65, .3, 3, .68, .6, 0], [.65, .3, 2, .68, .5, 0], [.65, .3, 1, .65, 1.5, 1], [.67, .4, 1, .65, 1.5, 1]],
    };

    private static readonly Dictionary<Corruption, double[][]> small = new()
    {
        [Corruption.GaussianNoise] = Column(.04, .06, .08, .09, .10),
        [Corruption.ShotNoise] = Column(500, 250, 100, 75, 50),
        [Corruption.ImpulseNoise] = Column(.01, .02, .03, .05, .07),
        [Corruption.SpeckleNoise] = Column(.06, .1, .12, .16, .2),
        [Corruption.GaussianBlur] = Column(.4, .6, .7, .8, 1),
        [Corruption.GlassBlur] = [[.05, 1, 1], [.25, 1, 1], [.4, 1, 1], [.25, 1, 2], [.4, 1, 2]],
        [Corruption.DefocusBlur] = [[.3, .4], [.4, .5], [.5, .6], [1, .2], [1.5, .1]],
        [Corruption.MotionBlur] = [[6, 1], [6, 1.5], [6, 2], [8, 2], [9, 2.5]],
        [Corruption.ZoomBlur] = [[.01, 7], [.01, 12], [.01, 16], [.01, 21], [.01, 26]],
        [Corruption.Snow] =
            [[.1, .2, 1, .6, 8, 3, .95], [.1, .2, 1, .5, 10, 4, .9], [.15, .3, 1.75, .55, 10, 4, .9], [.25, .3, 2.25, .6, 12, 6, .85],
                [.3, .3, 1.25, .65, 14, 12, .8]],
        [Corruption.Frost] = [[1, .2], [1, .3], [.9, .4], [.85, .4], [.75, .45]],
        [Corruption.Fog] = [[.2, 3], [.5, 3], [.75, 2.5], [1, 2], [1.5, 1.75]],
        [Corruption.Brightness] = Column(.05, .1, .15, .2, .3),
        [Corruption.Contrast] = Column(.75, .5, .4, .3, .15),
        [Corruption.Saturate] = [[.3, 0], [.1, 0], [1.5, 0], [2, .1], [2.5, .2]],
        [Corruption.ElasticTransform] = Scaled(32, [0, 0, .08], [.05, .2, .07], [.08, .06, .06], [.1, .04, .05], [.1, .03, .03]),
        [Corruption.Pixelate] = Column(.95, .9, .85, .75, .65),
        [Corruption.JpegCompression] = Column(80, 65, 58, 50, 40),
        [Corruption.Spatter] =
            [[.62, .1, .7, .7, .5, 0], [.65, .1, .8, .7, .5, 0], [.65, .3, 1, .69, .5, 0], [.65, .1, .7, .69, .6, 1], [.65, .1, .5, .68, .6, 1]],
    };

    private static double[][] Large(Corruption corruption) => large[corruption];

    private static double[][] Small(Corruption corruption) => small[corruption];

    private static double[][] Column(params double[] values) => Array.ConvertAll(values, v => new[] { v });

    private static double[][] Scaled(double size, params double[][] rows) => Array.ConvertAll(rows, r => Array.ConvertAll(r, v => size * v));
}
