namespace Bayou.Kernels;

/// <summary>
/// Attention over lists of pairs (windows of points in CSR form): products and weighted sums of rows [n, heads, width] by index. Sums are added in the order of
/// the pairs, one head a unit of work: results do not depend on the number of threads.
/// </summary>
public static unsafe class PairKernel
{
    private const int Chunk = 4096;

    /// <summary>y[p, h] = a[ia[p], h] . b[ib[p], h] for every pair p and head h.</summary>
    /// <param name="a">[*, heads, width].</param>
    /// <param name="ia">[pairs].</param>
    /// <param name="b">[*, heads, width].</param>
    /// <param name="ib">[pairs].</param>
    /// <param name="y">[pairs, heads], written.</param>
    /// <param name="pairs">Pairs.</param>
    /// <param name="heads">Heads.</param>
    /// <param name="width">Channels of a head.</param>
    public static void Dot(float* a, int* ia, float* b, int* ib, float* y, int pairs, int heads, int width)
    {
        var isa = KernelIsa.Current;
        SparseGemm.For((pairs + Chunk - 1) / Chunk, unit =>
        {
            for (var p = unit * Chunk; p < Math.Min(pairs, (unit + 1) * Chunk); p++)
            {
                float* x = a + (long)ia[p] * heads * width, z = b + (long)ib[p] * heads * width;
                for (var h = 0; h < heads; h++, x += width, z += width) y[(long)p * heads + h] = Product(isa, x, z, width);
            }
        });
    }

    /// <summary>y[iy[p], h] += w[p, h] x[ix[p], h] for every pair p and head h; y is cleared first.</summary>
    /// <param name="w">[pairs, heads].</param>
    /// <param name="x">[*, heads, width].</param>
    /// <param name="ix">[pairs].</param>
    /// <param name="y">[rows, heads, width], written.</param>
    /// <param name="iy">[pairs].</param>
    /// <param name="pairs">Pairs.</param>
    /// <param name="rows">Rows of y.</param>
    /// <param name="heads">Heads.</param>
    /// <param name="width">Channels of a head.</param>
    public static void Sum(float* w, float* x, int* ix, float* y, int* iy, int pairs, int rows, int heads, int width)
    {
        var isa = KernelIsa.Current;
        new Span<float>(y, checked(rows * heads * width)).Clear();
        SparseGemm.For(heads, h =>
        {
            for (var p = 0; p < pairs; p++)
            {
                var weight = w[(long)p * heads + h];
                AddScaled(isa, weight, x + ((long)ix[p] * heads + h) * width, y + ((long)iy[p] * heads + h) * width, width);
            }
        });
    }

    /// <summary>Softmax over the pairs of every segment, head by head.</summary>
    /// <param name="x">[pairs, heads].</param>
    /// <param name="starts">[segments + 1] first pair of every segment, and the end.</param>
    /// <param name="y">[pairs, heads], written.</param>
    /// <param name="segments">Segments.</param>
    /// <param name="heads">Heads.</param>
    public static void Softmax(float* x, int* starts, float* y, int segments, int heads) => SparseGemm.For(heads, h =>
    {
        for (var s = 0; s < segments; s++)
        {
            float most = float.NegativeInfinity, sum = 0;
            for (var p = starts[s]; p < starts[s + 1]; p++) most = MathF.Max(most, x[(long)p * heads + h]);
            for (var p = starts[s]; p < starts[s + 1]; p++) sum += y[(long)p * heads + h] = MathF.Exp(x[(long)p * heads + h] - most);
            for (var p = starts[s]; p < starts[s + 1]; p++) y[(long)p * heads + h] /= sum;
        }
    });

    /// <summary>Gradient of <see cref="Softmax"/>: dx = y (dy - sum of y dy over the segment).</summary>
    public static void SoftmaxBackward(float* y, float* dy, int* starts, float* dx, int segments, int heads) => SparseGemm.For(heads, h =>
    {
        for (var s = 0; s < segments; s++)
        {
            var sum = 0f;
            for (var p = starts[s]; p < starts[s + 1]; p++) sum += y[(long)p * heads + h] * dy[(long)p * heads + h];
            for (var p = starts[s]; p < starts[s + 1]; p++) dx[(long)p * heads + h] = y[(long)p * heads + h] * (dy[(long)p * heads + h] - sum);
        }
    });

    private static float Product(KernelIsaLevel isa, float* a, float* b, int n) => isa switch
    {
        KernelIsaLevel.Vector512 => Product<Lanes512>(a, b, n),
        KernelIsaLevel.Vector256 => Product<Lanes256>(a, b, n),
        KernelIsaLevel.Vector128 => Product<Lanes128>(a, b, n),
        _ => Product<Lane>(a, b, n),
    };

    private static float Product<T>(float* a, float* b, int n) where T : struct, IFloatLanes<T>
    {
        var (sum, i) = (T.Create(0), 0);
        for (; i + T.Count <= n; i += T.Count) sum = T.MulAdd(T.Load(a + i), T.Load(b + i), sum);
        var total = T.Sum(sum);
        for (; i < n; i++) total += a[i] * b[i];
        return total;
    }

    private static void AddScaled(KernelIsaLevel isa, float w, float* x, float* y, int n)
    {
        var done = isa switch
        {
            KernelIsaLevel.Vector512 => AddScaled<Lanes512>(w, x, y, n),
            KernelIsaLevel.Vector256 => AddScaled<Lanes256>(w, x, y, n),
            KernelIsaLevel.Vector128 => AddScaled<Lanes128>(w, x, y, n),
            _ => 0,
        };
        for (; done < n; done++) y[done] += w * x[done];
    }

    private static int AddScaled<T>(float w, float* x, float* y, int n) where T : struct, IFloatLanes<T>
    {
        var (weight, i) = (T.Create(w), 0);
        for (; i + T.Count <= n; i += T.Count) T.Store(y + i, T.MulAdd(weight, T.Load(x + i), T.Load(y + i)));
        return i;
    }
}
