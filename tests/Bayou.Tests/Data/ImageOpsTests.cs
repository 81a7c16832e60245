using System.Globalization;
using Bayou.Data;
using Bayou.Kernels;

namespace Bayou.Tests;

/// <summary>The hashes are of what Pillow 9.4 gives: ImageOps, ImageEnhance, Image.rotate and Image.transform with a fill colour.</summary>
public class ImageOpsTests
{
    [Theory]
    [InlineData(3, "Invert", 0x001A86AFu)]
    [InlineData(3, "Posterize0", 0x50D309BFu)]
    [InlineData(3, "Posterize1", 0xEBE33D3Fu)]
    [InlineData(3, "Posterize3", 0xC90FC7FFu)]
    [InlineData(3, "Posterize7", 0x1D751D2Bu)]
    [InlineData(3, "Solarize100", 0x779DA4DEu)]
    [InlineData(3, "AutoContrast", 0xC9D62066u)]
    [InlineData(3, "AutoContrastLow", 0x7F1FAD2Fu)]
    [InlineData(3, "Equalize", 0xB33AB5B1u)]
    [InlineData(3, "EqualizeLow", 0xFE7D0930u)]
    [InlineData(3, "Color0.1", 0xF76BD179u)]
    [InlineData(3, "Contrast0.1", 0x8903FE3Eu)]
    [InlineData(3, "Brightness0.1", 0xCD643D24u)]
    [InlineData(3, "Sharpness0.1", 0x8B08F11Du)]
    [InlineData(3, "Color0.55", 0xE5CDE136u)]
    [InlineData(3, "Contrast0.55", 0xCBB3925Du)]
    [InlineData(3, "Brightness0.55", 0x72C5584Au)]
    [InlineData(3, "Sharpness0.55", 0x3A57DFE0u)]
    [InlineData(3, "Color1.81", 0xB094ADBFu)]
    [InlineData(3, "Contrast1.81", 0x59FACAF2u)]
    [InlineData(3, "Brightness1.81", 0x01CD1A68u)]
    [InlineData(3, "Sharpness1.81", 0xE01723E5u)]
    [InlineData(3, "Rotate-27.5Bilinear", 0xA65B06E2u)]
    [InlineData(3, "Rotate13.25Bilinear", 0x8E8DDC38u)]
    [InlineData(3, "Rotate90.5Bilinear", 0xB28F862Fu)]
    [InlineData(3, "ShearXBilinear", 0x217C474Cu)]
    [InlineData(3, "ShearYBilinear", 0xDC2BFD01u)]
    [InlineData(3, "TranslateXBilinear", 0xE7AED973u)]
    [InlineData(3, "TranslateYBilinear", 0x3ED1206Du)]
    [InlineData(3, "Rotate-27.5Bicubic", 0x05569F10u)]
    [InlineData(3, "Rotate13.25Bicubic", 0xAA87BB98u)]
    [InlineData(3, "Rotate90.5Bicubic", 0xD0CE7F0Eu)]
    [InlineData(3, "ShearXBicubic", 0x2A1981E5u)]
    [InlineData(3, "ShearYBicubic", 0xD750E001u)]
    [InlineData(3, "TranslateXBicubic", 0xA70954ADu)]
    [InlineData(3, "TranslateYBicubic", 0x93FAC139u)]
    [InlineData(1, "Invert", 0x5F9A4626u)]
    [InlineData(1, "Posterize0", 0x85496EF7u)]
    [InlineData(1, "Posterize1", 0x130E1A77u)]
    [InlineData(1, "Posterize3", 0x56D2F957u)]
    [InlineData(1, "Posterize7", 0xDF872D27u)]
    [InlineData(1, "Solarize100", 0xACFD23D4u)]
    [InlineData(1, "AutoContrast", 0x50879DB1u)]
    [InlineData(1, "AutoContrastLow", 0xD2ECE2DAu)]
    [InlineData(1, "Equalize", 0x7CAD9913u)]
    [InlineData(1, "EqualizeLow", 0xC1273649u)]
    [InlineData(1, "Color0.1", 0x50879DB1u)]
    [InlineData(1, "Contrast0.1", 0x724519AFu)]
    [InlineData(1, "Brightness0.1", 0xE05C8EE8u)]
    [InlineData(1, "Sharpness0.1", 0x968DD8B6u)]
    [InlineData(1, "Color0.55", 0x50879DB1u)]
    [InlineData(1, "Contrast0.55", 0x007C719Fu)]
    [InlineData(1, "Brightness0.55", 0xECD77158u)]
    [InlineData(1, "Sharpness0.55", 0xB304A369u)]
    [InlineData(1, "Color1.81", 0x50879DB1u)]
    [InlineData(1, "Contrast1.81", 0xA0C115E0u)]
    [InlineData(1, "Brightness1.81", 0x0BCC63CBu)]
    [InlineData(1, "Sharpness1.81", 0xECFF1A3Au)]
    [InlineData(1, "Rotate-27.5Bilinear", 0x138B8FFDu)]
    [InlineData(1, "Rotate13.25Bilinear", 0xF2FEFBDCu)]
    [InlineData(1, "Rotate90.5Bilinear", 0xA06969ACu)]
    [InlineData(1, "ShearXBilinear", 0x603D03C8u)]
    [InlineData(1, "ShearYBilinear", 0xE2394F2Cu)]
    [InlineData(1, "TranslateXBilinear", 0x13FAAAE3u)]
    [InlineData(1, "TranslateYBilinear", 0x908D2F8Du)]
    [InlineData(1, "Rotate-27.5Bicubic", 0x26E6D963u)]
    [InlineData(1, "Rotate13.25Bicubic", 0xAF5C2A94u)]
    [InlineData(1, "Rotate90.5Bicubic", 0x2E1F90A9u)]
    [InlineData(1, "ShearXBicubic", 0x3DBA41D3u)]
    [InlineData(1, "ShearYBicubic", 0xBCA0B421u)]
    [InlineData(1, "TranslateXBicubic", 0x6AD4AC35u)]
    [InlineData(1, "TranslateYBicubic", 0xDEF9A924u)]
    public void Equals_pillow(int channels, string operation, uint expected)
    {
        var image = Pictures.Formula(61, 47, channels);
        var before = image.Clone();
        var result = Run(image, operation);
        Assert.Equal(expected, Pictures.Fnv(result.Pixels));
        Assert.Equal(before.Pixels, image.Pixels);          // the input is never changed
    }

    private static ImageBuffer Run(ImageBuffer image, string operation)
    {
        byte[] fill = image.Channels == 3 ? [124, 116, 104] : [124];
        var filter = operation.EndsWith("Bicubic", StringComparison.Ordinal) ? ResampleFilter.Bicubic : ResampleFilter.Bilinear;
        var name = operation.Replace("Bicubic", "", StringComparison.Ordinal).Replace("Bilinear", "", StringComparison.Ordinal);
        var digits = name.IndexOfAny([.. "-0123456789"]);
        var value = digits < 0 ? 0 : double.Parse(name[digits..], CultureInfo.InvariantCulture);
        switch (digits < 0 ? name : name[..digits])
        {
            case "Invert": return ImageOps.Invert(image);
            case "Posterize": return ImageOps.Posterize(image, (int)value);
            case "Solarize": return ImageOps.Solarize(image, (int)value);
            case "AutoContrast": return ImageOps.AutoContrast(image);
            case "AutoContrastLow": return ImageOps.AutoContrast(Low(image));
            case "Equalize": return ImageOps.Equalize(image);
            case "EqualizeLow": return ImageOps.Equalize(Low(image));
            case "Color": return ImageOps.Color(image, value);
            case "Contrast": return ImageOps.Contrast(image, value);
            case "Brightness": return ImageOps.Brightness(image, value);
            case "Sharpness": return ImageOps.Sharpness(image, value);
            case "Rotate": return ImageOps.Rotate(image, value, filter, fill);
            case "ShearX": return ImageOps.ShearX(image, 0.27, filter, fill);
            case "ShearY": return ImageOps.ShearY(image, -0.19, filter, fill);
            case "TranslateX": return ImageOps.Translate(image, 0.31 * image.Width, 0, filter, fill);
            case "TranslateY": return ImageOps.Translate(image, 0, -0.4 * image.Height, filter, fill);
            default: throw new ArgumentException(operation);
        }
    }

    // A narrow histogram.
    private static ImageBuffer Low(ImageBuffer image) =>
        new(image.Width, image.Height, image.Channels, Array.ConvertAll(image.Pixels, p => (byte)(40 + p / 3)));

    [Fact]
    public void Hsv_equals_pillow_both_ways()
    {
        var all = new List<byte>();
        for (var r = 0; r < 256; r += 5)
        {
            for (var g = 0; g < 256; g += 5)
            {
                for (var b = 0; b < 256; b += 5) all.AddRange([(byte)r, (byte)g, (byte)b]);
            }
        }
        List<byte> hsv = [], rgb = [];
        for (var i = 0; i < all.Count; i += 3)
        {
            var (h, s, v) = ImageOps.ToHsv(all[i], all[i + 1], all[i + 2]);
            hsv.AddRange([h, s, v]);
            var (r, g, b) = ImageOps.FromHsv(all[i], all[i + 1], all[i + 2]);
            rgb.AddRange([r, g, b]);
        }
        Assert.Equal(0x7fa0eb6fu, Pictures.Fnv(hsv.ToArray()));
        Assert.Equal(0x32dff84du, Pictures.Fnv(rgb.ToArray()));
    }

    [Fact]
    public void Solarize_add_flip_and_degenerate_pictures()
    {
        var image = new ImageBuffer(3, 1, 1, [10, 127, 128]);
        Assert.Equal([110, 227, 128], ImageOps.SolarizeAdd(image, 100).Pixels);
        Assert.Equal([255, 255, 128], ImageOps.SolarizeAdd(image, 250).Pixels);
        Assert.Equal([128, 127, 10], ImageOps.FlipHorizontal(image).Pixels);
        Assert.Equal([4, 5, 6, 1, 2, 3], ImageOps.FlipHorizontal(new ImageBuffer(2, 1, 3, [1, 2, 3, 4, 5, 6])).Pixels);
        var flat = new ImageBuffer(2, 2, 1, [9, 9, 9, 9]);
        Assert.Equal(flat.Pixels, ImageOps.AutoContrast(flat).Pixels);
        Assert.Equal(flat.Pixels, ImageOps.Equalize(flat).Pixels);
        foreach (var operation in RandAugment.Operations)
        {
            var one = RandAugment.Apply(new ImageBuffer(1, 1, 3), operation, 9, new SampleRandom(1), ResampleFilter.Bicubic, [1, 2, 3]);
            Assert.Equal((1, 1, 3), (one.Width, one.Height, one.Channels));
        }
    }
}
