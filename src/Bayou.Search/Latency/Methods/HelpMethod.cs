using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>HELP on a space: a meta-trained network that adapts to a device in two gradient steps (specs/help.md, section 1.5).</summary>
/// <param name="space">The space.</param>
/// <param name="network">Meta-trained or published weights; stays the caller's.</param>
/// <param name="steps">Gradient steps; 0 leaves the network as it is.</param>
public sealed class HelpMethod(LatencySpace space, HelpNetwork network, int steps = 2) : ILatencyMethod
{
    /// <inheritdoc/>
    public string Name => steps == 0 ? "help-unadapted" : "help";

    /// <inheritdoc/>
    public int Descriptor => space.References.Count;

    /// <inheritdoc/>
    public ILatencyPredictor Adapt(LatencyTarget target, int seed)
    {
        if (target.References is null) throw new BayouException($"HELP needs the latencies of the {space.References.Count} reference networks of {space.Name} on {target.Name}: measure numbers {string.Join(", ", space.References)}");
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
                using (enable_grad()) modulated = network.Adapt(modulated, support, Floats(scaling.Scale([.. target.Samples.Select(s => s.Ms)])).reshape(-1, 1), hardware, steps).Adapted;
            }
            return new Predictor(space, network, modulated.ToDictionary(p => p.Key, p => p.Value.detach().MoveToOuterDisposeScope()), hardware.MoveToOuterDisposeScope(), scaling, target.Samples.Concat(space.References.Select((a, i) => (a, target.References[i]))).Min(s => s.Item2) / 2);
        }
    }

    // The network was trained on latencies scaled by the ends of a device's whole pool. Nothing but measured networks may tell them here: k samples reach on average 1 / (k + 1) less far at each end.
    private static Scaling Range(LatencyTarget target)
    {
        var ms = target.Samples.Select(s => s.Ms).ToArray();
        if (ms.Length < 3 || ms.Max() <= ms.Min()) return Scaling.Of([.. ms, .. target.References!], 0.9);
        var margin = (ms.Max() - ms.Min()) / (ms.Length - 1);
        return new(ms.Min() - margin, ms.Max() + margin, 0.9);
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
