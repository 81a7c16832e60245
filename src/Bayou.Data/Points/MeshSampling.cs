using Bayou.Core;

namespace Bayou.Data;

/// <summary>Points on the surface of a mesh.</summary>
public static class MeshSampling
{
    /// <summary>Draws points evenly over the triangles' area, with their normals.</summary>
    /// <exception cref="BayouException">No triangles, or none with an area.</exception>
    public static PointCloud Sample(PointCloud mesh, int points, SampleRandom random)
    {
        if (mesh.Triangles is not { Length: >= 3 } t) throw new BayouException("a mesh with triangles is needed");
        var p = mesh.Positions;
        var (total, until) = (0.0, new double[t.Length / 3]);
        for (var i = 0; i < until.Length; i++)
        {
            var (x, y, z) = Cross(p, t, i);
            total += Math.Sqrt(x * x + y * y + z * z);
            until[i] = total;
        }
        if (!(total > 0) || !double.IsFinite(total)) throw new BayouException("the mesh has no area");
        var (positions, normals) = (new float[3 * points], new float[3 * points]);
        for (var i = 0; i < points; i++)
        {
            var triangle = Array.BinarySearch(until, random.NextDouble() * total);
            triangle = Math.Min(until.Length - 1, triangle < 0 ? ~triangle : triangle);
            double a = random.NextDouble(), b = random.NextDouble();
            if (a + b > 1) (a, b) = (1 - a, 1 - b);
            var (x, y, z) = Cross(p, t, triangle);
            var length = Math.Max(1e-30, Math.Sqrt(x * x + y * y + z * z));
            for (var d = 0; d < 3; d++)
            {
                double o = p[3 * t[3 * triangle] + d], u = p[3 * t[3 * triangle + 1] + d], v = p[3 * t[3 * triangle + 2] + d];
                positions[3 * i + d] = (float)(o + a * (u - o) + b * (v - o));
                normals[3 * i + d] = (float)((d == 0 ? x : d == 1 ? y : z) / length);
            }
        }
        return new() { Positions = positions, Normals = normals };
    }

    private static (double X, double Y, double Z) Cross(float[] p, int[] t, int triangle)
    {
        Span<double> u = stackalloc double[3], v = stackalloc double[3];
        for (var d = 0; d < 3; d++)
        {
            u[d] = (double)p[3 * t[3 * triangle + 1] + d] - p[3 * t[3 * triangle] + d];
            v[d] = (double)p[3 * t[3 * triangle + 2] + d] - p[3 * t[3 * triangle] + d];
        }
        return (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]);
    }
}
