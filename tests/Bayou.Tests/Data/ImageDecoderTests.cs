using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

public class ImageDecoderTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Png_round_trip_is_lossless_and_keeps_the_channels(int channels)
    {
        var image = Pictures.Formula(37, 23, channels);
        var back = ImageDecoder.Decode(ImageEncoder.Png(image));
        Assert.Equal((37, 23, channels), (back.Width, back.Height, back.Channels));
        Assert.Equal(image.Pixels, back.Pixels);
    }

    [Fact]
    public void Bmp_and_lossless_webp_give_the_exact_pixels()
    {
        var image = Pictures.Formula(21, 13, 3);
        Assert.Equal(image.Pixels, ImageDecoder.Decode(Pictures.Bmp(image)).Pixels);
        Assert.Equal(image.Pixels, ImageDecoder.Decode(ImageEncoder.WebP(image, 100)).Pixels);
    }

    [Fact]
    public void Jpeg_of_a_flat_picture_keeps_its_colour()
    {
        var image = new ImageBuffer(32, 16, 3);
        for (var i = 0; i < image.Pixels.Length; i += 3) (image.Pixels[i], image.Pixels[i + 1], image.Pixels[i + 2]) = (200, 100, 50);
        var back = ImageDecoder.Decode(ImageEncoder.Jpeg(image, 95));
        for (var i = 0; i < back.Pixels.Length; i++) Assert.InRange(back.Pixels[i], image.Pixels[i] - 3, image.Pixels[i] + 3);
    }

    [Fact]
    public void Sixteen_bit_png_keeps_the_high_byte()
    {
        const int width = 256, height = 4;
        var rgb = new byte[width * height * 6];
        var grey = new byte[width * height * 2];
        for (var i = 0; i < width * height; i++)
        {
            for (var c = 0; c < 3; c++) (rgb[i * 6 + 2 * c], rgb[i * 6 + 2 * c + 1]) = ((byte)(i * (c + 1)), (byte)(i * 37));
            (grey[i * 2], grey[i * 2 + 1]) = ((byte)i, (byte)(i * 91));
        }
        var colour = ImageDecoder.Decode(Pictures.Png(width, height, 16, 2, rgb));
        Assert.Equal(3, colour.Channels);
        for (var i = 0; i < width * height; i++)
        {
            for (var c = 0; c < 3; c++) Assert.Equal((byte)(i * (c + 1)), colour.Pixels[i * 3 + c]);
        }
        var single = ImageDecoder.Decode(Pictures.Png(width, height, 16, 0, grey)).WithChannels(1);
        for (var i = 0; i < width * height; i++) Assert.Equal((byte)i, single.Pixels[i]);
    }

    [Fact]
    public void Alpha_is_dropped_and_the_colours_beneath_survive()
    {
        const int width = 16, height = 16;
        var rgba = new byte[width * height * 4];
        for (var i = 0; i < width * height; i++)
            (rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2], rgba[4 * i + 3]) = ((byte)i, (byte)(255 - i), 77, (byte)(i % 4 * 85));
        var image = ImageDecoder.Decode(Pictures.Png(width, height, 8, 6, rgba));
        for (var i = 0; i < width * height; i++)
            Assert.Equal(((byte)i, (byte)(255 - i), (byte)77), (image.Pixels[3 * i], image.Pixels[3 * i + 1], image.Pixels[3 * i + 2]));
    }

    [Fact]
    public void Palette_png_with_transparency_gives_the_palette_colours()
    {
        byte[] palette = [10, 20, 30, 200, 100, 50, 0, 255, 0, 255, 0, 255];
        var indices = Enumerable.Range(0, 64).Select(i => (byte)(i % 4)).ToArray();
        var image = ImageDecoder.Decode(Pictures.Png(8, 8, 8, 3, indices, ("PLTE", palette), ("tRNS", [255, 0, 128])));
        for (var i = 0; i < 64; i++) Assert.Equal(palette[(i % 4 * 3)..(i % 4 * 3 + 3)], image.Pixels[(3 * i)..(3 * i + 3)]);
    }

    [Fact]
    public void Grey_and_one_bit_png_decode()
    {
        var one = ImageDecoder.Decode(Pictures.Png(8, 2, 1, 0, [0b10100000, 0b00001111])).WithChannels(1);
        Assert.Equal([255, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255], one.Pixels);
        // Grey with alpha.
        var pairs = ImageDecoder.Decode(Pictures.Png(2, 1, 8, 4, [90, 255, 30, 128])).WithChannels(1);
        Assert.Equal([90, 30], pairs.Pixels);
    }

    [Fact]
    public void Animated_gif_gives_the_first_frame()
    {
        byte[] palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7];
        var first = Enumerable.Range(0, 30).Select(i => (byte)(i % 4)).ToArray();
        var second = Enumerable.Range(0, 30).Select(i => (byte)(3 - i % 4)).ToArray();
        var image = ImageDecoder.Decode(Pictures.Gif(6, 5, [first, second], palette));
        Assert.Equal((6, 5), (image.Width, image.Height));
        for (var i = 0; i < 30; i++) Assert.Equal(palette[(i % 4 * 3)..(i % 4 * 3 + 3)], image.Pixels[(3 * i)..(3 * i + 3)]);
    }

    [Fact]
    public void Jpeg_colour_models_are_understood()
    {
        // Grey.
        var grey = ImageDecoder.Decode(Pictures.FlatJpeg([[[50], [200]]], null));
        Assert.Equal((16, 8, 1), (grey.Width, grey.Height, grey.Channels));
        Assert.Equal((50, 200), (grey.Pixels[0], grey.Pixels[15]));
        // RGB stored as such (Adobe transform 0).
        var rgb = ImageDecoder.Decode(Pictures.FlatJpeg([[[10, 120, 250]]], 0));
        Assert.Equal([10, 120, 250], rgb.Pixels[..3]);
        // Adobe CMYK is stored inverted: 255 is no ink. PIL: r = c * k / 255 on the stored values.
        byte[][][] inks = [[[255, 255, 255, 255], [0, 255, 255, 255], [255, 0, 255, 255], [255, 255, 255, 0], [128, 200, 255, 255], [200, 100, 50, 128]]];
        var cmyk = ImageDecoder.Decode(Pictures.FlatJpeg(inks, 0));
        Assert.Equal(3, cmyk.Channels);
        for (var block = 0; block < inks[0].Length; block++)
        {
            var ink = inks[0][block];
            for (var c = 0; c < 3; c++) Assert.InRange(cmyk.Pixels[block * 24 + c], ink[c] * ink[3] / 255.0 - 2, ink[c] * ink[3] / 255.0 + 2);
        }
        // YCCK: the same inks after the YCbCr step; neutral chroma, so C = M = Y = 255 - luma stored.
        var ycck = ImageDecoder.Decode(Pictures.FlatJpeg([[[100, 128, 128, 255], [100, 128, 128, 128]]], 2));
        Assert.InRange(ycck.Pixels[0], 153, 157);
        Assert.InRange(ycck.Pixels[24], 155 * 128 / 255 - 2, 155 * 128 / 255 + 2);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public void Exif_orientation_is_undone(int orientation)
    {
        // The upright picture: blocks 1 2 3 / 4 5 6, as grey levels. Stored so that the orientation turns it upright again.
        int[][] upright = [[1, 2, 3], [4, 5, 6]];
        int[][] stored = orientation switch
        {
            1 => [[1, 2, 3], [4, 5, 6]],
            2 => [[3, 2, 1], [6, 5, 4]],
            3 => [[6, 5, 4], [3, 2, 1]],
            4 => [[4, 5, 6], [1, 2, 3]],
            5 => [[1, 4], [2, 5], [3, 6]],
            6 => [[3, 6], [2, 5], [1, 4]],
            7 => [[6, 3], [5, 2], [4, 1]],
            _ => [[4, 1], [5, 2], [6, 3]],
        };
        var file = Pictures.WithOrientation(Pictures.FlatJpeg(stored.Select(r => r.Select(v => new[] { (byte)(v * 40) }).ToArray()).ToArray(), null),
            orientation);
        var image = ImageDecoder.Decode(file);
        Assert.Equal((24, 16), (image.Width, image.Height));
        for (var y = 0; y < 2; y++)
        {
            for (var x = 0; x < 3; x++) Assert.Equal(upright[y][x] * 40, image.Pixels[(y * 8 + 4) * 24 + x * 8 + 4]);
        }
        var header = ImageDecoder.ReadHeader(file);
        Assert.Equal((24, 16, 1, "jpeg"), (header.Width, header.Height, header.Channels, header.Format));
    }

    [Fact]
    public void Bad_files_are_errors_that_name_file_and_reason()
    {
        string Message(byte[] file) => Assert.Throws<BayouException>(() => ImageDecoder.Decode(file, "cat.jpg")).Message;
        Assert.Equal("cat.jpg: the file is empty.", Message([]));
        Assert.StartsWith("cat.jpg: not a picture", Message("hello world, I am text"u8.ToArray()));
        var jpeg = ImageEncoder.Jpeg(Pictures.Formula(64, 64, 3));
        Assert.StartsWith("cat.jpg: ", Message(jpeg[..(jpeg.Length / 2)]));
        var png = ImageEncoder.Png(Pictures.Formula(64, 64, 3));
        Assert.StartsWith("cat.jpg: ", Message(png[..(png.Length / 2)]));
        Assert.Contains("/no/such/picture.png", Assert.Throws<BayouException>(() => ImageDecoder.Decode("/no/such/picture.png")).Message);
    }

    [Fact]
    public void Bombs_are_refused_before_memory_is_taken()
    {
        var huge = ResizeHeader(20_000, 20_000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var error = Assert.Throws<BayouException>(() => ImageDecoder.Decode(huge, "bomb.png"));
        Assert.Contains("above the limit", error.Message);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1_000_000);
    }

    // One scanline under a header that promises many.
    private static byte[] ResizeHeader(int width, int height)
    {
        var remade = Pictures.Png(width, 1, 1, 0, new byte[(width + 7) / 8]);
        var header = Pictures.PngHeader(width, height, 1, 0);
        return [.. remade[..8], .. header, .. remade[(8 + header.Length)..]];
    }

    [Fact]
    public void Mutated_files_never_crash()
    {
        var image = Pictures.Formula(40, 30, 3);
        byte[] palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7];
        byte[][] seeds =
        [
            ImageEncoder.Jpeg(image), ImageEncoder.Png(image), ImageEncoder.WebP(image), ImageEncoder.WebP(image, 100), Pictures.Bmp(image),
            Pictures.Gif(40, 30, [.. Enumerable.Range(0, 2).Select(f => Enumerable.Range(0, 1200).Select(i => (byte)((i + f) % 4)).ToArray())], palette),
            Pictures.FlatJpeg([[[200, 100, 50, 128], [1, 2, 3, 4]]], 2), Pictures.WithOrientation(ImageEncoder.Jpeg(image), 6),
        ];
        var random = new SampleRandom(7);
        int decoded = 0, refused = 0;
        for (var round = 0; round < 100; round++)
        {
            foreach (var seed in seeds)
            {
                var file = (byte[])seed.Clone();
                var changes = 1 + random.NextInt(8);
                for (var i = 0; i < changes; i++)
                {
                    // Headers matter most: half of the changes hit the first 64 bytes.
                    var at = random.NextInt(random.Chance(0.5) ? Math.Min(64, file.Length) : file.Length);
                    file[at] = random.Chance(0.3) ? (byte)255 : (byte)random.NextInt(256);
                }
                if (random.Chance(0.25)) file = file[..random.NextInt(file.Length)];
                try
                {
                    var result = ImageDecoder.Decode(file, "fuzz");
                    Assert.Equal(result.Width * result.Height * result.Channels, result.Pixels.Length);
                    decoded++;
                }
                catch (BayouException e)
                {
                    Assert.StartsWith("fuzz: ", e.Message);
                    refused++;
                }
            }
        }
        Assert.Equal(800, decoded + refused);
        Assert.True(decoded > 50 && refused > 50, $"{decoded} decoded, {refused} refused: the mutations no longer reach both sides");
    }
}
