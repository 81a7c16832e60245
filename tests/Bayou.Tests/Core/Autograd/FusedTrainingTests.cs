using Bayou.Core;
using Bayou.Images;
using Bayou.Kernels;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>Whole training steps through the fused ops: under a busy garbage collector, for any number of threads, without leaving tensors.</summary>
public sealed class FusedTrainingTests
{
    private static ConvNeXt Network()
    {
        manual_seed(5);
        var network = new ConvNeXt(new ConvNeXtConfig
        {
            Depths = [1, 1],
            Dims = [16, 24],
            Patch = 2,
            InChannels = 1,
            Classes = 5,
            LayerScale = 1,
            FanInInit = true
        });
        network.train();
        return network;
    }

    // Weights after some steps on fixed noise.
    private static Tensor Train(int steps)
    {
        using var outer = NewDisposeScope();
        using var network = Network();
        using var optimizer = new AdamW(ParameterGroups.Of(network, 1));
        Tensor images = randn(8, 1, 15, 15), labels = randint(0, 5, 8);
        for (var step = 0; step < steps; step++)
        {
            using var scope = NewDisposeScope();
            LabelSmoothingCrossEntropyLoss.Of(network.call(images), labels, 0.1).backward();
            optimizer.Step(1e-3, 0.05, 1);
            optimizer.ZeroGrad();
        }
        return cat(network.parameters().Select(p => p.detach().reshape(-1)).ToArray()).MoveToOuterDisposeScope();
    }

    /// <summary>What the nodes of the backward hold (delegates, saved tensors, contexts) must outlive collections at any moment.</summary>
    [Fact]
    public void Five_hundred_steps_under_a_collector_that_never_rests_give_the_same_weights()
    {
        using var scope = NewDisposeScope();
        var quiet = Train(500);
        using var stop = new CancellationTokenSource();
        var collector = new Thread(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                Thread.Sleep(1);
            }
        });
        collector.Start();
        try
        {
            TensorAssert.Same(quiet, Train(500));
        }
        finally
        {
            stop.Cancel();
            collector.Join();
        }
    }

    [Fact]
    public void The_kernels_give_the_same_weights_on_any_number_of_threads()
    {
        using var scope = NewDisposeScope();
        var before = KernelThreads.Count;
        try
        {
            KernelThreads.Count = 1;
            var one = Train(20);
            KernelThreads.Count = 3;
            TensorAssert.Same(one, Train(20));
        }
        finally
        {
            KernelThreads.Count = before;
        }
    }

    [Fact]
    public void Steps_through_the_fused_ops_leave_no_tensors_behind()
    {
        using var outer = NewDisposeScope();
        using var network = Network();
        Tensor images = randn(8, 1, 14, 14);
        var counts = new List<long>();
        for (var step = 1; step <= 60; step++)
        {
            using (var scope = NewDisposeScope())
            {
                network.call(images).sum().backward();
                foreach (var parameter in network.parameters()) parameter.grad = null;
            }
            if (step % 20 == 0) counts.Add(counts.Count == 0 ? LiveTensors.Settled() : Tensor.TotalCount);
        }
        Assert.Equal(counts[0], counts[^1]);
    }
}
