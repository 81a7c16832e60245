using System.Buffers.Binary;
using System.Text.Json;

namespace Bayou.Core;

/// <summary>Reads the index of a safetensors file: eight bytes with the header's length, a JSON header, then the tensors' bytes without gaps.</summary>
internal static class SafetensorsReader
{
    /// <summary>The format's own limit for the header.</summary>
    private const long MaxHeader = 100_000_000;

    internal sealed record Index(List<KeyValuePair<string, StoredTensor>> Tensors, Dictionary<string, string> Metadata);

    internal static bool LooksLike(MappedFile file) =>
        file.Length >= 9 && file.Slice(8, 1)[0] == (byte)'{';

    internal static Index Read(MappedFile file)
    {
        if (file.Length < 8) throw file.Damaged($"it has {file.Length} bytes, too few for a safetensors file");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(file.Slice(0, 8));
        if (length > MaxHeader || (long)length > file.Length - 8)
            throw file.Damaged($"its safetensors header claims {length} bytes, but the file has {file.Length}");
        try
        {
            return ReadHeader(file, (int)length);
        }
        catch (JsonException e)
        {
            throw file.Damaged($"its safetensors header is not valid JSON ({e.Message})", e);
        }
        catch (InvalidOperationException e)
        {
            // Utf8JsonReader: a value of another kind than asked for, or a string that is not UTF-8.
            throw file.Damaged($"its safetensors header holds an unusable value ({e.Message})", e);
        }
    }

    private static Index ReadHeader(MappedFile file, int headerLength)
    {
        var json = new Utf8JsonReader(file.Slice(8, headerLength));
        long dataStart = 8 + headerLength, dataLength = file.Length - dataStart;
        var tensors = new List<KeyValuePair<string, StoredTensor>>();
        var metadata = new Dictionary<string, string>();
        var names = new HashSet<string>();
        var ranges = new List<(long Begin, long End, string Name)>();

        Expect(ref json, file, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var name = json.GetString()!;
            if (!names.Add(name)) throw file.Damaged($"the key '{name}' stands twice in its header");
            if (name == "__metadata__")
            {
                ReadMetadata(ref json, file, metadata);
                continue;
            }
            var (type, shape, begin, end) = ReadEntry(ref json, file, name);
            if (begin < 0 || end < begin || end > dataLength)
                throw file.Damaged($"'{name}' lies at bytes {begin} to {end} of {dataLength} bytes of data");
            CheckSize(file, name, type, shape, end - begin);
            ranges.Add((begin, end, name));
            tensors.Add(new(name, ElementTypes.FromSafetensors(type) is { } known
                ? StoredTensor.Strided(file, name, known, shape, ContiguousStrides(shape), 0, dataStart + begin, end - begin)
                : StoredTensor.Refused(file, $"elements of type {type}, which TorchSharp cannot hold")));
        }
        if (json.TokenType != JsonTokenType.EndObject) throw file.Damaged("its safetensors header is not one JSON object");
        while (json.Read()) { }     // only white space may follow; anything else is a JsonException

        CheckCover(file, ranges, dataLength);
        return new Index(tensors, metadata);
    }

    private static (string Type, long[] Shape, long Begin, long End) ReadEntry(ref Utf8JsonReader json, MappedFile file, string name)
    {
        string? type = null;
        long[]? shape = null, range = null;
        Expect(ref json, file, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var field = json.GetString();
            var seen = field switch { "dtype" => type is not null, "shape" => shape is not null, "data_offsets" => range is not null, _ => false };
            if (seen) throw file.Damaged($"'{name}' states its {field} twice");
            if (field == "dtype")
            {
                Expect(ref json, file, JsonTokenType.String);
                type = json.GetString();
            }
            else if (field == "shape") shape = ReadNumbers(ref json, file, name);
            else if (field == "data_offsets") range = ReadNumbers(ref json, file, name);
            else throw file.Damaged($"'{name}' has an unknown field '{field}' in its header");
        }
        if (type is null || shape is null || range is not { Length: 2 }) throw file.Damaged($"'{name}' lacks its dtype, shape or data_offsets");
        return (type, shape, range[0], range[1]);
    }

    private static long[] ReadNumbers(ref Utf8JsonReader json, MappedFile file, string name)
    {
        var numbers = new List<long>();
        Expect(ref json, file, JsonTokenType.StartArray);
        while (json.Read() && json.TokenType == JsonTokenType.Number)
        {
            if (!json.TryGetInt64(out var number) || number < 0) throw file.Damaged($"'{name}' has a size or offset that is not a whole number from 0 up");
            numbers.Add(number);
            if (numbers.Count > 64) throw file.Damaged($"'{name}' has more than 64 dimensions");
        }
        if (json.TokenType != JsonTokenType.EndArray) throw file.Damaged($"'{name}' has something else than numbers in its shape or offsets");
        return [.. numbers];
    }

    private static void ReadMetadata(ref Utf8JsonReader json, MappedFile file, Dictionary<string, string> metadata)
    {
        Expect(ref json, file, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var key = json.GetString()!;
            Expect(ref json, file, JsonTokenType.String);
            if (!metadata.TryAdd(key, json.GetString()!)) throw file.Damaged($"its metadata states '{key}' twice");
        }
    }

    private static void Expect(ref Utf8JsonReader json, MappedFile file, JsonTokenType kind)
    {
        if (!json.Read() || json.TokenType != kind) throw file.Damaged($"its safetensors header has {json.TokenType} where {kind} belongs");
    }

    private static void CheckSize(MappedFile file, string name, string type, long[] shape, long bytes)
    {
        var size = ElementTypes.SizeOfSafetensors(type) ?? throw file.Damaged($"'{name}' has the unknown element type '{type}'");
        Int128 expected = size;
        foreach (var s in shape) if ((expected *= s) > long.MaxValue) throw file.Damaged($"'{name}' has more elements than any file");
        if (expected != bytes) throw file.Damaged($"'{name}' has {bytes} bytes, but {type} [{string.Join(", ", shape)}] takes {expected}");
    }

    /// <summary>The tensors must cover the data once: overlapping or unclaimed bytes mean damage (or a file made to confuse readers).</summary>
    private static void CheckCover(MappedFile file, List<(long Begin, long End, string Name)> ranges, long dataLength)
    {
        ranges.Sort();
        long at = 0;
        foreach (var (begin, end, name) in ranges)
        {
            if (begin < at) throw file.Damaged($"'{name}' overlaps the tensor before it by {at - begin} bytes");
            if (begin > at) throw file.Damaged($"{begin - at} bytes before '{name}' belong to no tensor");
            at = end;
        }
        if (at != dataLength) throw file.Damaged($"{dataLength - at} bytes at its end belong to no tensor");
    }

    private static long[] ContiguousStrides(long[] shape)
    {
        var strides = new long[shape.Length];
        if (shape.Contains(0)) return strides;      // no element, no step; and the other sizes may be anything
        long step = 1;
        for (var d = shape.Length - 1; d >= 0; d--)
        {
            strides[d] = step;
            step *= shape[d];
        }
        return strides;
    }
}
