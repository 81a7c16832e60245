using Bayou.Core;
using Bayou.Kernels;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

// Inference that costs what its blocks cost: the recurrent gate is computed beside libtorch, whose dozen calls for it take as long as a small block; rows that skip a block are not even copied.
public sealed partial class SkipNet
{
    private bool CanSkipFast(Tensor x) => Skips && !training && control is not null && !Capture.IsActive && !is_grad_enabled() && TensorMemory.IsPlain(x);

    // Goes on after the first block as Run does, with the same decisions up to rounding.
    private SkipTrace SkipFast(Tensor x, Func<int, Tensor, Tensor>? choose, bool lastGate)
    {
        var (decisions, probabilities) = (new List<Tensor>(), new List<Tensor>());
        var rows = (int)x.shape[0];
        var gate = new RecurrentGate(control!, Config, rows);
        var changed = Enumerable.Range(0, rows).ToArray();
        for (var i = 1; i < blocks.Length; i++)
        {
            var values = gate.Step((GateEmbedding)gates[i - 1], x, changed);
            var p = tensor(values, [rows, 1]);
            probabilities.Add(p);
            if (choose is not null)
            {
                decisions.Add(choose(i - 1, p));
                values = TensorMemory.ToArray<float>(decisions[^1]);
            }
            else
            {
                for (var n = 0; n < rows; n++) values[n] = values[n] > 0.5f ? 1 : 0;
                decisions.Add(tensor(values, [rows, 1]));
            }
            var (go, rest) = RowChoice.Rows(values);
            var projection = blocks[i].Projection;
            using var scope = NewDisposeScope();
            var next = RowChoice.Take(go, rest, x, blocks[i].call, projection is null ? null : projection.call, overwrite: true);
            // What a gate sees of a row that stayed as it was has not changed either.
            changed = projection is null ? Array.ConvertAll(go, n => (int)n) : Enumerable.Range(0, rows).ToArray();
            if (ReferenceEquals(next, x)) continue;
            next.MoveToOuterDisposeScope();
            x.Dispose();
            x = next;
        }
        if (lastGate) probabilities.Add(tensor(gate.Step((GateEmbedding)gates[^1], x, changed), [rows, 1]));
        return new SkipTrace(fc.call(GlobalAveragePool(x)), decisions, probabilities);
    }

    // The state of the gate for every row of a batch.
    private sealed class RecurrentGate(RecurrentControl control, SkipNetConfig config, int rows)
    {
        private readonly float[] h = new float[rows * config.HiddenDim], c = new float[rows * config.HiddenDim];
        private float[] means = [];

        // Probabilities of running the next block, by row; only the maps of the changed rows are read.
        public float[] Step(GateEmbedding embedding, Tensor x, ReadOnlySpan<int> changed)
        {
            var channels = (int)x.shape[1];
            if (means.Length != rows * channels) means = new float[rows * channels];
            GateKernel.ChannelMeans(TensorMemory.Values(x), changed, channels, (int)(x.shape[2] * x.shape[3]), means);
            ReadOnlySpan<float> weight = TensorMemory.Values(embedding.Projection.Weight), bias = TensorMemory.Values(embedding.Projection.Bias);
            var cell = control.Cell.Weights;
            ReadOnlySpan<float> input = TensorMemory.Values(cell.Input), state = TensorMemory.Values(cell.State), inputBias = TensorMemory.Values(cell.InputBias), stateBias = TensorMemory.Values(cell.StateBias);
            ReadOnlySpan<float> last = TensorMemory.Values(control.ProjectionWeight), lastBias = TensorMemory.Values(control.ProjectionBias);
            var probabilities = new float[rows];
            Span<float> embedded = stackalloc float[config.EmbedDim];
            for (var n = 0; n < rows; n++)
            {
                var own = h.AsSpan(n * config.HiddenDim, config.HiddenDim);
                GateKernel.Affine(weight, bias, means.AsSpan(n * channels, channels), embedded);
                GateKernel.LstmStep(input, state, inputBias, stateBias, embedded, own, c.AsSpan(n * config.HiddenDim, config.HiddenDim));
                GateKernel.Affine(last, lastBias, own, probabilities.AsSpan(n, 1));
                probabilities[n] = GateKernel.Sigmoid(probabilities[n]);
            }
            return probabilities;
        }
    }
}
