namespace Bayou.Kernels;

/// <summary>Pooling and channelwise convolution over a <see cref="KernelMap"/>. Gradients are added in a fixed order.</summary>
public static unsafe class SparsePoolKernel
{
    /// <summary>y[out] = largest x[in] of the pairs; the first pair in (offset, pair) order keeps a tie. Outputs without inputs are 0.</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[n, channels].</param>
    /// <param name="y">[m, channels], written.</param>
    /// <param name="from">[m, channels] input row that each output came from, written; -1 for none.</param>
    /// <param name="channels">Channels.</param>
    public static void Max(KernelMap map, float* x, float* y, int* from, int channels)
    {
        new Span<int>(from, checked(map.OutCount * channels)).Fill(-1);
        new Span<float>(y, map.OutCount * channels).Clear();
        SparseGemm.For((map.OutCount + KernelMap.Block - 1) / KernelMap.Block, block =>
        {
            for (var k = 0; k < map.Volume; k++)
            {
                ReadOnlySpan<int> inRows = map.In(k), outRows = map.Out(k);
                for (var p = map.OutStarts(k)[block]; p < map.OutStarts(k)[block + 1]; p++)
                {
                    float* source = x + (long)inRows[p] * channels, target = y + (long)outRows[p] * channels;
                    var rows = from + (long)outRows[p] * channels;
                    for (var c = 0; c < channels; c++) if (rows[c] < 0 || source[c] > target[c]) (target[c], rows[c]) = (source[c], inRows[p]);
                }
            }
        });
    }

    /// <summary>dx[from] += dy.</summary>
    public static void MaxBackward(int outputs, int* from, float* dy, float* dx, int inputs, int channels)
    {
        new Span<float>(dx, checked(inputs * channels)).Clear();
        for (long i = 0; i < (long)outputs * channels; i++) if (from[i] >= 0) dx[from[i] * (long)channels + i % channels] += dy[i];
    }

    /// <summary>y[out] += x[in] for all pairs, with a factor on every input or output row where one is given.</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[n, channels].</param>
    /// <param name="y">[m, channels], written.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="inputShare">Factor on every input row, or null.</param>
    /// <param name="outputShare">Factor on every output row, or null.</param>
    public static void Sum(KernelMap map, float* x, float* y, int channels, float* inputShare, float* outputShare)
    {
        new Span<float>(y, checked(map.OutCount * channels)).Clear();
        // Blocks of one offset hold its outputs in the order of the pairs; a map made from groups is sorted by output only, so inputs may come in any order.
        for (var k = 0; k < map.Volume; k++)
        {
            ReadOnlySpan<int> inRows = map.In(k), outRows = map.Out(k);
            for (var p = 0; p < inRows.Length; p++)
            {
                float* source = x + (long)inRows[p] * channels, target = y + (long)outRows[p] * channels;
                var factor = inputShare is null ? 1 : inputShare[inRows[p]];
                for (var c = 0; c < channels; c++) target[c] += factor * source[c];
            }
        }
        if (outputShare is null) return;
        for (var row = 0; row < map.OutCount; row++) for (var c = 0; c < channels; c++) y[(long)row * channels + c] *= outputShare[row];
    }

    /// <summary>1 / number of pairs of every output row; 0 where there are none.</summary>
    public static float[] Shares(KernelMap map)
    {
        var shares = new float[map.OutCount];
        for (var k = 0; k < map.Volume; k++) foreach (var row in map.Out(k)) shares[row]++;
        for (var i = 0; i < shares.Length; i++) if (shares[i] > 0) shares[i] = 1 / shares[i];
        return shares;
    }

    /// <summary>Channelwise convolution: y[out] = sum over k of w[k] x[in], elementwise.</summary>
    /// <param name="map">The pairs.</param>
    /// <param name="x">[n, channels].</param>
    /// <param name="w">[K, channels].</param>
    /// <param name="y">[m, channels], written.</param>
    /// <param name="channels">Channels.</param>
    public static void Channelwise(KernelMap map, float* x, float* w, float* y, int channels)
    {
        new Span<float>(y, checked(map.OutCount * channels)).Clear();
        SparseGemm.For((map.OutCount + KernelMap.Block - 1) / KernelMap.Block, block =>
        {
            for (var k = 0; k < map.Volume; k++)
            {
                ReadOnlySpan<int> inRows = map.In(k), outRows = map.Out(k);
                var weights = w + (long)k * channels;
                for (var p = map.OutStarts(k)[block]; p < map.OutStarts(k)[block + 1]; p++)
                {
                    float* source = x + (long)inRows[p] * channels, target = y + (long)outRows[p] * channels;
                    for (var c = 0; c < channels; c++) target[c] += weights[c] * source[c];
                }
            }
        });
    }

    /// <summary>Weight gradient of <see cref="Channelwise"/>: dw[k] = sum over pairs of x[in] dy[out].</summary>
    public static void ChannelwiseWeight(KernelMap map, float* x, float* dy, float* dw, int channels) => SparseGemm.For(map.Volume, k =>
    {
        ReadOnlySpan<int> inRows = map.In(k), outRows = map.Out(k);
        var target = dw + (long)k * channels;
        new Span<float>(target, channels).Clear();
        for (var p = 0; p < inRows.Length; p++)
        {
            float* source = x + (long)inRows[p] * channels, gradient = dy + (long)outRows[p] * channels;
            for (var c = 0; c < channels; c++) target[c] += source[c] * gradient[c];
        }
    });
}
