using Bayou.Core;

namespace Bayou.Images;

/// <summary>NAS-Bench-201 in the catalog: any cell as <c>nasbench201:CELL</c>; without a cell the best one on CIFAR-10.</summary>
public static class NasBench201Variants
{
    private const string Paper = "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020, arXiv 2001.00326";

    /// <summary>Index of the best cell on CIFAR-10.</summary>
    public const int BestOnCifar10 = 6111;

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
        [Entry("nasbench201", NasBench201Cell.At(BestOnCifar10)) with { Variant = text => Entry($"nasbench201:{text}", NasBench201Cell.Parse(text)) }];

    private static ModelEntry Entry(string name, NasBench201Cell cell) => new(
        name, "nasbench201", Paper, o => new NasBench201(cell, classes: o.Classes, inChannels: o.InChannels), 32, cell.Parameters(),
        name.Contains(':') ? $"cell {cell.Index} of 15,625: {cell}; parameters with 10 classes"
            : "family: nasbench201:CELL takes any of the 15,625 cells (string, six digits, or #index); alone the best on CIFAR-10, 94.37 % after 200 epochs; parameters with 10 classes");
}
