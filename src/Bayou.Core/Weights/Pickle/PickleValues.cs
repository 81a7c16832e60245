using static TorchSharp.torch;

namespace Bayou.Core;

// What a pickle's values become here. Also used: null (None), bool, long, BigInteger, double, string, and PickleData for what no weight needs.

/// <summary>A name the pickle refers to, such as a class or function. Only ever a name: nothing is looked up or imported.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    internal string FullName => $"{Module}.{Name}";
}

/// <summary>Stands for an object of a class that is not rebuilt. Whatever the pickle does with it has no effect.</summary>
internal sealed record PicklePlaceholder(string ClassName);

/// <summary>A value whose content no weight needs (bytes, a bytearray, a set): kept only so that its place is known.</summary>
internal sealed class PickleData
{
    internal static readonly PickleData Bytes = new(), Set = new();
}

/// <summary>A list; filled by APPEND and APPENDS.</summary>
internal sealed class PickleList
{
    internal List<object?>? Items { get; private set; }

    internal int Count => Items?.Count ?? 0;

    internal void Add(object? item) => (Items ??= []).Add(item);
}

/// <summary>A dict or OrderedDict: its entries under string keys, in order, the last value of a repeated key. Entries under other keys
/// (an optimiser's state has numbers) name no weights and are not kept.</summary>
internal sealed class PickleDict
{
    private OrderedDictionary<string, object?>? items;

    internal int Count => items?.Count ?? 0;

    internal bool HasOtherKeys { get; private set; }

    internal IEnumerable<KeyValuePair<string, object?>> Items => items ?? [];

    internal object? this[string key] => items is not null && items.TryGetValue(key, out var value) ? value : null;

    internal void Set(object? key, object? value)
    {
        if (key is string name) (items ??= [])[name] = value;
        else HasOtherKeys = true;
    }
}

/// <summary>A storage named by a persistent id: the bytes that tensors are views of.</summary>
/// <param name="Key">Its name in the file.</param>
/// <param name="Type">Element type; bytes for an untyped storage; null for one that cannot be read.</param>
/// <param name="TypeName">The class, for messages.</param>
/// <param name="Count">Its elements.</param>
/// <param name="Offset">First element within the storage called <paramref name="Key"/> (only old files have storages within storages).</param>
internal sealed record PickleStorage(string Key, ScalarType? Type, string TypeName, long Count, long Offset);

/// <summary>A view of a storage.</summary>
internal sealed record PickleTensor(PickleStorage Storage, ScalarType? Type, string TypeName, long Offset, long[] Size, long[] Stride);
