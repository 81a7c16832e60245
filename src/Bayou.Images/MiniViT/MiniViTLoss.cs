using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>What a Mini-DeiT learns from its teacher's logits.</summary>
public enum LogitDistillation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The distribution at a temperature.</summary>
    Soft,

    /// <summary>The best class.</summary>
    Hard,
}

/// <summary>Losses of weight distillation (MiniViT, section 3.3).</summary>
public static class MiniViTLoss
{
    /// <summary>
    /// Mini-DeiT: (1 - alpha) base + alpha distillation. Soft: T^2 sum over all entries of KL(teacher / T || student / T), divided by their number, as the
    /// official script does. A scalar.
    /// </summary>
    /// <param name="baseLoss">The loss against the labels.</param>
    /// <param name="student">[N, K] logits.</param>
    /// <param name="teacher">[N, K] logits.</param>
    /// <param name="kind">What is distilled.</param>
    /// <param name="alpha">Share of the distillation, 1 in the published trainings.</param>
    /// <param name="temperature">T.</param>
    public static Tensor Logits(Tensor baseLoss, Tensor student, Tensor teacher, LogitDistillation kind, double alpha, double temperature)
    {
        if (kind == LogitDistillation.None) return baseLoss;
        Tensor distilled;
        if (kind == LogitDistillation.Hard)
        {
            distilled = nn.functional.cross_entropy(student, teacher.argmax(1));
        }
        else
        {
            var t = Number.Of(temperature);
            var wanted = nn.functional.log_softmax(teacher.detach().div(t), 1);
            var kl = wanted.exp().mul(wanted.sub(nn.functional.log_softmax(student.div(t), 1))).sum();
            distilled = kl.mul(Number.Of(temperature * temperature / student.numel()));
        }
        return baseLoss.mul(Number.Of(1 - alpha)).Plus(distilled.mul(Number.Of(alpha)));
    }

    /// <summary>Mini-Swin: mean over the batch of the cross entropy of the student's distribution against the teacher's, both at T. A scalar.</summary>
    public static Tensor SoftCrossEntropy(Tensor student, Tensor teacher, double temperature = 1)
    {
        var t = Number.Of(temperature);
        return nn.functional.softmax(teacher.detach().div(t), -1).mul(nn.functional.log_softmax(student.div(t), -1)).sum(-1).mean().neg();
    }

    /// <summary>
    /// Relations between queries, keys and values: for each of the nine pairs (i, j) of {q, k, v} the softmax rows of X_i X_j' / sqrt(width) of the student
    /// against the teacher's, cross entropy, averaged over rows, pairs and layers. Widths may differ, tokens must not. A scalar.
    /// </summary>
    /// <param name="student">Per layer, [B, T, 3C].</param>
    /// <param name="teacher">Per layer, [B, T, 3C'].</param>
    /// <param name="heads">Relation heads; 1 in the published trainings.</param>
    public static Tensor QkvRelations(IReadOnlyList<Tensor> student, IReadOnlyList<Tensor> teacher, int heads = 1)
    {
        Check(student, teacher, "qkv");
        Tensor? sum = null;
        for (var l = 0; l < student.Count; l++)
        {
            var (s, t) = (Parts(student[l], heads), Parts(teacher[l].detach(), heads));
            for (var i = 0; i < 3; i++)
            {
                for (var j = 0; j < 3; j++)
                {
                    var wanted = nn.functional.softmax(Relation(t[i], t[j]), -1);
                    var loss = wanted.mul(nn.functional.log_softmax(Relation(s[i], s[j]), -1)).sum(-1).mean().neg();
                    sum = sum is null ? loss : sum.Plus(loss);
                }
            }
        }
        return sum!.div(Number.Of(9 * student.Count));
    }

    /// <summary>
    /// Relations between tokens: 49 times the mean squared difference of the cosines between all pairs of tokens, averaged over the layers (49 is the published
    /// factor for windows of 7). A scalar.
    /// </summary>
    /// <param name="student">Per layer, [N, T, C].</param>
    /// <param name="teacher">Per layer, [N, T, C'].</param>
    public static Tensor HiddenRelations(IReadOnlyList<Tensor> student, IReadOnlyList<Tensor> teacher)
    {
        Check(student, teacher, "hidden");
        Tensor? sum = null;
        for (var l = 0; l < student.Count; l++)
        {
            var loss = Cosines(student[l]).sub(Cosines(teacher[l].detach())).Squared().mean();
            sum = sum is null ? loss : sum.Plus(loss);
        }
        return sum!.mul(Number.Of(49.0 / student.Count));
    }

    /// <summary>
    /// Layers of a student and a teacher that are compared: sets in ascending order, paired one by one; evenly spread over both where none are given.
    /// </summary>
    public static IReadOnlyList<(int Student, int Teacher)> Pairs(int studentLayers, int teacherLayers, IReadOnlyList<int>? student = null,
        IReadOnlyList<int>? teacher = null)
    {
        if (student is not null && teacher is not null)
        {
            var (s, t) = (student.Distinct().Order().ToArray(), teacher.Distinct().Order().ToArray());
            if (s.Length != t.Length || s.Length == 0 || s[^1] >= studentLayers || t[^1] >= teacherLayers)
                throw new BayouException($"weight distillation: layers [{string.Join(", ", s)}] of a student of {studentLayers} and [{string.Join(", ", t)}] of a teacher of {teacherLayers} cannot be paired");
            return s.Zip(t).ToArray();
        }
        var count = Math.Min(6, Math.Min(studentLayers, teacherLayers));
        return Enumerable.Range(1, count).Select(i => (i * studentLayers / count - 1, i * teacherLayers / count - 1)).ToArray();
    }

    // [B, T, 3C] -> q, k, v, each [B, heads, T, C / heads]
    private static Tensor[] Parts(Tensor qkv, int heads)
    {
        var (batch, tokens) = (qkv.shape[0], qkv.shape[1]);
        var parts = qkv.reshape(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4);
        return [parts.select(0, 0), parts.select(0, 1), parts.select(0, 2)];
    }

    private static Tensor Relation(Tensor a, Tensor b) => a.div(Number.Of(Math.Sqrt(a.shape[^1]))).matmul(b.transpose(-2, -1));

    private static Tensor Cosines(Tensor tokens)
    {
        var unit = nn.functional.normalize(tokens, dim: -1);
        return unit.matmul(unit.transpose(-2, -1));
    }

    private static void Check(IReadOnlyList<Tensor> student, IReadOnlyList<Tensor> teacher, string what)
    {
        if (student.Count != teacher.Count || student.Count == 0)
            throw new BayouException($"weight distillation ({what}): {student.Count} layers of the student against {teacher.Count} of the teacher");
        for (var l = 0; l < student.Count; l++)
        {
            if (!student[l].shape[..2].SequenceEqual(teacher[l].shape[..2]))
                throw new BayouException($"weight distillation ({what}): {new Ints(student[l].shape)} of the student against {new Ints(teacher[l].shape)} of the teacher; the token grids must be the same");
        }
    }
}
