using System.Buffers.Binary;

namespace Bayou.Core;

/// <summary>Reads the index of a PyTorch checkpoint: the zip archive of PyTorch 1.6 and later, or the stream of pickles before it.</summary>
internal static class TorchCheckpoint
{
    /// <summary>PROTO n, LONG1 of 10 bytes with the magic number, STOP.</summary>
    private static readonly byte[] LegacyMagic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.'];

    private const long LegacyProtocol = 1001;

    internal static bool LooksLikeZip(MappedFile file) => file.Length >= 4 && file.Slice(0, 4).SequenceEqual("PK\x03\x04"u8);

    internal static bool LooksLikeLegacy(MappedFile file) =>
        file.Length >= 2 + LegacyMagic.Length && file.Slice(0, 1)[0] == 0x80 && file.Slice(2, LegacyMagic.Length).SequenceEqual(LegacyMagic);

    // ---- zip ----

    internal static List<KeyValuePair<string, StoredTensor>> ReadZip(MappedFile file, string? section)
    {
        var zip = new ZipIndex(file);
        var pickleName = zip.Names.Where(n => n == "data.pkl" || n.EndsWith("/data.pkl", StringComparison.Ordinal)).MinBy(n => n.Length)
            ?? throw new BayouException($"'{file.Path}' is a zip archive without a data.pkl: not a checkpoint written by torch.save");
        var folder = pickleName[..^"data.pkl".Length];
        if (zip.Contains(folder + "constants.pkl"))
            throw new BayouException($"'{file.Path}' is a TorchScript archive (torch.jit.save), which is refused: it holds a program. "
                + "Save the module's state_dict() with torch.save");
        if (zip.Contains(folder + "byteorder"))
        {
            var (orderStart, orderLength) = zip.Locate(folder + "byteorder");
            if (orderLength == 3 && file.Slice(orderStart, 3).SequenceEqual("big"u8))
                throw BigEndian(file);
            if (orderLength != 6 || !file.Slice(orderStart, 6).SequenceEqual("little"u8)) throw file.Damaged("its byteorder is neither little nor big");
        }

        var (start, length) = zip.Locate(pickleName);
        var root = new PickleReader(file, start, start + length).Read();
        return Resolve(file, root, section, storage => zip.Locate($"{folder}data/{storage.Key}"));
    }

    // ---- legacy: magic number, protocol, system, value, storage names, storages ----

    internal static List<KeyValuePair<string, StoredTensor>> ReadLegacy(MappedFile file, string? section)
    {
        long at = 0;
        Next();     // the magic number, already checked
        if (Next() is not LegacyProtocol) throw file.Damaged("its protocol version is not PyTorch's");
        if (Next() is not PickleDict system) throw file.Damaged("its description of the writing machine is missing");
        if (system["little_endian"] is not true)
            throw BigEndian(file);
        var elementSizes = new Dictionary<string, int>();
        var root = Next(storage => elementSizes.TryAdd(storage.Key, storage.Type is { } type ? ElementTypes.Size(type) : ForeignSize(storage.TypeName)));
        if (Next() is not PickleList keys) throw file.Damaged("the list of its storages is missing");

        var regions = new Dictionary<string, (long Start, long Length)>();
        foreach (var item in keys.Items ?? [])
        {
            if (item is not string key || !elementSizes.TryGetValue(key, out var size)) throw file.Damaged("it lists a storage that no tensor uses");
            if (size == 0)
                throw new BayouException($"'{file.Path}' holds a storage of a type that cannot be skipped; save its state_dict with a newer PyTorch");
            var count = BinaryPrimitives.ReadInt64LittleEndian(file.Slice(at, 8));
            at += 8;
            if (count < 0 || count > (file.Length - at) / size) throw file.Damaged($"its storage '{key}' claims {count} elements, more than the file has left");
            if (!regions.TryAdd(key, (at, count * size))) throw file.Damaged($"it lists the storage '{key}' twice");
            at += count * size;
        }
        return Resolve(file, root, section, storage =>
            regions.TryGetValue(storage.Key, out var region) ? region : throw file.Damaged($"its storage '{storage.Key}' is missing"));

        object? Next(Action<PickleStorage>? onStorage = null)
        {
            var reader = new PickleReader(file, at, file.Length) { OnStorage = onStorage };
            var value = reader.Read();
            at = reader.Position;
            return value;
        }
    }

    /// <summary>Sizes of elements that can be skipped but not read.</summary>
    private static int ForeignSize(string storageClass) => storageClass[(storageClass.LastIndexOf('.') + 1)..] switch
    {
        "ComplexDoubleStorage" => 16,
        "ComplexFloatStorage" => 8,
        "QInt32Storage" => 4,
        "QInt8Storage" or "QUInt8Storage" => 1,
        _ => 0,
    };

    // ---- both ----

    private static BayouException BigEndian(MappedFile file) =>
        new($"'{file.Path}' was written on a big-endian machine, which is not supported; load and save it again with PyTorch on a little-endian one");

    private static List<KeyValuePair<string, StoredTensor>> Resolve(
        MappedFile file, object? root, string? section, Func<PickleStorage, (long Start, long Length)> locate)
    {
        var result = new List<KeyValuePair<string, StoredTensor>>();
        foreach (var (key, value) in StateDict.Find(file, root, section)) result.Add(new(key, One(key, value)));
        return result;

        StoredTensor One(string key, object value)
        {
            if (value is PicklePlaceholder p)
                return StoredTensor.Refused(file, $"an object of {p.ClassName}; only tensors are rebuilt, nothing is imported or called");
            var tensor = (PickleTensor)value;
            if (tensor.Type is not { } type || tensor.Storage.Type is not { } stored)
                return StoredTensor.Refused(file, $"a tensor of {tensor.TypeName}, whose elements cannot be read");
            var (start, length) = locate(tensor.Storage);
            // The view must lie within the part of the storage that its own description claims, and that within the file.
            Int128 from = (Int128)tensor.Storage.Offset * ElementTypes.Size(stored), bytes = (Int128)tensor.Storage.Count * ElementTypes.Size(stored);
            if (from + bytes > length) throw file.Damaged($"'{key}' needs {from + bytes} bytes of storage '{tensor.Storage.Key}', which has {length}");
            return StoredTensor.Strided(file, key, type, tensor.Size, tensor.Stride, tensor.Offset, start + (long)from, (long)bytes);
        }
    }
}
