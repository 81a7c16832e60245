using System.Globalization;

namespace Bayou.Fit;

/// <summary>Numbers as the report prints them: three significant figures, unit after a no-break space, a dash for what was not measured.</summary>
internal static class Units
{
    public const string Missing = "–";
    private const char Space = '\u00A0';     // no-break

    /// <summary>0.9134 -> "91.3 %".</summary>
    public static string Percent(double? share, int digits = 1) =>
        share is { } s && double.IsFinite(s) ? Number(100 * s, digits) + Space + "%" : Missing;

    /// <summary>Difference of two shares in percentage points, signed.</summary>
    public static string Points(double difference) =>
        (difference < 0 ? "−" : "+") + Number(Math.Abs(100 * difference), 1) + Space + (Math.Abs(100 * difference) is > 0.95 and < 1.05 ? "point" : "points");

    /// <summary>Milliseconds with three significant figures.</summary>
    public static string Milliseconds(double? ms) => ms is { } v && double.IsFinite(v) ? Significant(v) + Space + "ms" : Missing;

    /// <summary>Bytes in decimal units.</summary>
    public static string Bytes(double? bytes) => bytes is { } v && double.IsFinite(v) ? Scaled(v, ["B", "kB", "MB", "GB", "TB"]) : Missing;

    /// <summary>A large count: 103 k, 7.52 M, 1.2 G; exact below a thousand.</summary>
    public static string Count(double? count) => count is { } v && double.IsFinite(v) ? Scaled(v, ["", "k", "M", "G", "T", "P"]) : Missing;

    /// <summary>An exact count with thousands separators.</summary>
    public static string Exact(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A duration in the two largest units.</summary>
    public static string Duration(double? seconds)
    {
        if (seconds is not { } s || !double.IsFinite(s) || s < 0) return Missing;
        if (s < 60) return Significant(s) + Space + "s";
        var whole = (long)Math.Round(s);
        return whole < 3600 ? $"{whole / 60}{Space}min {whole % 60}{Space}s" : $"{whole / 3600}{Space}h {whole / 60 % 60}{Space}min";
    }

    /// <summary>A budget's value in its unit; a limit somebody typed carries no trailing zeros.</summary>
    public static string Of(ReportQuantity quantity, double? value) => quantity switch
    {
        ReportQuantity.Latency =>
            value is { } ms && double.IsFinite(ms) ? Math.Round(ms, 4).ToString("G4", CultureInfo.InvariantCulture) + Space + "ms" : Missing,
        ReportQuantity.Size => Bytes(value),
        _ => Count(value),
    };

    /// <summary>What a budget limits, as a word.</summary>
    public static string Name(ReportQuantity quantity) => quantity switch
    {
        ReportQuantity.Latency => "latency",
        ReportQuantity.Params => "parameters",
        ReportQuantity.Macs => "MACs",
        ReportQuantity.Ace => "ACE",
        _ => "file size",
    };

    /// <summary>"fp32" and "INT8", as people write them.</summary>
    public static string Form(string? form) => form is null ? Missing : form.Equals("int8", StringComparison.OrdinalIgnoreCase) ? "INT8" : form;

    /// <summary>Three significant figures, without an exponent where that stays readable.</summary>
    public static string Significant(double value)
    {
        if (!double.IsFinite(value)) return Missing;
        var size = Math.Abs(value);
        if (size == 0) return "0";
        if (size is < 1e-3 or >= 1e6) return value.ToString("0.0#e-0", CultureInfo.InvariantCulture);
        var exponent = (int)Math.Floor(Math.Log10(size));
        if (size / Math.Pow(10, exponent) >= 9.995 - 1e-9) exponent++;     // 9.996 is printed as 10.0, not as 10.00
        return Number(value, Math.Clamp(2 - exponent, 0, 6));
    }

    private static string Number(double value, int digits) => value.ToString("F" + digits, CultureInfo.InvariantCulture);

    private static string Scaled(double value, ReadOnlySpan<string> units)
    {
        var unit = 0;
        // 999.5 would print as "1000" in the smaller unit.
        while (Math.Abs(value) >= 999.5 && unit < units.Length - 1)
        {
            value /= 1000;
            unit++;
        }
        var number = unit == 0 ? value.ToString("0.##", CultureInfo.InvariantCulture) : Significant(value);
        return units[unit].Length == 0 ? number : number + Space + units[unit];
    }
}
