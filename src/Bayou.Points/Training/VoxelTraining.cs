using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>Recipes and measures for networks on points.</summary>
public static class VoxelTraining
{
    /// <summary>Best class of every row.</summary>
    internal static int[] Best(Tensor logits) => TensorMemory.ToArray<int>(logits.argmax(-1));

    /// <summary>A short training on a CPU: no label smoothing, which would count ignored points; decay and average as for pictures.</summary>
    public static Recipe Recipe(int epochs, int batch, double lr = 4e-3) =>
        Train.Recipe.Short(epochs, batch, lr) with { Name = "points", LabelSmoothing = 0, EmaDecay = 0, WeightDecay = 1e-3 };

    /// <summary>Softmax probabilities of the first row of the source's first batch.</summary>
    public static float[] Probabilities(nn.Module<Tensor, Tensor> network, IBatchSource source)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        using var batch = source.Epoch(0).First();
        return TensorMemory.ToArray<float>(nn.functional.softmax(network.call(batch.Images), 1)[0]);
    }

    /// <summary>Runs a network over a source and gathers mean IoU and accuracies over all labelled rows.</summary>
    public static SegmentationMetrics Evaluate(nn.Module<Tensor, Tensor> network, IBatchSource source, CancellationToken cancellation = default)
    {
        var metrics = new SegmentationMetrics(source.Classes);
        var training = network.training;
        network.eval();
        try
        {
            using var guard = no_grad();
            foreach (var batch in source.Epoch(0, 0, cancellation))
            {
                using var owned = batch;
                using var scope = NewDisposeScope();
                metrics.Add(Best(network.call(batch.Images)), TensorMemory.ToArray<int>(batch.Labels));
            }
        }
        finally
        {
            network.train(training);
        }
        return metrics;
    }
}
