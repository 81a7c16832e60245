using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// Depthwise convolution and its gradients for any kernel, padding and stride, over planar or channels-last pictures as they lie in memory.
/// <para>
/// Work is cut into (one register of channels, some pictures, some rows). Those channels are packed into a plane [y][x][lane]: a copy from channels-last
/// memory, squares turned around in registers from planar memory. Then every multiply-add is a register of channels times a register of weights, exact at the
/// picture's edges, in <see cref="DepthwiseCorrelation{T}"/>. A thread needs its weights and at most two such planes. Results do not depend on the number of
/// threads.
/// </para>
/// <para>
/// Two kinds of work need no such planes: small and thin kernels over channels-last memory (<see cref="DepthwiseDirect"/>), and large ones that transforms
/// do with less arithmetic (<see cref="DepthwiseFourier"/>).
/// </para>
/// </summary>
public static unsafe class DepthwiseKernel
{
    // Above this, transforms are not the faster way: their instructions beside the multiply-adds they replace, measured.
    private const double Transforms = 1.05;

    /// <summary>y = x * w + bias.</summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="w">[C, KH, KW].</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="y">[N, C, OutH, OutW], written.</param>
    /// <param name="s">Sizes.</param>
    /// <param name="relu">Whether negative outputs become zero.</param>
    public static void Forward(DepthwisePlanes x, float* w, float* bias, DepthwisePlanes y, DepthwiseShape s, bool relu = false) =>
        Forward(x, [Taps(w, s)], bias, y, s, relu);

    /// <summary>y = sum of x * w over several kernels, + bias.</summary>
    /// <param name="x">[N, C, H, W].</param>
    /// <param name="kernels">Kernels that give outputs of the same size.</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="y">[N, C, OutH, OutW], written.</param>
    /// <param name="s">Sizes; those of the kernels are their own.</param>
    /// <param name="relu">Whether negative outputs become zero.</param>
    public static void Forward(DepthwisePlanes x, DepthwiseTaps[] kernels, float* bias, DepthwisePlanes y, DepthwiseShape s, bool relu = false)
    {
        if (ByTransforms(s, kernels, out var size))
        {
            new DepthwiseFourier(s, kernels, false, size) { X = x, Bias = bias, Y = y, Relu = relu }.Run();
            return;
        }
        if (DepthwiseDirect.TryRun(x, y, s, kernels, false, bias, relu)) return;
        var work = new DepthwiseWork(s, kernels, s.OutH, channelsLast: x.Channel == 1 && y.Channel == 1) { X = x, Bias = bias, Y = y, Relu = relu };
        KernelThreads.Run(work.Units, s.UsefulMacs, work.Forward);
    }

    /// <summary>Gradient of the input of a sum of convolutions.</summary>
    /// <param name="kernels">Kernels.</param>
    /// <param name="dy">Gradient of the output, [N, C, OutH, OutW].</param>
    /// <param name="dx">[N, C, H, W], written.</param>
    /// <param name="s">Sizes; those of the kernels are their own.</param>
    public static void InputGradient(DepthwiseTaps[] kernels, DepthwisePlanes dy, DepthwisePlanes dx, DepthwiseShape s)
    {
        if (ByTransforms(s, kernels, out var size))
        {
            new DepthwiseFourier(s, kernels, true, size) { X = dy, Y = dx }.Run();
            return;
        }
        if (s is { StrideH: 1, StrideW: 1 })
        {
            // A convolution itself, with the weights read backwards.
            DepthwiseTaps[] mirrored = [.. kernels.Select(k => k with { PadH = k.Rows - 1 - k.PadH, PadW = k.Columns - 1 - k.PadW })];
            var gradient = s with { H = s.OutH, W = s.OutW, PadH = s.KH - 1 - s.PadH, PadW = s.KW - 1 - s.PadW };
            if (DepthwiseDirect.TryRun(dy, dx, gradient, mirrored, true)) return;
            var forward = new DepthwiseWork(gradient, mirrored, s.H, true, dy.Channel == 1 && dx.Channel == 1) { X = dy, Y = dx };
            KernelThreads.Run(forward.Units, s.UsefulMacs, forward.Forward);
            return;
        }
        var work = new DepthwiseWork(s, kernels, s.H) { X = dx, Y = dy, Dx = dx };
        KernelThreads.Run(work.Units, s.UsefulMacs, work.Backward);
    }

    /// <summary>Gradients of the input, the weights and the bias; each may be null.</summary>
    /// <param name="x">[N, C, H, W]; read only for the weight gradient.</param>
    /// <param name="w">[C, KH, KW]; read only for the input gradient.</param>
    /// <param name="dy">Gradient of the output, [N, C, OutH, OutW].</param>
    /// <param name="dx">[N, C, H, W], written, or null.</param>
    /// <param name="dw">[C, KH, KW], written, or null.</param>
    /// <param name="db">[C], written, or null.</param>
    /// <param name="s">Sizes.</param>
    public static void Backward(DepthwisePlanes x, float* w, DepthwisePlanes dy, DepthwisePlanes? dx, float* dw, float* db, DepthwiseShape s)
    {
        DepthwiseTaps[] kernels = [Taps(w, s)];
        if (dx is { } gradient && (ByTransforms(s, kernels, out _) || (dw is null && db is null)))
        {
            InputGradient(kernels, dy, gradient, s);
            if (dw is null && db is null) return;
            dx = null;
        }
        var work = new DepthwiseWork(s, kernels, dx is null ? s.KH : dw is null ? s.H : Math.Min(s.H, s.KH)) { X = x, Y = dy, Dx = dx, Dw = dw, Db = db };
        if (work.Chunks == 1)
        {
            KernelThreads.Run(work.Units, s.UsefulMacs, work.Backward);
            return;
        }
        // Each chunk of pictures sums its own weight gradient; the sums are added in order.
        var length = s.C * (s.Taps + 1);
        var parts = ArrayPool<float>.Shared.Rent(checked(work.Chunks * length));
        fixed (float* sums = parts)
        {
            work.Parts = sums;
            KernelThreads.Run(work.Units, s.UsefulMacs, work.Backward);
            if (dw is not null) Sum(sums, dw, s.C * s.Taps);
            if (db is not null) Sum(sums + s.C * s.Taps, db, s.C);
        }
        ArrayPool<float>.Shared.Return(parts);

        void Sum(float* from, float* to, int count)
        {
            for (var i = 0; i < count; i++)
            {
                var sum = from[i];
                for (var c = 1; c < work.Chunks; c++) sum += from[c * length + i];
                to[i] = sum;
            }
        }
    }

    private static DepthwiseTaps Taps(float* w, DepthwiseShape s) => new((nint)w, s.KH, s.KW, s.PadH, s.PadW);

    private static bool ByTransforms(DepthwiseShape s, DepthwiseTaps[] kernels, out (int Columns, int Rows) size)
    {
        size = default;
        long direct = 0;
        foreach (var k in kernels) direct += (s with { KH = k.Rows, KW = k.Columns, PadH = k.PadH, PadW = k.PadW }).UsefulMacs;
        // Small kernels are not worth the planning: the transforms of the pictures alone are more than this.
        if (direct < 50L * s.N * s.C * s.H * s.W || DepthwiseFourier.Plan(s, kernels) is not { } plan) return false;
        size = plan.Size;
        return plan.Cost * s.N * s.C < Transforms * direct;
    }
}
