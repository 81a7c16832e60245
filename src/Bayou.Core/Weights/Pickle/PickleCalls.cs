using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The few calls a checkpoint may ask for, done here on inert values: rebuilding tensors and the standard containers. Every other
/// call, and every call with arguments of another form, gives a placeholder.</summary>
internal static class PickleCalls
{
    private const int MaxDimensions = 64;

    /// <summary>The result of REDUCE.</summary>
    /// <param name="callable">What is to be called.</param>
    /// <param name="argument">Its argument tuple.</param>
    /// <param name="charge">Told how many items are copied, so that repeated copies count against the reader's limit.</param>
    internal static object? Reduce(object? callable, object? argument, Action<long> charge)
    {
        if (callable is PicklePlaceholder placeholder) return placeholder;
        if (callable is not PickleGlobal global) return new PicklePlaceholder("a call of something that is not a function");
        var args = argument as object?[] ?? [];
        return Known(global, args, charge) ?? new PicklePlaceholder(global.FullName);
    }

    private static object? Known(PickleGlobal global, object?[] args, Action<long> charge) => (global.Module, global.Name) switch
    {
        ("torch._utils", "_rebuild_tensor" or "_rebuild_tensor_v2") => RebuildTensor(args),
        ("torch._utils", "_rebuild_tensor_v3") => RebuildTyped(args),
        ("torch._utils", "_rebuild_parameter" or "_rebuild_parameter_with_state") => args is [PickleTensor or PicklePlaceholder, ..] ? args[0] : null,
        ("torch._tensor", "_rebuild_from_type_v2") => RebuildSubclass(args, charge),
        ("torch", "Size") => args is [object?[] sizes] ? sizes : null,
        ("collections", "OrderedDict") => Dict(args, charge),
        ("collections", "defaultdict") => args.Length == 0 ? new PickleDict() : Dict(args[1..], charge),
        ("builtins" or "__builtin__", "dict") => Dict(args, charge),
        ("builtins" or "__builtin__", "list") => args.Length == 0 ? new PickleList() : null,
        ("builtins" or "__builtin__", "set" or "frozenset") => PickleData.Set,
        ("builtins" or "__builtin__", "bytearray" or "bytes") => PickleData.Bytes,
        ("_codecs", "encode") => PickleData.Bytes,      // how protocol 2 writes bytes
        _ => null,
    };

    /// <summary>(storage, offset, size, stride, ...): the element type is the storage's.</summary>
    private static PickleTensor? RebuildTensor(object?[] args) =>
        args is [PickleStorage storage, long offset, object?[] size, object?[] stride, ..] && Numbers(size) is { } sizes && Numbers(stride) is { } strides
            ? new PickleTensor(storage, storage.Type, storage.TypeName, offset, sizes, strides)
            : null;

    /// <summary>(storage, offset, size, stride, requires_grad, hooks, dtype, ...): the storage is bytes.</summary>
    private static PickleTensor? RebuildTyped(object?[] args) =>
        RebuildTensor(args) is { } tensor && args is [_, _, _, _, _, _, PickleGlobal { Module: "torch" } type, ..]
            ? tensor with { Type = ElementTypes.FromTorch(type.Name), TypeName = type.FullName }
            : null;

    /// <summary>(function, class, arguments, state): a subclass of Tensor; what matters is the tensor it wraps.</summary>
    private static object? RebuildSubclass(object?[] args, Action<long> charge) =>
        args is [PickleGlobal { Module: "torch._utils" } function, _, object?[] inner, ..] ? Known(function, inner, charge) : null;

    /// <summary>From nothing, from another dict, or from a list of pairs (how Python 2 writes it).</summary>
    private static PickleDict? Dict(object?[] args, Action<long> charge)
    {
        var result = new PickleDict();
        if (args.Length == 0) return result;
        if (args[0] is PickleDict other)
        {
            charge(other.Count);
            foreach (var (key, value) in other.Items) result.Set(key, value);
            return result;
        }
        if (args[0] is not PickleList list) return null;
        charge(list.Count);
        foreach (var item in list.Items ?? [])
        {
            if (item is object?[] { Length: 2 } pair) result.Set(pair[0], pair[1]);
            else if (item is PickleList { Count: 2 } two) result.Set(two.Items![0], two.Items[1]);
            else return null;
        }
        return result;
    }

    private static long[]? Numbers(object?[] values) =>
        values.Length <= MaxDimensions && values.All(v => v is long) ? Array.ConvertAll(values, v => (long)v!) : null;

    /// <summary>The storage (or, in old files, the class of a saved module) a persistent id stands for.</summary>
    internal static object? Persistent(object? id)
    {
        if (id is object?[] parts)
        {
            if (parts is ["module", var module, ..]) return module;
            if (parts is ["storage", PickleGlobal type, string key, _, long count, ..] && count >= 0)
            {
                ScalarType? element = type.Name == "UntypedStorage" ? ScalarType.Byte : ElementTypes.FromStorage(type.Name);
                var storage = new PickleStorage(key, element, type.FullName, count, 0);
                // A storage that was itself a view of another: (name, first element, elements).
                if (parts.Length > 5 && parts[5] is object?[] view && view is [string, long offset, long viewed] && offset >= 0 && viewed >= 0)
                    return storage with { Offset = offset, Count = viewed };
                return storage;
            }
        }
        return new PicklePlaceholder("a persistent id that is not a storage");
    }
}
