using System.Diagnostics;
using Bayou.Core;
using Bayou.Fit;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;
using Competitor = Bayou.Bench.DepthwiseTurns.Competitor;

namespace Bayou.Bench;

/// <summary>Whole networks: prediction of RepLKNet-31B and SLaK-T for one picture of 224x224, a training step of RepLKNet-31B's first two stages.</summary>
internal static class DepthwiseModels
{
    private const string Training = "model_replknet_31b_training_step";

    public static void Run(BenchContext context)
    {
        foreach (var (name, model) in new[] { ("model_replknet_31b_forward", "replknet_31b"), ("model_slak_t_forward", "slak_tiny") })
            if (context.Wants(name)) Predict(context, name, model);
        if (context.Wants(Training)) TrainingStep(context);
    }

    // Everybody gets the merged network with every BatchNorm fused; libtorch op by op, without any kernel of ours.
    private static void Predict(BenchContext context, string name, string model)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var network = Catalog.Create(model).Merge(fuse: true);
        network.eval();
        var x = randn(1, 3, 224, 224);
        var last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        var graph = Capture.Trace(network, x.shape);
        using var onnx = new OnnxPeer(graph, x, context.Threads);
        List<Competitor> competitors =
        [
            new("", () => Call(network, x, own: true)), new("", () => Call(network, last, own: true)),
            new("libtorch planar", () => Call(network, x, own: false)), new("libtorch channels-last", () => Call(network, last, own: false)),
            new("ONNX Runtime", onnx.Run, Pause: true),
        ];
        var row = Add(context, name, $"{model} 1x3x224x224, merged", competitors, 4);
        context.Mark($"{name}: best peer / ours", row.RatioBestPeer!.Value, 1.3);
        PerOp(graph, row.Notes["ours planar"] <= row.Notes["ours channels-last"] ? x : last, name);
    }

    private static void Call(nn.Module<Tensor, Tensor> network, Tensor x, bool own)
    {
        using var scope = NewDisposeScope();
        OwnKernels.Enabled = own;
        network.call(x);
        OwnKernels.Enabled = true;
    }

    private static void TrainingStep(BenchContext context)
    {
        using var scope = NewDisposeScope();
        using var network = new RepLKNet(new RepLKNetConfig { LargeKernels = [31, 29], Layers = [2, 2], Channels = [128, 256] });
        network.train();
        var x = randn(2, 3, 224, 224);
        var last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        var labels = randint(0, 1000, [2L]);
        var row = Add(context, Training, "stages 1 and 2, 2x3x224x224: forward, loss, gradients",
        [
            new("", () => Step(x, own: true)), new("", () => Step(last, own: true)), new("libtorch planar", () => Step(x, own: false)),
            new("libtorch channels-last", () => Step(last, own: false)),
        ], 4);
        context.Mark($"{Training}: libtorch in the better layout / ours", row.RatioBestPeer!.Value, 3);

        void Step(Tensor pictures, bool own)
        {
            using var step = NewDisposeScope();
            OwnKernels.Enabled = own;
            nn.functional.cross_entropy(network.call(pictures), labels).backward();
            network.zero_grad();
            OwnKernels.Enabled = true;
        }
    }

    private static BenchRow Add(BenchContext context, string name, string what, IReadOnlyList<Competitor> competitors, double seconds)
    {
        var medians = DepthwiseTurns.Medians(seconds, competitors);
        var peers = competitors.Skip(2).Zip(medians.Skip(2)).ToDictionary(p => p.First.Name, p => p.Second);
        return context.Add(name, what, Math.Min(medians[0], medians[1]), peers, null,
            new Dictionary<string, double> { ["ours planar"] = medians[0], ["ours channels-last"] = medians[1] });
    }

    // Where the time of a network goes, by kind of op: medians of several runs of its graph.
    private static void PerOp(Graph graph, Tensor x, string name)
    {
        using var module = new GraphModule(graph);
        module.eval();
        var producers = graph.Nodes.SelectMany(n => n.Outputs.Select(o => (o.Id, Node: n))).ToDictionary(p => p.Id, p => p.Node);
        var runs = new List<Dictionary<string, double>>();
        for (var run = 0; run < 8; run++)
        {
            var times = new Dictionary<string, double>();
            var before = Stopwatch.GetTimestamp();
            module.Run([x], (value, _) =>
            {
                var now = Stopwatch.GetTimestamp();
                if (producers.TryGetValue(value.Id, out var node))
                    times[Kind(node)] = times.GetValueOrDefault(Kind(node)) + Stopwatch.GetElapsedTime(before, now).TotalMilliseconds;
                before = Stopwatch.GetTimestamp();
            })[0].Dispose();
            if (run > 1) runs.Add(times);
        }
        Console.Error.WriteLine($"{name}, ms by op: "
            + string.Join(", ", runs[0].Keys.Select(k => (Kind: k, Ms: BenchContext.Median([.. runs.Select(r => r.GetValueOrDefault(k))])))
            .OrderByDescending(k => k.Ms).Where(k => k.Ms >= 0.05).Select(k => $"{k.Kind} {k.Ms:0.0}")));

        static string Kind(GraphNode node) => node.Op is Conv2dOp conv
            ? conv.Groups > 1 ? "depthwise convolution" : node.Inputs[1]!.Shape[^1].Size == 1 ? "1x1 convolution" : "other convolution"
            : node.Op.Name;
    }
}
