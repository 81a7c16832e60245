using Bayou.Core;
using Bayou.Onnx;
using Bayou.Onnx.Proto;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Whole networks as files: residuals, attention, names, metadata, failures.</summary>
public sealed class OnnxWriterTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bayou-onnx-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string File(string name = "model.onnx") => Path.Combine(folder, name);

    private static ModelProto Parse(string path) => ModelProto.Parser.ParseFrom(System.IO.File.ReadAllBytes(path));

    /// <summary>A ConvNeXt block with layer scale.</summary>
    internal sealed class Block : Layer
    {
        private readonly Conv2d dwconv;
        private readonly LayerNorm norm;
        private readonly Linear pwconv1, pwconv2;
        private readonly TorchSharp.Modules.Parameter gamma;
        private readonly DropPath drop_path = new(0.3);

        public Block(long c)
        {
            (dwconv, norm, pwconv1, pwconv2) = (new(c, c, 7, padding: 3, groups: c), new(c, 1e-6), new(c, 4 * c), new(4 * c, c));
            using var scope = NewDisposeScope();
            gamma = NewParameter(rand(c));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var y = norm.call(Ops.ToChannelsLast(dwconv.call(x)));
            y = Ops.Mul(gamma, pwconv2.call(Ops.Gelu(pwconv1.call(y))));
            return Ops.Add(x, drop_path.call(Ops.ToChannelsFirst(y)));
        }
    }

    /// <summary>A small network of two blocks.</summary>
    internal sealed class Net : Layer
    {
        private readonly Conv2d stem = new(3, 8, 4, 4);
        private readonly LayerNorm2d stem_norm = new(8);
        private readonly Sequential blocks = new(new Block(8), new Block(8));
        private readonly LayerNorm norm = new(8);
        private readonly Linear head = new(8, 5);

        public Net() => RegisterComponents();

        public override Tensor forward(Tensor x) => head.call(norm.call(Ops.GlobalAveragePool(blocks.call(stem_norm.call(stem.call(x))))));
    }

    /// <summary>Two-headed self-attention with a class token.</summary>
    private sealed class Attention : Layer
    {
        private const long Dim = 8, Heads = 2;
        private readonly TorchSharp.Modules.Parameter cls_token;
        private readonly LayerNorm norm = new(Dim);
        private readonly Linear qkv = new(Dim, 3 * Dim), proj = new(Dim, Dim), head = new(Dim, 4);

        public Attention()
        {
            using var scope = NewDisposeScope();
            cls_token = NewParameter(randn(1, 1, Dim));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var tokens = Ops.Permute(Ops.Reshape(x, 0, Dim, -1), 0, 2, 1);
            tokens = Ops.Concat(1, Ops.ExpandBatch(cls_token, tokens), tokens);
            var parts = Ops.Permute(Ops.Reshape(qkv.call(norm.call(tokens)), 0, 0, 3, Heads, Dim / Heads), 2, 0, 3, 1, 4);
            Tensor Part(long i) => Ops.Reshape(Ops.Slice(parts, 0, i, i + 1), -1, Heads, 17, Dim / Heads);
            var attention = Ops.Softmax(Ops.Scale(Ops.MatMul(Part(0), Ops.Permute(Part(1), 0, 1, 3, 2)), 1 / Math.Sqrt(Dim / Heads)), -1);
            var y = Ops.Reshape(Ops.Permute(Ops.MatMul(attention, Part(2)), 0, 2, 1, 3), 0, -1, Dim);
            tokens = Ops.Add(tokens, proj.call(y));
            return head.call(Ops.Reshape(Ops.Slice(tokens, 1, 0, 1), 0, Dim));
        }
    }

    [Fact]
    public void A_residual_network_agrees_at_any_batch_and_keeps_its_names()
    {
        manual_seed(1);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = new Net();
        var check = model.ExportOnnx(File(), [1, 3, 32, 24], new OnnxOptions { Samples = [randn(5, 3, 32, 24)] });
        Assert.InRange(check.MaxAbsDiff, 0, 1e-5);
        Assert.Equal((1.0, 9, false), (check.Top1Agreement, check.Rows, check.Quantised));
        Assert.Equal([File()], Directory.GetFileSystemEntries(folder));

        model.eval();
        using var runner = new OnnxRunner(File());
        var x = randn(7, 3, 32, 24);
        TensorAssert.Close(model.call(x), runner.Run(x), 1e-5, 1e-5);
        Assert.Equal(["input[N,3,32,24]", "logits[N,5]"], runner.Inputs.Concat(runner.Outputs).Select(v => v.ToString()));

        var file = Parse(File());
        Assert.Equal((9, 20, "bayou"), (file.IrVersion, file.OpsetImport.Single().Version, file.ProducerName));
        var state = model.state_dict().Keys.ToHashSet();
        var weights = file.Graph.Initializer.Select(t => t.Name.EndsWith(".T", StringComparison.Ordinal) ? t.Name[..^2] : t.Name).ToHashSet();
        Assert.Equal([], state.Except(weights));
        Assert.Contains(file.Graph.Node, n => n.Name == "blocks.0.dwconv" && n.OpType == "Conv");
        Assert.DoesNotContain(file.Graph.Node, n => n.Name.Contains("DropPath"));
        var names = file.Graph.Node.SelectMany(n => n.Output).Concat(file.Graph.Initializer.Select(t => t.Name)).Concat(file.Graph.Input.Select(i => i.Name))
            .ToArray();
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Fact]
    public void Attention_with_a_class_token_agrees_at_any_batch()
    {
        manual_seed(2);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = new Attention();
        model.ExportOnnx(File(), [1, 8, 4, 4]);
        model.eval();
        using var runner = new OnnxRunner(File());
        foreach (var batch in new long[] { 1, 2, 6 })
        {
            var x = randn(batch, 8, 4, 4);
            TensorAssert.Close(model.call(x), runner.Run(x), 1e-5, 1e-5);
        }
    }

    [Fact]
    public void Several_outputs_among_them_an_input_and_one_value_twice()
    {
        manual_seed(3);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = new Conv2d(3, 3, 3, padding: 1);
        var graph = Capture.Trace(model, x =>
        {
            var y = model.call(x[0]);
            return [Ops.Relu(y), y, x[1]];
        }, [("picture", [1, 3, 4, 4]), ("other", [1, 2])], ["a", "b", "c"]);
        OnnxWriter.Write(graph, File());
        using var runner = new OnnxRunner(File());
        Assert.Equal(["a[N,3,4,4]", "b[N,3,4,4]", "other[N,2]"], runner.Outputs.Select(o => o.ToString().Replace("::2", "").Replace("c[", "other[")));
        Tensor[] inputs = [randn(2, 3, 4, 4), randn(2, 2)];
        var results = runner.Run(inputs);
        TensorAssert.Close(model.call(inputs[0]), results[1], 1e-5, 1e-5);
        TensorAssert.Close(model.call(inputs[0]).clamp(0), results[0], 1e-5, 1e-5);
        TensorAssert.Same(inputs[1], results[2]);
        Assert.Throws<BayouException>(() => runner.Run([inputs[0]]));
    }

    [Fact]
    public void Metadata_comes_back_unchanged()
    {
        using var model = new Linear(3, 2);
        var metadata = new Dictionary<string, string> { ["labels"] = "[\"Ärger\",\"日本\"]", ["empty"] = "", ["long"] = new string('x', 100_000) };
        model.ExportOnnx(File(), [1, 3], new OnnxOptions { Metadata = metadata });
        using var runner = new OnnxRunner(File());
        Assert.Equal(metadata.OrderBy(p => p.Key), runner.Metadata.OrderBy(p => p.Key));
    }

    [Fact]
    public void Large_weights_go_into_a_second_file()
    {
        manual_seed(4);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = new Net();
        model.ExportOnnx(File(), [1, 3, 32, 32], new OnnxOptions { ExternalDataAbove = 0 });
        Assert.Equal([File(), File() + ".data"], Directory.GetFileSystemEntries(folder).Order());
        model.eval();
        var x = randn(2, 3, 32, 32);
        using var runner = new OnnxRunner(File());
        TensorAssert.Close(model.call(x), runner.Run(x), 1e-5, 1e-5);
        Assert.Throws<BayouException>(() => OnnxWriter.ToBytes(Capture.Trace(model, 1, 3, 32, 32), new OnnxOptions { ExternalDataAbove = 0 }));
    }

    private sealed class WithOpaque : Layer
    {
        private readonly Linear first = new(3, 3);

        public WithOpaque() => RegisterComponents();

        public override Tensor forward(Tensor x) => Ops.Opaque("TokenRemoval", (t, _) => [t[0]!.neg()], (_, _) => default, training, first.call(x))[0];
    }

    [Fact]
    public void A_node_without_onnx_form_is_refused_by_name_and_an_older_file_stays()
    {
        System.IO.File.WriteAllText(File(), "older");
        using var model = new WithOpaque();
        var error = Assert.Throws<BayouException>(() => model.ExportOnnx(File(), [1, 3]));
        Assert.Contains("TokenRemoval", error.Message);
        Assert.Contains("first", error.Message);
        Assert.Equal("older", System.IO.File.ReadAllText(File()));
    }

    [Fact]
    public void A_file_that_disagrees_never_takes_its_name()
    {
        System.IO.File.WriteAllText(File(), "older");
        using var model = new Linear(3, 2);
        var error = Assert.Throws<BayouException>(() => model.ExportOnnx(File(), [1, 3], new OnnxOptions { Tolerance = -1 }));
        Assert.Contains("differ", error.Message);
        Assert.Equal("older", System.IO.File.ReadAllText(File()));
        Assert.Single(Directory.GetFileSystemEntries(folder));
        Assert.Throws<BayouException>(() => model.ExportOnnx(folder, [1, 3]));
        Assert.Throws<BayouException>(() => model.ExportOnnx(Path.Combine(File(), "below a file.onnx"), [1, 3]));
    }
}

/// <summary>libtorch's generator belongs to all threads: nothing else may draw from it meanwhile.</summary>
[CollectionDefinition(DisableParallelization = true)]
public class OnnxAlone;

[Collection(typeof(OnnxAlone))]
public class OnnxSideEffectTests
{
    [Fact]
    public void Exporting_moves_neither_the_model_nor_the_random_generator()
    {
        var folder = Directory.CreateTempSubdirectory("bayou-onnx-").FullName;
        manual_seed(5);
        using var scope = NewDisposeScope();
        using var model = new OnnxWriterTests.Net();
        model.train();
        var before = get_rng_state();
        var weight = model.parameters().First().clone();
        model.ExportOnnx(Path.Combine(folder, "m.onnx"), [1, 3, 32, 32]);
        TensorAssert.Same(before, get_rng_state());
        TensorAssert.Same(weight, model.parameters().First().detach());
        Assert.True(model.training);
        Directory.Delete(folder, recursive: true);
    }
}
