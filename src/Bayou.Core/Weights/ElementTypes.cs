using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The element types that weight files hold, with their names in safetensors, in PyTorch's storages and in messages.</summary>
internal static class ElementTypes
{
    private static readonly (ScalarType Type, string Safetensors, string Storage, string Torch, int Size)[] Table =
    [
        (ScalarType.Float64, "F64", "DoubleStorage", "float64", 8),
        (ScalarType.Float32, "F32", "FloatStorage", "float32", 4),
        (ScalarType.Float16, "F16", "HalfStorage", "float16", 2),
        (ScalarType.BFloat16, "BF16", "BFloat16Storage", "bfloat16", 2),
        (ScalarType.Int64, "I64", "LongStorage", "int64", 8),
        (ScalarType.Int32, "I32", "IntStorage", "int32", 4),
        (ScalarType.Int16, "I16", "ShortStorage", "int16", 2),
        (ScalarType.Int8, "I8", "CharStorage", "int8", 1),
        (ScalarType.Byte, "U8", "ByteStorage", "uint8", 1),
        (ScalarType.Bool, "BOOL", "BoolStorage", "bool", 1),
    ];

    /// <summary>Safetensors types that libtorch for .NET has no element type for; their sizes are needed to check offsets.</summary>
    private static readonly Dictionary<string, int> Foreign = new()
    {
        ["U16"] = 2,
        ["U32"] = 4,
        ["U64"] = 8,
        ["F8_E4M3"] = 1,
        ["F8_E5M2"] = 1,
        ["F8_E8M0"] = 1,
        ["C64"] = 8,
    };

    internal static ScalarType? FromSafetensors(string name) => Find(row => row.Safetensors == name);

    internal static ScalarType? FromStorage(string name) => Find(row => row.Storage == name);

    internal static ScalarType? FromTorch(string name) => Find(row => row.Torch == name);

    /// <summary>Bytes an element takes, for types we can read and for those we can only skip; null for a name nobody knows.</summary>
    internal static int? SizeOfSafetensors(string name) =>
        FromSafetensors(name) is { } type ? Size(type) : Foreign.TryGetValue(name, out var size) ? size : null;

    internal static int Size(ScalarType type) => Table.First(row => row.Type == type).Size;

    internal static string Name(ScalarType type) => Table.Where(row => row.Type == type).Select(row => row.Torch).FirstOrDefault() ?? type.ToString();

    /// <summary>The name safetensors has for the type, or null.</summary>
    internal static string? ToSafetensors(ScalarType type) => Table.Where(row => row.Type == type).Select(row => row.Safetensors).FirstOrDefault();

    internal static bool IsFloat(ScalarType type) => type is ScalarType.Float64 or ScalarType.Float32 or ScalarType.Float16 or ScalarType.BFloat16;

    private static ScalarType? Find(Func<(ScalarType Type, string Safetensors, string Storage, string Torch, int Size), bool> match)
    {
        foreach (var row in Table)
            if (match(row)) return row.Type;
        return null;
    }
}
