using System.Diagnostics;
using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;
using Competitor = Bayou.Bench.DepthwiseTurns.Competitor;

namespace Bayou.Bench;

/// <summary>
/// Depthwise convolutions with large kernels, forward and both gradients, and the networks built of them. Ours is what Ops.Conv2d does; like libtorch it is
/// timed in planar and in channels-last memory, each as the data lie, and in both cases the better one counts (all figures are in the row). Converting between
/// the layouts is a figure of its own.
/// </summary>
public sealed class DepthwiseBench : IBenchmark
{
    // All rows but the models', in seconds: a busy machine gets fewer turns a row, not a longer bench.
    private const double Budget = 330;

    // About a third of a millisecond.
    private const int LoopSteps = 80_000;

    private const int DrawnShapes = 20;
    private const string SmallestName = "depthwise_grad_planar";
    private const string Planar = "libtorch planar", Last = "libtorch channels-last", Onnx = "ONNX Runtime", Flipped = "channels-last forward, flipped kernel";

    /// <inheritdoc/>
    public string Name => "depthwise";

    /// <inheritdoc/>
    public string Summary => "depthwise convolutions up to 51x51 (forward, gradients) and RepLKNet, SLaK against libtorch in both layouts and ONNX Runtime";

    /// <inheritdoc/>
    public void Run(BenchContext context)
    {
        // As the trainer does, and ONNX Runtime with an arena of its own: otherwise page faults of fresh results are most of what is measured, for libtorch as
        // for us.
        GlibcAllocator.KeepFreedMemory();
        Console.Error.WriteLine($"{DrawnShapes} shapes drawn from seed {context.Seed}; limit {context.FmaPeak:0.0} G multiply-adds/s");
        var cases = DepthwiseCase.Standard().Concat(DepthwiseCase.Drawn(context.Seed, DrawnShapes)).Where(c => context.WantsCase(c.ToString())).ToList();
        var rows = new List<(DepthwiseCase Case, BenchRow Row)>();
        var clock = Stopwatch.StartNew();
        var kinds = new (string Name, Func<BenchContext, DepthwiseCase, BenchRow> Measure)[]
        {
            ("depthwise_forward", Forward), ("depthwise_grad_input", InputGradient), ("depthwise_grad_weight", WeightGradient),
        }.Where(k => context.Wants(k.Name)).ToList();
        foreach (var (_, measure) in kinds)
        {
            foreach (var c in cases)
            {
                context.Seconds = Math.Clamp((Budget - clock.Elapsed.TotalSeconds) / (kinds.Count * cases.Count - rows.Count) / 3, 0.02, 0.3);
                rows.Add((c, measure(context, c)));
            }
        }
        Judge(context, rows);
        if (context.Wants(SmallestName)) foreach (var c in DepthwiseCase.Smallest().Where(c => context.WantsCase(c.ToString()))) PlanarGradients(context, c);
        DepthwiseModels.Run(context);
    }

    private static BenchRow Forward(BenchContext context, DepthwiseCase c)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (x, weights) = Data(c);
        var last = ToLast(x);
        using var network = new ConvSum(c, weights);
        using var onnx = new OnnxPeer(Capture.Trace(network, x.shape), x, context.Threads);
        return Row(context, "depthwise_forward", c,
        [
            new("", Scoped(() => Ours(c, x, weights))),
            new("", Scoped(() => Ours(c, last, weights))),
            new(Planar, Scoped(() => Libtorch(c, x, weights))),
            new(Last, Scoped(() => Libtorch(c, last, weights))),
            new(Onnx, onnx.Run, Pause: true),
        ], Conversion(x, c));
    }

    private static BenchRow InputGradient(BenchContext context, DepthwiseCase c)
    {
        using var scope = NewDisposeScope();
        var (x0, weights) = Data(c);
        List<Competitor> competitors =
        [
            Backward("", c, x0, weights, Ours, ofInput: true, ofWeights: false), Backward("", c, ToLast(x0), weights, Ours, ofInput: true, ofWeights: false),
            Backward(Planar, c, x0, weights, Libtorch, ofInput: true, ofWeights: false), Backward(Last, c, ToLast(x0), weights, Libtorch, ofInput: true, ofWeights: false),
        ];
        if (c.Stride == 1)
        {
            var dy = ToLast(randn(x0.shape));
            var flipped = weights.Select(w => w.flip(2, 3).contiguous()).ToArray();
            competitors.Add(new(Flipped, Scoped(() =>
            {
                using var noGrad = no_grad();
                return Libtorch(c, dy, flipped);
            })));
        }
        return Row(context, "depthwise_grad_input", c, competitors);
    }

    private static BenchRow WeightGradient(BenchContext context, DepthwiseCase c)
    {
        using var scope = NewDisposeScope();
        var (x, weights) = Data(c);
        return Row(context, "depthwise_grad_weight", c,
        [
            Backward("", c, x, weights, Ours, ofInput: false, ofWeights: true), Backward("", c, ToLast(x), weights, Ours, ofInput: false, ofWeights: true),
            Backward(Planar, c, x, weights, Libtorch, ofInput: false, ofWeights: true), Backward(Last, c, ToLast(x), weights, Libtorch, ofInput: false, ofWeights: true),
        ]);
    }

    // Both gradients of planar memory: why Ops.Conv2d takes 3x3 kernels there, and only there.
    private static void PlanarGradients(BenchContext context, DepthwiseCase c)
    {
        using var scope = NewDisposeScope();
        var (x, weights) = Data(c);
        var medians = DepthwiseTurns.Medians(context.Seconds,
            [Backward("", c, x, weights, Ours, ofInput: true, ofWeights: true), Backward(Planar, c, x, weights, Libtorch, ofInput: true, ofWeights: true)]);
        context.Add(SmallestName, c.ToString(), medians[0], new Dictionary<string, double> { [Planar] = medians[1] });
    }

    // The first two competitors are ours, planar and channels-last.
    private static BenchRow Row(BenchContext context, string name, DepthwiseCase c, IReadOnlyList<Competitor> competitors,
        Dictionary<string, double>? notes = null)
    {
        var medians = DepthwiseTurns.Medians(context.Seconds, [.. competitors, new("", () => MachinePeak.TeamLoop(context.Threads, LoopSteps))]);
        var ours = Math.Min(medians[0], medians[1]);
        var peak = context.Threads * LoopSteps * MachinePeak.LoopMacs / (medians[^1] * 1e6);
        notes ??= [];
        (notes["ours planar"], notes["ours channels-last"], notes["G multiply-adds/s in registers meanwhile"]) = (medians[0], medians[1], peak);
        var peers = competitors.Skip(2).Zip(medians.Skip(2)).ToDictionary(p => p.First.Name, p => p.Second);
        return context.Add(name, c.ToString(), ours, peers, c.UsefulMacs / (ours * 1e6) / peak, notes);
    }

    private static void Judge(BenchContext context, IReadOnlyList<(DepthwiseCase Case, BenchRow Row)> rows)
    {
        List<(DepthwiseCase Case, BenchRow Row)> Of(string name) => [.. rows.Where(r => r.Row.Name == name)];
        var (forward, input, weight) = (Of("depthwise_forward"), Of("depthwise_grad_input"), Of("depthwise_grad_weight"));
        double Best(BenchRow row) => row.RatioBestPeer!.Value;
        foreach (var (label, of) in new[] { ("forward", forward), ("input gradient", input), ("weight gradient", weight) }.Where(k => k.Item2.Count > 0))
        {
            Console.Error.WriteLine($"{label}, geometric mean of best peer / ours: {BenchContext.GeometricMean(of.Select(r => Best(r.Row))):0.00} over all rows, "
                + $"{BenchContext.GeometricMean(of.Where(r => r.Case.Large).Select(r => Best(r.Row))):0.00} at 31, 51 and the decomposition, "
                + $"{BenchContext.GeometricMean(of.Where(r => !r.Case.Fixed).Select(r => Best(r.Row))):0.00} over the drawn shapes");
        }
        if (forward.Count > 0)
        {
            context.Mark("forward: slowest row, best peer / ours", forward.Min(r => Best(r.Row)), 0.95);
            context.Mark("forward: geometric mean at 31, 51 and the decomposition",
                BenchContext.GeometricMean(forward.Where(r => r.Case.Large).Select(r => Best(r.Row))), 1.4);
            context.Mark("forward: least share of the peak at 56x56, 31, 51 and the decomposition",
                forward.Where(r => r.Case.Large && r.Case.H == 56).Select(r => r.Row.PeakShare!.Value).DefaultIfEmpty().Min(), 0.75);
        }
        if (input.Count > 0) context.Mark("input gradient: slowest row, best peer / ours", input.Min(r => Best(r.Row)), 1.2);
        if (weight.Count > 0)
            context.Mark("weight gradient: slowest row at 31, 51 and the decomposition, libtorch / ours",
            weight.Where(r => r.Case.Large).Select(r => Best(r.Row)).DefaultIfEmpty().Min(), 10);
    }

    private static (Tensor X, Tensor[] Weights) Data(DepthwiseCase c) => (randn(c.N, c.C, c.H, c.W), [.. c.Kernels.Select(k => randn(c.C, 1, k.H, k.W))]);

    private static Tensor ToLast(Tensor x) => x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    private static Tensor Ours(DepthwiseCase c, Tensor x, Tensor[] weights)
    {
        if (weights.Length > 1) return Ops.DepthwiseSum(x, weights, null);
        var op = c.Ops[0];
        return Ops.Conv2d(x, weights[0], null, op.Stride, op.Padding, op.Dilation, op.Groups);
    }

    private static Tensor Libtorch(DepthwiseCase c, Tensor x, Tensor[] weights)
    {
        Tensor? sum = null;
        foreach (var (op, w) in c.Ops.Zip(weights))
        {
            var y = nn.functional.conv2d(x, w, null, op.Stride.Array, op.Padding.Array, op.Dilation.Array, op.Groups);
            sum = sum is null ? y : sum.Plus(y);
        }
        return sum!;
    }

    private static Action Scoped(Func<Tensor> run) => () =>
    {
        using var scope = NewDisposeScope();
        run();
    };

    // A backward alone: the graph is made once and kept.
    private static Competitor Backward(string name, DepthwiseCase c, Tensor start, Tensor[] start0, Func<DepthwiseCase, Tensor, Tensor[], Tensor> run,
        bool ofInput, bool ofWeights)
    {
        var x = start.detach();
        var weights = start0.Select(w => w.detach().clone()).ToArray();
        if (ofInput) x = x.requires_grad_();
        if (ofWeights) foreach (var w in weights) w.requires_grad_();
        var y = run(c, x, weights);
        // In the layout of the output, as the layer above would give it.
        Tensor[] dy = [y.detach().mul(Number.Of(0.5))], wanted = [.. ofInput ? [x] : Array.Empty<Tensor>(), .. ofWeights ? weights : []];
        return new(name, () =>
        {
            using var scope = NewDisposeScope();
            // What a layer inside a network would hand on, without the copy that a leaf keeps.
            autograd.grad([y], wanted, dy, retain_graph: true);
        });
    }

    private static Dictionary<string, double> Conversion(Tensor x, DepthwiseCase c)
    {
        using var scope = NewDisposeScope();
        var last = randn(c.N, c.Stride == 1 ? c.H : (c.H - 1) / 2 + 1, c.Stride == 1 ? c.W : (c.W - 1) / 2 + 1, c.C);
        var both = DepthwiseTurns.Medians(0.02,
            [new("", Scoped(() => x.permute(0, 2, 3, 1).contiguous())), new("", Scoped(() => last.permute(0, 3, 1, 2).contiguous()))]);
        return new() { ["to channels-last and back"] = both.Sum() };
    }

    /// <summary>The case as a network, for ONNX Runtime.</summary>
    private sealed class ConvSum : Layer
    {
        private readonly LayerList<Conv2d> convs = new();

        public ConvSum(DepthwiseCase c, Tensor[] weights)
        {
            foreach (var (op, w) in c.Ops.Zip(weights))
            {
                var conv = new Conv2d(c.C, c.C, ((int)w.shape[2], (int)w.shape[3]), c.Stride, ((int)op.Padding[0], (int)op.Padding[1]), groups: c.C,
                    bias: false);
                conv.Weight.copy_(w);
                convs.Add(conv);
            }
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var y = convs[0].call(x);
            for (var i = 1; i < convs.Count; i++) y = Ops.Add(y, convs[i].call(x));
            return y;
        }
    }
}
