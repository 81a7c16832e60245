using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>Knowledge distillation (Hinton et al., arXiv 1503.02531): T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over the batch.</summary>
public static class DistillationLoss
{
    /// <summary>The loss, a scalar.</summary>
    /// <param name="student">[N, K] logits with a gradient.</param>
    /// <param name="teacher">[N, K] logits.</param>
    /// <param name="temperature">T, above 0.</param>
    public static Tensor Of(Tensor student, Tensor teacher, double temperature)
    {
        var (t, batch) = (Number.Of(temperature), Number.Of(student.shape[0]));
        var target = nn.functional.log_softmax(teacher.detach().div(t), -1);
        var kl = target.exp().mul(target.sub(nn.functional.log_softmax(student.div(t), -1))).sum();
        return kl.div(batch).mul(Number.Of(temperature * temperature));
    }
}
