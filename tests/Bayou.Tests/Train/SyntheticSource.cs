using Bayou.Core;
using Bayou.Data;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Pictures of bright quadrants on noise, made from (epoch, batch number): a task a tiny network learns in some steps.</summary>
internal sealed class SyntheticSource(int batches, int batchSize = 8, int classes = 4, int size = 8, bool shuffled = true) : IBatchSource
{
    public int Samples => batches * batchSize;

    public int BatchSize => batchSize;

    public int BatchCount => batches;

    public int Classes => classes;

    /// <summary>Called before a batch is handed out, with (epoch, number).</summary>
    public Action<int, int>? OnBatch { get; set; }

    /// <summary>Puts a NaN into this batch of every epoch from this epoch on.</summary>
    public (int Epoch, int Number)? Poison { get; set; }

    public IEnumerable<Batch> Epoch(int epoch, int skipBatches = 0, CancellationToken cancellation = default)
    {
        for (var number = skipBatches; number < batches; number++)
        {
            cancellation.ThrowIfCancellationRequested();
            OnBatch?.Invoke(epoch, number);
            yield return Make(shuffled ? epoch : 0, number, Poison is { } p && epoch >= p.Epoch && number == p.Number);
        }
    }

    private Batch Make(int epoch, int number, bool poison)
    {
        var random = new Random(HashCodeOf(epoch, number));
        var pixels = new float[batchSize * 3 * size * size];
        var labels = new long[batchSize];
        for (var n = 0; n < batchSize; n++)
        {
            labels[n] = random.Next(classes);
            for (var c = 0; c < 3; c++)
                for (var y = 0; y < size; y++)
                    for (var x = 0; x < size; x++)
                    {
                        var quadrant = 2 * y / size * 2 + 2 * x / size;
                        pixels[((n * 3 + c) * size + y) * size + x] = (float)(random.NextDouble() - 0.5) + (quadrant == labels[n] % 4 ? 1 : 0);
                    }
        }
        if (poison) pixels[5] = float.NaN;
        return new Batch(
            tensor(pixels, [batchSize, 3, size, size]).DetachFromDisposeScope(), tensor(labels).DetachFromDisposeScope(),
            Enumerable.Range(number * batchSize, batchSize).ToArray(), number);
    }

    private static int HashCodeOf(int epoch, int number) => unchecked((epoch * 1000003) ^ (number * 7919) ^ 12345);
}

/// <summary>A small network with everything that makes resuming hard: batch norm buffers, drop path, dropout, a depthwise convolution.</summary>
internal sealed class TinyNet : Layer, ILayerwise
{
    private readonly Conv2d stem = new(3, 8, 2, stride: 2);
    private readonly BatchNorm bn = new(8);
    private readonly Conv2d dwconv = new(8, 8, 3, padding: 1, groups: 8);
    private readonly LayerNorm2d norm = new(8);
    private readonly DropPath drop = new(0.3);
    private readonly Dropout dropout = new(0.1);
    private readonly Linear head;

    public TinyNet(int classes = 4)
    {
        head = new Linear(8, classes);
        RegisterComponents();
    }

    public int LayerCount => 2;

    public int LayerId(string name) => name.Split('.')[0] switch { "stem" or "bn" => 0, "head" => 2, _ => 1 };

    public override Tensor forward(Tensor x)
    {
        x = Ops.Relu(bn.call(stem.call(x)));
        x = Ops.Add(x, drop.call(norm.call(dwconv.call(x))));
        return head.call(dropout.call(Ops.GlobalAveragePool(x)));
    }
}
