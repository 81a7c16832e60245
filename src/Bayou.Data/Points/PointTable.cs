using System.Buffers.Binary;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>Columns of numbers as PLY and PCD files hold them, and what their usual names mean.</summary>
internal sealed class PointTable(string where, int rows)
{
    private readonly List<(string Name, double[] Values)> columns = [];

    public int Rows => rows;

    public double[] Add(string name)
    {
        // Names need not be unique in a hostile file: the first of a name counts.
        var values = new double[rows];
        columns.Add((name.ToLowerInvariant(), values));
        return values;
    }

    public PointCloud ToCloud(int[]? triangles = null)
    {
        var taken = new HashSet<string>();
        float[] positions = Triple("x", "y", "z")
            ?? throw new BayouException($"{where}: there are no columns x, y, z (it has {string.Join(", ", columns.Select(c => c.Name).Take(10))})");
        var colours = Triple("red", "green", "blue") ?? Triple("r", "g", "b") ?? Triple("diffuse_red", "diffuse_green", "diffuse_blue");
        var normals = Triple("nx", "ny", "nz") ?? Triple("normal_x", "normal_y", "normal_z");
        var packed = Find("rgb") ?? Find("rgba");
        var (intensity, labels, instances) =
            (Find("intensity") ?? Find("remission"), Find("label") ?? Find("class") ?? Find("semantic"), Find("instance") ?? Find("objectid"));
        return new PointCloud
        {
            Positions = positions,
            Colours = packed is not null ? Unpack(packed) : colours is null ? null : ToBytes(colours),
            Normals = normals,
            Intensity = intensity is null ? null : Floats(intensity),
            Labels = labels is null ? null : ToInts(labels),
            Instances = instances is null ? null : ToInts(instances),
            Fields = columns.Where(c => taken.Add(c.Name)).ToDictionary(c => c.Name, c => Floats(c.Values)),
            Triangles = triangles,
        }.Checked(where);

        double[]? Find(string name)
        {
            var values = columns.FirstOrDefault(c => c.Name == name).Values;
            if (values is not null) taken.Add(name);
            return values;
        }

        float[]? Triple(string a, string b, string c)
        {
            if (!columns.Exists(o => o.Name == a) || !columns.Exists(o => o.Name == b) || !columns.Exists(o => o.Name == c)) return null;
            double[] x = Find(a)!, y = Find(b)!, z = Find(c)!;
            var joined = new float[3 * rows];
            for (var i = 0; i < rows; i++) (joined[3 * i], joined[3 * i + 1], joined[3 * i + 2]) = ((float)x[i], (float)y[i], (float)z[i]);
            return joined;
        }
    }

    /// <summary>Reads one number of a binary column.</summary>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="kind">'F', 'I' or 'U'.</param>
    /// <param name="bigEndian">Most significant byte first.</param>
    public static double Number(ReadOnlySpan<byte> bytes, char kind, bool bigEndian = false)
    {
        ulong raw = 0;
        for (var i = 0; i < bytes.Length; i++) raw |= (ulong)bytes[bigEndian ? bytes.Length - 1 - i : i] << (8 * i);
        return (kind, bytes.Length) switch
        {
            ('F', 4) => BitConverter.UInt32BitsToSingle((uint)raw),
            ('F', 8) => BitConverter.UInt64BitsToDouble(raw),
            ('I', 1) => (sbyte)raw,
            ('I', 2) => (short)raw,
            ('I', 4) => (int)raw,
            ('I', _) => (long)raw,
            _ => raw,
        };
    }

    private static float[] Floats(double[] values) => Array.ConvertAll(values, v => (float)v);

    private static int[] ToInts(double[] values) => Array.ConvertAll(values, v => (int)Math.Clamp(double.IsNaN(v) ? -1 : v, int.MinValue, int.MaxValue));

    // 0..255 as they are; 0..1 (floats of some writers) are widened.
    private static byte[] ToBytes(float[] values)
    {
        var scale = Array.TrueForAll(values, v => v is >= 0 and <= 1) && Array.Exists(values, v => v != MathF.Floor(v)) ? 255f : 1f;
        return Array.ConvertAll(values, v => (byte)Math.Clamp(MathF.Round(float.IsNaN(v) ? 0 : v * scale), 0, 255));
    }

    // PCL packs colours into the bits of one number; a float column carries them as its bits.
    private static byte[] Unpack(double[] values)
    {
        var colours = new byte[3 * values.Length];
        var asFloat = !Array.TrueForAll(values, v => v == Math.Floor(v) && v is >= 1 or 0);
        Span<byte> bits = stackalloc byte[4];
        for (var i = 0; i < values.Length; i++)
        {
            var packed = asFloat ? BitConverter.SingleToUInt32Bits((float)values[i]) : (uint)Math.Clamp(values[i], 0, uint.MaxValue);
            BinaryPrimitives.WriteUInt32LittleEndian(bits, packed);
            (colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]) = (bits[2], bits[1], bits[0]);
        }
        return colours;
    }
}
