using Bayou.Core;
using Bayou.Kernels;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

// Inference that costs what its blocks cost: the recurrent gate is computed beside libtorch, whose dozen calls for it take as long as a small block; rows that
// skip a block are not even copied.
public sealed partial class SkipNet
{
    private bool CanSkipFast(Tensor x) => Skips && !training && control is not null && !Capture.IsActive && !is_grad_enabled() && TensorMemory.IsPlain(x);

    // Goes on after the first block as Run does, with the same decisions up to rounding. Without a trace nothing is told but the logits.
    private SkipTrace SkipFast(Tensor x, Func<int, Tensor, Tensor>? choose, bool lastGate, bool trace)
    {
        var (decisions, probabilities) = (new List<Tensor>(), new List<Tensor>());
        using var batch = new RowBatch(x);
        var gate = new RecurrentGate(control!, Config, batch.Rows);
        for (var i = 1; i < blocks.Length; i++)
        {
            var values = gate.Step((GateEmbedding)gates[i - 1], batch);
            if (trace) probabilities.Add(TensorMemory.FromValues(values, batch.Rows, 1));
            if (choose is not null)
            {
                decisions.Add(choose(i - 1, probabilities[^1]));
                values = TensorMemory.ToArray<float>(decisions[^1]);
            }
            else
            {
                for (var n = 0; n < batch.Rows; n++) values[n] = values[n] > 0.5f ? 1 : 0;
                if (trace) decisions.Add(TensorMemory.FromValues(values, batch.Rows, 1));
            }
            batch.Run(RowChoice.Rows(values), blocks[i].call, blocks[i].Projection is { } projection ? projection.call : null);
        }
        if (lastGate) probabilities.Add(TensorMemory.FromValues(gate.Step((GateEmbedding)gates[^1], batch), batch.Rows, 1));
        using var scope = NewDisposeScope();
        return new SkipTrace(fc.call(GlobalAveragePool(batch.Whole())).MoveToOuterDisposeScope(), decisions, probabilities);
    }

    // The state of the gate for every row of a batch.
    private sealed class RecurrentGate(RecurrentControl control, SkipNetConfig config, int rows)
    {
        private readonly float[] h = new float[rows * config.HiddenDim], c = new float[rows * config.HiddenDim];
        // Copies of the few hundred weights: asking libtorch for their place at every step would take longer than the step.
        private readonly float[] input = Copy(control.Cell.Weights.Input), state = Copy(control.Cell.Weights.State),
            inputBias = Copy(control.Cell.Weights.InputBias), stateBias = Copy(control.Cell.Weights.StateBias);
        private readonly float[] last = Copy(control.ProjectionWeight), lastBias = Copy(control.ProjectionBias);
        private float[] means = [];

        // Probabilities of running the next block, by row. What the gate sees of a row that stayed as it was has not changed: only new maps are read.
        public float[] Step(GateEmbedding embedding, RowBatch batch)
        {
            var channels = batch.Channels;
            if (means.Length != rows * channels) means = new float[rows * channels];
            foreach (var (maps, at) in batch.Changed)
            {
                var own = new float[at.Length * channels];
                GateKernel.ChannelMeans(TensorMemory.Values(maps), (int)(maps.numel() / own.Length), own);
                for (var j = 0; j < at.Length; j++) own.AsSpan(j * channels, channels).CopyTo(means.AsSpan((int)at[j] * channels));
            }
            var (weights, biases, probabilities) = (embedding.Projection.Weight, embedding.Projection.Bias!, new float[rows]);
            GateKernel.ForSamples(rows, (from, to) =>
            {
                ReadOnlySpan<float> weight = TensorMemory.Values(weights), bias = TensorMemory.Values(biases);
                Span<float> embedded = stackalloc float[config.EmbedDim];
                for (var n = from; n < to; n++)
                {
                    var own = h.AsSpan(n * config.HiddenDim, config.HiddenDim);
                    GateKernel.Affine(weight, bias, means.AsSpan(n * channels, channels), embedded);
                    GateKernel.LstmStep(input, state, inputBias, stateBias, embedded, own, c.AsSpan(n * config.HiddenDim, config.HiddenDim));
                    GateKernel.Affine(last, lastBias, own, probabilities.AsSpan(n, 1));
                    probabilities[n] = GateKernel.Sigmoid(probabilities[n]);
                }
            });
            return probabilities;
        }

        private static float[] Copy(Parameter weight) => TensorMemory.Values(weight).ToArray();
    }
}
