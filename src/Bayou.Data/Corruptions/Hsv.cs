namespace Bayou.Data;

/// <summary>The hexcone model: hue 0..1 in six sectors, saturation (max - min) / max, value max. All components 0..1.</summary>
internal static class Hsv
{
    /// <summary>RGB to hue, saturation, value. Grey has hue and saturation 0. Of equal largest components blue counts before green, green before red.</summary>
    public static (double H, double S, double V) FromRgb(double r, double g, double b)
    {
        var v = Math.Max(r, Math.Max(g, b));
        var delta = v - Math.Min(r, Math.Min(g, b));
        if (delta == 0) return (0, 0, v);
        var h = b == v ? 4.0 + (r - g) / delta : g == v ? 2.0 + (b - r) / delta : (g - b) / delta;
        h /= 6.0;
        return (h - Math.Floor(h), delta / v, v);
    }

    /// <summary>Hue, saturation, value to RGB.</summary>
    public static (double R, double G, double B) ToRgb(double h, double s, double v)
    {
        var sector = Math.Floor(h * 6);
        var f = h * 6 - sector;
        double p = v * (1 - s), q = v * (1 - f * s), t = v * (1 - (1 - f) * s);
        return ((int)sector % 6) switch
        {
            0 => (v, t, p),
            1 => (q, v, p),
            2 => (p, v, t),
            3 => (p, q, v),
            4 => (t, p, v),
            _ => (v, p, q),
        };
    }
}
