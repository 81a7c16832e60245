namespace Bayou.Data;

/// <summary>SemanticKITTI's 19 training classes (Behley et al., ICCV 2019).</summary>
public static class SemanticKitti
{
    /// <summary>Class names in training order.</summary>
    public static IReadOnlyList<string> Classes { get; } =
    [
        "car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist", "road", "parking", "sidewalk", "other-ground",
        "building", "fence", "vegetation",
        "trunk", "terrain", "pole", "traffic-sign",
    ];

    /// <summary>
    /// Training class of a raw label, -100 (ignored) for unlabelled, outliers and other structures; moving classes count as their static ones.
    /// </summary>
    public static int TrainingClass(int raw) => raw switch
    {
        10 or 252 => 0,
        11 => 1,
        15 => 2,
        18 or 258 => 3,
        13 or 16 or 20 or 256 or 257 or 259 => 4,
        30 or 254 => 5,
        31 or 253 => 6,
        32 or 255 => 7,
        40 or 60 => 8,
        44 => 9,
        48 => 10,
        49 => 11,
        50 => 12,
        51 => 13,
        70 => 14,
        71 => 15,
        72 => 16,
        80 => 17,
        81 => 18,
        _ => -100,
    };
}
