using System.Globalization;
using Bayou.Core;

namespace Bayou.Images;

/// <summary>PokeBNN in the catalog: the width multipliers of the paper.</summary>
public static class PokeBnnVariants
{
    private const string Paper = "PokeBNN: A Binary Pursuit of Lightweight Accuracy, CVPR 2022, arXiv 2112.00133";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        Entry(0.5, 7_209_784, "1.41 G ACE"),
        Entry(0.75, 15_369_596, "ImageNet-1K top-1 70.5 %, 2.59 G ACE"),
        Entry(1, 26_567_424, "4.22 G ACE"),
        Entry(1.4, 50_664_127, "ImageNet-1K top-1 75.6 %, 7.76 G ACE"),
        Entry(2, 101_738_896, "15.3 G ACE"),
    ];

    /// <summary>ResNet-50's sixteen blocks at a width multiplier.</summary>
    public static IReadOnlyList<(int Stride, int Features)> ResNet50Plan(double width) =>
    [
        .. new (int Blocks, int Features)[] { (3, 64), (4, 128), (6, 256), (3, 512) }
            .SelectMany((stage, s) => Enumerable.Range(0, stage.Blocks).Select(b => (s > 0 && b == 0 ? 2 : 1, (int)(stage.Features * width)))),
    ];

    /// <summary>The network of a width multiplier.</summary>
    public static PokeBnnConfig Config(double width) => new() { Plan = ResNet50Plan(width) };

    private static ModelEntry Entry(double width, long parameters, string figures) => new(
        $"pokebnn_{width.ToString("0.0#", CultureInfo.InvariantCulture)}x", "pokebnn", Paper,
        o => new PokeBnn(Config(width) with { Classes = o.Classes, InChannels = o.InChannels }), 224, parameters,
        $"{figures}; binary convolutions, 8-bit stem and head");
}
