using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Bayou.Tests;

/// <summary>Writes pickles instruction by instruction, and checkpoints around them: what torch.save writes, and what an attacker might.</summary>
internal sealed class PickleBuilder
{
    private readonly MemoryStream bytes = new();

    internal PickleBuilder(byte protocol = 2) => Raw(0x80, protocol);

    internal byte[] Bytes => bytes.ToArray();

    internal PickleBuilder Raw(params byte[] code)
    {
        bytes.Write(code);
        return this;
    }

    internal PickleBuilder Op(char code) => Raw((byte)code);

    internal PickleBuilder Text(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        return Op('X').Raw(Little(utf8.Length)).Raw(utf8);
    }

    internal PickleBuilder Int(long value)
    {
        var little = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(little, value);
        return Raw(0x8a, 8).Raw(little);
    }

    internal PickleBuilder Global(string module, string name) => Op('c').Raw(Encoding.ASCII.GetBytes($"{module}\n{name}\n"));

    internal PickleBuilder Ints(params long[] values)
    {
        Op('(');
        foreach (var v in values) Int(v);
        return Op('t');
    }

    internal PickleBuilder Put(byte index) => Op('q').Raw(index);

    internal PickleBuilder Get(byte index) => Op('h').Raw(index);

    internal PickleBuilder Storage(string key, string type, long count) =>
        Op('(').Text("storage").Global("torch", type).Text(key).Text("cpu").Int(count).Op('t').Op('Q');

    /// <summary>torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict()).</summary>
    internal PickleBuilder Tensor(string key, long count, long offset, long[] size, long[] stride, string type = "FloatStorage") =>
        Global("torch._utils", "_rebuild_tensor_v2").Op('(').Storage(key, type, count).Int(offset).Ints(size).Ints(stride)
            .Raw(0x89).Global("collections", "OrderedDict").Op(')').Op('R').Op('t').Op('R');

    /// <summary>A one-element tensor whose value is the storage's first.</summary>
    internal PickleBuilder One(string key = "0") => Tensor(key, 1, 0, [1], [1]);

    internal PickleBuilder Dict(params (string Key, Action<PickleBuilder> Value)[] items)
    {
        Op('}').Op('(');
        foreach (var (key, value) in items)
        {
            Text(key);
            value(this);
        }
        return Op('u');
    }

    /// <summary>A zip checkpoint with this pickle and float storages "0", "1", ...</summary>
    internal byte[] Zip(params float[][] storages) => Zip(CompressionLevel.NoCompression, [], storages);

    internal byte[] Zip(CompressionLevel level, (string Name, string Content)[] extra, params float[][] storages)
    {
        var archive = new MemoryStream();
        using (var zip = new ZipArchive(archive, ZipArchiveMode.Create, leaveOpen: true))
        {
            Entry("data.pkl", Bytes);
            foreach (var (name, content) in extra) Entry(name, Encoding.ASCII.GetBytes(content));
            for (var i = 0; i < storages.Length; i++) Entry($"data/{i}", storages[i].SelectMany(BitConverter.GetBytes).ToArray());

            void Entry(string name, byte[] content)
            {
                using var stream = zip.CreateEntry("archive/" + name, level).Open();
                stream.Write(content);
            }
        }
        return archive.ToArray();
    }

    private static byte[] Little(int value)
    {
        var little = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(little, value);
        return little;
    }
}
