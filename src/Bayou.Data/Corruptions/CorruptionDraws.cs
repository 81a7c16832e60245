using Bayou.Core;

namespace Bayou.Data;

/// <summary>Where a corruption's random numbers come from: a seed (<see cref="SeededDraws"/>) or a recording (<see cref="RecordedDraws"/>).</summary>
public abstract class CorruptionDraws
{
    /// <summary>Standard normals for every value of the picture, [H, W, C].</summary>
    public abstract void ValueNormals(Span<double> z);

    /// <summary>Standard normals for every pixel, [H, W].</summary>
    public abstract void PixelNormals(Span<double> z);

    /// <summary>Poisson counts with the given means, one for every value of the picture.</summary>
    public abstract void Counts(ReadOnlySpan<double> rates, Span<double> counts);

    /// <summary>For every value of the picture 0 (kept), 1 (black) or 2 (white).</summary>
    /// <param name="amount">Part of the values that are replaced.</param>
    /// <param name="codes">[H, W, C].</param>
    public abstract void Impulses(double amount, Span<byte> codes);

    /// <summary>Pairs (dx, dy) of whole pixels in -maxDelta..maxDelta-1, in the order in which glass blur visits its pixels.</summary>
    public abstract void Offsets(int maxDelta, Span<sbyte> pairs);

    /// <summary>An angle in degrees, uniform between two.</summary>
    public abstract double Angle(double from, double to);

    /// <summary>The next noise of a plasma fractal, uniform in [-halfRange, halfRange).</summary>
    public abstract void FogNoise(double halfRange, Span<double> noise);

    /// <summary>Shifts of the three anchor points, (x, y) each, uniform in [-halfRange, halfRange).</summary>
    public abstract void ElasticShifts(double halfRange, Span<double> shifts);

    /// <summary>One of the two displacement fields, [H, W], uniform in [-halfRange, halfRange); that of x is drawn first.</summary>
    public abstract void ElasticField(bool alongX, double halfRange, Span<double> field);

    /// <summary>An integer in low..high-1: which frost picture, and where to cut it.</summary>
    public abstract int Integer(int low, int high);

    /// <summary>A recorded piece of a frost picture, of the size of the picture; null to cut one.</summary>
    public virtual ImageBuffer? FrostCrop => null;

    /// <summary>A recorded layer of snow before its motion blur, 8 bits, [H, W]; null to make one from <see cref="PixelNormals"/>.</summary>
    public virtual byte[]? SnowLayer => null;
}

/// <summary>
/// Draws by numpy's generators, in the order of the published functions: a seed gives what their scripts give after <c>numpy.random.seed(seed)</c> (impulse
/// noise: with the seed handed to scikit-image, which otherwise takes one of the system's).
/// </summary>
public sealed class SeededDraws(uint seed) : CorruptionDraws
{
    private readonly NumpyRandom random = new(seed);

    /// <summary>Draws for one picture, corruption and severity of an evaluation: independent of the order in which pictures are taken.</summary>
    public static SeededDraws For(int seed, int picture, Corruption corruption, int severity) =>
        new((uint)StableHash.Mix(StableHash.Mix((ulong)(long)seed, (ulong)(long)picture), (ulong)((int)corruption * 8 + severity)));

    /// <inheritdoc/>
    public override void ValueNormals(Span<double> z)
    {
        foreach (ref var value in z) value = random.NextNormal();
    }

    /// <inheritdoc/>
    public override void PixelNormals(Span<double> z) => ValueNormals(z);

    /// <inheritdoc/>
    public override void Counts(ReadOnlySpan<double> rates, Span<double> counts)
    {
        for (var i = 0; i < rates.Length; i++) counts[i] = random.NextPoisson(rates[i]);
    }

    /// <inheritdoc/>
    public override void Impulses(double amount, Span<byte> codes)
    {
        // scikit-image's random_noise: a generator of its own; all flips first, then all colours.
        var own = new NumpyGenerator(seed);
        foreach (ref var code in codes) code = own.NextDouble() <= amount ? (byte)1 : (byte)0;
        foreach (ref var code in codes)
        {
            var white = own.NextDouble() <= 0.5;
            if (code != 0 && white) code = 2;
        }
    }

    /// <inheritdoc/>
    public override void Offsets(int maxDelta, Span<sbyte> pairs)
    {
        foreach (ref var offset in pairs) offset = (sbyte)random.NextInt(-maxDelta, maxDelta);
    }

    /// <inheritdoc/>
    public override double Angle(double from, double to) => random.Uniform(from, to);

    /// <inheritdoc/>
    public override void FogNoise(double halfRange, Span<double> noise) => Uniform(halfRange, noise);

    /// <inheritdoc/>
    public override void ElasticShifts(double halfRange, Span<double> shifts) => Uniform(halfRange, shifts);

    /// <inheritdoc/>
    public override void ElasticField(bool alongX, double halfRange, Span<double> field) => Uniform(halfRange, field);

    /// <inheritdoc/>
    public override int Integer(int low, int high) => random.NextInt(low, high);

    private void Uniform(double halfRange, Span<double> values)
    {
        foreach (ref var value in values) value = random.Uniform(-halfRange, halfRange);
    }
}

/// <summary>
/// Recorded draws. Each is null until it is set; a corruption that needs one which is not recorded takes it from <paramref name="otherwise"/>, or fails when
/// there is none.
/// </summary>
/// <param name="otherwise">Source of what is not recorded.</param>
public sealed class RecordedDraws(CorruptionDraws? otherwise = null) : CorruptionDraws
{
    private int fogTaken;

    /// <summary>Standard normals, [H, W, C].</summary>
    public double[]? ValueZ { get; init; }

    /// <summary>Standard normals, [H, W].</summary>
    public double[]? PixelZ { get; init; }

    /// <summary>Poisson counts, [H, W, C].</summary>
    public int[]? PoissonCounts { get; init; }

    /// <summary>0 keep, 1 black, 2 white; [H, W, C].</summary>
    public byte[]? ImpulseCodes { get; init; }

    /// <summary>Glass blur's (dx, dy), [n, 2].</summary>
    public sbyte[]? GlassOffsets { get; init; }

    /// <summary>Angle in degrees.</summary>
    public double? AngleDegrees { get; init; }

    /// <summary>Uniform in [-1, 1), in the order in which the fractal takes them.</summary>
    public double[]? FogUnits { get; init; }

    /// <summary>Shifts of the anchors in pixels, [3, 2].</summary>
    public double[]? AnchorShifts { get; init; }

    /// <summary>Uniform in [-1, 1), [H, W].</summary>
    public double[]? ElasticX { get; init; }

    /// <summary>Uniform in [-1, 1), [H, W].</summary>
    public double[]? ElasticY { get; init; }

    /// <summary>Piece of a frost picture.</summary>
    public ImageBuffer? Frost { get; init; }

    /// <summary>Snow before its blur, [H, W].</summary>
    public byte[]? Snow { get; init; }

    /// <inheritdoc/>
    public override ImageBuffer? FrostCrop => Frost ?? otherwise?.FrostCrop;

    /// <inheritdoc/>
    public override byte[]? SnowLayer => Snow ?? otherwise?.SnowLayer;

    /// <inheritdoc/>
    public override void ValueNormals(Span<double> z)
    {
        if (ValueZ is null) Otherwise(nameof(ValueZ)).ValueNormals(z);
        else Exactly<double>(ValueZ, z, nameof(ValueZ));
    }

    /// <inheritdoc/>
    public override void PixelNormals(Span<double> z)
    {
        if (PixelZ is null) Otherwise(nameof(PixelZ)).PixelNormals(z);
        else Exactly<double>(PixelZ, z, nameof(PixelZ));
    }

    /// <inheritdoc/>
    public override void Counts(ReadOnlySpan<double> rates, Span<double> counts)
    {
        if (PoissonCounts is null)
        {
            Otherwise(nameof(PoissonCounts)).Counts(rates, counts);
            return;
        }
        CheckLength(PoissonCounts.Length, counts.Length, nameof(PoissonCounts));
        for (var i = 0; i < counts.Length; i++) counts[i] = PoissonCounts[i];
    }

    /// <inheritdoc/>
    public override void Impulses(double amount, Span<byte> codes)
    {
        if (ImpulseCodes is null) Otherwise(nameof(ImpulseCodes)).Impulses(amount, codes);
        else Exactly<byte>(ImpulseCodes, codes, nameof(ImpulseCodes));
    }

    /// <inheritdoc/>
    public override void Offsets(int maxDelta, Span<sbyte> pairs)
    {
        if (GlassOffsets is null)
        {
            Otherwise(nameof(GlassOffsets)).Offsets(maxDelta, pairs);
            return;
        }
        Exactly<sbyte>(GlassOffsets, pairs, nameof(GlassOffsets));
        foreach (var offset in pairs)
        {
            if (offset < -maxDelta || offset >= maxDelta)
                throw new BayouException($"Recorded {nameof(GlassOffsets)}: {offset} lies outside -{maxDelta}..{maxDelta - 1}.");
        }
    }

    /// <inheritdoc/>
    public override double Angle(double from, double to) => AngleDegrees ?? Otherwise(nameof(AngleDegrees)).Angle(from, to);

    /// <inheritdoc/>
    public override void FogNoise(double halfRange, Span<double> noise)
    {
        if (FogUnits is null)
        {
            Otherwise(nameof(FogUnits)).FogNoise(halfRange, noise);
            return;
        }
        if (fogTaken + noise.Length > FogUnits.Length)
            throw new BayouException($"Recorded {nameof(FogUnits)}: {FogUnits.Length} values are too few for this size.");
        for (var i = 0; i < noise.Length; i++) noise[i] = FogUnits[fogTaken + i] * halfRange;
        fogTaken += noise.Length;
    }

    /// <inheritdoc/>
    public override void ElasticShifts(double halfRange, Span<double> shifts)
    {
        if (AnchorShifts is null) Otherwise(nameof(AnchorShifts)).ElasticShifts(halfRange, shifts);
        else Exactly<double>(AnchorShifts, shifts, nameof(AnchorShifts));
    }

    /// <inheritdoc/>
    public override void ElasticField(bool alongX, double halfRange, Span<double> field)
    {
        if ((alongX ? ElasticX : ElasticY) is not { } units)
        {
            Otherwise(alongX ? nameof(ElasticX) : nameof(ElasticY)).ElasticField(alongX, halfRange, field);
            return;
        }
        CheckLength(units.Length, field.Length, alongX ? nameof(ElasticX) : nameof(ElasticY));
        for (var i = 0; i < field.Length; i++) field[i] = units[i] * halfRange;
    }

    /// <inheritdoc/>
    public override int Integer(int low, int high) => Otherwise("frost picture").Integer(low, high);

    private CorruptionDraws Otherwise(string what) =>
        otherwise ?? throw new BayouException($"This corruption draws {what}, which is not recorded: record it, or give a seed to fall back on.");

    private static void Exactly<T>(T[] from, Span<T> to, string what)
    {
        CheckLength(from.Length, to.Length, what);
        from.CopyTo(to);
    }

    private static void CheckLength(int given, int needed, string what)
    {
        if (given != needed) throw new BayouException($"Recorded {what}: {given} values for a picture that needs {needed}.");
    }
}
