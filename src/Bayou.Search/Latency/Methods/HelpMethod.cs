using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>HELP on a space: a meta-trained network that adapts to a device in two gradient steps (specs/help.md, section 1.5).</summary>
/// <param name="table">Measured latencies: on its source devices the scaling of few measurements is chosen.</param>
/// <param name="sources">Source devices.</param>
/// <param name="network">Meta-trained or published weights; stays the caller's.</param>
/// <param name="steps">Gradient steps; 0 leaves the network as it is.</param>
public sealed class HelpMethod(LatencyTable table, IReadOnlyList<string> sources, HelpNetwork network, int steps = 2) : ILatencyMethod
{
    private const int Draws = 20;
    private static readonly double[] Margins = [1, 0, 0.5, 1.5, 2];

    private readonly LatencySpace space = table.Space;
    private readonly Dictionary<int, double> margins = [];

    /// <inheritdoc/>
    public string Name => steps == 0 ? "help-unadapted" : "help";

    /// <inheritdoc/>
    public int Descriptor => space.References.Count;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        if (target.References is null)
            throw new BayouException($"HELP needs the latencies of the {space.References.Count} reference networks of {space.Name} on {target.Name}: measure numbers {string.Join(", ", space.References)}");
        using var scope = NewDisposeScope();
        var hardware = Floats(Scaling.Of([.. target.References], 1).Scale([.. target.References]));
        var scaling = Range(target);
        using (no_grad())
        {
            var (mean, _) = network.Posterior(hardware);
            hardware = hardware.detach();
            var modulated = network.Modulate(mean).ToDictionary(p => p.Key, p => p.Value.detach());
            if (steps > 0)
            {
                var support = space.EncodeForHelp([.. target.Samples.Select(s => s.Architecture)]);
                using (enable_grad()) modulated =
                    network.Adapt(modulated, support, Floats(scaling.Scale([.. target.Samples.Select(s => s.Ms)])).reshape(-1, 1), hardware, steps).Adapted;
            }
            return new Predictor(space, network, modulated.ToDictionary(p => p.Key, p => p.Value.detach().MoveToOuterDisposeScope()),
                hardware.MoveToOuterDisposeScope(), scaling,
                target.Samples.Concat(space.References.Select((a, i) => (a, target.References[i]))).Min(s => s.Item2) / 2);
        }
    }

    /// <summary>
    /// The network was trained on latencies scaled by the ends of a device's whole pool; nothing but measured networks may tell them here. The range of k
    /// measurements is widened at each end by this many times its mean gap, range / (k - 1): the number with which the ends of the source devices' pools come
    /// out best.
    /// </summary>
    public double Margin(int samples)
    {
        if (samples < 3) return Margins[0];
        if (margins.TryGetValue(samples, out var known)) return known;
        double Error(double margin) => sources.Where(s => table.TrainPool(s).Length >= samples).Average(device =>
        {
            var pool = table.TrainPool(device);
            var (low, high) = (table[device][pool[0]], table[device][pool[^1]]);
            return Enumerable.Range(0, Draws).Average(draw =>
            {
                var range = Widened([.. LatencyTarget.Of(table, device, samples, draw).Samples.Select(s => s.Ms)], margin);
                return (Math.Abs(range.Min - low) + Math.Abs(range.Max - high)) / (high - low);
            });
        });
        return margins[samples] = sources.Any(s => table.TrainPool(s).Length >= samples) ? Margins.MinBy(Error) : Margins[0];
    }

    private Scaling Range(LatencyTarget target)
    {
        var ms = target.Samples.Select(s => s.Ms).ToArray();
        return ms.Length < 3 || ms.Max() <= ms.Min() ? Scaling.Of([.. ms, .. target.References!], 0.9) : Widened(ms, Margin(ms.Length));
    }

    private static Scaling Widened(double[] ms, double margin)
    {
        var gap = margin * (ms.Max() - ms.Min()) / (ms.Length - 1);
        return new(ms.Min() - gap, ms.Max() + gap, 0.9);
    }

    private static Tensor Floats(double[] values) => tensor(values.Select(v => (float)v).ToArray());

    private sealed class Predictor : ILatencyPredictor
    {
        private const int Piece = 512;

        private readonly LatencySpace space;
        private readonly HelpNetwork network;
        private readonly Dictionary<string, Tensor> adapted;
        private readonly Tensor hardware;
        private readonly Scaling scaling;
        private readonly double floor;

        public Predictor(LatencySpace space, HelpNetwork network, Dictionary<string, Tensor> adapted, Tensor hardware, Scaling scaling, double floor)
        {
            (this.space, this.network, this.adapted, this.hardware, this.scaling, this.floor) = (space, network, adapted, hardware, scaling, floor);
            foreach (var value in adapted.Values.Append(hardware)) value.DetachFromDisposeScope();
        }

        public double[] Predict(IReadOnlyList<int> architectures)
        {
            using var noGrad = no_grad();
            var ms = new double[architectures.Count];
            // In pieces that stay in the cache.
            for (var start = 0; start < ms.Length; start += Piece)
            {
                using var scope = NewDisposeScope();
                var some = space.EncodeForHelp([.. architectures.Skip(start).Take(Piece)]);
                var y = network.Forward(adapted, some, hardware).reshape(-1).to(float64).data<double>();
                for (var i = 0; i < y.Count; i++) ms[start + i] = Math.Max(floor, scaling.Unscale(y[i]));
            }
            return ms;
        }

        public void Dispose()
        {
            foreach (var value in adapted.Values.Append(hardware)) value.Dispose();
        }
    }
}
