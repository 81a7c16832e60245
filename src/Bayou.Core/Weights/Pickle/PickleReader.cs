using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace Bayou.Core;

/// <summary>
/// Reads one pickle (protocols 0 to 5) without Python: containers, numbers and strings become values, tensors become views of storages
/// (<see cref="PickleCalls"/>), every other class becomes an inert <see cref="PicklePlaceholder"/>. Nothing is imported, nothing is called.
/// A pickle is a program for a stack machine; this is that machine, with bounds: no instruction allocates more than a fixed amount or what
/// stands in the file, there is no recursion, and the number of instructions is limited.
/// </summary>
internal sealed class PickleReader(MappedFile file, long start, long end)
{
    /// <summary>Far above any checkpoint (a ResNet-152 with its optimiser takes 30,000); bounds memory to a few hundred MB.</summary>
    private const long MaxOperations = 8_000_000;

    /// <summary>Longest text kept as a dictionary key or class name.</summary>
    private const int MaxName = 4096;

    private readonly List<object?> stack = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private long at = start;
    private long operations;

    /// <summary>The first byte after the pickle, once it has been read.</summary>
    internal long Position => at;

    /// <summary>Called with each storage a persistent id names.</summary>
    internal Action<PickleStorage>? OnStorage { get; init; }

    /// <summary>Reads up to STOP.</summary>
    /// <exception cref="BayouException">The pickle is damaged or asks for more than the limits.</exception>
    internal object? Read()
    {
        while (true)
        {
            Charge(1);
            var op = Byte();
            if (op == '.') return marks.Count == 0 && stack.Count == 1
                ? stack[0] : throw file.Damaged("its pickle ends with a stack that does not hold one value");
            Step(op);
        }
    }

    private void Step(byte op)
    {
        switch (op)
        {
            // Frame and protocol.
            case 0x80: if (Byte() > 5) throw file.Damaged("its pickle has an unknown protocol"); break;
            case 0x95: if (U64() > (ulong)(end - at)) throw file.Damaged("a pickle frame reaches past the end"); break;

            // Stack and memo.
            case (byte)'(': marks.Add(stack.Count); break;
            case (byte)'0': if (marks.Count > 0 && marks[^1] == stack.Count) marks.RemoveAt(marks.Count - 1); else Pop(); break;
            case (byte)'1': PopToMark(); break;
            case (byte)'2': Push(Peek()); break;
            case (byte)'p': memo[Index(Line())] = Peek(); break;
            case (byte)'q': memo[Byte()] = Peek(); break;
            case (byte)'r': memo[U32()] = Peek(); break;
            case 0x94: memo[memo.Count] = Peek(); break;
            case (byte)'g': Push(Remembered(Index(Line()))); break;
            case (byte)'h': Push(Remembered(Byte())); break;
            case (byte)'j': Push(Remembered(U32())); break;

            // Constants and numbers.
            case (byte)'N': Push(null); break;
            case 0x88: Push(true); break;
            case 0x89: Push(false); break;
            case (byte)'I': Push(TextInteger(Line())); break;
            case (byte)'J': Push((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))); break;
            case (byte)'K': Push((long)Byte()); break;
            case (byte)'M': Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))); break;
            case (byte)'L': Push(TextInteger(Line().TrimEnd('L'))); break;
            case 0x8a: Push(Long(Bytes(Byte()))); break;
            case 0x8b: Push(Long(Bytes(BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))))); break;
            case (byte)'F': Push(TextFloat(Line())); break;
            case (byte)'G': Push(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8))); break;

            // Text and bytes. Python 2's strings are bytes that nearly always are ASCII names: Latin-1 loses nothing.
            case (byte)'S': Push(Line().Trim('\'', '"')); break;
            case (byte)'V': Push(Line()); break;
            case (byte)'T': Push(Encoding.Latin1.GetString(Bytes(BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))))); break;
            case (byte)'U': Push(Encoding.Latin1.GetString(Bytes(Byte()))); break;
            case (byte)'X': Push(Text(U32())); break;
            case 0x8c: Push(Text(Byte())); break;
            case 0x8d: Push(Text(U64())); break;
            case (byte)'B': Skip(U32()); Push(PickleData.Bytes); break;
            case (byte)'C': Skip(Byte()); Push(PickleData.Bytes); break;
            case 0x8e or 0x96: Skip(U64()); Push(PickleData.Bytes); break;
            case 0x98: Peek(); break;      // READONLY_BUFFER: changes nothing for us

            // Containers.
            case (byte)')': Push(Array.Empty<object?>()); break;
            case (byte)'t': Push(PopToMark()); break;
            case 0x85: Push(PopMany(1)); break;
            case 0x86: Push(PopMany(2)); break;
            case 0x87: Push(PopMany(3)); break;
            case (byte)']': Push(new PickleList()); break;
            case (byte)'l': Push(List(PopToMark())); break;
            case (byte)'a': Append(PopMany(1)); break;
            case (byte)'e': Append(PopToMark()); break;
            case (byte)'}': Push(new PickleDict()); break;
            case (byte)'d': Push(SetItems(new PickleDict(), PopToMark())); break;
            case (byte)'s': SetItems(PopMany(2)); break;
            case (byte)'u': SetItems(PopToMark()); break;
            case 0x8f: Push(PickleData.Set); break;
            case 0x90: PopToMark(); Peek(); break;
            case 0x91: PopToMark(); Push(PickleData.Set); break;

            // Classes, functions and calls: names and inert values only.
            case (byte)'c': Push(Global(Line(), Line())); break;
            case 0x93: StackGlobal(); break;
            case 0x82: Push(new PicklePlaceholder($"copyreg extension {Byte()}")); break;
            case 0x83: Push(new PicklePlaceholder($"copyreg extension {BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))}")); break;
            case 0x84: Push(new PicklePlaceholder($"copyreg extension {U32()}")); break;
            case (byte)'R': Reduce(PopMany(2)); break;
            case 0x81: Reduce(PopMany(2)); break;
            case 0x92: Reduce(PopMany(3)); break;
            case (byte)'i': Push(Call(Global(Line(), Line()), PopToMark())); break;
            case (byte)'o': Obj(PopToMark()); break;
            case (byte)'b': Pop(); Peek(); break;       // BUILD: an object's state. Containers keep their items, placeholders stay inert
            case (byte)'P': Persistent(Line()); break;
            case (byte)'Q': Persistent(Pop()); break;

            default: throw file.Damaged($"its pickle has the unknown instruction 0x{op:x2} at byte {at - 1}");
        }
    }

    // ---- containers and calls ----

    private static PickleList List(object?[] items)
    {
        var list = new PickleList();
        foreach (var item in items) list.Add(item);
        return list;
    }

    private void Append(object?[] items)
    {
        var target = Peek();
        if (target is PickleList list) foreach (var item in items) list.Add(item);
        else if (target is not PicklePlaceholder) throw file.Damaged("its pickle appends to something that is not a list");
    }

    private void SetItems(object?[] items)
    {
        var target = Peek();
        if (target is PickleDict dict) SetItems(dict, items);
        else if (target is not PicklePlaceholder) throw file.Damaged("its pickle sets items of something that is not a dict");
    }

    private PickleDict SetItems(PickleDict dict, object?[] items)
    {
        if (items.Length % 2 != 0) throw file.Damaged("its pickle has a dict key without a value");
        for (var i = 0; i < items.Length; i += 2)
        {
            // Hashing a huge string again and again would take hours; no weight is called that.
            if (items[i] is string { Length: > MaxName }) throw file.Damaged("its pickle has a dict key of more than 4,096 characters");
            dict.Set(items[i], items[i + 1]);
        }
        return dict;
    }

    private void StackGlobal()
    {
        var names = PopMany(2);
        if (names is not [string module, string name]) throw file.Damaged("its pickle names a class by something that is not text");
        Push(Global(module, name));
    }

    private static PickleGlobal Global(string module, string name) => new(Short(module), Short(name));

    private static string Short(string text) => text.Length <= 200 ? text : text[..200] + "...";

    private void Reduce(object?[] callAndArguments) => Push(Call(callAndArguments[0], callAndArguments[1]));

    private object? Call(object? callable, object? arguments) => PickleCalls.Reduce(callable, arguments, Charge);

    private void Obj(object?[] items)
    {
        if (items.Length == 0) throw file.Damaged("its pickle builds an object of no class");
        Push(Call(items[0], items[1..]));
    }

    private void Persistent(object? id)
    {
        var value = PickleCalls.Persistent(id);
        if (value is PickleStorage storage) OnStorage?.Invoke(storage);
        Push(value);
    }

    // ---- the stack ----

    private void Push(object? value) => stack.Add(value);

    private int Floor => marks.Count > 0 ? marks[^1] : 0;

    private object? Peek() => stack.Count > Floor ? stack[^1] : throw Underflow();

    private object? Pop()
    {
        var value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object?[] PopMany(int count)
    {
        if (stack.Count - Floor < count) throw Underflow();
        return Cut(stack.Count - count);
    }

    private object?[] PopToMark()
    {
        if (marks.Count == 0) throw Underflow();
        var mark = marks[^1];
        marks.RemoveAt(marks.Count - 1);
        return Cut(mark);
    }

    private object?[] Cut(int from)
    {
        var items = new object?[stack.Count - from];
        stack.CopyTo(from, items, 0, items.Length);
        stack.RemoveRange(from, stack.Count - from);
        return items;
    }

    private object? Remembered(long index) => memo.TryGetValue(index, out var value)
        ? value
        : throw file.Damaged($"its pickle recalls value {index}, which it never stored");

    private BayouException Underflow() => file.Damaged($"its pickle takes a value from an empty stack at byte {at}");

    private void Charge(long count)
    {
        if ((operations += count) > MaxOperations)
            throw new BayouException($"'{file.Path}' is refused: its pickle has more than {MaxOperations:N0} instructions, far more than weights need. "
                + "Save the state_dict alone, or as safetensors.");
    }

    // ---- bytes ----

    private byte Byte() => Bytes(1)[0];

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (count < 0 || count > end - at) throw file.Damaged("its pickle ends early");
        var bytes = file.Slice(at, count);
        at += count;
        return bytes;
    }

    private uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));

    private ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8));

    private void Skip(ulong count)
    {
        if (count > (ulong)(end - at)) throw file.Damaged("its pickle ends early");
        at += (long)count;
    }

    /// <summary>UTF-8. Python may have written lone surrogates (undecodable file names); they become U+FFFD.</summary>
    private string Text(ulong count)
    {
        if (count > (ulong)(end - at) || count > int.MaxValue / 4) throw file.Damaged("its pickle ends early");
        return Encoding.UTF8.GetString(Bytes((int)count));
    }

    /// <summary>Text up to a line feed.</summary>
    private string Line()
    {
        var rest = file.Slice(at, (int)Math.Min(end - at, 1 << 20));
        var length = rest.IndexOf((byte)'\n');
        if (length < 0) throw file.Damaged("its pickle has a line without an end");
        at += length + 1;
        return Encoding.Latin1.GetString(rest[..length]);
    }

    // ---- numbers written as text ----

    private long Index(string line) =>
        long.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out var index)
            ? index : throw file.Damaged("its pickle has a memo index that is not a number");

    private object TextInteger(string line)
    {
        if (line is "00" or "01") return line == "01";
        if (long.TryParse(line, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)) return number;
        // Parsing long decimals takes quadratic time.
        if (line.Length <= 1000 && BigInteger.TryParse(line, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var big)) return big;
        throw file.Damaged("its pickle has a number that is not one");
    }

    private double TextFloat(string line) =>
        line.Length <= 1000 && double.TryParse(line, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw file.Damaged("its pickle has a number that is not one");

    private static object Long(ReadOnlySpan<byte> bytes)
    {
        var value = new BigInteger(bytes);
        return value >= long.MinValue && value <= long.MaxValue ? (object)(long)value : value;      // without the cast both would become BigInteger
    }
}
