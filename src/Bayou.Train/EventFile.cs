using System.Buffers.Binary;
using System.Text;

namespace Bayou.Train;

/// <summary>
/// Writes scalars as a TensorBoard event file. Each record is framed as TFRecord does it: length (uint64), masked CRC-32C of the length, the message, masked
/// CRC-32C of the message; the messages are tensorflow.Event in protobuf, of which a curve needs five fields.
/// </summary>
public sealed class EventFile : IDisposable
{
    private readonly FileStream stream;

    /// <summary>Starts a new file in the folder. A resumed run starts another one; TensorBoard joins them.</summary>
    /// <param name="folder">The log folder; created when missing.</param>
    /// <param name="resumeStep">Step from which a resumed run goes on: what an earlier file holds from there on is dropped by TensorBoard. Null for a new
    /// run.</param>
    public EventFile(string folder, long? resumeStep = null)
    {
        Directory.CreateDirectory(folder);
        var now = DateTimeOffset.UtcNow;
        // TensorBoard reads the files of a folder in the order of their names.
        for (var ms = now.ToUnixTimeMilliseconds(); ; ms++)
        {
            Path = System.IO.Path.Combine(folder, $"events.out.tfevents.{ms / 1000}.{ms % 1000:D3}.bayou");
            try
            {
                stream = new FileStream(Path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
                break;
            }
            catch (IOException) when (File.Exists(Path))
            {
            }
        }
        Write(new Message().Double(1, Seconds()).Bytes(3, Encoding.UTF8.GetBytes("brain.Event:2")));
        // SessionLog { status = START }.
        if (resumeStep is { } step) Write(new Message().Double(1, Seconds()).Varint(2, step).Bytes(7, new Message().Varint(1, 1).ToArray()));
        Flush();
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Adds one point to one curve.</summary>
    public void Scalar(string tag, double value, long step)
    {
        // Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }
        var point = new Message().Bytes(1, Encoding.UTF8.GetBytes(tag)).Float(2, (float)value);
        Write(new Message().Double(1, Seconds()).Varint(2, step).Bytes(5, new Message().Bytes(1, point.ToArray()).ToArray()));
    }

    /// <summary>Hands what was written to the operating system.</summary>
    public void Flush() => stream.Flush();

    /// <summary>Closes the file.</summary>
    public void Dispose() => stream.Dispose();

    /// <summary>TFRecord's CRC: rotated and offset, so that a CRC of data that holds CRCs stays sound.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        var crc = Crc32C(data);
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
    }

    private static uint Crc32C(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var b in data) crc = System.Numerics.BitOperations.Crc32C(crc, b);
        return ~crc;
    }

    private void Write(Message message)
    {
        var data = message.ToArray();
        Span<byte> head = stackalloc byte[12];
        BinaryPrimitives.WriteUInt64LittleEndian(head, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[8..], MaskedCrc(head[..8]));
        Span<byte> tail = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(tail, MaskedCrc(data));
        stream.Write(head);
        stream.Write(data);
        stream.Write(tail);
    }

    private static double Seconds() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    /// <summary>A protobuf message under construction: tag = field number x 8 + wire type, then the value.</summary>
    private sealed class Message
    {
        private readonly List<byte> bytes = [];

        public byte[] ToArray() => [.. bytes];

        public Message Varint(int field, long value)
        {
            Raw((ulong)field << 3);
            Raw((ulong)value);
            return this;
        }

        public Message Double(int field, double value)
        {
            Raw(((ulong)field << 3) | 1);
            Span<byte> b = stackalloc byte[8];
            BinaryPrimitives.WriteDoubleLittleEndian(b, value);
            bytes.AddRange(b);
            return this;
        }

        public Message Float(int field, float value)
        {
            Raw(((ulong)field << 3) | 5);
            Span<byte> b = stackalloc byte[4];
            BinaryPrimitives.WriteSingleLittleEndian(b, value);
            bytes.AddRange(b);
            return this;
        }

        public Message Bytes(int field, ReadOnlySpan<byte> value)
        {
            Raw(((ulong)field << 3) | 2);
            Raw((ulong)value.Length);
            bytes.AddRange(value);
            return this;
        }

        private void Raw(ulong value)
        {
            for (; value >= 0x80; value >>= 7) bytes.Add((byte)(value | 0x80));
            bytes.Add((byte)value);
        }
    }
}
