namespace Bayou.Kernels;

/// <summary>What a filter reads outside a picture.</summary>
public enum FilterBorder
{
    /// <summary>The nearest pixel: a a | a b c d | d d.</summary>
    Nearest,

    /// <summary>The picture mirrored about its edge: b a | a b c d | d c.</summary>
    Reflect,

    /// <summary>The picture mirrored about its outermost pixels: c b | a b c d | c b.</summary>
    Reflect101,
}

/// <summary>Positions under a border rule.</summary>
public static class FilterBorders
{
    /// <summary>The position inside 0..count-1 that stands for <paramref name="i"/>, however far outside it lies.</summary>
    public static int Index(this FilterBorder border, int i, int count)
    {
        if ((uint)i < (uint)count) return i;
        if (border == FilterBorder.Nearest) return i < 0 ? 0 : count - 1;
        if (count == 1) return 0;
        var period = border == FilterBorder.Reflect ? 2 * count : 2 * count - 2;
        i %= period;
        if (i < 0) i += period;
        if (i < count) return i;
        return border == FilterBorder.Reflect ? period - 1 - i : period - i;
    }
}
