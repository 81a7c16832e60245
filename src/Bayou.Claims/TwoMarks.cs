using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// A procedural task with a distance that is known: two 4x4 marks, each red or blue, 20 to 50 pixels apart on a dark 64x64 picture with noise; are they of one
/// colour? What sees only one mark at a time cannot do better than guess.
/// </summary>
public sealed class TwoMarks(int batches, int batch, int seed) : IBatchSource
{
    /// <summary>Side of the pictures.</summary>
    public const int Side = 64;

    private const int Mark = 4;

    /// <inheritdoc/>
    public int Samples => batches * batch;

    /// <inheritdoc/>
    public int BatchSize => batch;

    /// <inheritdoc/>
    public int BatchCount => batches;

    /// <inheritdoc/>
    public int Classes => 2;

    /// <summary>Fresh pictures in every epoch.</summary>
    public IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default)
    {
        for (var number = skipBatches; number < batches; number++)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return Make(new Random(HashCode(epoch, number)), number);
        }
    }

    /// <summary>Test accuracy in percent of a network trained on this task; trained once a run.</summary>
    public static double Accuracy(ClaimContext context, string key, Func<Layer> create, Recipe recipe, int steps, int seed) =>
        context.Measure($"marks/{key}/seed{seed}", () =>
    {
        using var scope = NewDisposeScope();
        using var network = Trained(context, key, create, recipe, steps, seed);
        return 100 * Evaluator.Evaluate(network, new TwoMarks(8, 125, -1 - seed), context.Cancel).Top1;
    });

    /// <summary>Trains a network on this task.</summary>
    public static Layer Trained(ClaimContext context, string key, Func<Layer> create, Recipe recipe, int steps, int seed)
    {
        manual_seed(seed);
        var network = create();
        using var result = Trainer.Train(network, new TwoMarks(steps, recipe.Batch, seed), null, recipe, new TrainerOptions
        {
            Seed = seed,
            Cancellation = context.Cancel,
            Progress = p => context.Status((double)p.Step / p.Steps, $"two marks, {key}, seed {seed}: {p.ImagesPerSecond:0} img/s, loss {p.Loss:0.000}"),
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(context.Cancel);
        result.OrThrow().UseBest(network);
        network.eval();
        return network;
    }

    private Batch Make(Random random, int number)
    {
        var pixels = new float[batch * 3 * Side * Side];
        var labels = new long[batch];
        for (var i = 0; i < pixels.Length; i++) pixels[i] = (float)(random.NextDouble() - 0.5) * 0.2f;
        for (var n = 0; n < batch; n++)
        {
            labels[n] = random.Next(2);
            var (y, x, v, u) = Places(random);
            var first = random.Next(2);
            Draw(n, first, y, x);
            Draw(n, labels[n] == 1 ? first : 1 - first, v, u);
        }
        return new Batch(
            tensor(pixels, [batch, 3, Side, Side]).DetachFromDisposeScope(), tensor(labels).DetachFromDisposeScope(),
            [.. Enumerable.Range(number * batch, batch)], number);

        void Draw(int n, int colour, int top, int left)
        {
            // Red is channel 0, blue channel 2.
            for (var r = top; r < top + Mark; r++)
                for (var c = left; c < left + Mark; c++) pixels[((n * 3 + 2 * colour) * Side + r) * Side + c] += 2;
        }
    }

    private static (int, int, int, int) Places(Random random)
    {
        while (true)
        {
            int y = random.Next(Side - Mark), x = random.Next(Side - Mark), v = random.Next(Side - Mark), u = random.Next(Side - Mark);
            var distance = Math.Sqrt((y - v) * (y - v) + (x - u) * (x - u));
            if (distance is >= 20 and <= 50) return (y, x, v, u);
        }
    }

    private int HashCode(int epoch, int number) => unchecked(seed * 7368787 ^ epoch * 1000003 ^ number * 7919);
}
