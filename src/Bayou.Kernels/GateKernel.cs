using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Bayou.Kernels;

/// <summary>
/// Small recurrent gates on the means of maps: the arithmetic is a few thousand multiply-adds, which as separate library calls costs more than the blocks that
/// such a gate saves.
/// </summary>
public static class GateKernel
{
    private const int MeanCost = 2;

    // A step is two to three microseconds, most of them exponentials one by one.
    private const int StepCost = 20_000, StepSamples = 4;

    /// <summary>Means over maps.</summary>
    /// <param name="maps">[maps, area].</param>
    /// <param name="area">H W.</param>
    /// <param name="means">[maps], written.</param>
    public static unsafe void ChannelMeans(ReadOnlySpan<float> maps, int area, Span<float> means)
    {
        if (area <= 0 || (long)means.Length * area != maps.Length) throw new ArgumentException($"{maps.Length} values are not {means.Length} maps of {area}");
        if (means.IsEmpty) return;
        var isa = KernelIsa.Current;
        fixed (float* from = maps, to = means)
        {
            var (x, y) = ((nint)from, (nint)to);
            new RowBlocks(means.Length, area).Run(MeanCost, (first, end) =>
            {
                for (var i = first; i < end; i++)
                {
                    var map = (float*)x + (long)i * area;
                    ((float*)y)[i] = isa switch
                    {
                        KernelIsaLevel.Vector512 => Sum<Lanes512>(map, area),
                        KernelIsaLevel.Vector256 => Sum<Lanes256>(map, area),
                        KernelIsaLevel.Vector128 => Sum<Lanes128>(map, area),
                        _ => Sum<Lane>(map, area),
                    } / area;
                }
            });
        }
    }

    /// <summary>y = W x + b.</summary>
    /// <param name="weight">[outputs, inputs].</param>
    /// <param name="bias">[outputs].</param>
    /// <param name="x">[inputs].</param>
    /// <param name="y">[outputs].</param>
    public static void Affine(ReadOnlySpan<float> weight, ReadOnlySpan<float> bias, ReadOnlySpan<float> x, Span<float> y)
    {
        if (weight.Length != x.Length * y.Length || bias.Length != y.Length)
            throw new ArgumentException($"{weight.Length} weights and {bias.Length} biases are no map from {x.Length} to {y.Length}");
        for (var o = 0; o < y.Length; o++) y[o] = bias[o] + Dot(weight.Slice(o * x.Length, x.Length), x);
    }

    /// <summary>One step of an LSTM (gates in the order i, f, g, o): the state of one sample moves on.</summary>
    /// <param name="inputWeight">[4 hidden, inputs].</param>
    /// <param name="stateWeight">[4 hidden, hidden].</param>
    /// <param name="inputBias">[4 hidden].</param>
    /// <param name="stateBias">[4 hidden].</param>
    /// <param name="x">[inputs].</param>
    /// <param name="h">[hidden], read and written.</param>
    /// <param name="c">[hidden], read and written.</param>
    public static void LstmStep(
        ReadOnlySpan<float> inputWeight, ReadOnlySpan<float> stateWeight, ReadOnlySpan<float> inputBias, ReadOnlySpan<float> stateBias, ReadOnlySpan<float> x,
        Span<float> h, Span<float> c)
    {
        var hidden = h.Length;
        Span<float> gates = stackalloc float[4 * hidden], recurrent = stackalloc float[4 * hidden];
        Affine(inputWeight, inputBias, x, gates);
        Affine(stateWeight, stateBias, h, recurrent);
        for (var i = 0; i < hidden; i++)
        {
            float input = gates[i] + recurrent[i], forget = gates[hidden + i] + recurrent[hidden + i];
            float cell = gates[2 * hidden + i] + recurrent[2 * hidden + i], output = gates[3 * hidden + i] + recurrent[3 * hidden + i];
            c[i] = Sigmoid(forget) * c[i] + Sigmoid(input) * MathF.Tanh(cell);
            h[i] = Sigmoid(output) * MathF.Tanh(c[i]);
        }
    }

    /// <summary>Steps of the gates of many samples, which do not depend on each other, on all cores.</summary>
    /// <param name="samples">How many.</param>
    /// <param name="step">Gets first sample and end.</param>
    public static void ForSamples(int samples, Action<int, int> step)
    {
        var units = (samples + StepSamples - 1) / StepSamples;
        KernelThreads.Run(units, (long)samples * StepCost, unit => step(unit * StepSamples, Math.Min(samples, (unit + 1) * StepSamples)));
    }

    /// <summary>1 / (1 + exp(-x)).</summary>
    public static float Sigmoid(float x) => 1 / (1 + MathF.Exp(-x));

    private static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var (sum, i) = (0f, 0);
        if (Vector256.IsHardwareAccelerated && a.Length >= Vector256<float>.Count)
        {
            ref var x = ref MemoryMarshal.GetReference(a);
            ref var y = ref MemoryMarshal.GetReference(b);
            var lanes = Vector256<float>.Zero;
            for (; i <= a.Length - Vector256<float>.Count; i += Vector256<float>.Count)
                lanes = Vector256.MultiplyAddEstimate(Vector256.LoadUnsafe(ref x, (nuint)i), Vector256.LoadUnsafe(ref y, (nuint)i), lanes);
            sum = Vector256.Sum(lanes);
        }
        for (; i < a.Length; i++) sum += a[i] * b[i];
        return sum;
    }

    private static unsafe float Sum<T>(float* x, int n) where T : struct, IFloatLanes<T>
    {
        var full = n - n % T.Count;
        var lanes = T.Create(0);
        for (var i = 0; i < full; i += T.Count) lanes += T.Load(x + i);
        var sum = T.Sum(lanes);
        for (var i = full; i < n; i++) sum += x[i];
        return sum;
    }
}
