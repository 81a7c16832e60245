using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Compress;

/// <summary>Adds up how far quantised outputs are from float ones over batches.</summary>
internal sealed class LossMeter
{
    private double error, power, kl;
    private long positions, agree, labelled, right, rightFloat;

    /// <summary>Adds one batch of outputs; labels belong to the first output [N, C].</summary>
    public void Add(Tensor[] reference, Tensor[] actual, Tensor? labels)
    {
        using var scope = NewDisposeScope();
        for (var i = 0; i < reference.Length; i++)
        {
            var r = reference[i].to(float64);
            error += (actual[i].to(float64) - r).Squared().sum().item<double>();
            power += r.Squared().sum().item<double>();
        }
        var (f, q) = (Classes(reference[0]), Classes(actual[0]));
        positions += f.shape[0];
        var (topF, topQ) = (f.argmax(1), q.argmax(1));
        agree += topF.eq(topQ).sum().item<long>();
        var (logF, logQ) = (nn.functional.log_softmax(f, 1), nn.functional.log_softmax(q, 1));
        kl += (logF.exp() * (logF - logQ)).sum().item<double>();
        if (labels is null || labels.shape[0] != f.shape[0]) return;
        labelled += labels.shape[0];
        right += topQ.eq(labels).sum().item<long>();
        rightFloat += topF.eq(labels).sum().item<long>();
    }

    /// <summary>The loss so far.</summary>
    public QuantizationLoss Result => new(
        power > 0 ? error / power : error, Math.Max(0, kl / Math.Max(1, positions)), (double)agree / Math.Max(1, positions),
        labelled > 0 ? (double)right / labelled : null, labelled > 0 ? (double)rightFloat / labelled : null);

    // [N, C, ...] -> [positions, C]; one score a picture is a choice between it and zero.
    private static Tensor Classes(Tensor output)
    {
        var y = output.to(float64);
        y = y.dim() switch
        {
            0 or 1 => y.reshape(-1, 1),
            2 => y,
            _ => y.flatten(2).transpose(1, 2).reshape(-1, y.shape[1]),
        };
        return y.shape[1] == 1 ? cat([y, zeros_like(y)], 1) : y;
    }
}
