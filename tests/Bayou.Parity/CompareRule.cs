using System.Text.Json;
using Bayou.Core;

namespace Bayou.Parity;

public enum CompareMode { Exact, Element, Max, Fraction, Sign, Set, Skip }

/// <summary>One entry of a case's "compare": how the outputs whose names match are judged.</summary>
/// <param name="Tensors">A glob over output names; '*' matches any characters, also '/'.</param>
/// <param name="Mode">How.</param>
/// <param name="RelativeTolerance">"rtol", 0 when absent.</param>
/// <param name="AbsoluteTolerance">"atol", 0 when absent.</param>
/// <param name="Fraction">Mode fraction: the share of elements that must pass.</param>
/// <param name="Axis">Mode sign: the axis that counts the vectors.</param>
public sealed record CompareRule(
    string Tensors, CompareMode Mode, double RelativeTolerance = 0, double AbsoluteTolerance = 0, double Fraction = 1, int Axis = 0)
{
    /// <summary>The rules of a config.json, in order.</summary>
    /// <exception cref="BayouException">An entry is unusable.</exception>
    public static IReadOnlyList<CompareRule> ReadAll(JsonElement config)
    {
        if (!config.TryGetProperty("compare", out var list)) return [];
        if (list.ValueKind != JsonValueKind.Array) throw new BayouException("config.json: \"compare\" is not a list");
        return [.. list.EnumerateArray().Select(Read)];
    }

    public bool Matches(string name) => Glob(Tensors, name);

    private static CompareRule Read(JsonElement entry)
    {
        if (entry.ValueKind != JsonValueKind.Object) throw new BayouException("config.json: an entry of \"compare\" is not an object");
        var tensors = Text(entry, "tensors");
        var name = Text(entry, "mode");
        // By name only: Enum.Parse alone would take "3" as well.
        if (!Enum.TryParse<CompareMode>(name, ignoreCase: true, out var mode) || !char.IsLetter(name[0]))
            throw new BayouException($"config.json: \"compare\" has the unknown mode '{name}'");
        var rule = new CompareRule(tensors, mode, Number(entry, "rtol", 0), Number(entry, "atol", 0), Number(entry, "fraction", -1),
            (int)Number(entry, "axis", 0));
        if (rule.RelativeTolerance < 0 || rule.AbsoluteTolerance < 0) throw new BayouException("config.json: \"compare\" has a negative tolerance");
        if (mode == CompareMode.Fraction && rule.Fraction is not (> 0 and <= 1))
            throw new BayouException("config.json: mode fraction needs a \"fraction\" above 0 and up to 1");
        return rule;
    }

    private static string Text(JsonElement entry, string key) =>
        entry.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text
            ? text
            : throw new BayouException($"config.json: an entry of \"compare\" lacks \"{key}\"");

    private static double Number(JsonElement entry, string key, double otherwise)
    {
        if (!entry.TryGetProperty(key, out var value)) return otherwise;
        return value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw new BayouException($"config.json: \"{key}\" in \"compare\" is not a number");
    }

    /// <summary>Matches with '*' only; every other character stands for itself.</summary>
    private static bool Glob(string pattern, string name)
    {
        int p = 0, n = 0, star = -1, resume = 0;
        while (n < name.Length)
        {
            if (p < pattern.Length && pattern[p] == '*') (star, resume) = (p++, n);
            else if (p < pattern.Length && pattern[p] == name[n]) (p, n) = (p + 1, n + 1);
            else if (star >= 0) (p, n) = (star + 1, ++resume);      // let the last star take one more
            else return false;
        }
        while (p < pattern.Length && pattern[p] == '*') p++;
        return p == pattern.Length;
    }
}
