using System.Globalization;
using System.Text.RegularExpressions;
using Bayou.Core;

namespace Bayou.Search;

/// <summary>The two forms a model can be shipped in.</summary>
public enum ModelForm
{
    /// <summary>32-bit float.</summary>
    Fp32,

    /// <summary>8-bit integers with quantise/dequantise nodes; sensitive layers may stay in float.</summary>
    Int8,
}

/// <summary>What a model costs in one form.</summary>
/// <param name="Form">The form.</param>
/// <param name="LatencyMs">Median latency at batch 1 in milliseconds, measured through ONNX Runtime.</param>
/// <param name="Parameters">Number of parameters.</param>
/// <param name="Macs">Multiply-accumulates a picture.</param>
/// <param name="Ace">Arithmetic computation effort (specs/ace.md).</param>
/// <param name="SizeBytes">Size of the file.</param>
/// <param name="Noisy">Whether the measurement's rounds disagreed.</param>
/// <param name="Predicted">Whether latency and size were predicted, not measured.</param>
public sealed record FormCost(ModelForm Form, double LatencyMs, long Parameters, long Macs, long Ace, long SizeBytes, bool Noisy = false,
    bool Predicted = false);

/// <summary>What a model may cost. Limits that are null do not bind.</summary>
public sealed record Budget
{
    /// <summary>Median latency at batch 1, milliseconds.</summary>
    public double? LatencyMs { get; init; }

    /// <summary>Parameters.</summary>
    public long? Parameters { get; init; }

    /// <summary>Multiply-accumulates a picture.</summary>
    public long? Macs { get; init; }

    /// <summary>Arithmetic computation effort.</summary>
    public long? Ace { get; init; }

    /// <summary>File size in bytes.</summary>
    public long? SizeBytes { get; init; }

    /// <summary>Whether nothing is limited.</summary>
    public bool IsEmpty => LatencyMs is null && Parameters is null && Macs is null && Ace is null && SizeBytes is null;

    /// <summary>Whether a form meets every limit.</summary>
    public bool Fits(FormCost cost) => Excess(cost).Count == 0;

    /// <summary>The limits a form breaks, as text; empty when it fits.</summary>
    public IReadOnlyList<string> Excess(FormCost cost)
    {
        var broken = new List<string>();
        if (LatencyMs is { } ms && cost.LatencyMs > ms) broken.Add(Invariant($"latency {cost.LatencyMs:0.###} ms > {ms:0.###} ms"));
        if (Parameters is { } p && cost.Parameters > p) broken.Add($"{Si(cost.Parameters)} parameters > {Si(p)}");
        if (Macs is { } m && cost.Macs > m) broken.Add($"{Si(cost.Macs)} MACs > {Si(m)}");
        if (Ace is { } a && cost.Ace > a) broken.Add($"{Si(cost.Ace)} ACE > {Si(a)}");
        if (SizeBytes is { } s && cost.SizeBytes > s) broken.Add($"{Si(cost.SizeBytes)}B > {Si(s)}B");
        return broken;
    }

    /// <summary>The limits as one line.</summary>
    public override string ToString()
    {
        var parts = new List<string>();
        if (LatencyMs is { } ms) parts.Add(Invariant($"latency <= {ms:0.###} ms"));
        if (Parameters is { } p) parts.Add($"parameters <= {Si(p)}");
        if (Macs is { } m) parts.Add($"MACs <= {Si(m)}");
        if (Ace is { } a) parts.Add($"ACE <= {Si(a)}");
        if (SizeBytes is { } s) parts.Add($"size <= {Si(s)}B");
        return parts.Count == 0 ? "none" : string.Join(", ", parts);
    }

    /// <summary>Reads a duration as users write it: "3ms", "0.5 ms", "800us", "1s"; a plain number is milliseconds.</summary>
    public static double ParseMilliseconds(string text)
    {
        var t = text.Trim().ToLowerInvariant();
        var (factor, digits) = t.EndsWith("ms", StringComparison.Ordinal) ? (1.0, t[..^2])
            : t.EndsWith("us", StringComparison.Ordinal) || t.EndsWith("µs", StringComparison.Ordinal) ? (1e-3, t[..^2])
            : t.EndsWith('s') ? (1e3, t[..^1]) : (1.0, t);
        return double.TryParse(digits.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out var v) && v > 0 && double.IsFinite(v)
            ? v * factor
            : throw new BayouException($"'{text}' is not a latency: write for example 3ms, 800us or 0.5ms");
    }

    /// <summary>Parses 90s, 30m, 2h, 1h30m into seconds.</summary>
    /// <exception cref="BayouException">No such text.</exception>
    public static double ParseSeconds(string text)
    {
        var match = Regex.Match(text.Trim().ToLowerInvariant(), @"^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?$");
        double Part(int group) => match.Groups[group].Success ? double.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture) : 0;
        var seconds = match.Success ? 3600 * Part(1) + 60 * Part(2) + Part(3) : 0;
        return seconds > 0 ? seconds : throw new BayouException($"'{text}' is no time: 90s, 30m, 2h and 1h30m are");
    }

    /// <summary>Reads a count as users write it: "200k", "1.5M", "4G", "1e6"; for sizes a trailing B (or KiB, MiB) is allowed.</summary>
    public static long ParseCount(string text)
    {
        var t = text.Trim();
        var factor = 1.0;
        var lower = t.ToLowerInvariant();
        if (lower.EndsWith("ib", StringComparison.Ordinal) && lower.Length > 2)
        {
            factor = lower[^3] switch { 'k' => 1024.0, 'm' => 1024.0 * 1024, 'g' => 1024.0 * 1024 * 1024, _ => 0 };
            t = t[..^3];
        }
        else
        {
            if (lower.EndsWith('b')) (t, lower) = (t[..^1], lower[..^1]);
            factor = lower.Length == 0 ? 0 : lower[^1] switch { 'k' => 1e3, 'm' => 1e6, 'g' => 1e9, 't' => 1e12, _ => 1 };
            if (factor > 1) t = t[..^1];
        }
        return factor > 0 && double.TryParse(t.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out var v) && v > 0 && v * factor < 9e18
            ? (long)Math.Round(v * factor)
            : throw new BayouException($"'{text}' is not a count: write for example 200k, 1.5M or 4G (sizes: 300kB, 1.5MB, 1MiB)");
    }

    /// <summary>A number with an SI prefix and three digits: 28.6M.</summary>
    public static string Si(double value)
    {
        foreach (var (limit, suffix) in new[] { (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k") })
        {
            if (Math.Abs(value) >= limit * 0.9995)
                return (value / limit)
                .ToString(Math.Abs(value) >= 99.95 * limit ? "0" : Math.Abs(value) >= 9.995 * limit ? "0.0" : "0.00", CultureInfo.InvariantCulture)
                + suffix;
        }
        return value.ToString("0.##", CultureInfo.InvariantCulture);
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
