namespace Bayou.Kernels;

/// <summary>The numbers of one AdamW step of one parameter.</summary>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Eps">Added to the denominator.</param>
/// <param name="Keep">1 - learning rate x weight decay.</param>
/// <param name="StepSize">Learning rate / (1 - Beta1^t).</param>
/// <param name="Correction2">sqrt(1 - Beta2^t).</param>
/// <param name="GradScale">Factor on the gradient (clipping); 1 for none.</param>
/// <param name="EmaDecay">Decay of the running average of the parameter.</param>
public readonly record struct AdamWStep(
    double Beta1, double Beta2, double Eps, double Keep, double StepSize, double Correction2, double GradScale, double EmaDecay);

/// <summary>AdamW (Loshchilov and Hutter, ICLR 2019, algorithm 2) over flat memory: one pass updates both moments, the parameter and its running average.</summary>
public static unsafe class AdamWKernel
{
    // Below this a second thread costs more than it saves; also the unit of work, fixed so that results never depend on the number of threads.
    private const int Chunk = 1 << 16;

    /// <summary>
    /// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g; p = p keep - step m / (sqrt(v) / c2 + eps); average = d average + (1 - d) p.
    /// </summary>
    /// <param name="p">Parameter, n floats, updated.</param>
    /// <param name="g">Gradient, n floats.</param>
    /// <param name="m">First moment, updated.</param>
    /// <param name="v">Second moment, updated.</param>
    /// <param name="average">Running average of the parameter, updated; null for none.</param>
    /// <param name="n">Elements.</param>
    /// <param name="step">The numbers of this step.</param>
    public static void Update(float* p, float* g, float* m, float* v, float* average, long n, AdamWStep step)
    {
        var isa = KernelIsa.Current;
        var chunks = (int)((n + Chunk - 1) / Chunk);
        if (chunks <= 1 || KernelThreads.Count == 1)
        {
            Range(isa, p, g, m, v, average, n, step);
            return;
        }
        Parallel.For(0, chunks, new ParallelOptions { MaxDegreeOfParallelism = KernelThreads.Count }, i =>
        {
            var o = (long)i * Chunk;
            Range(isa, p + o, g + o, m + o, v + o, average is null ? null : average + o, Math.Min(Chunk, n - o), step);
        });
    }

    /// <summary>Sum of g g over n floats, accumulated in double, independent of the number of threads.</summary>
    public static double SumOfSquares(float* g, long n)
    {
        const int block = 4096;     // summed in float lanes, then added in double
        var isa = KernelIsa.Current;
        var sum = 0.0;
        for (long o = 0; o < n; o += block)
        {
            var count = (int)Math.Min(block, n - o);
            sum += isa switch
            {
                KernelIsaLevel.Vector512 => Squares<Lanes512>(g + o, count),
                KernelIsaLevel.Vector256 => Squares<Lanes256>(g + o, count),
                KernelIsaLevel.Vector128 => Squares<Lanes128>(g + o, count),
                _ => Squares<Lane>(g + o, count),
            };
        }
        return sum;
    }

    private static void Range(KernelIsaLevel isa, float* p, float* g, float* m, float* v, float* average, long n, in AdamWStep step)
    {
        var done = isa switch
        {
            KernelIsaLevel.Vector512 => Run<Lanes512>(p, g, m, v, average, 0, n, step),
            KernelIsaLevel.Vector256 => Run<Lanes256>(p, g, m, v, average, 0, n, step),
            KernelIsaLevel.Vector128 => Run<Lanes128>(p, g, m, v, average, 0, n, step),
            _ => 0,
        };
        Run<Lane>(p, g, m, v, average, done, n, step);
    }

    private static long Run<T>(float* p, float* g, float* m, float* v, float* average, long start, long n, in AdamWStep step) where T : struct, IFloatLanes<T>
    {
        // 1 - beta is taken before rounding to float: (float)0.999 is off by 1e-5 of 0.001.
        T beta1 = T.Create((float)step.Beta1), rest1 = T.Create((float)(1 - step.Beta1)), beta2 = T.Create((float)step.Beta2), rest2 = T.Create((float)(1 - step.Beta2));
        T eps = T.Create((float)step.Eps), keep = T.Create((float)step.Keep), size = T.Create((float)-step.StepSize), correction = T.Create((float)(1 / step.Correction2));
        T scale = T.Create((float)step.GradScale), decay = T.Create((float)step.EmaDecay), restDecay = T.Create((float)(1 - step.EmaDecay));
        var i = start;
        for (; i + T.Count <= n; i += T.Count)
        {
            var grad = T.Load(g + i) * scale;
            var mean = T.MulAdd(T.Load(m + i), beta1, grad * rest1);
            var square = T.MulAdd(T.Load(v + i), beta2, grad * grad * rest2);
            var value = T.MulAdd(size, mean / T.MulAdd(T.Sqrt(square), correction, eps), T.Load(p + i) * keep);
            T.Store(m + i, mean);
            T.Store(v + i, square);
            T.Store(p + i, value);
            if (average is not null) T.Store(average + i, T.MulAdd(T.Load(average + i), decay, value * restDecay));
        }
        return i;
    }

    private static float Squares<T>(float* g, int n) where T : struct, IFloatLanes<T>
    {
        var sum = T.Create(0);
        var i = 0;
        for (; i + T.Count <= n; i += T.Count)
        {
            var x = T.Load(g + i);
            sum = T.MulAdd(x, x, sum);
        }
        var total = T.Sum(sum);
        for (; i < n; i++) total += g[i] * g[i];
        return total;
    }
}
