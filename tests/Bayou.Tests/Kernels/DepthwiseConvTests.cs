using Bayou.Core;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

/// <summary>The kernels as networks meet them: through Ops.Conv2d, with autograd, in both layouts.</summary>
public class DepthwiseConvTests
{
    private static readonly Ints One = new(1, 1), Two = new(2, 2);

    private static Tensor ChannelsLast(Tensor x) => x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    [Theory]
    [InlineData(7, 7, true, true, 1)]
    [InlineData(13, 13, false, false, 1)]
    [InlineData(31, 31, true, false, 1)]
    [InlineData(51, 5, false, true, 1)]
    [InlineData(5, 51, true, false, 1)]
    [InlineData(9, 9, true, true, 2)]
    public void Conv2d_through_the_kernels_agrees_with_libtorch_in_values_gradients_and_layout(int kh, int kw, bool withBias, bool channelsLast, int stride)
    {
        using var scope = NewDisposeScope();
        manual_seed(kh);
        Tensor start = randn(3, 24, 19, 20), w0 = randn(24, 1, kh, kw), b0 = randn(24);
        Tensor x = (channelsLast ? ChannelsLast(start) : start.clone()).detach().requires_grad_(), w = w0.clone().requires_grad_(),
            b = b0.clone().requires_grad_();
        Tensor rx = start.to(float64).requires_grad_(), rw = w0.to(float64).requires_grad_(), rb = b0.to(float64).requires_grad_();
        var op = new Conv2dOp(new(stride, stride), new(kh / 2, kw / 2), One, 24);
        Assert.True(DepthwiseConv.Fits(x, w, withBias ? b : null, op));
        var y = DepthwiseConv.Apply(x, w, withBias ? b : null, op);
        var reference = nn.functional.conv2d(rx, rw, withBias ? rb : null, [stride, stride], [kh / 2, kw / 2], [1, 1], 24);
        Assert.True((channelsLast ? y.permute(0, 2, 3, 1) : y).is_contiguous());
        TensorAssert.Close(reference.to(float32), y, 1e-5, 1e-4);
        var weights = randn(y.shape);
        (y * weights).sum().backward();
        (reference * weights.to(float64)).sum().backward();
        TensorAssert.Close(rx.grad!.to(float32), x.grad!, 1e-5, 1e-4);
        TensorAssert.Close(rw.grad!.to(float32), w.grad!, 1e-5, 1e-3);
        if (withBias) TensorAssert.Close(rb.grad!.to(float32), b.grad!, 1e-5, 1e-3);
        // What a network calls; without gradients libtorch may take it.
        using (no_grad()) TensorAssert.Close(y, Ops.Conv2d(x, w, withBias ? b : null, op.Stride, op.Padding, One, 24), 1e-5, 1e-4);
    }

    // The convolution is linear in its input and in its weights: differences over any distance are its derivative.
    [Theory]
    [InlineData(31, 31, 1, false)]
    [InlineData(51, 5, 1, true)]
    [InlineData(13, 13, 2, false)]
    public void Gradients_equal_finite_differences(int kh, int kw, int stride, bool channelsLast)
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        Tensor x0 = randn(2, 6, 12, 17), w0 = randn(6, 1, kh, kw), b0 = randn(6);
        var op = new Conv2dOp(new(stride, stride), new(kh / 2, kw / 2), One, 6);
        var x = (channelsLast ? ChannelsLast(x0) : x0).detach().requires_grad_();
        Tensor w = w0.clone().requires_grad_(), b = b0.clone().requires_grad_();
        var y = DepthwiseConv.Apply(x, w, b, op);
        var weights = randn(y.shape);
        (y * weights).sum().backward();
        using var noGrad = no_grad();
        Tensor dx = randn(x0.shape), dw = randn(w0.shape), db = randn(6);
        Near(Value(x0.add(dx, Number.Of(0.5)), w0, b0) - Value(x0.add(dx, Number.Of(-0.5)), w0, b0), (x.grad! * dx).to(float64).sum().item<double>());
        Near(Value(x0, w0.add(dw, Number.Of(0.5)), b0) - Value(x0, w0.add(dw, Number.Of(-0.5)), b0), (w.grad! * dw).to(float64).sum().item<double>());
        Near(Value(x0, w0, b0.add(db, Number.Of(0.5))) - Value(x0, w0, b0.add(db, Number.Of(-0.5))), (b.grad! * db).to(float64).sum().item<double>());

        double Value(Tensor xv, Tensor wv, Tensor bv) =>
            (DepthwiseConv.Apply(channelsLast ? ChannelsLast(xv) : xv, wv, bv, op) * weights).to(float64).sum().item<double>();

        static void Near(double difference, double gradient) =>
            Assert.True(Math.Abs(difference - gradient) <= 1e-3 * (1 + Math.Abs(gradient)), $"{difference} {gradient}");
    }

    [Fact]
    public void Only_what_needs_a_gradient_gets_one_and_an_expanded_gradient_is_fine()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        Tensor x = ChannelsLast(randn(2, 16, 6, 6)).detach(), w = randn(16, 1, 9, 9).requires_grad_();
        var op = new Conv2dOp(One, new(4, 4), One, 16);
        DepthwiseConv.Apply(x, w, null, op).sum().backward();
        Assert.Null(x.grad);
        using (no_grad()) Assert.False(DepthwiseConv.Apply(x, w, null, op).requires_grad);
        var check = w.detach().clone().to(float64).requires_grad_();
        nn.functional.conv2d(x.to(float64), check, null, [1, 1], [4, 4], [1, 1], 16).sum().backward();
        TensorAssert.Close(check.grad!.to(float32), w.grad!, 1e-5, 1e-4);
        // Only the input wants one.
        Tensor x2 = x.detach().requires_grad_(), w2 = w.detach();
        DepthwiseConv.Apply(x2, w2, null, op).sum().backward();
        Assert.NotNull(x2.grad);
        Assert.Null(w2.grad);
    }

    [Fact]
    public void Other_convolutions_stay_with_libtorch()
    {
        using var scope = NewDisposeScope();
        Tensor x = randn(2, 16, 14, 14), w = randn(16, 1, 13, 13);
        Ints six = new(6, 6);
        Assert.True(DepthwiseConv.Suits(x, w, null, new(One, six, One, 16)));
        Assert.True(DepthwiseConv.Fits(ChannelsLast(x), w, null, new(Two, six, One, 16)));
        Assert.False(DepthwiseConv.Fits(x, w, null, new(One, six, Two, 16)));                           // dilation
        Assert.False(DepthwiseConv.Fits(x, randn(32, 1, 13, 13), null, new(One, six, One, 16)));        // channel multiplier
        Assert.False(DepthwiseConv.Fits(x, randn(16, 4, 13, 13), null, new(One, six, One, 4)));         // groups of several channels
        Assert.False(DepthwiseConv.Fits(x.to(float64), w.to(float64), null, new(One, six, One, 16)));
        Assert.False(DepthwiseConv.Fits(x.permute(0, 1, 3, 2), w, null, new(One, six, One, 16)));       // neither planar nor channels-last
        Assert.False(DepthwiseConv.Fits(x, w.permute(0, 1, 3, 2), null, new(One, six, One, 16)));
        Assert.False(DepthwiseConv.Fits(x, randn(16, 1, 61, 61), null, new(One, six, One, 16)));        // does not fit into the padded picture
    }

    [Fact]
    public void A_view_that_starts_inside_its_storage_is_read_where_it_starts()
    {
        using var scope = NewDisposeScope();
        Tensor all = randn(3, 16, 9, 9), w = randn(16, 1, 13, 13);
        var x = all.narrow(0, 1, 2);
        Assert.True(x.is_contiguous());
        var op = new Conv2dOp(One, new(6, 6), One, 16);
        TensorAssert.Close(nn.functional.conv2d(x, w, null, [1, 1], [6, 6], [1, 1], 16), DepthwiseConv.Apply(x, w, null, op), 1e-5, 1e-4);
    }

    // A small network with the kernels in it, trained once quietly and once while another thread forces collections: what the collector may free, it frees.
    [Fact]
    public void Training_under_constant_garbage_collection_gives_the_same_bits()
    {
        var quiet = Train();
        var stop = false;
        var collector = new Thread(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        });
        collector.Start();
        try
        {
            Assert.Equal(quiet, Train());
        }
        finally
        {
            Volatile.Write(ref stop, true);
            collector.Join();
        }

        static float Train()
        {
            manual_seed(3);
            using var outer = NewDisposeScope();
            Tensor data = randn(4, 12, 10, 10), dw = (randn(12, 1, 9, 9) * Number.Of(0.1)).detach().requires_grad_(), bias = zeros(12).requires_grad_();
            Tensor linear = (randn(12, 12) * Number.Of(0.3)).detach().requires_grad_();
            var last = 0f;
            for (var i = 0; i < 40; i++)
            {
                using var scope = NewDisposeScope();
                var x = data;
                for (var layer = 0; layer < 3; layer++)
                {
                    var y = DepthwiseConv.Apply(x, dw, bias, new(One, new(4, 4), One, 12));
                    x = Ops.Add(x, Ops.ToChannelsFirst(Ops.Gelu(Ops.Linear(Ops.ToChannelsLast(y), linear, null))));
                }
                var loss = x.Squared().mean();
                loss.backward();
                last = loss.item<float>();
                using var noGrad = no_grad();
                foreach (var p in new[] { dw, bias, linear })
                {
                    p.add_(p.grad!, Number.Of(-0.01));
                    p.grad!.zero_();
                }
            }
            return last;
        }
    }

    [Fact]
    public void Training_through_the_kernels_leaves_no_tensors_behind()
    {
        using var outer = NewDisposeScope();
        Tensor start = ChannelsLast(randn(2, 16, 6, 6)), w = randn(16, 1, 9, 9).requires_grad_();
        var op = new Conv2dOp(One, new(4, 4), One, 16);
        var counts = new List<long>();
        for (var i = 0; i < 60; i++)
        {
            using (var scope = NewDisposeScope())
            {
                var x = start.detach().requires_grad_();
                DepthwiseConv.Apply(x, w, null, op).sum().backward();
                w.grad = null;
            }
            if (i % 20 == 19) counts.Add(Tensor.TotalCount);
        }
        Assert.Equal(counts[0], counts[^1]);
    }
}
