using System.Globalization;
using System.Text;
using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests.Points;

/// <summary>Formats: round trips, hand-made files of every kind, the samples, and files that are cut short, damaged or lie.</summary>
public sealed class PointFilesTests
{
    private static PointCloud Full(int n = 50)
    {
        var random = new SampleRandom(1);
        float[] F(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)random.Uniform(-3, 3))];
        return new()
        {
            Positions = F(3 * n),
            Normals = F(3 * n),
            Colours = [.. Enumerable.Range(0, 3 * n).Select(_ => (byte)random.NextInt(256))],
            Intensity = F(n),
            Labels = [.. Enumerable.Range(0, n).Select(_ => random.NextInt(20))],
            Instances = [.. Enumerable.Range(0, n).Select(_ => random.NextInt(1000))],
            Fields = new Dictionary<string, float[]> { ["ring"] = F(n) },
        };
    }

    [Theory]
    [InlineData("cloud.ply")]
    [InlineData("cloud.pcd")]
    public void EveryColumnSurvivesTheRoundTrip(string name)
    {
        using var folder = new TempFolder();
        var cloud = Full();
        PointFiles.Write(cloud, folder[name]);
        var read = PointFiles.Read(folder[name]);
        Assert.Equal(cloud.Positions, read.Positions);
        Assert.Equal(cloud.Normals, read.Normals);
        Assert.Equal(cloud.Colours, read.Colours);
        Assert.Equal(cloud.Intensity, read.Intensity);
        Assert.Equal(cloud.Labels, read.Labels);
        Assert.Equal(cloud.Instances, read.Instances);
        Assert.Equal(cloud.Fields["ring"], read.Fields["ring"]);
    }

    [Theory]
    [InlineData("cloud.npy")]
    [InlineData("cloud.xyz")]
    [InlineData("cloud.off")]
    public void PositionsSurviveThePlainFormats(string name)
    {
        using var folder = new TempFolder();
        var cloud = Full();
        PointFiles.Write(cloud, folder[name]);
        var read = PointFiles.Read(folder[name]);
        Assert.Equal(cloud.Positions, read.Positions);
        if (name != "cloud.off") Assert.Equal(cloud.Colours, read.Colours);
    }

    [Fact]
    public void KittiRowsComeWithTheirLabels()
    {
        using var folder = new TempFolder();
        var cloud = Full() with { Intensity = [.. Enumerable.Range(0, 50).Select(i => i / 50f)] };
        PointFiles.Write(cloud, folder["scan.bin"]);
        PointFiles.WriteSemanticKittiLabels(folder["scan.label"], cloud.Labels!, cloud.Instances);
        var read = PointFiles.Read(folder["scan.bin"]);
        Assert.Equal(cloud.Intensity, read.Intensity);
        Assert.Equal(cloud.Labels, read.Labels);
        Assert.Equal(cloud.Instances, read.Instances);
        folder.Write("scan.label", new byte[8]);
        Assert.Contains("not the labels", Assert.Throws<BayouException>(() => PointFiles.Read(folder["scan.bin"])).Message);
    }

    [Fact]
    public void PlyOfEveryFormatAndFacesAsFans()
    {
        using var folder = new TempFolder();
        const string header =
            "ply\nformat {0} 1.0\ncomment made by hand\nelement vertex 4\nproperty double x\nproperty float y\nproperty short z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
            + "element face 1\nproperty list uchar int vertex_indices\nend_header\n";
        var ascii = string.Format(CultureInfo.InvariantCulture, header, "ascii") + "0.5 1 2 255 0 9\r\n1 nan -7 1 2 3\n2 0 0 0 0 0 3 0 0 0 0 0\n4 0 1 2 3\n";
        var expected = PointFiles.Read(folder.Write("a.ply", ascii));
        Assert.Equal([0.5f, 1, 2, 1, float.NaN, -7, 2, 0, 0, 3, 0, 0], expected.Positions);
        Assert.Equal([255, 0, 9, 1, 2, 3, 0, 0, 0, 0, 0, 0], expected.Colours!.Select(c => (int)c));
        Assert.Equal([0, 1, 2, 0, 2, 3], expected.Triangles!);
        foreach (var (name, big) in new[] { ("binary_little_endian", false), ("binary_big_endian", true) })
        {
            var bytes = new List<byte>(Encoding.ASCII.GetBytes(string.Format(CultureInfo.InvariantCulture, header, name)));
            void Put(byte[] value) => bytes.AddRange(big ? value.Reverse() : value);
            for (var i = 0; i < 4; i++)
            {
                Put(BitConverter.GetBytes((double)expected.Positions[3 * i]));
                Put(BitConverter.GetBytes(expected.Positions[3 * i + 1]));
                Put(BitConverter.GetBytes((short)expected.Positions[3 * i + 2]));
                bytes.AddRange(expected.Colours!.AsSpan(3 * i, 3));
            }
            bytes.Add(4);
            for (var c = 0; c < 4; c++) Put(BitConverter.GetBytes(c));
            var read = PointFiles.Read(folder.Write("b.ply", bytes.ToArray()));
            Assert.Equal(expected.Positions, read.Positions);
            Assert.Equal(expected.Triangles, read.Triangles);
        }
    }

    [Fact]
    public void OffWithCountsOnTheFirstLine()
    {
        using var folder = new TempFolder();
        var read = PointFiles.Read(folder.Write("m.off", "OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"));
        Assert.Equal([0, 1, 2], read.Triangles!);
        Assert.Equal(3, read.Count);
    }

    [Fact]
    public void NumpyKeepsOrdersAndTypes()
    {
        static byte[] Npy(string type, string order, string shape, byte[] data)
        {
            var header = $"{{'descr': '{type}', 'fortran_order': {order}, 'shape': {shape}, }}\n";
            return [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, (byte)(header.Length >> 8), .. Encoding.ASCII.GetBytes(header), .. data];
        }
        byte[] big = [.. Enumerable.Range(0, 6).SelectMany(i => BitConverter.GetBytes((double)i).Reverse())];
        var fortran = NumpyFile.Read(Npy(">f8", "True", "(2, 3)", big), "x");
        Assert.Equal([0f, 2, 4, 1, 3, 5], fortran.Floats());
        Assert.Equal([1, -2], NumpyFile.Read(Npy("<i2", "False", "(2,)", [1, 0, 0xFE, 0xFF]), "x").Ints());
        Assert.Throws<BayouException>(() => NumpyFile.Read(Npy("|O", "False", "(2,)", new byte[100]), "x"));
        Assert.Contains("truncated", Assert.Throws<BayouException>(() => NumpyFile.Read(Npy("<f4", "False", "(1000000000, 3)", new byte[100]), "x")).Message);
        Assert.Throws<BayouException>(() => NumpyFile.Read(Npy("<f4", "False", "(99999999999999999999,)", new byte[100]), "x"));
    }

    [Fact]
    public void Hdf5CloudsWithLabels()
    {
        using var folder = new TempFolder();
        var data = new float[2, 4, 3];
        for (var i = 0; i < 24; i++) data[i / 12, i / 3 % 4, i % 3] = i;
        var labels = new byte[,] { { 3 }, { 7 } };
        new PureHDF.H5File { ["data"] = data, ["label"] = labels }.Write(folder["m.h5"]);
        var all = Hdf5Clouds.ReadAll(folder["m.h5"]);
        Assert.Equal([3, 7], all.Select(c => c.Label));
        Assert.Equal(Enumerable.Range(12, 12).Select(i => (float)i), PointFiles.Read(folder["m.h5"], index: 1).Positions);
        Assert.Throws<BayouException>(() => PointFiles.Read(folder["m.h5"], index: 2));
        var bytes = File.ReadAllBytes(folder["m.h5"]);
        Assert.Throws<BayouException>(() => PointFiles.Read(folder.Write("cut.h5", bytes.AsSpan(0, 100))));
    }

    [Fact]
    public void AnS3disRoomIsReadByItsAnnotations()
    {
        using var folder = new TempFolder();
        folder.Write("office_1/Annotations/chair_1.txt", "0 0 0 255 0 0\n1 0 0 254 1 2\n");
        folder.Write("office_1/Annotations/stairs_1.txt", "5 5 5 1 2 3\n");
        var room = PointFiles.Read(folder["office_1"]);
        Assert.Equal([8, 8, 12], room.Labels!);
        Assert.Equal([1, 1, 2], room.Instances!);
        Assert.Equal(254, room.Colours![3]);
    }

    [Fact]
    public void DamagedFilesGiveErrorsAndNothingElse()
    {
        using var folder = new TempFolder();
        var cloud = Full() with { Triangles = [0, 1, 2] };
        foreach (var extension in (string[])[".ply", ".pcd", ".npy", ".off", ".bin"])
        {
            PointFiles.Write(cloud, folder["whole" + extension]);
            var whole = File.ReadAllBytes(folder["whole" + extension]);
            var random = new SampleRandom(7);
            for (var attempt = 0; attempt < 120; attempt++)
            {
                var bytes = whole.AsSpan(0, attempt % 2 == 0 ? random.NextInt(whole.Length) : whole.Length).ToArray();
                for (var change = 0; change < attempt % 5 && bytes.Length > 0; change++)
                    bytes[random.NextInt(Math.Min(bytes.Length, 400))] = (byte)random.NextInt(256);
                try
                {
                    var read = PointFiles.Read(folder.Write("broken" + extension, bytes));
                    Assert.True(read.Count <= bytes.Length);
                }
                catch (BayouException)
                {
                    // what a damaged file should give
                }
            }
        }
    }

    [Theory]
    [InlineData("a.ply", "ply\nformat ascii 1.0\nelement vertex 2000000000\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n")]
    [InlineData("a.ply",
        "ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nelement face 1\nproperty list uint int vertex_indices\nend_header\n\0\0\0\0\u007f\u007f\u007f\u007f")]
    [InlineData("a.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")]
    [InlineData("a.pcd", "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 2000000000\nDATA ascii\n1 2 3\n")]
    [InlineData("a.pcd", "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 100\nDATA binary\n1234")]
    [InlineData("a.pcd", "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 4\nDATA binary_compressed\n\u0004\0\0\u0000\u0030\0\0\0abcd")]
    [InlineData("a.off", "OFF\n1000000000 1 0\n0 0 0\n")]
    [InlineData("a.off", "OFF\n1 1 0\n0 0 0\n3 0 1 2\n")]
    [InlineData("a.xyz", "1 2\n")]
    [InlineData("a.xyz", "1 2 3\n4 5 x\n")]
    [InlineData("a.bin", "12345")]
    [InlineData("a.las", "LASF")]
    public void FilesThatLieAreErrors(string name, string content)
    {
        using var folder = new TempFolder();
        Assert.Contains(name, Assert.Throws<BayouException>(() => PointFiles.Read(folder.Write(name, Encoding.Latin1.GetBytes(content)))).Message);
    }

    [Theory]
    [InlineData("kitti-mini/000008.bin", 17238, "intensity")]
    [InlineData("semantickitti-mini/000000.bin", 93124, "labels")]
    [InlineData("nuscenes-mini/lidar_top.pcd.bin", 34688, "ring")]
    [InlineData("scannet-mini/scene0000_00.bin", 40684, "colours")]
    [InlineData("scannet-mini/labelled100/points.bin", 100, "labels")]
    [InlineData("s3dis-mini/labelled100/points.bin", 100, "labels")]
    [InlineData("sunrgbd-mini/000017.bin", 50000, "colours")]
    [InlineData("sunrgbd-mini/votenet-format/000001_pc.npz", 50000, "colours")]
    [InlineData("modelnet-mini/train_points.npy", 1024, "")]
    [InlineData("office-open/office1.pcd", 307200, "colours")]
    [InlineData("office-open/milk_color.pcd", 13704, "colours")]
    [InlineData("office-open/bun0.pcd", 397, "normals")]
    [InlineData("office-open/fragment.pcd", 113662, "normals")]
    public void TheSamplesAreRead(string file, int points, string column)
    {
        Assert.SkipWhen(DataCatalog.SamplesFolder is null, "no sample data (BAYOU_SAMPLES)");
        var path = Path.Combine(DataCatalog.SamplesFolder!, file);
        Assert.SkipUnless(File.Exists(path), $"no {file} among the samples");
        var cloud = PointFiles.Read(path);
        Assert.Equal(points, cloud.Count);
        Assert.True(column switch
        {
            "intensity" => cloud.Intensity is not null,
            "labels" => cloud.Labels is not null,
            "colours" => cloud.Colours is not null && cloud.Colours.Distinct().Count() > 50,
            "normals" => cloud.Normals is not null,
            "ring" => cloud.Fields["ring"].Max() == 31,
            _ => true,
        });
        var (low, high) = cloud.Bounds();
        Assert.All(low.Zip(high), b => Assert.InRange(b.Second - b.First, 0.01f, 400));
    }

    [Fact]
    public void AugmentationIsRepeatableAndKeepsShapesWithinItsBounds()
    {
        var cloud = Full(200);
        float[] Changed(int seed)
        {
            var positions = (float[])cloud.Positions.Clone();
            (PointAugmentation.Shapes with { Drop = 0 }).Apply(positions, null, new SampleRandom((ulong)seed));
            return positions;
        }
        Assert.Equal(Changed(3), Changed(3));
        Assert.NotEqual(Changed(3), Changed(4));
        // Turned about the vertical and scaled: distances between points change by one factor between 0.8 and 1.25, but for the jitter.
        var moved = Changed(5);
        double Distance(float[] p, int i, int j) => Math.Sqrt(Enumerable.Range(0, 3).Sum(d => Math.Pow(p[3 * i + d] - p[3 * j + d], 2)));
        var factors = Enumerable.Range(1, 100).Where(i => Distance(cloud.Positions, 0, i) > 2)
            .Select(i => Distance(moved, 0, i) / Distance(cloud.Positions, 0, i)).ToArray();
        Assert.InRange(factors.Average(), 0.79, 1.26);
        Assert.True(factors.Max() - factors.Min() < 0.1);
        var elastic = (float[])cloud.Positions.Clone();
        new PointAugmentation { Elastic = [(0.8, 0.4)] }.Apply(elastic, null, new SampleRandom(1));
        Assert.NotEqual(cloud.Positions, elastic);
        Assert.True(elastic.Zip(cloud.Positions, (a, b) => Math.Abs(a - b)).Max() < 2);
    }

    [Fact]
    public void SegmentationMetricsCountAsDefined()
    {
        var metrics = new SegmentationMetrics(3);
        metrics.Add([0, 0, 1, 1, 2], [0, 1, 1, -1, 0]);
        Assert.Equal(0.5, metrics.OverallAccuracy, 9);
        Assert.Equal(1 / 3.0, metrics.Iou(0), 9);
        Assert.Equal(0.5, metrics.Iou(1), 9);
        Assert.Equal(0, metrics.Iou(2), 9);
        Assert.Equal((1 / 3.0 + 0.5) / 3, metrics.MeanIou, 9);
        Assert.Equal(0.5, metrics.MeanAccuracy, 9);
        Assert.Throws<BayouException>(() => metrics.Add([3], [0]));
    }
}
