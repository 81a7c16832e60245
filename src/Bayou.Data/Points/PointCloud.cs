using Bayou.Core;

namespace Bayou.Data;

/// <summary>Points with what is known about them. Every array that is present has a row a point.</summary>
public sealed record PointCloud
{
    /// <summary>[n, 3] x, y, z in metres (or the file's units).</summary>
    public required float[] Positions { get; init; }

    /// <summary>[n, 3] red, green, blue.</summary>
    public byte[]? Colours { get; init; }

    /// <summary>[n, 3] unit normals.</summary>
    public float[]? Normals { get; init; }

    /// <summary>[n] strength of the echo, in the file's units.</summary>
    public float[]? Intensity { get; init; }

    /// <summary>[n] class of every point, as the file numbers them.</summary>
    public int[]? Labels { get; init; }

    /// <summary>[n] instance of every point.</summary>
    public int[]? Instances { get; init; }

    /// <summary>Other columns by name, such as ring or curvature, [n] each.</summary>
    public IReadOnlyDictionary<string, float[]> Fields { get; init; } = new Dictionary<string, float[]>();

    /// <summary>[t, 3] triangles of a mesh, indices of points; null for a plain cloud.</summary>
    public int[]? Triangles { get; init; }

    /// <summary>Points.</summary>
    public int Count => Positions.Length / 3;

    /// <summary>This cloud if every array fits.</summary>
    /// <param name="where">The file, for messages.</param>
    public PointCloud Checked(string where)
    {
        var n = Count;
        if (Positions.Length != 3 * n || (Colours?.Length ?? 3 * n) != 3 * n || (Normals?.Length ?? 3 * n) != 3 * n || (Intensity?.Length ?? n) != n
            || (Labels?.Length ?? n) != n || (Instances?.Length ?? n) != n || Fields.Values.Any(f => f.Length != n))
            throw new BayouException($"{where}: {n} points, and a column that does not have {n} values");
        foreach (var corner in Triangles ?? [])
        {
            if ((uint)corner >= (uint)n) throw new BayouException($"{where}: a triangle has corner {corner}, there are {n} points");
        }
        return this;
    }

    /// <summary>The rows of the given indices (triangles are dropped).</summary>
    public PointCloud Select(ReadOnlySpan<int> rows)
    {
        var r = rows.ToArray();
        return new()
        {
            Positions = Pick(Positions, r, 3),
            Colours = Colours is null ? null : Pick(Colours, r, 3),
            Normals = Normals is null ? null : Pick(Normals, r, 3),
            Intensity = Intensity is null ? null : Pick(Intensity, r, 1),
            Labels = Labels is null ? null : Pick(Labels, r, 1),
            Instances = Instances is null ? null : Pick(Instances, r, 1),
            Fields = Fields.ToDictionary(f => f.Key, f => Pick(f.Value, r, 1)),
        };
    }

    private static T[] Pick<T>(T[] values, int[] rows, int width)
    {
        var picked = new T[rows.Length * width];
        for (var i = 0; i < rows.Length; i++) Array.Copy(values, rows[i] * width, picked, i * width, width);
        return picked;
    }

    /// <summary>Lowest and highest x, y, z of the finite points.</summary>
    public (float[] Low, float[] High) Bounds()
    {
        float[] low = [float.PositiveInfinity, float.PositiveInfinity, float.PositiveInfinity],
            high = [float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity];
        for (var i = 0; i < Positions.Length; i++)
        {
            if (!float.IsFinite(Positions[i])) continue;
            (low[i % 3], high[i % 3]) = (MathF.Min(low[i % 3], Positions[i]), MathF.Max(high[i % 3], Positions[i]));
        }
        return (low, high);
    }

    /// <summary>The points whose three coordinates are finite.</summary>
    public PointCloud Finite()
    {
        var rows = Enumerable.Range(0, Count)
            .Where(i => float.IsFinite(Positions[3 * i]) && float.IsFinite(Positions[3 * i + 1]) && float.IsFinite(Positions[3 * i + 2])).ToArray();
        return rows.Length == Count ? this : Select(rows);
    }
}
