using System.Buffers.Binary;
using System.Text;

namespace Bayou.Core;

/// <summary>The central directory of a zip archive whose entries are stored (not compressed), as torch.save writes it; zip64 included.
/// PyTorch itself does not verify the entries' checksums, and some of its writers leave them wrong, so they are not verified here.</summary>
internal sealed class ZipIndex
{
    private const uint EndSignature = 0x06054b50, End64Signature = 0x06064b50, Locator64Signature = 0x07064b50;
    private const uint CentralSignature = 0x02014b50, LocalSignature = 0x04034b50;

    private readonly MappedFile file;
    private readonly Dictionary<string, Entry> entries = [];

    private readonly record struct Entry(long LocalHeader, long Compressed, long Size, int Method, int Flags);

    internal ZipIndex(MappedFile file)
    {
        this.file = file;
        var (start, bytes) = FindDirectory();
        long at = start, end = start + bytes;
        while (at < end)
        {
            if (end - at < 46 || U32(at) != CentralSignature) throw file.Damaged("its zip directory is broken");
            int nameLength = U16(at + 28), extraLength = U16(at + 30), commentLength = U16(at + 32);
            if (end - at < 46 + nameLength + extraLength + commentLength) throw file.Damaged("its zip directory is broken");
            var name = Encoding.UTF8.GetString(file.Slice(at + 46, nameLength));
            var entry = Widen(at + 46 + nameLength, extraLength, new Entry(U32(at + 42), U32(at + 20), U32(at + 24), U16(at + 10), U16(at + 8)));
            if (!entries.TryAdd(name, entry)) throw file.Damaged($"its zip directory lists '{name}' twice");
            at += 46 + nameLength + extraLength + commentLength;
        }
    }

    internal IEnumerable<string> Names => entries.Keys;

    internal bool Contains(string name) => entries.ContainsKey(name);

    /// <summary>The bytes of an entry within the file.</summary>
    internal (long Start, long Length) Locate(string name)
    {
        if (!entries.TryGetValue(name, out var e)) throw file.Damaged($"its archive lacks '{name}'");
        if ((e.Flags & 1) != 0) throw new BayouException($"'{file.Path}': the archive's entry '{name}' is encrypted; save it without a password");
        if (e.Method != 0)
            throw new BayouException($"'{file.Path}': the archive's entry '{name}' is compressed, which torch.save never does; save the checkpoint with torch.save");
        if (e.Compressed != e.Size) throw file.Damaged($"its entry '{name}' has {e.Compressed} bytes stored for {e.Size}");
        if (U32(e.LocalHeader) != LocalSignature) throw file.Damaged($"its entry '{name}' does not start where the directory says");
        var start = e.LocalHeader + 30 + U16(e.LocalHeader + 26) + U16(e.LocalHeader + 28);
        if (e.Size < 0 || start > file.Length || e.Size > file.Length - start) throw file.Damaged($"its entry '{name}' reaches past the end of the file");
        return (start, e.Size);
    }

    private (long Start, long Length) FindDirectory()
    {
        // The end record stands last, before a comment of at most 65,535 bytes.
        for (var at = file.Length - 22; at >= Math.Max(0, file.Length - 22 - ushort.MaxValue); at--)
        {
            if (U32(at) != EndSignature || at + 22 + U16(at + 20) != file.Length) continue;
            long length = U32(at + 12), start = U32(at + 16), limit = at;
            if ((length == uint.MaxValue || start == uint.MaxValue || U16(at + 10) == ushort.MaxValue) && at >= 20 && U32(at - 20) == Locator64Signature)
            {
                limit = I64(at - 20 + 8);
                if (U32(limit) != End64Signature) throw file.Damaged("its zip64 end record is not where it should be");
                (length, start) = (I64(limit + 40), I64(limit + 48));
            }
            if (start < 0 || length < 0 || length > limit || start > limit - length) throw file.Damaged("its zip directory reaches past the end of the file");
            return (start, length);
        }
        throw file.Damaged("the zip archive's end is missing (a download or copy that stopped early)");
    }

    /// <summary>Replaces the fields that are saturated in a directory entry by the 64-bit values of its zip64 extra field.</summary>
    private Entry Widen(long at, int length, Entry e)
    {
        if (e.Size != uint.MaxValue && e.Compressed != uint.MaxValue && e.LocalHeader != uint.MaxValue) return e;
        var end = at + length;
        while (end - at >= 4)
        {
            int id = U16(at), size = U16(at + 2);
            at += 4;
            if (size > end - at) break;
            if (id == 1)
            {
                var stop = at + size;
                return e with { Size = Next(e.Size), Compressed = Next(e.Compressed), LocalHeader = Next(e.LocalHeader) };

                long Next(long value)
                {
                    if (value != uint.MaxValue) return value;
                    if (stop - at < 8) throw file.Damaged("a zip64 field is too short");
                    at += 8;
                    return I64(at - 8);
                }
            }
            at += size;
        }
        return e;
    }

    private ushort U16(long at) => BinaryPrimitives.ReadUInt16LittleEndian(file.Slice(at, 2));

    private uint U32(long at) => BinaryPrimitives.ReadUInt32LittleEndian(file.Slice(at, 4));

    private long I64(long at) => BinaryPrimitives.ReadInt64LittleEndian(file.Slice(at, 8));
}
