using System.Text.Json;
using System.Text.Json.Serialization;
using Bayou.Core;

namespace Bayou.Claims;

/// <summary>What a comparison says.</summary>
public enum Verdict
{
    /// <summary>The effect is there: the whole 95 % interval lies on its side of zero, or the bound holds.</summary>
    Shown,

    /// <summary>The interval contains zero, or a bound is missed.</summary>
    NotShown,

    /// <summary>The whole interval lies on the other side.</summary>
    Opposite,
}

/// <summary>One effect of a claim: ours against the baseline.</summary>
/// <param name="Name">What is compared.</param>
/// <param name="Unit">Unit of the values, e.g. "% top-1".</param>
/// <param name="Ours">What ours is.</param>
/// <param name="Baseline">What the baseline is.</param>
/// <param name="OursValues">One value a seed.</param>
/// <param name="BaselineValues">One value a seed, the same seeds.</param>
/// <param name="Difference">Mean of ours - baseline.</param>
/// <param name="Low">Lower end of the 95 % interval of the difference; null with fewer than two seeds.</param>
/// <param name="High">Upper end.</param>
/// <param name="PaperOurs">The paper's value, in its own setting.</param>
/// <param name="PaperBaseline">The paper's baseline.</param>
/// <param name="Verdict">What follows.</param>
/// <param name="Note">What a reader should know.</param>
public sealed record ClaimEffect(
    string Name, string Unit, string Ours, string Baseline, double[] OursValues, double[] BaselineValues, double Difference, double? Low, double? High,
    string? PaperOurs, string? PaperBaseline, Verdict Verdict, string? Note);

/// <summary>Further rows that a claim prints: not judged.</summary>
/// <param name="Title">Heading.</param>
/// <param name="Columns">Column heads.</param>
/// <param name="Rows">Cells.</param>
public sealed record ClaimTable(string Title, string[] Columns, string[][] Rows);

/// <summary>Everything docs/claims/NAME.json says.</summary>
public sealed record ClaimResult(
    string Name, string Paper, string Statement, string Data, string Mode, int[] Seeds, int Threads, Machine Machine, double Seconds,
    ClaimEffect[] Effects, ClaimTable[] Tables, string[] Figures, string[] Notes)
{
    /// <summary>How results are written: snake_case, indented, verdicts as words.</summary>
    public static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };
}
