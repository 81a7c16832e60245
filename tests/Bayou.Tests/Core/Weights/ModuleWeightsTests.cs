using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;
using Linear = TorchSharp.Modules.Linear;

namespace Bayou.Tests;

public class ModuleWeightsTests
{
    private sealed class Net : nn.Module<Tensor, Tensor>
    {
        private readonly Linear first;
        private readonly TorchSharp.Modules.BatchNorm1d norm;
        private readonly Linear head;

        internal Net(int classes = 3) : base("Net")
        {
            first = nn.Linear(2, 4);
            norm = nn.BatchNorm1d(4);
            head = nn.Linear(4, classes);
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => head.call(norm.call(first.call(input)));
    }

    private sealed class Tied : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Parameter embed;
        private readonly TorchSharp.Modules.Parameter output;

        internal Tied() : base("Tied")
        {
            embed = output = new TorchSharp.Modules.Parameter(zeros(2, 2));
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => input.matmul(embed).matmul(output);
    }

    private sealed class TiedAcross : nn.Module<Tensor, Tensor>
    {
        private readonly Linear wte;
        private readonly Linear lm_head;

        internal TiedAcross() : base("TiedAcross")
        {
            wte = nn.Linear(2, 2, hasBias: false);
            lm_head = nn.Linear(2, 2, hasBias: false);
            lm_head.weight = wte.weight;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => lm_head.call(wte.call(input));
    }

    [Fact]
    public void Tied_modules_are_saved_under_both_keys_and_load_from_one()
    {
        using var folder = new TempFolder();
        using TiedAcross a = new(), b = new();
        a.Save(folder["a.safetensors"]);
        using (var file = WeightFile.Open(folder["a.safetensors"])) Assert.Equal(["lm_head.weight", "wte.weight"], file.Keys.Order());
        b.Load(folder["a.safetensors"]);
        var report = b.LoadState([new("lm_head.weight", ones(2, 2))]);
        Assert.True(report.Complete, report.ToString());
        Assert.Equal(4f, b.named_parameters().Single().parameter.sum().item<float>());
    }

    [Fact]
    public void Saved_weights_load_into_the_same_tensor_objects()
    {
        using var folder = new TempFolder();
        using Net a = new(), b = new();
        a.Save(folder["a.safetensors"]);
        var before = b.named_parameters().Select(p => p.parameter).ToList();
        Assert.Same(b, b.Load(folder["a.safetensors"]));
        Assert.All(b.named_parameters().Zip(before), pair => Assert.Same(pair.First.parameter, pair.Second));
        using var x = randn(5, 2);
        a.eval();
        b.eval();
        Assert.Equal(a.call(x).data<float>().ToArray(), b.call(x).data<float>().ToArray());
        Assert.All(b.named_parameters(), p => Assert.True(p.parameter.requires_grad && p.parameter.is_leaf));
    }

    [Fact]
    public void A_shape_that_would_broadcast_is_not_loaded()
    {
        using Net a = new(classes: 1), b = new(classes: 3);
        var before = b.state_dict().ToDictionary(s => s.Key, s => s.Value.clone());
        var error = Assert.Throws<BayouException>(() => b.LoadState(a.state_dict()));
        Assert.Contains("2 mismatched: head.weight ([1, 4] in the file, [3, 4] in the module)", error.Message);
        foreach (var (key, value) in b.state_dict()) Assert.True(value.equal(before[key]).all().item<bool>(), $"{key} changed");

        var report = b.LoadState(a.state_dict(), strict: false);
        Assert.Equal(2, report.Mismatched.Count);
        Assert.Equal(7, report.Loaded.Count);
        Assert.True(b.state_dict()["first.weight"].equal(a.state_dict()["first.weight"]).all().item<bool>());
        Assert.True(b.state_dict()["head.bias"].equal(before["head.bias"]).all().item<bool>());
    }

    [Fact]
    public void Missing_and_unexpected_keys_are_listed()
    {
        using var net = new Net();
        var state = new Net().state_dict();
        state.Remove("first.bias");
        state["extra"] = zeros(1);
        var report = net.LoadState(state, strict: false);
        Assert.Equal(["first.bias"], report.Missing);
        Assert.Equal(["extra"], report.Unexpected);
        Assert.False(report.Complete);
        var error = Assert.Throws<BayouException>(() => net.LoadState(state));
        Assert.Contains("1 missing in the file: first.bias", error.Message);
        Assert.Contains("1 unexpected in the file: extra", error.Message);
    }

    [Fact]
    public void Files_from_before_batch_counters_load()
    {
        using var net = new Net();
        var state = new Net().state_dict();
        state.Remove("norm.num_batches_tracked");
        var report = net.LoadState(state);
        Assert.True(report.Complete);
        Assert.Equal(["norm.num_batches_tracked"], report.Defaulted);
    }

    [Fact]
    public void Floats_are_converted_and_said_so_other_types_are_not()
    {
        using var net = new Net();
        var state = new Net().state_dict().ToDictionary(s => s.Key, s => s.Value);
        state["first.weight"] = torch.tensor(new[] { 0.5, 1.5, -2, 3, 4, 5, 6, 7 }, float64).view(4, 2);
        state["head.bias"] = torch.tensor(new[] { 1f, 2, 3 }).to(bfloat16);
        var report = net.LoadState(state);
        Assert.Equal(["first.weight (float64 to float32)", "head.bias (bfloat16 to float32)"], report.Converted.Order());
        Assert.Equal([1f, 2, 3], net.state_dict()["head.bias"].data<float>().ToArray());
        state["head.bias"] = torch.tensor(new long[] { 1, 2, 3 });
        Assert.Contains("int64 in the file, float32 in the module", Assert.Throws<BayouException>(() => net.LoadState(state)).Message);
    }

    [Fact]
    public void Keys_can_be_mapped_and_left_out()
    {
        using Net a = new(), b = new();
        var renamed = a.state_dict().Select(s => KeyValuePair.Create("backbone." + s.Key, s.Value)).Append(new("optimizer", zeros(1)));
        var report = b.LoadState(renamed, mapKey: key => key.StartsWith("backbone.", StringComparison.Ordinal) ? key[9..] : null);
        Assert.True(report.Complete);
        Assert.Contains("both mapped to 'x'", Assert.Throws<BayouException>(() => b.LoadState(renamed, mapKey: _ => "x")).Message);
    }

    [Theory]
    [InlineData("embed")]
    [InlineData("output")]
    public void A_parameter_with_two_names_loads_under_either(string name)
    {
        using var net = new Tied();
        var report = net.LoadState([new(name, ones(2, 2))]);
        Assert.True(report.Complete, report.ToString());
        Assert.Equal(4f, net.named_parameters().Single().parameter.sum().item<float>());
    }

    [Fact]
    public void A_parameter_with_two_names_loads_from_a_file_with_both()
    {
        using var folder = new TempFolder();
        using var net = new Tied();
        var bytes = new PickleBuilder().Dict(("embed", x => x.Tensor("0", 4, 0, [2, 2], [2, 1])), ("output", x => x.Tensor("0", 4, 0, [2, 2], [2, 1]))).Op('.')
            .Zip([1, 2, 3, 4]);
        net.Load(folder.Write("a.pth", bytes));
        Assert.Equal(10f, net.named_parameters().Single().parameter.sum().item<float>());
    }

    [Fact]
    public void A_placeholder_is_an_error_only_where_the_module_needs_it()
    {
        using var folder = new TempFolder();
        using var net = new Tied();
        Action<PickleBuilder> weight = x => x.Tensor("0", 4, 0, [2, 2], [2, 1]), call = x => x.Global("os", "system").Text("true").Raw(0x85).Op('R');
        folder.Write("beside.pth", new PickleBuilder().Dict(("embed", weight), ("args", call)).Op('.').Zip([1, 2, 3, 4]));
        folder.Write("instead.pth", new PickleBuilder().Dict(("embed", call), ("other", weight)).Op('.').Zip([1, 2, 3, 4]));
        using var beside = WeightFile.Open(folder["beside.pth"]);
        Assert.Equal(["args"], beside.LoadInto(net, strict: false).Unexpected);
        using var instead = WeightFile.Open(folder["instead.pth"]);
        Assert.Contains("os.system", Assert.Throws<BayouException>(() => instead.LoadInto(net, strict: false)).Message);
    }
}
