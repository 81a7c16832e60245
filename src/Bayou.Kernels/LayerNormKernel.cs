namespace Bayou.Kernels;

/// <summary>
/// Layer normalisation (Ba et al. 2016) of every row of a matrix and its gradients: two passes over a row that stays in the cache, biased variance.
/// </summary>
public static unsafe class LayerNormKernel
{
    private const int ForwardCost = 6, BackwardCost = 10;

    /// <summary>y = (x - mean) / sqrt(variance + eps) weight + bias.</summary>
    /// <param name="x">[rows, columns].</param>
    /// <param name="weight">[columns].</param>
    /// <param name="bias">[columns].</param>
    /// <param name="y">[rows, columns], written; may be x itself.</param>
    /// <param name="statistics">[rows, 2], written: mean and 1 / sqrt(variance + eps) of every row, or null.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="eps">Added to the variance.</param>
    public static void Forward(float* x, float* weight, float* bias, float* y, float* statistics, int rows, int columns, double eps)
    {
        var isa = KernelIsa.Current;
        new RowBlocks(rows, columns).Run(ForwardCost, (from, to) =>
        {
            for (var row = from; row < to; row++)
            {
                float* source = x + (long)row * columns, target = y + (long)row * columns, own = statistics is null ? null : statistics + 2L * row;
                switch (isa)
                {
                    case KernelIsaLevel.Vector512: Normalize<Lanes512>(source, weight, bias, target, own, columns, (float)eps); break;
                    case KernelIsaLevel.Vector256: Normalize<Lanes256>(source, weight, bias, target, own, columns, (float)eps); break;
                    case KernelIsaLevel.Vector128: Normalize<Lanes128>(source, weight, bias, target, own, columns, (float)eps); break;
                    default: Normalize<Lane>(source, weight, bias, target, own, columns, (float)eps); break;
                }
            }
        });
    }

    /// <summary>Gradients of input, weight and bias.</summary>
    /// <param name="dy">Gradient of y, [rows, columns].</param>
    /// <param name="x">[rows, columns].</param>
    /// <param name="weight">[columns].</param>
    /// <param name="statistics">From <see cref="Forward"/>.</param>
    /// <param name="dx">[rows, columns], written, or null; may be dy itself.</param>
    /// <param name="sums">[2, columns], written: the gradients of weight and bias.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public static void Backward(float* dy, float* x, float* weight, float* statistics, float* dx, float* sums, int rows, int columns)
    {
        var isa = KernelIsa.Current;
        new RowBlocks(rows, columns).Sum(BackwardCost, sums, 2 * columns, (from, to, own) =>
        {
            for (var row = from; row < to; row++)
            {
                float* g = dy + (long)row * columns, source = x + (long)row * columns, target = dx is null ? null : dx + (long)row * columns,
                    s = statistics + 2L * row;
                switch (isa)
                {
                    case KernelIsaLevel.Vector512: Gradient<Lanes512>(g, source, weight, s, target, own, columns); break;
                    case KernelIsaLevel.Vector256: Gradient<Lanes256>(g, source, weight, s, target, own, columns); break;
                    case KernelIsaLevel.Vector128: Gradient<Lanes128>(g, source, weight, s, target, own, columns); break;
                    default: Gradient<Lane>(g, source, weight, s, target, own, columns); break;
                }
            }
        });
    }

    private static void Normalize<T>(float* x, float* weight, float* bias, float* y, float* statistics, int n, float eps) where T : struct, IFloatLanes<T>
    {
        var full = n - n % T.Count;
        var sum = T.Create(0);
        for (var i = 0; i < full; i += T.Count) sum += T.Load(x + i);
        var total = T.Sum(sum);
        for (var i = full; i < n; i++) total += x[i];
        var mean = total / n;

        var (squares, m) = (T.Create(0), T.Create(mean));
        for (var i = 0; i < full; i += T.Count)
        {
            var d = T.Load(x + i) - m;
            squares = T.MulAdd(d, d, squares);
        }
        var variance = T.Sum(squares);
        for (var i = full; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
        var scale = 1 / MathF.Sqrt(variance / n + eps);

        var s = T.Create(scale);
        for (var i = 0; i < full; i += T.Count) T.Store(y + i, T.MulAdd((T.Load(x + i) - m) * s, T.Load(weight + i), T.Load(bias + i)));
        for (var i = full; i < n; i++) y[i] = float.MultiplyAddEstimate((x[i] - mean) * scale, weight[i], bias[i]);
        if (statistics is not null) (statistics[0], statistics[1]) = (mean, scale);
    }

    // With u = (x - mean) scale and v = dy weight: dx = scale (v - mean(v) - u mean(v u)).
    private static void Gradient<T>(float* dy, float* x, float* weight, float* statistics, float* dx, float* sums, int n) where T : struct, IFloatLanes<T>
    {
        var (mean, scale) = (statistics[0], statistics[1]);
        float* dweight = sums, dbias = sums + n;
        var full = n - n % T.Count;
        T m = T.Create(mean), s = T.Create(scale), a = T.Create(0), b = a;
        for (var i = 0; i < full; i += T.Count)
        {
            var g = T.Load(dy + i);
            var u = (T.Load(x + i) - m) * s;
            var v = g * T.Load(weight + i);
            a += v;
            b = T.MulAdd(v, u, b);
            T.Store(dweight + i, T.MulAdd(g, u, T.Load(dweight + i)));
            T.Store(dbias + i, T.Load(dbias + i) + g);
        }
        float totalV = T.Sum(a), totalVU = T.Sum(b);
        for (var i = full; i < n; i++)
        {
            var u = (x[i] - mean) * scale;
            totalV += dy[i] * weight[i];
            totalVU += dy[i] * weight[i] * u;
            dweight[i] += dy[i] * u;
            dbias[i] += dy[i];
        }
        if (dx is null) return;

        float meanV = totalV / n, meanVU = totalVU / n;
        T mv = T.Create(meanV), mvu = T.Create(meanVU);
        for (var i = 0; i < full; i += T.Count)
        {
            var u = (T.Load(x + i) - m) * s;
            T.Store(dx + i, (T.Load(dy + i) * T.Load(weight + i) - mv - u * mvu) * s);
        }
        for (var i = full; i < n; i++) dx[i] = (dy[i] * weight[i] - meanV - (x[i] - mean) * scale * meanVU) * scale;
    }
}
