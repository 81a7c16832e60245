using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>What is done to one batch.</summary>
public enum MixKind
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Blend with the reversed batch.</summary>
    Mixup,

    /// <summary>A box pasted from the reversed batch.</summary>
    Cutmix,
}

/// <summary>The draw for one batch: the kind, the drawn lambda and (cutmix) the box centre in pixels.</summary>
public readonly record struct Mix(MixKind Kind, double Lambda, int CenterY = 0, int CenterX = 0);

/// <summary>A box of pixels: rows [Top, Bottom), columns [Left, Right).</summary>
public readonly record struct CutBox(int Top, int Bottom, int Left, int Right)
{
    /// <summary>Pixels in the box.</summary>
    public long Area => (long)(Bottom - Top) * (Right - Left);
}

/// <summary>
/// Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) of whole batches as timm does it: one draw a batch, the partner is the batch in reverse
/// order, targets are smoothed one-hot vectors mixed by the same lambda. In a batch of odd size the middle picture meets itself.
/// </summary>
/// <param name="classes">K.</param>
/// <param name="mixupAlpha">Beta parameter of mixup, 0 for no mixup.</param>
/// <param name="cutmixAlpha">Beta parameter of cutmix, 0 for no cutmix.</param>
/// <param name="probability">Probability that a batch is mixed at all.</param>
/// <param name="switchProbability">Probability of cutmix where both are on.</param>
/// <param name="labelSmoothing">s: the other classes get s/K, the right one 1 - s + s/K.</param>
public sealed class Mixup(int classes, double mixupAlpha, double cutmixAlpha, double probability = 1, double switchProbability = 0.5,
    double labelSmoothing = 0.1)
{
    /// <summary>The draw for a step; the same (seed, step) always gives the same one.</summary>
    public Mix Draw(long seed, long step, int height, int width)
    {
        var random = new StepRandom(seed, step);
        if (random.Uniform() >= probability || (mixupAlpha <= 0 && cutmixAlpha <= 0)) return new(MixKind.None, 1);
        var cutmix = cutmixAlpha > 0 && (mixupAlpha <= 0 || random.Uniform() < switchProbability);
        return cutmix
            ? new(MixKind.Cutmix, random.Beta(cutmixAlpha, cutmixAlpha), random.Below(height), random.Below(width))
            : new(MixKind.Mixup, random.Beta(mixupAlpha, mixupAlpha));
    }

    /// <summary>The cutmix box: sides int(H sqrt(1 - lambda)) and int(W sqrt(1 - lambda)) around the centre, clipped to the picture.</summary>
    public static CutBox Box(int height, int width, Mix mix)
    {
        var ratio = Math.Sqrt(1 - mix.Lambda);
        int halfHeight = (int)(height * ratio) / 2, halfWidth = (int)(width * ratio) / 2;
        return new(
            Math.Clamp(mix.CenterY - halfHeight, 0, height), Math.Clamp(mix.CenterY + halfHeight, 0, height),
            Math.Clamp(mix.CenterX - halfWidth, 0, width), Math.Clamp(mix.CenterX + halfWidth, 0, width));
    }

    /// <summary>The share of the own picture: for cutmix 1 - area of the clipped box / (H W).</summary>
    public static double CorrectedLambda(int height, int width, Mix mix) =>
        mix.Kind == MixKind.Cutmix ? 1 - Box(height, width, mix).Area / (double)((long)height * width) : mix.Lambda;

    /// <summary>Mixes the batch in place and returns the soft targets [N, K].</summary>
    /// <param name="images">[N, C, H, W], changed.</param>
    /// <param name="labels">[N], int64.</param>
    /// <param name="mix">The draw.</param>
    /// <exception cref="BayouException">The images are no batch of pictures.</exception>
    public Tensor Apply(Tensor images, Tensor labels, Mix mix)
    {
        var shape = images.shape;
        if (shape.Length != 4) throw new BayouException($"mixup needs images [N, C, H, W], got {new Ints(shape)}");
        int height = (int)shape[2], width = (int)shape[3];
        var lambda = CorrectedLambda(height, width, mix);
        if (mix.Kind == MixKind.Mixup)
        {
            var partner = images.flip(0).mul_(Number.Of(1 - lambda));
            images.mul_(Number.Of(lambda)).PlusInPlace(partner);
        }
        else if (mix.Kind == MixKind.Cutmix)
        {
            var box = Box(height, width, mix);
            if (box.Area > 0)
            {
                var region = images.narrow(2, box.Top, box.Bottom - box.Top).narrow(3, box.Left, box.Right - box.Left);
                region.copy_(region.flip(0));
            }
        }
        var own = SmoothOneHot(labels, classes, labelSmoothing);
        return mix.Kind == MixKind.None
            ? own : own.mul(Number.Of(lambda)).PlusInPlace(SmoothOneHot(labels.flip(0), classes, labelSmoothing).mul_(Number.Of(1 - lambda)));
    }

    /// <summary>[N] -> [N, K]: 1 - s + s/K at the label, s/K elsewhere.</summary>
    public static Tensor SmoothOneHot(Tensor labels, int classes, double smoothing)
    {
        var off = smoothing / classes;
        var count = labels.shape[0];
        return full([count, classes], Number.Of(off), ScalarType.Float32)
            .scatter_(1, labels.unsqueeze(1), full([count, 1], Number.Of(1 - smoothing + off), ScalarType.Float32));
    }
}
