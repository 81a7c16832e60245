using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Learned position tables at other grids than they were trained for.</summary>
public static class PositionTable
{
    /// <summary>
    /// Bicubic interpolation (a = -0.75, pixel centres aligned, borders repeated: as PyTorch's interpolate) of a table, as two matrix products, so that it can
    /// be captured and trained.
    /// </summary>
    /// <param name="table">[1, prefix + rows columns, C]; the first <paramref name="prefix"/> entries (class tokens) stay as they are.</param>
    /// <param name="prefix">Entries that belong to no position.</param>
    /// <param name="from">Rows and columns of the table.</param>
    /// <param name="to">Rows and columns wanted.</param>
    /// <returns>[1, prefix + rows' columns', C].</returns>
    public static Tensor Resize(Tensor table, int prefix, (int Rows, int Columns) from, (int Rows, int Columns) to)
    {
        if (from == to) return table;
        var channels = table.shape[^1];
        var grid = Reshape(prefix == 0 ? table : Slice(table, 1, prefix), from.Rows, from.Columns * channels);
        grid = MatMul(Constant(Weights(from.Rows, to.Rows)), grid);                                                     // [rows', columns C]
        grid = MatMul(Constant(Weights(from.Columns, to.Columns)), Reshape(grid, to.Rows, from.Columns, channels));     // [rows', columns', C]
        grid = Reshape(grid, 1, to.Rows * to.Columns, channels);
        return prefix == 0 ? grid : Concat(1, Slice(table, 1, 0, prefix), grid);
    }

    /// <summary>Interpolation matrix [to, from] along one axis.</summary>
    public static Tensor Weights(int from, int to)
    {
        var matrix = new float[to * from];
        for (var i = 0; i < to; i++)
        {
            var position = (i + 0.5) * from / to - 0.5;
            var floor = (int)Math.Floor(position);
            for (var tap = -1; tap <= 2; tap++)
            {
                var column = Math.Clamp(floor + tap, 0, from - 1);
                matrix[i * from + column] += (float)Cubic(Math.Abs(position - floor - tap));
            }
        }
        return tensor(matrix, [to, from]);
    }

    private static double Cubic(double x)
    {
        const double a = -0.75;
        return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
    }
}
