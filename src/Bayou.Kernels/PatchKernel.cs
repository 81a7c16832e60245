namespace Bayou.Kernels;

/// <summary>Pictures cut into patches that do not overlap; what is left at the right and the bottom belongs to none.</summary>
/// <param name="N">Pictures.</param>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="C">Channels.</param>
/// <param name="KH">Rows of a patch.</param>
/// <param name="KW">Columns of a patch.</param>
/// <param name="ChannelsLast">Whether memory is [N, H, W, C] rather than [N, C, H, W].</param>
public readonly record struct PatchShape(int N, int H, int W, int C, int KH, int KW, bool ChannelsLast)
{
    /// <summary>Rows of patches.</summary>
    public int Rows => H / KH;

    /// <summary>Columns of patches.</summary>
    public int Columns => W / KW;

    /// <summary>Values of a patch.</summary>
    public int Length => KH * KW * C;

    internal int Planes => ChannelsLast ? 1 : C;

    internal int Unit => ChannelsLast ? C : 1;
}

/// <summary>Patches to the rows of a matrix and back: a convolution whose stride is its kernel is then one matrix product.</summary>
public static unsafe class PatchKernel
{
    /// <summary>
    /// Each patch becomes a row of <paramref name="rows"/>: in the order (ky, kx, c) from channels-last pictures, (c, ky, kx) from planar ones.
    /// </summary>
    /// <param name="x">The pictures.</param>
    /// <param name="rows">[N x patches, KH x KW x C], written.</param>
    /// <param name="s">Sizes.</param>
    public static void Gather(float* x, float* rows, PatchShape s) => KernelThreads.Run(s.N * s.Rows, (long)s.N * s.H * s.W * s.C, unit =>
    {
        var (n, row) = (unit / s.Rows, unit % s.Rows);
        var (run, line) = (s.KW * s.Unit, (long)s.W * s.Unit);
        var patches = rows + (long)unit * s.Columns * s.Length;
        for (var plane = 0; plane < s.Planes; plane++)
        {
            var picture = x + (((long)n * s.Planes + plane) * s.H + row * s.KH) * line;
            for (var ky = 0; ky < s.KH; ky++, picture += line, patches += run)
            {
                float* source = picture, target = patches;
                for (var column = 0; column < s.Columns; column++, source += run, target += s.Length) Copy(source, target, run);
            }
        }
    });

    /// <summary>
    /// Planar pictures [N, C, H, W] to planes [N, C x KH x KW, patches]: each place in a patch becomes a plane, whose pixels are the patches. The convolution is
    /// then a 1x1 convolution of these planes.
    /// </summary>
    /// <param name="x">The pictures, planar.</param>
    /// <param name="planes">Written.</param>
    /// <param name="s">Sizes.</param>
    public static void Planes(float* x, float* planes, PatchShape s)
    {
        var patches = (long)s.Rows * s.Columns;
        KernelThreads.Run(s.N * s.C, (long)s.N * s.H * s.W * s.C, plane =>
        {
            var target = planes + plane * s.KH * s.KW * patches;
            for (var ky = 0; ky < s.KH; ky++)
            {
                for (var row = 0; row < s.Rows; row++)
                {
                    var source = x + ((long)plane * s.H + row * s.KH + ky) * s.W;
                    for (var kx = 0; kx < s.KW; kx++)
                    {
                        float* from = source + kx, to = target + (ky * s.KW + kx) * patches + row * s.Columns;
                        for (var column = 0; column < s.Columns; column++, from += s.KW) to[column] = *from;
                    }
                }
            }
        });
    }

    /// <summary>The reverse of <see cref="Gather"/>; pixels outside the patches become zero.</summary>
    /// <param name="rows">[N x patches, KH x KW x C].</param>
    /// <param name="x">The pictures, written.</param>
    /// <param name="s">Sizes.</param>
    public static void Scatter(float* rows, float* x, PatchShape s) => KernelThreads.Run(s.N, (long)s.N * s.H * s.W * s.C, n =>
    {
        var (run, line) = (s.KW * s.Unit, s.W * s.Unit);
        for (var plane = 0; plane < s.Planes; plane++)
        {
            var picture = x + ((long)n * s.Planes + plane) * s.H * line;
            var inside = s.Rows * s.KH;
            for (var y = 0; y < inside; y++)
            {
                var target = picture + (long)y * line;
                var source = rows + (((long)n * s.Rows + y / s.KH) * s.Columns * s.Planes + plane) * s.KH * run + (long)(y % s.KH) * run;
                for (var column = 0; column < s.Columns; column++, target += run, source += s.Length) Copy(source, target, run);
                new Span<float>(target, line - s.Columns * run).Clear();
            }
            for (var y = inside; y < s.H; y++) new Span<float>(picture + (long)y * line, line).Clear();
        }
    });

    private static void Copy(float* source, float* target, int count)
    {
        if (count >= 8) new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(target, count));
        else for (var i = 0; i < count; i++) target[i] = source[i];
    }
}
