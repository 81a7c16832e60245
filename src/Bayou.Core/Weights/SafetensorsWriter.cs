using System.Buffers.Binary;
using System.Text.Json;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Writes safetensors: to a temporary file beside the target, flushed to the disk, then renamed over it.</summary>
internal static class SafetensorsWriter
{
    internal static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        var entries = tensors.Select(pair => new Entry(pair.Key, pair.Value)).ToList();
        var names = new HashSet<string>();
        foreach (var e in entries)
        {
            if (e.Name == "__metadata__") throw new BayouException($"cannot write '{path}': a tensor may not be called '__metadata__' in safetensors");
            if (!names.Add(e.Name)) throw new BayouException($"cannot write '{path}': the key '{e.Name}' is given twice");
        }
        // The format's own writer puts wide elements first, so that every tensor starts at a multiple of its element size.
        entries.Sort((a, b) => a.Size != b.Size ? b.Size.CompareTo(a.Size) : string.CompareOrdinal(a.Name, b.Name));

        var header = Header(entries, metadata);
        AtomicFile.Write(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
            stream.Write(length);
            stream.Write(header);
            foreach (var e in entries) WriteValues(stream, e.Tensor);
        });
    }

    private static byte[] Header(List<Entry> entries, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata) json.WriteString(key, value);
                json.WriteEndObject();
            }
            long at = 0;
            foreach (var e in entries)
            {
                json.WriteStartObject(e.Name);
                json.WriteString("dtype", e.Type);
                json.WriteStartArray("shape");
                foreach (var s in e.Tensor.shape) json.WriteNumberValue(s);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(at);
                json.WriteNumberValue(at += e.Tensor.numel() * e.Size);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (buffer.Length % 8 != 0) buffer.WriteByte((byte)' ');     // the data starts at a multiple of 8
        return buffer.ToArray();
    }

    private static void WriteValues(Stream stream, Tensor tensor)
    {
        if (tensor.numel() == 0) return;
        using var scope = NewDisposeScope();
        var flat = tensor.detach().cpu().contiguous().view(-1);
        const long piece = 1L << 27;        // spans end at 2 GB
        for (long done = 0, total = flat.numel(); done < total; done += piece)
        {
            using var part = flat.narrow(0, done, Math.Min(piece, total - done));
            stream.Write(part.bytes);
        }
    }

    private sealed record Entry
    {
        internal Entry(string name, Tensor tensor)
        {
            (Name, Tensor) = (name, tensor);
            Type = ElementTypes.ToSafetensors(tensor.dtype)
                ?? throw new BayouException($"cannot write '{name}': safetensors here holds no elements of type {tensor.dtype}; convert the tensor first");
            Size = ElementTypes.Size(tensor.dtype);
        }

        internal string Name { get; }

        internal Tensor Tensor { get; }

        internal string Type { get; }

        internal int Size { get; }
    }
}
