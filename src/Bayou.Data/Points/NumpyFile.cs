using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>An array of a .npy file, row-major.</summary>
/// <param name="Shape">Sizes.</param>
/// <param name="Type">NumPy's type without byte order: f4, f8, i4, i8, u1, b1, ...</param>
/// <param name="Bytes">Little-endian values.</param>
public sealed record NumpyArray(int[] Shape, string Type, byte[] Bytes)
{
    /// <summary>Values.</summary>
    public int Count => Shape.Aggregate(1, (a, b) => a * b);

    /// <summary>The values as float.</summary>
    public float[] Floats() => Type == "f4" ? MemoryMarshal.Cast<byte, float>(Bytes).ToArray() : Convert(v => (float)v);

    /// <summary>The values as int, cut to its range.</summary>
    public int[] Ints() =>
        Type == "i4" ? MemoryMarshal.Cast<byte, int>(Bytes).ToArray() : Convert(v => (int)Math.Clamp(double.IsNaN(v) ? 0 : v, int.MinValue, int.MaxValue));

    private T[] Convert<T>(Func<double, T> to)
    {
        var size = int.Parse(Type.AsSpan(1), CultureInfo.InvariantCulture);
        var values = new T[Count];
        for (var i = 0; i < values.Length; i++)
        {
            var bytes = Bytes.AsSpan(i * size, size);
            values[i] = to(Type == "f2"
                ? (double)BinaryPrimitives.ReadHalfLittleEndian(bytes) : PointTable.Number(bytes, Type[0] is 'f' ? 'F' : Type[0] is 'i' ? 'I' : 'U'));
        }
        return values;
    }
}

/// <summary>NumPy's .npy and .npz files: plain numbers of any type, both orders, both byte orders; objects (pickles) are refused.</summary>
public static class NumpyFile
{
    private const long Most = 1L << 30;

    /// <summary>Reads a .npy file held in memory.</summary>
    /// <exception cref="BayouException">It is none, holds objects, or ends early.</exception>
    public static NumpyArray Read(ReadOnlySpan<byte> bytes, string where)
    {
        if (bytes.Length < 12 || bytes[0] != 0x93 || !bytes[1..6].SequenceEqual("NUMPY"u8)) throw new BayouException($"{where}: it is no NumPy file");
        var (start, length) = bytes[6] == 1
            ? (10, BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..])) : (12, (long)BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]));
        if (start + length > bytes.Length) throw new BayouException($"{where}: the header of {length} bytes goes beyond the end of the file");
        var header = Encoding.Latin1.GetString(bytes.Slice(start, (int)length));
        var type = Regex.Match(header, "'descr':\\s*'([<>|=])([fiub])([1248])'");
        var order = Regex.Match(header, "'fortran_order':\\s*(True|False)");
        var shape = Regex.Match(header, "'shape':\\s*\\(([0-9, ]*)\\)");
        if (!type.Success || !order.Success || !shape.Success)
            throw new BayouException($"{where}: an array of plain numbers is needed; its header is {header.Trim()[..Math.Min(120, header.Trim().Length)]}");
        int[] sizes = [.. shape.Groups[1].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(s => int.TryParse(s, out var v) ? v : throw new BayouException($"{where}: axis of {s}"))];
        var size = type.Groups[3].Value[0] - '0';
        var count = sizes.Aggregate(1.0, (a, b) => a * b);
        var data = bytes[(int)(start + length)..];
        if (count * size > data.Length)
            throw new BayouException($"{where}: {string.Join(" x ", sizes)} values need {count * size} bytes, the file has {data.Length}: it is truncated");
        var values = data[..(int)(count * size)].ToArray();
        if (type.Groups[1].Value == ">" && size > 1) for (var i = 0; i < values.Length; i += size) values.AsSpan(i, size).Reverse();
        if (order.Groups[1].Value == "True" && sizes.Length > 1) values = RowMajor(values, sizes, size);
        return new(sizes, type.Groups[2].Value + size, values);
    }

    // First axis fastest -> last axis fastest.
    private static byte[] RowMajor(byte[] values, int[] shape, int size)
    {
        var target = new byte[values.Length];
        var index = new int[shape.Length];
        for (var at = 0; at < values.Length; at += size)
        {
            long place = 0;
            for (var d = 0; d < shape.Length; d++) place = place * shape[d] + index[d];
            values.AsSpan(at, size).CopyTo(target.AsSpan((int)place * size));
            for (var d = 0; d < shape.Length && ++index[d] == shape[d]; d++) index[d] = 0;
        }
        return target;
    }

    /// <summary>Reads every array of a .npz file. Arrays above 1 GB are refused.</summary>
    public static IReadOnlyDictionary<string, NumpyArray> ReadAll(byte[] bytes, string where)
    {
        var arrays = new Dictionary<string, NumpyArray>();
        try
        {
            using var zip = new ZipArchive(new MemoryStream(bytes), ZipArchiveMode.Read);
            long total = 0;
            foreach (var entry in zip.Entries)
            {
                if (!entry.FullName.EndsWith(".npy", StringComparison.Ordinal)) continue;
                // Deflate expands at most 1032 times.
                total += entry.Length;
                if (total > Most || entry.Length > 1100L * bytes.Length)
                    throw new BayouException($"{where}: '{entry.FullName}' claims {entry.Length} bytes: too large");
                var content = new byte[entry.Length];
                using (var stream = entry.Open()) stream.ReadExactly(content);
                arrays[entry.FullName[..^4]] = Read(content, $"{where}({entry.FullName})");
            }
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or NotSupportedException)
        {
            throw new BayouException($"{where}: it is no readable .npz archive ({e.Message})", e);
        }
        return arrays;
    }

    /// <summary>Writes float32 values as .npy.</summary>
    public static void Write(float[] values, int[] shape, Stream stream)
    {
        var sizes = string.Join(", ", shape) + (shape.Length == 1 ? "," : "");
        var header = $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}";
        header = header.PadRight((10 + header.Length + 1 + 63) / 64 * 64 - 11) + "\n";
        stream.Write([0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0, (byte)header.Length, (byte)(header.Length >> 8)]);
        stream.Write(Encoding.Latin1.GetBytes(header));
        stream.Write(MemoryMarshal.AsBytes(values.AsSpan()));
    }
}
