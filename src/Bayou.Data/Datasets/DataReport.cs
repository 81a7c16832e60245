using System.Text.Json;
using System.Text.Json.Serialization;

namespace Bayou.Data;

/// <summary>A picture of a part of a data set.</summary>
/// <param name="Part">train, val, test or whole.</param>
/// <param name="Id">Its id in the data set.</param>
/// <param name="Class">Its class.</param>
public sealed record PictureRef(string Part, string Id, string Class);

/// <summary>A picture that cannot be read.</summary>
/// <param name="Part">train, val, test or whole.</param>
/// <param name="Id">Its id in the data set.</param>
/// <param name="Reason">Why.</param>
public sealed record UnreadablePicture(string Part, string Id, string Reason);

/// <summary>One part's counts.</summary>
/// <param name="Part">train, val, test or whole.</param>
/// <param name="Count">Readable pictures.</param>
/// <param name="ClassCounts">Readable pictures of each class.</param>
public sealed record PartReport(string Part, int Count, int[] ClassCounts);

/// <summary>Smallest, median and largest of a measure, in pixels.</summary>
public sealed record SizeRange(int Min, int Median, int Max);

/// <summary>What <see cref="DataCheck"/> found. Serialises to JSON.</summary>
public sealed record DataReport
{
    private static readonly JsonSerializerOptions json = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    /// <summary>Name of the data set.</summary>
    public required string Name { get; init; }

    /// <summary>Where the parts come from, in words.</summary>
    public required string Origin { get; init; }

    /// <summary>Class names in label order.</summary>
    public required string[] Classes { get; init; }

    /// <summary>Counts of each part.</summary>
    public required PartReport[] Parts { get; init; }

    /// <summary>Widths; null without a readable picture.</summary>
    public SizeRange? Width { get; init; }

    /// <summary>Heights; null without a readable picture.</summary>
    public SizeRange? Height { get; init; }

    /// <summary>Grey pictures.</summary>
    public int Grey { get; init; }

    /// <summary>Colour pictures.</summary>
    public int Colour { get; init; }

    /// <summary>Pictures that cannot be read, with the reason; they are left out of the counts.</summary>
    public required UnreadablePicture[] Unreadable { get; init; }

    /// <summary>Files that are not used, with the reason.</summary>
    public required SkippedFile[] Skipped { get; init; }

    /// <summary>Groups of exactly equal pictures.</summary>
    public required PictureRef[][] Duplicates { get; init; }

    /// <summary>Pictures of val or test that the training part has too: they make results look better than they are.</summary>
    public int LeakedPictures { get; init; }

    /// <summary>Groups of equal pictures with different labels.</summary>
    public int ContradictingLabels { get; init; }

    /// <summary>Largest over smallest class of the training part, at least 1; infinite is reported as null (a class without pictures).</summary>
    public double? Imbalance { get; init; }

    /// <summary>What a person should look at, in words.</summary>
    public required string[] Warnings { get; init; }

    /// <summary>Number of readable pictures.</summary>
    [JsonIgnore]
    public int Count => Parts.Sum(p => p.Count);

    /// <summary>As indented JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, json);

    /// <summary>From <see cref="ToJson"/>.</summary>
    public static DataReport? FromJson(string text) => JsonSerializer.Deserialize<DataReport>(text, json);
}
