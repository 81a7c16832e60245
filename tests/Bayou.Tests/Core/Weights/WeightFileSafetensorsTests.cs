using System.Buffers.Binary;
using System.Text;
using Bayou.Core;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class WeightFileSafetensorsTests
{
    private static readonly ScalarType[] Types =
    [
        ScalarType.Float64, ScalarType.Float32, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Int64,
        ScalarType.Int32, ScalarType.Int16, ScalarType.Int8, ScalarType.Byte, ScalarType.Bool,
    ];

    [Fact]
    public void Round_trip_keeps_every_type_shape_and_bit()
    {
        using var folder = new TempFolder();
        var shapes = Gen.Long[0, 5].Array[0, 4];
        Gen.Select(Gen.Int[0, Types.Length - 1], shapes, Gen.Int).Array[0, 8].Sample(specs =>
        {
            using var scope = NewDisposeScope();
            var tensors = specs.Select((s, i) => KeyValuePair.Create($"k{i}.\u00e9\"/{i}", Random(Types[s.Item1], s.Item2, s.Item3))).ToList();
            WeightFile.Save(folder["a.safetensors"], tensors, new Dictionary<string, string> { ["note"] = "x\n\"y\"" });
            using var file = WeightFile.Open(folder["a.safetensors"]);
            Assert.Equal(tensors.Select(t => t.Key).Order(), file.Keys.Order());
            Assert.Equal("x\n\"y\"", file.Metadata["note"]);
            foreach (var (key, tensor) in tensors) AssertSame(tensor, file.Get(key));
        }, iter: 60, threads: 1);
    }

    [Fact]
    public void Views_are_written_as_what_they_show()
    {
        using var folder = new TempFolder();
        using var scope = NewDisposeScope();
        var whole = arange(24, ScalarType.Float32).view(4, 6);
        WeightFile.Save(folder["a.safetensors"], [new("t", whole.t()), new("part", whole.narrow(1, 2, 3)), new("same", whole), new("again", whole)]);
        using var file = WeightFile.Open(folder["a.safetensors"]);
        AssertSame(whole.t().contiguous(), file.Get("t"));
        AssertSame(whole.narrow(1, 2, 3).contiguous(), file.Get("part"));
        AssertSame(whole, file.Get("again"));
    }

    [Fact]
    public void A_failed_write_leaves_the_old_file_and_no_other()
    {
        using var folder = new TempFolder();
        using var scope = NewDisposeScope();
        var path = folder["a.safetensors"];
        WeightFile.Save(path, [new("a", ones(3))]);
        var before = System.IO.File.ReadAllBytes(path);
        Assert.Throws<InvalidOperationException>(() => WeightFile.Save(path, Broken()));
        Assert.Throws<BayouException>(() => WeightFile.Save(path, [new("a", ones(3)), new("a", ones(3))]));
        Assert.Throws<BayouException>(() => WeightFile.Save(path, [new("__metadata__", ones(3))]));
        Assert.Throws<BayouException>(() => WeightFile.Save(path, [new("c", zeros(3, ScalarType.ComplexFloat32))]));
        Assert.Throws<BayouException>(() => WeightFile.Save(folder["missing/a.safetensors"], [new("a", ones(3))]));
        Assert.Equal(before, System.IO.File.ReadAllBytes(path));
        Assert.Equal([path], Directory.GetFiles(folder.Root));

        static IEnumerable<KeyValuePair<string, Tensor>> Broken()
        {
            yield return new("a", zeros(3));
            throw new InvalidOperationException("interrupted");
        }
    }

    [Fact]
    public void A_file_open_for_reading_can_be_replaced()
    {
        using var folder = new TempFolder();
        using var scope = NewDisposeScope();
        var path = folder["a.safetensors"];
        WeightFile.Save(path, [new("a", ones(3))]);
        using var old = WeightFile.Open(path);
        WeightFile.Save(path, [new("a", zeros(3))]);
        using var young = WeightFile.Open(path);
        AssertSame(ones(3), old.Get("a"));
        AssertSame(zeros(3), young.Get("a"));
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", 16, "twice")]
    [InlineData("""{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "whole number")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,10]}}""", 10, "whole number")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,4],"data_offsets":[0,8]}}""", 8, "more elements")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}""", 4, "more elements")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "takes 12")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "lies at bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 7, "lies at bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 9, "belong to no tensor")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "belong to no tensor")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "overlaps")]
    [InlineData("""{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}""", 8, "unknown element type")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}}""", 8, "unknown field")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2]}}""", 0, "lacks")]
    [InlineData("""{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}""", 8, "belongs")]
    [InlineData("""{"a":[1,2]}""", 0, "belongs")]
    [InlineData("""{"__metadata__":{"a":1}}""", 0, "belongs")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x""", 8, "JSON")]
    [InlineData("""{"a":""", 8, "JSON")]
    public void A_header_that_contradicts_the_file_is_damage(string header, int dataBytes, string reason)
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<BayouException>(() => WeightFile.Open(folder.Write("a.safetensors", File(header, dataBytes))));
        Assert.Contains("damaged", error.Message);
        Assert.Contains(reason, error.Message);
    }

    [Fact]
    public void Every_truncation_is_damage()
    {
        using var folder = new TempFolder();
        var whole = File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}""", 9);
        for (var length = 0; length < whole.Length; length++)
            Assert.Contains("damaged", Assert.Throws<BayouException>(() => WeightFile.Open(folder.Write("a.safetensors", whole.AsSpan(0, length)))).Message);
        using var file = WeightFile.Open(folder.Write("a.safetensors", whole));
        Assert.Equal(["a", "b"], file.Keys);
    }

    [Fact]
    public void A_type_libtorch_lacks_hinders_only_its_own_tensor()
    {
        using var folder = new TempFolder();
        using var file = WeightFile.Open(folder.Write("a.safetensors",
            File("""{"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8)));
        Assert.Contains("U16", Assert.Throws<BayouException>(() => file.Get("a")).Message);
        using var b = file.Get("b");
        Assert.Equal(0f, b.item<float>());
    }

    [Theory]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull")]
    [InlineData("<!DOCTYPE html><html>not found</html>", "web page")]
    [InlineData("", "damaged")]
    [InlineData("hello, this is not a weight file", "damaged")]
    public void Other_files_are_told_by_their_kind(string content, string reason)
    {
        using var folder = new TempFolder();
        Assert.Contains(reason, Assert.Throws<BayouException>(() => WeightFile.Open(folder.Write("a.pth", content))).Message);
    }

    [Fact]
    public void Missing_files_and_keys_are_named()
    {
        using var folder = new TempFolder();
        Assert.Contains("gone.pth", Assert.Throws<BayouException>(() => WeightFile.Open(folder["gone.pth"])).Message);
        using var a = ones(1);
        WeightFile.Save(folder["a.safetensors"], [new("a", a)]);
        using var file = WeightFile.Open(folder["a.safetensors"]);
        Assert.False(file.Contains("b"));
        Assert.Contains("'b'", Assert.Throws<BayouException>(() => file.Get("b")).Message);
    }

    private static byte[] File(string header, int dataBytes)
    {
        var text = Encoding.UTF8.GetBytes(header);
        var bytes = new byte[8 + text.Length + dataBytes];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, text.Length);
        text.CopyTo(bytes, 8);
        return bytes;
    }

    private static Tensor Random(ScalarType type, long[] shape, int seed)
    {
        var count = (int)shape.Aggregate(1L, (a, b) => a * b);
        var random = new Random(seed);
        var values = Enumerable.Range(0, count).Select(_ => random.NextDouble() * 200 - 100).ToArray();
        var tensor = torch.tensor(values, float64).view(shape);
        return type == ScalarType.Bool ? tensor.gt(0) : type == ScalarType.Byte ? tensor.abs().to(type) : tensor.to(type);
    }

    private static void AssertSame(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.dtype, actual.dtype);
        Assert.Equal(expected.shape, actual.shape);
        Assert.True(actual.is_contiguous());
        if (expected.numel() > 0) Assert.Equal(expected.contiguous().bytes.ToArray(), actual.bytes.ToArray());
    }
}
