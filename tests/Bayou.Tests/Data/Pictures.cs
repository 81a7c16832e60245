using System.Buffers.Binary;
using System.IO.Compression;
using Bayou.Data;

namespace Bayou.Tests;

/// <summary>Pictures and picture files for the tests.</summary>
internal static class Pictures
{
    /// <summary>A picture that is a function of position alone: the golden values made with PIL used the same formula.</summary>
    public static ImageBuffer Formula(int width, int height, int channels)
    {
        var image = new ImageBuffer(width, height, channels);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                for (var c = 0; c < channels; c++) image.Pixels[(y * width + x) * channels + c] = Value(x, y, c);
            }
        }
        return image;
    }

    /// <summary>Smooth waves and hard edges.</summary>
    public static byte Value(int x, int y, int c) => (byte)((x * x * (3 + c) / 7 + y * (5 + 2 * c) + (x ^ y) * 11 + ((x / 5 + y / 3) % 2) * 90 + c * 40) & 255);

    /// <summary>FNV-1a, 32 bits.</summary>
    public static uint Fnv(ReadOnlySpan<byte> bytes)
    {
        var hash = 2166136261u;
        foreach (var b in bytes) hash = (hash ^ b) * 16777619u;
        return hash;
    }

    /// <summary>A PNG file from raw scanline bytes, written by hand so that depths and colour types are ours to choose.</summary>
    public static byte[] Png(int width, int height, int depth, int colourType, byte[] scanlines, params (string Type, byte[] Data)[] extra)
    {
        var stride = scanlines.Length / height;
        using var file = new MemoryStream();
        file.Write([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]);
        file.Write(PngHeader(width, height, depth, colourType));
        foreach (var (type, data) in extra) Chunk(file, type, data);
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            for (var y = 0; y < height; y++)
            {
                zlib.WriteByte(0);
                zlib.Write(scanlines, y * stride, stride);
            }
        }
        Chunk(file, "IDAT", packed.ToArray());
        Chunk(file, "IEND", []);
        return file.ToArray();
    }

    /// <summary>The IHDR chunk, with its checksum.</summary>
    public static byte[] PngHeader(int width, int height, int depth, int colourType)
    {
        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = ((byte)depth, (byte)colourType);
        using var chunk = new MemoryStream();
        Chunk(chunk, "IHDR", header);
        return chunk.ToArray();
    }

    private static void Chunk(MemoryStream file, string type, byte[] data)
    {
        var body = new byte[4 + data.Length];
        System.Text.Encoding.ASCII.GetBytes(type).CopyTo(body, 0);
        data.CopyTo(body, 4);
        var number = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        file.Write(number);
        file.Write(body);
        BinaryPrimitives.WriteUInt32BigEndian(number, Crc(body));
        file.Write(number);
    }

    private static uint Crc(byte[] data)
    {
        var crc = 0xFFFFFFFFu;
        foreach (var b in data)
        {
            crc ^= b;
            for (var k = 0; k < 8; k++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
        }
        return ~crc;
    }

    /// <summary>A 24-bit BMP file.</summary>
    public static byte[] Bmp(ImageBuffer image)
    {
        var stride = (image.Width * 3 + 3) / 4 * 4;
        var file = new byte[54 + stride * image.Height];
        (file[0], file[1]) = ((byte)'B', (byte)'M');
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(2), file.Length);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(10), 54);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(14), 40);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(18), image.Width);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(22), image.Height);
        file[26] = 1;
        file[28] = 24;
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(34), stride * image.Height);
        for (var y = 0; y < image.Height; y++)
        {
            for (var x = 0; x < image.Width; x++)
            {
                var from = (y * image.Width + x) * 3;
                var to = 54 + (image.Height - 1 - y) * stride + x * 3;
                (file[to], file[to + 1], file[to + 2]) = (image.Pixels[from + 2], image.Pixels[from + 1], image.Pixels[from]);
            }
        }
        return file;
    }

    /// <summary>A GIF file of one or more frames of palette indices 0..3 (uncompressed codes with clear codes in between).</summary>
    public static byte[] Gif(int width, int height, byte[][] frames, byte[] palette)
    {
        using var file = new MemoryStream();
        file.Write("GIF89a"u8);
        file.Write([(byte)width, (byte)(width >> 8), (byte)height, (byte)(height >> 8), 0x81, 0, 0]);     // four palette entries
        file.Write(palette);
        foreach (var frame in frames)
        {
            file.Write([0x21, 0xF9, 4, 0, 10, 0, 0, 0]);
            file.Write([0x2C, 0, 0, 0, 0, (byte)width, (byte)(width >> 8), (byte)height, (byte)(height >> 8), 0]);
            file.WriteByte(2);
            // Codes of three bits; a clear code before every second pixel keeps the decoder's table, and so the code size, from growing.
            var bits = new List<int>();
            for (var i = 0; i < frame.Length; i++)
            {
                if (i % 2 == 0) bits.Add(4);
                bits.Add(frame[i]);
            }
            bits.Add(5);
            var bytes = new byte[(bits.Count * 3 + 7) / 8];
            for (var i = 0; i < bits.Count * 3; i++)
            {
                if ((bits[i / 3] >> (i % 3) & 1) != 0) bytes[i / 8] |= (byte)(1 << (i % 8));
            }
            for (var at = 0; at < bytes.Length; at += 255)
            {
                var count = Math.Min(255, bytes.Length - at);
                file.WriteByte((byte)count);
                file.Write(bytes, at, count);
            }
            file.WriteByte(0);
        }
        file.WriteByte(0x3B);
        return file.ToArray();
    }

    /// <summary>Inserts an EXIF segment with an orientation (1..8) after a JPEG's first marker.</summary>
    public static byte[] WithOrientation(byte[] jpeg, int orientation)
    {
        byte[] exif =
        [
            0xFF, 0xE1, 0, 34, (byte)'E', (byte)'x', (byte)'i', (byte)'f', 0, 0, (byte)'M', (byte)'M', 0, 42, 0, 0, 0, 8, 0, 1,
            0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, (byte)orientation, 0, 0, 0, 0, 0, 0,
        ];
        return [.. jpeg[..2], .. exif, .. jpeg[2..]];
    }

    /// <summary>
    /// A baseline JPEG of uniform 8x8 blocks: every component has only its DC coefficient, so what a decoder must give is known to the bit.
    /// </summary>
    /// <param name="blocks">Component values per block, [rows][columns][components], each a multiple of 1/1 around 128.</param>
    /// <param name="adobeTransform">Adobe marker: null none, 0 CMYK or RGB, 1 YCbCr, 2 YCCK.</param>
    public static byte[] FlatJpeg(byte[][][] blocks, int? adobeTransform)
    {
        int rows = blocks.Length, columns = blocks[0].Length, components = blocks[0][0].Length;
        using var file = new MemoryStream();
        file.Write([0xFF, 0xD8]);
        if (adobeTransform is { } transform)
            file.Write([0xFF, 0xEE, 0, 14, (byte)'A', (byte)'d', (byte)'o', (byte)'b', (byte)'e', 0, 100, 0, 0, 0, 0, (byte)transform]);
        file.Write([0xFF, 0xDB, 0, 67, 0]);
        for (var i = 0; i < 64; i++) file.WriteByte(8);             // DC step 8: one step is one grey level
        file.Write([0xFF, 0xC0, 0, (byte)(8 + 3 * components), 8, (byte)(rows * 8 >> 8), (byte)(rows * 8), (byte)(columns * 8 >> 8), (byte)(columns * 8),
            (byte)components]);
        for (var c = 0; c < components; c++) file.Write([(byte)(c + 1), 0x11, 0]);
        // DC table: categories 0..11, all with four-bit codes 0..11. AC table: end of block only, code 0 of one bit.
        file.Write([0xFF, 0xC4, 0, 31, 0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        file.Write([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.Write([0xFF, 0xDA, 0, (byte)(6 + 2 * components), (byte)components]);
        for (var c = 0; c < components; c++) file.Write([(byte)(c + 1), 0x00]);
        file.Write([0, 63, 0]);
        int buffer = 0, filled = 0;
        void Put(int value, int count)
        {
            for (var i = count - 1; i >= 0; i--)
            {
                buffer = buffer << 1 | (value >> i & 1);
                if (++filled < 8) continue;
                file.WriteByte((byte)buffer);
                if (buffer == 0xFF) file.WriteByte(0);
                buffer = filled = 0;
            }
        }
        var last = new int[components];
        foreach (var row in blocks)
        {
            foreach (var block in row)
            {
                for (var c = 0; c < components; c++)
                {
                    var difference = block[c] - 128 - last[c];
                    last[c] = block[c] - 128;
                    var category = 0;
                    while (Math.Abs(difference) >> category != 0) category++;
                    Put(category, 4);
                    if (category > 0) Put(difference > 0 ? difference : difference + (1 << category) - 1, category);
                    Put(0, 1);
                }
            }
        }
        while (filled != 0) Put(1, 1);
        file.Write([0xFF, 0xD9]);
        return file.ToArray();
    }
}
