using System.Buffers;

namespace Bayou.Kernels;

/// <summary>
/// Separable Gaussian filter in doubles, with the definitions of scipy's gaussian_filter: radius int(truncate sigma + 0.5), weights exp(-k^2 / 2 sigma^2)
/// normalised to sum 1, rows filtered along columns first.
/// </summary>
public static class GaussianFilter
{
    /// <summary>Filters a picture in place; every channel alike.</summary>
    /// <param name="values">[height, width, channels].</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Pixels of a row.</param>
    /// <param name="channels">Values of a pixel.</param>
    /// <param name="sigmaY">Standard deviation down the columns, in pixels; 0 leaves that direction as it is.</param>
    /// <param name="sigmaX">Standard deviation along the rows.</param>
    /// <param name="truncate">Radius in standard deviations.</param>
    /// <param name="border">What is read outside the picture.</param>
    /// <exception cref="ArgumentException">A size or deviation out of range, or a span of another length.</exception>
    public static void Apply(Span<double> values, int height, int width, int channels, double sigmaY, double sigmaX, double truncate = 4,
        FilterBorder border = FilterBorder.Nearest)
    {
        if (height < 1 || width < 1 || channels < 1 || values.Length != (long)height * width * channels)
            throw new ArgumentException($"{values.Length} values are no picture of {height}x{width}x{channels}.", nameof(values));
        if (!(sigmaY >= 0) || !(sigmaX >= 0) || !double.IsFinite(sigmaY + sigmaX)) throw new ArgumentException($"Deviations of {sigmaY} and {sigmaX} pixels.");
        Columns(values, height, width * channels, Weights(sigmaY, truncate), border);
        Rows(values, height, width, channels, Weights(sigmaX, truncate), border);
    }

    /// <summary>The middle weight, then those of growing distance: r + 1 in all. The whole filter sums to 1.</summary>
    public static double[] Weights(double sigma, double truncate)
    {
        if (sigma <= 1e-15) return [1];
        var radius = (int)(truncate * sigma + 0.5);
        var all = new double[2 * radius + 1];
        var scale = -0.5 / (sigma * sigma);
        for (var k = -radius; k <= radius; k++) all[k + radius] = Math.Exp(scale * ((double)k * k));
        var sum = PairwiseSum.Of(all);
        var half = new double[radius + 1];
        for (var k = 0; k <= radius; k++) half[k] = all[radius + k] / sum;
        return half;
    }

    private static void Columns(Span<double> values, int height, int row, double[] weights, FilterBorder border)
    {
        var radius = weights.Length - 1;
        if (radius == 0 && weights[0] == 1) return;
        if (radius > 2 * height)
        {
            Dense(values, height, row, weights, border);
            return;
        }
        var rented = ArrayPool<double>.Shared.Rent((height + 2 * radius) * row);
        var padded = rented.AsSpan(0, (height + 2 * radius) * row);
        for (var y = -radius; y < height + radius; y++) values.Slice(border.Index(y, height) * row, row).CopyTo(padded[((y + radius) * row)..]);
        for (var y = 0; y < height; y++) RowFilter.Symmetric(padded, (y + radius) * row, row, weights, values.Slice(y * row, row));
        ArrayPool<double>.Shared.Return(rented);
    }

    private static void Rows(Span<double> values, int height, int width, int channels, double[] weights, FilterBorder border)
    {
        var radius = weights.Length - 1;
        if (radius == 0 && weights[0] == 1) return;
        if (radius > 2 * width && channels == 1)
        {
            // A filter wider than the picture is a full matrix: turned round, its rows are columns.
            var turned = ArrayPool<double>.Shared.Rent(values.Length);
            Transpose(values, height, width, turned);
            Dense(turned.AsSpan(0, values.Length), width, height, weights, border);
            Transpose(turned, width, height, values);
            ArrayPool<double>.Shared.Return(turned);
            return;
        }
        var row = width * channels;
        var rented = ArrayPool<double>.Shared.Rent(row + 2 * radius * channels);
        var padded = rented.AsSpan(0, row + 2 * radius * channels);
        for (var y = 0; y < height; y++)
        {
            var line = values.Slice(y * row, row);
            line.CopyTo(padded[(radius * channels)..]);
            for (var k = 1; k <= radius; k++)
            {
                line.Slice(border.Index(-k, width) * channels, channels).CopyTo(padded[((radius - k) * channels)..]);
                line.Slice(border.Index(width - 1 + k, width) * channels, channels).CopyTo(padded[((radius + width - 1 + k) * channels)..]);
            }
            RowFilter.Symmetric(padded, radius * channels, channels, weights, line);
        }
        ArrayPool<double>.Shared.Return(rented);
    }

    // Every output row from every input row, the taps that fall on the same row added up: height taps instead of 2 r + 1.
    private static void Dense(Span<double> values, int height, int row, double[] weights, FilterBorder border)
    {
        var radius = weights.Length - 1;
        var rented = ArrayPool<double>.Shared.Rent(height * row);
        var source = rented.AsSpan(0, height * row);
        values.CopyTo(source);
        var offsets = new int[height];
        for (var y = 0; y < height; y++) offsets[y] = y * row;
        var folded = new double[height];
        for (var y = 0; y < height; y++)
        {
            Array.Clear(folded);
            for (var k = -radius; k <= radius; k++) folded[border.Index(y + k, height)] += weights[Math.Abs(k)];
            RowFilter.Sum(source, offsets, folded, values.Slice(y * row, row));
        }
        ArrayPool<double>.Shared.Return(rented);
    }

    private static void Transpose(ReadOnlySpan<double> from, int rows, int columns, Span<double> to)
    {
        for (var y = 0; y < rows; y++)
        {
            for (var x = 0; x < columns; x++) to[x * rows + y] = from[y * columns + x];
        }
    }
}
