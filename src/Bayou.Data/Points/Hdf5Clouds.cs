using Bayou.Core;
using PureHDF;

namespace Bayou.Data;

/// <summary>Clouds in HDF5 as ModelNet40 and ScanObjectNN are published: data [m, n, 3+] and label [m] or [m, 1].</summary>
public static class Hdf5Clouds
{
    private const ulong Most = 1UL << 30;

    /// <summary>One cloud of a file.</summary>
    /// <exception cref="BayouException">It is no HDF5 file, is damaged, or holds no clouds.</exception>
    public static PointCloud Read(string path, int index)
    {
        var (values, clouds, n, width) = Values(path);
        if (index < 0 || index >= clouds) throw new BayouException($"{path}: cloud {index} of {clouds}");
        return PointFiles.FromRows(values.AsSpan(index * n * width, n * width), n, width);
    }

    /// <summary>All clouds of a file with their labels (0 where it has none).</summary>
    public static IReadOnlyList<(PointCloud Cloud, int Label)> ReadAll(string path)
    {
        var (values, clouds, n, width) = Values(path);
        var labels = Guarded(path, file =>
        {
            if (!file.LinkExists("label")) return new int[clouds];
            var set = file.Dataset("label");
            var size = set.Space.Dimensions.Aggregate(1UL, (a, b) => a * b);
            if (size != (ulong)clouds) throw new BayouException($"{path}: {size} labels for {clouds} clouds");
            return (set.Type.Size, set.Type.Class) switch
            {
                (1, H5DataTypeClass.FixedPoint) => Array.ConvertAll(set.Read<byte[]>(), v => (int)v),
                (4, H5DataTypeClass.FixedPoint) => set.Read<int[]>(),
                (8, H5DataTypeClass.FixedPoint) => Array.ConvertAll(set.Read<long[]>(), v => (int)v),
                _ => throw new BayouException($"{path}: labels of {set.Type.Size} bytes ({set.Type.Class}) are not understood"),
            };
        });
        return [.. Enumerable.Range(0, clouds).Select(i => (PointFiles.FromRows(values.AsSpan(i * n * width, n * width), n, width), labels[i]))];
    }

    private static (float[] Values, int Clouds, int Count, int Width) Values(string path) => Guarded(path, file =>
    {
        var name = ((string[])["data", "points", "xyz"]).FirstOrDefault(file.LinkExists)
            ?? throw new BayouException($"{path}: it has no dataset 'data', 'points' or 'xyz'");
        var set = file.Dataset(name);
        var shape = set.Space.Dimensions;
        var size = shape.Aggregate(1.0, (a, b) => a * b);
        if (shape.Length is not (2 or 3) || shape[^1] is < 3 or > 64 || size * 4 > Most)
            throw new BayouException($"{path}: '{name}' is [{string.Join(", ", shape)}], not clouds [m, n, 3+] of at most 1 GB");
        var values = (set.Type.Size, set.Type.Class) switch
        {
            (4, H5DataTypeClass.FloatingPoint) => set.Read<float[]>(),
            (8, H5DataTypeClass.FloatingPoint) => Array.ConvertAll(set.Read<double[]>(), v => (float)v),
            _ => throw new BayouException($"{path}: '{name}' holds {set.Type.Class} of {set.Type.Size} bytes, not floats"),
        };
        return (values, shape.Length == 3 ? (int)shape[0] : 1, (int)shape[^2], (int)shape[^1]);
    });

    // The library throws whatever a damaged file makes it meet.
    private static T Guarded<T>(string path, Func<IH5Group, T> read)
    {
        if (!File.Exists(path)) throw new BayouException($"{path}: there is no such file");
        try
        {
            using var file = H5File.OpenRead(path);
            return read(file);
        }
        catch (Exception e) when (e is not BayouException)
        {
            throw new BayouException($"{path}: cannot be read as HDF5 ({e.Message})", e);
        }
    }
}
