using System.Text;
using Bayou.Train;

namespace Bayou.Tests;

public class EventFileTests
{
    // Bit by bit, polynomial 0x1EDC6F41 reflected: an independent reference.
    private static uint Masked(ReadOnlySpan<byte> data)
    {
        var crc = 0xFFFFFFFFu;
        foreach (var b in data)
        {
            crc ^= b;
            for (var i = 0; i < 8; i++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
        }
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
    }

    [Fact]
    public void The_checksum_is_CRC_32C()
    {
        // RFC 3720, B.4: 32 zero bytes have CRC-32C 8A9136AA.
        const uint crc = 0x8A9136AA;
        Assert.Equal(unchecked(((crc >> 15) | (crc << 17)) + 0xA282EAD8), EventFile.MaskedCrc(new byte[32]));
    }

    [Fact]
    public void Records_read_back_with_sound_checksums_and_the_same_points()
    {
        using var folder = new TempFolder();
        string path;
        using (var file = new EventFile(folder.Root, resumeStep: 300))
        {
            file.Scalar("train/loss", 2.5, 301);
            file.Scalar("val/top1", 0.875, 70000);
            path = file.Path;
        }
        Assert.Contains("tfevents", Path.GetFileName(path));
        var records = Records(File.ReadAllBytes(path)).Select(r => Fields(r)).ToArray();
        Assert.Equal(4, records.Length);
        Assert.Equal("brain.Event:2", Encoding.UTF8.GetString((byte[])records[0][3]));
        Assert.Equal(1.0, (double)records[0][1] > 1.6e9 ? 1.0 : 0.0);
        Assert.Equal((300L, 1L), ((long)records[1][2], (long)Fields((byte[])records[1][7])[1]));
        Assert.Equal((301L, "train/loss", 2.5f), Point(records[2]));
        Assert.Equal((70000L, "val/top1", 0.875f), Point(records[3]));
    }

    [Fact]
    public void Two_files_started_at_once_do_not_collide()
    {
        using var folder = new TempFolder();
        using var a = new EventFile(folder.Root);
        using var b = new EventFile(folder.Root);
        Assert.NotEqual(a.Path, b.Path);
        Assert.True(string.CompareOrdinal(a.Path, b.Path) < 0);
    }

    private static (long, string, float) Point(Dictionary<int, object> record)
    {
        var value = Fields((byte[])Fields((byte[])record[5])[1]);
        return ((long)record[2], Encoding.UTF8.GetString((byte[])value[1]), (float)value[2]);
    }

    private static List<byte[]> Records(byte[] file)
    {
        var records = new List<byte[]>();
        var at = 0;
        while (at < file.Length)
        {
            var length = (int)BitConverter.ToUInt64(file, at);
            Assert.Equal(Masked(file.AsSpan(at, 8)), BitConverter.ToUInt32(file, at + 8));
            Assert.Equal(Masked(file.AsSpan(at + 12, length)), BitConverter.ToUInt32(file, at + 12 + length));
            records.Add(file[(at + 12)..(at + 12 + length)]);
            at += 16 + length;
        }
        return records;
    }

    // Field number -> long, double, float or bytes, by wire type.
    private static Dictionary<int, object> Fields(byte[] message)
    {
        var fields = new Dictionary<int, object>();
        var at = 0;
        while (at < message.Length)
        {
            var tag = Varint();
            var field = (int)(tag >> 3);
            switch (tag & 7)
            {
                case 0: fields[field] = Varint(); break;
                case 1: fields[field] = BitConverter.ToDouble(message, at); at += 8; break;
                case 5: fields[field] = BitConverter.ToSingle(message, at); at += 4; break;
                default:
                    var length = (int)Varint();
                    fields[field] = message[at..(at + length)];
                    at += length;
                    break;
            }
        }
        return fields;

        long Varint()
        {
            long value = 0;
            for (var shift = 0; ; shift += 7)
            {
                var b = message[at++];
                value |= (long)(b & 0x7F) << shift;
                if (b < 0x80) return value;
            }
        }
    }
}
