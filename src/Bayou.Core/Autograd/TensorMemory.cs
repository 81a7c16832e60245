using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The memory behind a CPU tensor, for kernels.</summary>
public static unsafe class TensorMemory
{
    // Whoever asks for memory is about to run a kernel, and libtorch is loaded.
    static TensorMemory() => OpenMpTeam.Lend();

    /// <summary>Whether a tensor is what kernels take: contiguous float32 on the CPU, not empty.</summary>
    public static bool IsPlain(Tensor tensor) =>
        tensor.dtype == ScalarType.Float32 && tensor.device_type == TorchSharp.DeviceType.CPU && tensor.is_contiguous() && tensor.numel() > 0;

    /// <summary>Address of the first element of a contiguous float32 CPU tensor; valid while the tensor lives.</summary>
    /// <exception cref="BayouException">The tensor has another type, layout or device.</exception>
    public static float* Floats(Tensor tensor)
    {
        if (tensor.dtype != ScalarType.Float32 || tensor.device_type != TorchSharp.DeviceType.CPU || !tensor.is_contiguous())
            throw new BayouException($"a contiguous float32 CPU tensor is needed here, not {tensor.dtype} {new Ints(tensor.shape)} on {tensor.device}");
        var count = tensor.numel();
        if (count == 0) return null;
        // Native memory: it does not move, so the span's reference is the address. Spans end at 2 GB; beyond, the storage's address is taken, which ignores the
        // view's offset.
        if (count <= int.MaxValue / sizeof(float))
            return (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));
        return Strided(tensor);
    }

    /// <summary>Address of the first element of a float32 CPU tensor of any strides; valid while the tensor lives.</summary>
    internal static float* Strided(Tensor tensor) => (float*)tensor.storage<float>().data_ptr() + tensor.storage_offset();

    /// <summary>The elements of a contiguous float32 CPU tensor below 2 GB in place; valid while the tensor lives.</summary>
    /// <exception cref="BayouException">The tensor has another type, layout or device.</exception>
    public static ReadOnlySpan<float> Values(Tensor tensor) => new(Floats(tensor), checked((int)tensor.numel()));

    /// <summary>A copy of a tensor's elements in row-major order, whatever its layout, device and type, converted to <typeparamref name="T"/>.</summary>
    public static T[] ToArray<T>(Tensor tensor) where T : unmanaged
    {
        if (tensor.numel() == 0) return [];
        if (typeof(T) == typeof(float) && IsPlain(tensor) && tensor.numel() <= int.MaxValue / sizeof(float))
        {
            var values = MemoryMarshal.Cast<byte, T>(tensor.bytes).ToArray();
            GC.KeepAlive(tensor);
            return values;
        }
        var type = typeof(T) == typeof(float)
            ? ScalarType.Float32 : typeof(T) == typeof(double) ? ScalarType.Float64 : typeof(T) == typeof(int) ? ScalarType.Int32
            : typeof(T) == typeof(long)
                ? ScalarType.Int64 : typeof(T) == typeof(byte) ? ScalarType.Byte : throw new BayouException($"no tensor type holds {typeof(T).Name}");
        using var scope = NewDisposeScope();
        return MemoryMarshal.Cast<byte, T>(tensor.detach().cpu().to(type).contiguous().bytes).ToArray();
    }

    /// <summary>A float32 CPU tensor of these values; a fraction of the time of torch.tensor for a few of them.</summary>
    /// <exception cref="BayouException">The shape has another number of elements.</exception>
    public static Tensor FromValues(ReadOnlySpan<float> values, params long[] shape)
    {
        var tensor = empty(shape);
        if (tensor.numel() != values.Length) throw new BayouException($"{values.Length} values are no {new Ints(shape)}");
        if (values.Length > 0) values.CopyTo(new Span<float>(Floats(tensor), values.Length));
        return tensor;
    }
}
