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

/// <summary>One parameter of a step: flat memory.</summary>
/// <param name="parameter">Parameter, updated.</param>
/// <param name="gradient">Gradient.</param>
/// <param name="mean">First moment, updated.</param>
/// <param name="square">Second moment, updated.</param>
/// <param name="average">Running average of the parameter, updated; null for none.</param>
/// <param name="length">Elements of each.</param>
public readonly unsafe struct AdamWPart(float* parameter, float* gradient, float* mean, float* square, float* average, long length)
{
    internal float* Parameter { get; } = parameter;

    internal float* Gradient { get; } = gradient;

    internal float* Mean { get; } = mean;

    internal float* Square { get; } = square;

    internal float* Average { get; } = average;

    internal long Length { get; } = length;

    internal AdamWPart From(long offset, long length) =>
        new(Parameter + offset, Gradient + offset, Mean + offset, Square + offset, Average is null ? null : Average + offset, length);
}

/// <summary>
/// AdamW (Loshchilov and Hutter, ICLR 2019, algorithm 2) over flat memory: one pass updates both moments, the parameter and its running average. All parameters
/// of a step go together, cut into pieces that the threads share: most are too small for a thread of their own.
/// </summary>
public static unsafe class AdamWKernel
{
    // Elements of a piece: fixed, so that results never depend on the number of threads.
    private const int Piece = 1 << 14;
    private const int UpdateCost = 16, SquaresCost = 2;

    /// <summary>
    /// For every part m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g; p = p keep - step m / (sqrt(v) / c2 + eps); average = d average + (1 - d) p.
    /// </summary>
    /// <param name="parts">The parameters.</param>
    /// <param name="steps">The numbers of the step of each.</param>
    public static void Update(AdamWPart[] parts, AdamWStep[] steps)
    {
        var isa = KernelIsa.Current;
        var pieces = Cut(parts);
        KernelThreads.Run(pieces.Length, parts.Sum(p => p.Length) * UpdateCost, i =>
        {
            var (part, offset, length) = pieces[i];
            var p = parts[part].From(offset, length);
            Range(isa, p.Parameter, p.Gradient, p.Mean, p.Square, p.Average, length, steps[part]);
        });
    }

    /// <summary>Sum of g g over the gradients of all parts, accumulated in double, independent of the number of threads.</summary>
    public static double SumOfSquares(AdamWPart[] parts)
    {
        var isa = KernelIsa.Current;
        var pieces = Cut(parts);
        var sums = new double[pieces.Length];
        KernelThreads.Run(pieces.Length, parts.Sum(p => p.Length) * SquaresCost, i =>
        {
            var (part, offset, length) = pieces[i];
            sums[i] = SumOfSquares(isa, parts[part].Gradient + offset, length);
        });
        var sum = 0.0;
        foreach (var s in sums) sum += s;
        return sum;
    }

    private static (int Part, long Offset, int Length)[] Cut(AdamWPart[] parts)
    {
        var pieces = new List<(int, long, int)>();
        for (var i = 0; i < parts.Length; i++)
        {
            for (long o = 0; o < parts[i].Length; o += Piece) pieces.Add((i, o, (int)Math.Min(Piece, parts[i].Length - o)));
        }
        return [.. pieces];
    }

    private static double SumOfSquares(KernelIsaLevel isa, float* g, int n)
    {
        const int block = 4096;     // summed in float lanes, then added in double
        var sum = 0.0;
        for (var o = 0; o < n; o += block)
        {
            var count = Math.Min(block, n - o);
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
        T beta1 = T.Create((float)step.Beta1), rest1 = T.Create((float)(1 - step.Beta1)), beta2 = T.Create((float)step.Beta2),
            rest2 = T.Create((float)(1 - step.Beta2));
        T eps = T.Create((float)step.Eps), keep = T.Create((float)step.Keep), size = T.Create((float)-step.StepSize),
            correction = T.Create((float)(1 / step.Correction2));
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
