using ScottPlot;
using SkiaSharp;

namespace Bayou.Fit;

/// <summary>
/// The plots' font, carried in the assembly: SkiaSharp without fontconfig finds no font on Linux, and a container may have none, so plots would come out
/// without a word. Liberation Sans has the widths of Arial and Helvetica: in an SVG, where the reader's machine supplies the font, the text fits as laid out.
/// </summary>
internal static class PlotFonts
{
    public const string Name = "Liberation Sans";

    private static readonly Lazy<bool> Registered = new(() =>
    {
        Fonts.FontResolvers.Insert(0, new EmbeddedResolver());
        return true;
    });

    /// <summary>Makes the font known to ScottPlot; does it once.</summary>
    public static void Register() => _ = Registered.Value;

    /// <summary>Reads a file embedded from the Assets folder.</summary>
    public static Stream Asset(string file) =>
        typeof(PlotFonts).Assembly.GetManifestResourceStream("Bayou.Fit.Assets." + file)
            ?? throw new InvalidOperationException($"The asset {file} is not embedded in {typeof(PlotFonts).Assembly.GetName().Name}.");

    private sealed class EmbeddedResolver : IFontResolver
    {
        private readonly Lazy<SKTypeface> regular = new(() => Load("LiberationSans-Regular.ttf"));

        public SKTypeface? CreateTypeface(string fontName, FontWeight weight, FontSlant slant, FontSpacing spacing) =>
            fontName == Name ? regular.Value : null;

        public SKTypeface? CreateTypeface(string fontName, bool bold, bool italic) =>
            fontName == Name ? regular.Value : null;

        private static SKTypeface Load(string file)
        {
            using var stream = Asset(file);
            using var data = SKData.Create(stream);
            return SKTypeface.FromData(data);
        }
    }
}
