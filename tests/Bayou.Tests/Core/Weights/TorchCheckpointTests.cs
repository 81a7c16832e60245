using System.IO.Compression;
using System.Text;
using Bayou.Core;

namespace Bayou.Tests;

public class TorchCheckpointTests
{
    private const string Marker = "/tmp/bayou-was-here";

    [Fact]
    public void Every_container_and_number_instruction_is_understood_and_disturbs_nothing()
    {
        var b = new PickleBuilder(5).Op('}').Op('(');
        b.Text("model").Dict(("w", x => x.Tensor("0", 4, 1, [3], [1])));
        // Training state of every kind beside the weights.
        b.Text("numbers").Op(']').Op('(').Op('N').Raw(0x88, 0x89).Op('K').Raw(7).Op('M').Raw(1, 2).Op('J').Raw(1, 2, 3, 4)
            .Op('G').Raw(new byte[8]).Raw(0x8a, 0).Raw(0x8b, 20, 0, 0, 0).Raw(new byte[20]).Raw(Ascii("I-5\nI01\nL123456789012345678901234567890L\nF1.5\n"))
                .Op('e');
        b.Text("text").Op('(').Raw(Ascii("S'abc'\nVdef\n")).Op('U').Raw(1, 200).Op('T').Raw(1, 0, 0, 0, 65).Raw(0x8c, 1, 66)
            .Raw(0x8d, 1, 0, 0, 0, 0, 0, 0, 0, 67).Op('t');
        b.Text("bytes").Op('(').Op('C').Raw(2, 0, 255).Op('B').Raw(1, 0, 0, 0, 9).Raw(0x8e, 1, 0, 0, 0, 0, 0, 0, 0, 9).Raw(0x96, 1, 0, 0, 0, 0, 0, 0, 0, 9)
            .Op('l');
        b.Text("sets").Raw(0x8f).Op('(').Op('K').Raw(1).Raw(0x90).Op('(').Op('K').Raw(1).Raw(0x91).Raw(0x86);
        b.Text("tuples").Op('N').Raw(0x85).Op('N').Op('N').Raw(0x86).Op('N').Op('N').Op('N').Raw(0x87).Raw(0x87);
        b.Text("ordered").Global("collections", "OrderedDict").Op(')').Op('R').Text("_metadata").Op('N').Op('s').Op('}').Op('b');
        b.Text("args").Global("argparse", "Namespace").Op(')').Raw(0x81).Dict(("lr", x => x.Int(1))).Op('b');
        b.Text("inst").Op('(').Op('N').Raw(Ascii("ikonlp\nThing\n"));
        b.Text("obj").Op('(').Global("evil", "Thing").Op('N').Op('o');
        b.Text("stacked").Text("numpy.core.multiarray").Text("_reconstruct").Raw(0x93, 0x94).Op(')').Op('}').Raw(0x92);
        b.Text("ext").Raw(0x82, 1).Op(')').Op('R');
        b.Text("popped").Op('N').Op('N').Op('0').Op('(').Op('N').Op('1').Op('2').Op('0');
        b.Int(5).Op('N');       // a key that is a number
        b.Op('u').Op('.');
        AssertValues(b.Zip([1, 2, 3, 4]), "w", [2, 3, 4]);
    }

    [Theory]
    [InlineData("model")]
    [InlineData("state_dict")]
    [InlineData("model_state")]
    [InlineData("model_state_dict")]
    [InlineData("model_ema")]
    public void Nested_weights_are_found(string section) =>
        AssertValues(new PickleBuilder().Dict(("epoch", x => x.Int(3)), (section, x => x.Dict(("module.w", y => y.One())))).Op('.').Zip([5]), "w", [5]);

    [Fact]
    public void The_plain_model_comes_before_its_average_unless_asked_for()
    {
        var bytes = new PickleBuilder().Dict(("model_ema", x => x.Dict(("w", y => y.One("1")))), ("model", x => x.Dict(("w", y => y.One("0"))))).Op('.')
            .Zip([1], [2]);
        AssertValues(bytes, "w", [1]);
        using var folder = new TempFolder();
        using var file = WeightFile.Open(folder.Write("a.pth", bytes), section: "model_ema");
        using var w = file.Get("w");
        Assert.Equal(2f, w.item<float>());
        Assert.Contains("'teacher'", Assert.Throws<BayouException>(() => WeightFile.Open(folder["a.pth"], section: "teacher")).Message);
    }

    [Fact]
    public void A_section_without_tensors_is_passed_over() =>
        AssertValues(new PickleBuilder().Dict(("model", x => x.Dict(("name", y => y.Text("resnet")))), ("state_dict", x => x.Dict(("w", y => y.One())))).Op('.')
            .Zip([3]), "w", [3]);

    [Fact]
    public void The_module_prefix_stays_unless_all_keys_have_it()
    {
        using var folder = new TempFolder();
        using var file = WeightFile.Open(folder.Write("a.pth", new PickleBuilder().Dict(("module.w", x => x.One()), ("head", x => x.One())).Op('.').Zip([3])));
        Assert.Equal(["module.w", "head"], file.Keys);
    }

    [Fact]
    public void Parameters_subclasses_and_typed_byte_storages_are_rebuilt()
    {
        var bytes = new PickleBuilder().Dict(
            ("p", x => x.Global("torch._utils", "_rebuild_parameter").Op('(').One().Raw(0x88).Op('N').Op('t').Op('R')),
            ("s", x => x.Global("torch._utils", "_rebuild_parameter_with_state").Op('(').One().Raw(0x88).Op('N').Op('N').Op('t').Op('R')),
            ("t", x => x.Global("torch._tensor", "_rebuild_from_type_v2").Op('(').Global("torch._utils", "_rebuild_tensor_v2").Global("my", "Tensor")
                .Op('(').Storage("0", "FloatStorage", 1).Int(0).Ints(1).Ints(1).Op('t').Op('N').Op('t').Op('R')),
            ("v3", x => x.Global("torch._utils", "_rebuild_tensor_v3").Op('(').Storage("0", "UntypedStorage", 4).Int(0).Ints(1).Ints(1)
                .Raw(0x89).Op('N').Global("torch", "float32").Op('N').Op('t').Op('R'))).Op('.').Zip([6]);
        foreach (var key in (string[])["p", "s", "t", "v3"]) AssertValues(bytes, key, [6]);
    }

    [Fact]
    public void Nothing_is_executed_and_only_a_requested_placeholder_is_an_error()
    {
        File.Delete(Marker);
        using (var file = WeightFile.Open(WeightCases.Checkpoint("hostile_reduce_in_weights")))
        {
            using var v = file.Get("v");
            Assert.Equal(2, v.numel());
            var error = Assert.Throws<BayouException>(() => file.Get("w"));
            Assert.Contains("refused", error.Message);
            Assert.Contains("posix.system", error.Message);
        }
        Assert.False(File.Exists(Marker));
    }

    [Fact]
    public void A_pickled_object_is_refused_by_its_class()
    {
        var error = OpenFails(new PickleBuilder().Global("models.resnet", "ResNet").Op(')').Raw(0x81).Op('}').Op('b').Op('.').Zip());
        Assert.Contains("models.resnet.ResNet", error);
        Assert.Contains("refused", error);
    }

    [Theory]
    [InlineData(4, 0, new long[] { 5 }, new long[] { 1 })]                 // too long
    [InlineData(4, 1, new long[] { 4 }, new long[] { 1 })]                 // offset
    [InlineData(4, 0, new long[] { 2, 2 }, new long[] { 3, 1 })]           // stride
    [InlineData(4, 0, new long[] { 2, 2 }, new long[] { 1 })]              // a stride missing
    [InlineData(4, -1, new long[] { 2 }, new long[] { 1 })]
    [InlineData(4, 0, new long[] { -2 }, new long[] { 1 })]
    [InlineData(4, 3, new long[] { 2 }, new long[] { -1 })]
    [InlineData(5, 0, new long[] { 1 }, new long[] { 1 })]                 // storage claims more than the file has
    [InlineData(long.MaxValue, 0, new long[] { 1 }, new long[] { 1 })]
    [InlineData(4, long.MaxValue, new long[] { 1 }, new long[] { 1 })]
    [InlineData(4, 0, new long[] { 2, 2 }, new long[] { long.MaxValue, long.MaxValue })]
    [InlineData(4, 0, new long[] { long.MaxValue, long.MaxValue }, new long[] { 0, 0 })]
    [InlineData(4, 0, new long[] { 1L << 40 }, new long[] { 0 })]          // four bytes that would become four terabytes
    public void Views_outside_their_storage_are_damage(long count, long offset, long[] size, long[] stride) =>
        Assert.Contains("damaged", OpenFails(new PickleBuilder().Dict(("w", x => x.Tensor("0", count, offset, size, stride))).Op('.').Zip([1, 2, 3, 4])));

    [Fact]
    public void Strided_repeated_scalar_and_empty_views_give_the_right_elements()
    {
        var bytes = new PickleBuilder().Dict(
            ("transposed", x => x.Tensor("0", 6, 0, [3, 2], [1, 3])),
            ("repeated", x => x.Tensor("0", 6, 2, [2, 3], [1, 0])),
            ("scalar", x => x.Tensor("0", 6, 5, [], [])),
            ("empty", x => x.Tensor("0", 6, 0, [3, 0], [9, 9]))).Op('.').Zip([1, 2, 3, 4, 5, 6]);
        AssertValues(bytes, "transposed", [1, 4, 2, 5, 3, 6]);
        AssertValues(bytes, "repeated", [3, 3, 3, 4, 4, 4]);
        AssertValues(bytes, "scalar", [6]);
        AssertValues(bytes, "empty", []);
    }

    public static TheoryData<string, byte[]> HostilePickles()
    {
        PickleBuilder New() => new(4);
        var laughs = New().Op(']').Put(0);
        for (var i = 0; i < 200; i++) laughs.Op('(').Get(0).Get(0).Get(0).Get(0).Get(0).Op('t').Put(0);
        var copies = New().Op(']').Op('(').Raw([.. Enumerable.Repeat((byte)'N', 30_000)]).Op('e').Put(0).Op('0');
        for (var i = 0; i < 5_000; i++) copies.Global("collections", "OrderedDict").Get(0).Raw(0x85).Op('R').Op('0');
        var deep = New().Raw([.. Enumerable.Repeat((byte)')', 1)]).Raw([.. Enumerable.Repeat((byte)0x85, 500_000)]);
        return new()
        {
            { "memo bomb", laughs.Op('.').Bytes },
            { "copied lists", copies.Op('.').Bytes },
            { "deep nesting", deep.Op('.').Bytes },
            { "deep key", new PickleBuilder().Op('}').Op(')').Raw([.. Enumerable.Repeat((byte)0x85, 300_000)]).Op('N').Op('s').Op('.').Bytes },
            { "endless marks", New().Raw([.. Enumerable.Repeat((byte)'(', 9_000_000)]).Bytes },
            { "huge long", New().Raw(0x8b, 255, 255, 255, 127).Op('.').Bytes },
            { "negative long", New().Raw(0x8b, 255, 255, 255, 255).Op('.').Bytes },
            { "huge text", New().Raw(0x8d, 255, 255, 255, 255, 255, 255, 255, 255).Op('.').Bytes },
            { "huge bytes", New().Raw(0x8e, 255, 255, 255, 255, 255, 255, 255, 127).Op('.').Bytes },
            { "huge frame", New().Raw(0x95, 255, 255, 255, 255, 255, 255, 255, 255).Op('.').Bytes },
            { "huge memo index", New().Op('N').Op('r').Raw(255, 255, 255, 255).Op('.').Bytes },
            { "underflow", New().Op('R').Op('.').Bytes },
            { "underflow below a mark", New().Op('N').Op('(').Op('0').Op('0').Op('0').Op('.').Bytes },
            { "no mark", New().Op('N').Op('t').Op('.').Bytes },
            { "unknown memo", New().Get(9).Op('.').Bytes },
            { "no stop", New().Op('N').Bytes },
            { "empty", New().Op('.').Bytes },
            { "two values", New().Op('N').Op('N').Op('.').Bytes },
            { "garbage persistent id", New().Int(5).Op('Q').Op('.').Bytes },
            { "short persistent id", New().Op('(').Text("storage").Op('t').Op('Q').Op('.').Bytes },
            { "odd dict", New().Op('}').Op('(').Op('N').Op('u').Op('.').Bytes },
            { "append to a number", New().Int(5).Op('N').Op('a').Op('.').Bytes },
            { "unknown instruction", New().Raw(0xff).Op('.').Bytes },
            { "out-of-band buffer", New().Raw(0x97).Op('.').Bytes },
            { "unknown protocol", new PickleBuilder(99).Op('N').Op('.').Bytes },
            { "line without end", New().Raw(Ascii("cposix")).Bytes },
            { "number that is none", New().Raw(Ascii("Ixyz\n")).Op('.').Bytes },
            { "long decimal", New().Raw(Ascii($"L{new string('9', 500_000)}\n")).Op('.').Bytes },
            { "call of a number", New().Int(1).Op(')').Op('R').Op('.').Bytes },
            { "class named by a number", New().Int(1).Int(1).Raw(0x93).Op('.').Bytes },
            { "list that holds itself", New().Op(']').Put(0).Get(0).Op('a').Op('.').Bytes },
        };
    }

    [Theory]
    [MemberData(nameof(HostilePickles), DisableDiscoveryEnumeration = true)]
    public void Hostile_pickles_are_an_error_in_bounded_time_and_memory(string what, byte[] pickle)
    {
        using var folder = new TempFolder();
        var path = folder.Write("a.pth", Archive(pickle));
        var before = GC.GetAllocatedBytesForCurrentThread();
        var clock = System.Diagnostics.Stopwatch.StartNew();
        Assert.Throws<BayouException>(() => WeightFile.Open(path));
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(30), $"{what}: {clock.Elapsed}");
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 500L << 20, what);
    }

    [Fact]
    public void Big_endian_compressed_scripted_and_foreign_archives_are_told()
    {
        var pickle = new PickleBuilder().Dict(("w", x => x.One())).Op('.');
        Assert.Contains("big-endian", OpenFails(pickle.Zip(CompressionLevel.NoCompression, [("byteorder", "big")], [1])));
        Assert.Contains("TorchScript", OpenFails(pickle.Zip(CompressionLevel.NoCompression, [("constants.pkl", "")], [1])));
        Assert.Contains("compressed", OpenFails(pickle.Zip(CompressionLevel.SmallestSize, [("filler", new string('x', 500))], [1])));
        Assert.Contains("lacks", OpenFails(pickle.Zip()));
        AssertValues(pickle.Zip(CompressionLevel.NoCompression, [("byteorder", "little"), ("version", "3\n")], [1]), "w", [1]);
        var other = new MemoryStream();
        using (var zip = new ZipArchive(other, ZipArchiveMode.Create, leaveOpen: true)) zip.CreateEntry("readme.txt");
        Assert.Contains("data.pkl", OpenFails(other.ToArray()));
    }

    [Fact]
    public void Zip64_directories_and_sizes_are_read()
    {
        var pickle = new PickleBuilder().Dict(("w", x => x.Tensor("0", 2, 0, [2], [1]))).Op('.').Bytes;
        AssertValues(Zip64(("archive/data.pkl", pickle), ("archive/data/0", [.. BitConverter.GetBytes(1.5f), .. BitConverter.GetBytes(-2f)])), "w", [1.5f, -2]);
    }

    [Fact]
    public void A_legacy_file_of_a_big_endian_machine_is_told()
    {
        using var folder = new TempFolder();
        var bytes = File.ReadAllBytes(WeightCases.Checkpoint("plain_legacy"));
        var at = bytes.AsSpan().IndexOf("little_endian"u8);
        var flag = bytes.AsSpan(at).IndexOf((byte)0x88);
        bytes[at + flag] = 0x89;
        Assert.Contains("big-endian", Assert.Throws<BayouException>(() => WeightFile.Open(folder.Write("a.pth", bytes))).Message);
    }

    [Fact]
    public void Legacy_storages_within_storages_are_read()
    {
        using var folder = new TempFolder();
        var magic = new byte[] { 0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.' };
        var system = new PickleBuilder().Dict(("little_endian", x => x.Raw(0x88))).Op('.').Bytes;
        var value = new PickleBuilder().Dict(("w", x => x.Global("torch._utils", "_rebuild_tensor").Op('(')
            .Op('(').Text("storage").Global("torch", "FloatStorage").Text("s").Text("cpu").Int(4).Op('(').Text("v").Int(1).Int(2).Op('t').Op('t').Op('Q')
            .Int(0).Ints(2).Ints(1).Op('t').Op('R'))).Op('.').Bytes;
        var keys = new PickleBuilder().Op(']').Text("s").Op('a').Op('.').Bytes;
        byte[] storage = [.. BitConverter.GetBytes(4L), .. new float[] { 1, 2, 3, 4 }.SelectMany(BitConverter.GetBytes)];
        byte[] whole = [.. magic, .. new PickleBuilder().Int(1001).Op('.').Bytes, .. system, .. value, .. keys, .. storage];
        AssertValues(whole, "w", [2, 3]);
        Assert.Contains("damaged", OpenFails(whole[..^1]));
    }

    /// <summary>A zip whose sizes and offsets all stand in zip64 fields.</summary>
    private static byte[] Zip64(params (string Name, byte[] Content)[] entries)
    {
        var zip = new MemoryStream();
        var directory = new MemoryStream();
        using var w = new BinaryWriter(zip);
        using var d = new BinaryWriter(directory);
        foreach (var (name, content) in entries)
        {
            var at = zip.Position;
            w.Write(0x04034b50u);
            w.Write(new byte[14]);
            w.Write(uint.MaxValue);
            w.Write(uint.MaxValue);
            w.Write((ushort)name.Length);
            w.Write((ushort)0);
            w.Write(Ascii(name));
            w.Write(content);
            d.Write(0x02014b50u);
            d.Write(new byte[16]);
            d.Write(uint.MaxValue);
            d.Write(uint.MaxValue);
            d.Write((ushort)name.Length);
            d.Write((ushort)28);
            d.Write(new byte[10]);
            d.Write(uint.MaxValue);
            d.Write(Ascii(name));
            d.Write((ushort)1);
            d.Write((ushort)24);
            d.Write((long)content.Length);
            d.Write((long)content.Length);
            d.Write(at);
        }
        var start = zip.Position;
        w.Write(directory.ToArray());
        var end64 = zip.Position;
        w.Write(0x06064b50u);
        w.Write(44L);
        w.Write(new byte[12]);
        w.Write((long)entries.Length);
        w.Write((long)entries.Length);
        w.Write(directory.Length);
        w.Write(start);
        w.Write(0x07064b50u);
        w.Write(0);
        w.Write(end64);
        w.Write(1);
        w.Write(0x06054b50u);
        w.Write(0);
        w.Write(ushort.MaxValue);
        w.Write(ushort.MaxValue);
        w.Write(uint.MaxValue);
        w.Write(uint.MaxValue);
        w.Write((ushort)0);
        return zip.ToArray();
    }

    private static byte[] Archive(byte[] pickle)
    {
        var archive = new MemoryStream();
        using (var zip = new ZipArchive(archive, ZipArchiveMode.Create, leaveOpen: true))
        using (var stream = zip.CreateEntry("archive/data.pkl", CompressionLevel.NoCompression).Open())
            stream.Write(pickle);
        return archive.ToArray();
    }

    private static byte[] Ascii(string text) => Encoding.ASCII.GetBytes(text);

    private static string OpenFails(byte[] bytes)
    {
        using var folder = new TempFolder();
        return Assert.Throws<BayouException>(() => WeightFile.Open(folder.Write("a.pth", bytes))).Message;
    }

    private static void AssertValues(byte[] bytes, string key, float[] expected)
    {
        using var folder = new TempFolder();
        using var file = WeightFile.Open(folder.Write("a.pth", bytes));
        using var tensor = file.Get(key);
        Assert.Equal(expected.Length, file.Info(key).Count);
        Assert.Equal(expected, tensor.numel() == 0 ? [] : tensor.data<float>().ToArray());
    }
}
