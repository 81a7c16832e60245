using System.Text;

namespace Bayou.Data;

/// <summary>Hashes that are the same on every machine and in every run (string.GetHashCode is not).</summary>
public static class StableHash
{
    /// <summary>Mixes two numbers into a third (splitmix64's finalizer over a Weyl step).</summary>
    public static ulong Mix(ulong a, ulong b)
    {
        var z = a + 0x9E3779B97F4A7C15 * (b + 1);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>Hash of a text under a seed (FNV-1a over UTF-8, mixed).</summary>
    public static ulong Of(ulong seed, string text)
    {
        var hash = 0xCBF29CE484222325;
        foreach (var b in Encoding.UTF8.GetBytes(text)) hash = (hash ^ b) * 0x100000001B3;
        return Mix(Mix(seed, hash), (ulong)text.Length);
    }
}
