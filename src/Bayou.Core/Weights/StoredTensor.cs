using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Where a tensor's elements lie in a mapped file, already checked against the file's length; or why it cannot be had.</summary>
internal sealed class StoredTensor
{
    /// <summary>Elements a tensor may have beyond what the file's bytes can hold (views that repeat an element): 64 MB worth.</summary>
    private const long RepeatedBytes = 64L << 20;

    private readonly MappedFile file;
    private readonly long[] shape;
    private readonly long[] strides;
    private readonly long start;

    private StoredTensor(MappedFile file, ScalarType type, long[] shape, long[] strides, long start)
    {
        (this.file, this.shape, this.strides, this.start) = (file, shape, strides, start);
        Info = new TensorInfo(type, shape);
    }

    private StoredTensor(MappedFile file, string refusal)
    {
        (this.file, shape, strides) = (file, [], []);
        Refusal = refusal;
    }

    /// <summary>Element type and shape; null when the value is refused.</summary>
    internal TensorInfo? Info { get; }

    /// <summary>Why the value under this key is not a tensor that can be read; null when it can.</summary>
    internal string? Refusal { get; }

    /// <summary>A value that will be an error when asked for.</summary>
    internal static StoredTensor Refused(MappedFile file, string reason) => new(file, reason);

    /// <summary>Elements laid out by strides over the bytes [regionStart, regionStart + regionBytes) of the file.</summary>
    /// <param name="file">The mapped file.</param>
    /// <param name="name">The key, for messages.</param>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="strides">Steps in elements, one for each size.</param>
    /// <param name="offset">First element, counted from the region's start, in elements.</param>
    /// <param name="regionStart">First byte of the region.</param>
    /// <param name="regionBytes">Bytes of the region; it must lie within the file.</param>
    internal static StoredTensor Strided(
        MappedFile file, string name, ScalarType type, long[] shape, long[] strides, long offset, long regionStart, long regionBytes)
    {
        var size = ElementTypes.Size(type);
        if (shape.Length != strides.Length) throw file.Damaged($"'{name}' has {shape.Length} sizes but {strides.Length} strides");
        if (offset < 0 || shape.Any(s => s < 0) || strides.Any(s => s < 0)) throw file.Damaged($"'{name}' has a negative size, stride or offset");

        // 128 bits: no product or sum of two 64-bit numbers can wrap around unnoticed.
        Int128 count = 1, last = offset;
        foreach (var s in shape) if ((count *= s) > long.MaxValue) throw file.Damaged($"'{name}' has more elements than any file");
        for (var d = 0; d < shape.Length; d++) if ((last += (Int128)Math.Max(0, shape[d] - 1) * strides[d]) > long.MaxValue) break;
        if (count > 0)
        {
            if ((last + 1) * size > regionBytes)
                throw file.Damaged($"'{name}' reaches to element {last} of a storage of {regionBytes / size} elements");
            if (count * size > (Int128)file.Length + RepeatedBytes)
                throw file.Damaged($"'{name}' claims {count} elements, more than the whole file could hold");
        }
        return new StoredTensor(file, type, shape, strides, count > 0 ? regionStart + offset * size : regionStart);
    }

    /// <summary>A new contiguous CPU tensor with the stored values.</summary>
    internal Tensor Read()
    {
        var type = Info!.DType;
        var result = empty(shape, type, CPU);
        try
        {
            if (Info.Count > 0) Fill(result, type);
        }
        catch
        {
            result.Dispose();
            throw;
        }
        return result;
    }

    /// <summary>Whether two keys name the very same elements.</summary>
    internal bool SameElements(StoredTensor other) =>
        Info is { } a && other.Info is { } b && a.DType == b.DType && start == other.start && shape.SequenceEqual(other.shape)
            && strides.SequenceEqual(other.strides);

    private void Fill(Tensor result, ScalarType type)
    {
        var size = ElementTypes.Size(type);
        using var flat = result.view(-1);
        // Spans end at 2 GB: larger tensors are filled in pieces.
        const long piece = 1L << 27;
        var odometer = new Odometer(shape, strides);
        for (long done = 0, total = Info!.Count; done < total; done += piece)
        {
            var count = Math.Min(piece, total - done);
            using var part = flat.narrow(0, done, count);
            var target = part.bytes;
            if (IsContiguous) file.Slice(start + done * size, (int)count * size).CopyTo(target);
            else Gather(target, (int)count, size, odometer);
            // Any byte but 0 means true; libtorch itself relies on bools being 0 or 1.
            if (type == ScalarType.Bool) foreach (ref var b in target) b = b == 0 ? (byte)0 : (byte)1;
        }
    }

    private bool IsContiguous
    {
        get
        {
            long expected = 1;
            for (var d = shape.Length - 1; d >= 0; expected *= shape[d--])
                if (shape[d] != 1 && strides[d] != expected) return false;
            return true;
        }
    }

    private void Gather(Span<byte> target, int count, int size, Odometer odometer)
    {
        for (var i = 0; i < count; i++, odometer.Next())
            file.Slice(start + odometer.Offset * size, size).CopyTo(target.Slice(i * size, size));
    }

    /// <summary>Counts through a strided tensor in row-major order.</summary>
    private sealed class Odometer(long[] shape, long[] strides)
    {
        private readonly long[] index = new long[shape.Length];

        internal long Offset { get; private set; }

        internal void Next()
        {
            for (var d = shape.Length - 1; d >= 0; d--)
            {
                Offset += strides[d];
                if (++index[d] < shape[d]) return;
                Offset -= strides[d] * shape[d];
                index[d] = 0;
            }
        }
    }
}
