using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Search;

namespace Bayou.Tests;

public class AccuracyTableTests
{
    private static AccuracyTable Table(string space)
    {
        Assert.SkipWhen(DataCatalog.SamplesFolder is null, "the tables are not here (BAYOU_SAMPLES)");
        return AccuracyTable.OfSamples(space);
    }

    [Fact]
    public void Published_optima_of_nas_bench_201()
    {
        var table = Table("nasbench201");
        Assert.Equal(15625, table.Networks.Count);
        var (ten, hundred) = (table.Best("cifar10")!, table.Best("cifar100")!);
        Assert.Equal((6111, 9930), (ten.Number, hundred.Number));
        Assert.Equal(94.3733, table.Of("cifar10")[ten.Number], 3);
        Assert.Equal(73.5133, table.Of("cifar100")[hundred.Number], 3);
        // The counts of every row are those of the cell, and isomorphic cells share a class.
        Assert.All(table.Networks,
            n => Assert.Equal((NasBench201Cell.Parse(n.Name).Macs(), NasBench201Cell.Parse(n.Name).Parameters()), (n.Macs, n.Parameters)));
        Assert.Equal(6466, table.Networks.Select(n => n.Class).Distinct().Count());
        Assert.Equal(6466, table.Networks.Select(n => (n.Class, NasBench201Cell.Parse(n.Name).Canonical(zero: true))).Distinct().Count());
        Assert.Throws<BayouException>(() => table.Of("imagenet"));
    }

    [Fact]
    public void Best_under_a_latency_limit_is_the_published_one()
    {
        var (accuracies, latencies) = (Table("nasbench201"), LatencyTable.OfSamples());
        foreach (var (limit, number, accuracy) in new[] { (8.0, 5250, 69.33), (11, 3540, 71.50), (14, 4418, 72.75) })
        {
            var best = accuracies.Best("cifar100", n => latencies["gold_6226"][n.Number] < limit)!;
            Assert.Equal(number, best.Number);
            Assert.Equal(accuracy, accuracies.Of("cifar100")[number], 2);
        }
        Assert.Null(accuracies.Best("cifar100", _ => false));
    }

    [Fact]
    public void Nas_bench_macro_with_its_seeds()
    {
        var table = Table("nasbench-macro");
        Assert.Equal((6561, 4), (table.Networks.Count, table.Sets.Count));
        Assert.Equal(93.1267, table.Of("cifar10").Max(), 4);
        for (var i = 0; i < table.Networks.Count; i++) Assert.Equal(table.Networks[i].Accuracies.Skip(1).Average(), table.Networks[i].Accuracies[0], 3);
    }

    [Theory]
    [InlineData("a,b\n1,2\n", "columns")]
    [InlineData("index,ops,cifar10_test,cifar100_test,flops,params,iso_class\n0,421211,85,52,1,2,0\n", "1 rows")]
    [InlineData("arch,acc_seed0,acc_seed1,acc_seed2,mean_acc,std,params,flops\n0000000,1,1,1,1,0,5,5\n", "8 digits")]
    [InlineData("arch,acc_seed0,acc_seed1,acc_seed2,mean_acc,std,params,flops\n00000000,1,1,1,1,0,5,x\n", "no whole number")]
    public void Damaged_tables_are_refused(string text, string says)
    {
        using var folder = new TempFolder();
        File.WriteAllText(Path.Combine(folder.Root, "archs.csv"), text);
        Assert.Contains(says, Assert.Throws<BayouException>(() => AccuracyTable.Read(folder.Root)).Message);
    }
}
