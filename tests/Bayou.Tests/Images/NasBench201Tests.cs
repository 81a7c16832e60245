using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Onnx;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class NasBench201Tests
{
    private static readonly Gen<NasBench201Cell> Cells = Gen.Int[0, NasBench201Cell.Count - 1].Select(NasBench201Cell.At);

    [Fact]
    public void Strings_digits_and_indices_are_the_same_cell() => Cells.Sample(cell =>
        NasBench201Cell.Parse(cell.ToString()).Equals(cell) && NasBench201Cell.Parse(cell.Digits).Equals(cell)
            && NasBench201Cell.Parse($"#{cell.Index}").Equals(cell), iter: 500);

    [Fact]
    public void Indices_are_the_benchmarks()
    {
        Assert.Equal("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|", NasBench201Cell.At(0).ToString());
        Assert.Equal("333333", NasBench201Cell.At(1462).Digits);
        Assert.Equal(6111, NasBench201Cell.Parse("333132").Index);
        Assert.Equal(NasBench201Cell.Count, Enumerable.Range(0, NasBench201Cell.Count).Select(i => NasBench201Cell.At(i).Digits).Distinct().Count());
    }

    [Theory]
    [InlineData("333132")]
    [InlineData("421211")]
    [InlineData("000000")]
    public void Closed_forms_agree_with_the_captured_network(string digits)
    {
        using var scope = NewDisposeScope();
        var cell = NasBench201Cell.Parse(digits);
        using var network = new NasBench201(cell, width: 4, depth: 2, classes: 7);
        var cost = Cost.Of(network, 1, 3, 16, 16);
        Assert.Equal(cell.Macs(4, 2, 16, 7), cost.Macs + 7);      // the official counter adds the head's bias
        Assert.Equal(cell.Parameters(4, 2, 7), cost.Parameters);
    }

    [Fact]
    public void Isomorphic_cells_share_their_canonical_string()
    {
        // Node 1 is a copy of the input: what comes from it could as well come from the input.
        Assert.Equal(NasBench201Cell.Parse("130003").Canonical(true), NasBench201Cell.Parse("103003").Canonical(true));
        Assert.Equal(NasBench201Cell.Parse("130003").Canonical(false).Length, NasBench201Cell.Parse("103003").Canonical(false).Length);
        Assert.NotEqual(NasBench201Cell.Parse("333333").Canonical(true), NasBench201Cell.Parse("333332").Canonical(true));
    }

    [Fact]
    public void Any_cell_trains_and_exports()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var entry = Catalog.Models.Find("nasbench201:034142");
        using var network = entry.Create(new ModelOptions(4));
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(Capture.Trace(network, 1, 3, 8, 8)));
        network.eval();
        var x = randn(2, 3, 8, 8);
        TensorAssert.Close(network.call(x), runner.Run(x), 1e-4, 1e-5);
        network.train();
        network.call(x).sum().backward();
        Assert.True(network.named_parameters().Where(p => p.name.EndsWith("weight", StringComparison.Ordinal)).All(p => p.parameter.grad is not null));
    }

    [Theory]
    [InlineData("33313")]
    [InlineData("555555")]
    [InlineData("|nor_conv_3x3~0|+|none~0|none~1|")]
    [InlineData("|nor_conv_3x3~1|+|none~0|none~1|+|none~0|none~1|none~2|")]
    [InlineData("#15625")]
    public void Bad_cells_are_refused(string text) => Assert.Throws<BayouException>(() => NasBench201Cell.Parse(text));

    [Fact]
    public void Odd_sizes_are_refused()
    {
        using var scope = NewDisposeScope();
        using var network = new NasBench201(NasBench201Cell.At(0), 4, 1);
        Assert.Contains("multiples of 4", Assert.Throws<BayouException>(() => network.call(zeros(1, 3, 10, 10))).Message);
    }

    [Fact]
    public void The_measured_table_lists_cells_in_our_order()
    {
        Assert.SkipWhen(DataCatalog.SamplesFolder is null, "the sample data are not here (BAYOU_SAMPLES)");
        var rows = File.ReadLines(Path.Combine(DataCatalog.SamplesFolder!, "nasbench201-latency", "archs.csv")).Skip(1).Select(l => l.Split(',')).ToArray();
        Assert.Equal(rows.Select(r => r[1]), Enumerable.Range(0, rows.Length).Select(i => NasBench201Cell.At(i).Digits));
        foreach (var r in rows.Take(200))
            Assert.Equal((long.Parse(r[4]), long.Parse(r[5])), (NasBench201Cell.Parse(r[1]).Macs(), NasBench201Cell.Parse(r[1]).Parameters()));
        // Cells of one class have one canonical string, cells of two classes two.
        var canonical = rows.Take(2000).Select(r => (Class: r[6], Text: NasBench201Cell.Parse(r[1]).Canonical(true))).ToArray();
        Assert.Equal(canonical.Select(c => c.Class).Distinct().Count(), canonical.Select(c => c.Text).Distinct().Count());
    }
}
