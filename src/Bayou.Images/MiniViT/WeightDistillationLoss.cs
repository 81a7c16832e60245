using Bayou.Core;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>The terms of weight distillation of one batch.</summary>
/// <param name="Student">[N, K] logits.</param>
/// <param name="Teacher">[N, K] logits.</param>
/// <param name="Soft">Cross entropy of the distributions.</param>
/// <param name="Qkv">Relations of queries, keys, values; null where they are off or the token grids differ.</param>
/// <param name="Hidden">Relations of tokens; null likewise.</param>
/// <param name="Total">The weighted sum, a scalar with a gradient.</param>
public sealed record DistillationTerms(Tensor Student, Tensor Teacher, Tensor Soft, Tensor? Qkv, Tensor? Hidden, Tensor Total);

/// <summary>
/// Weight distillation (MiniViT, section 3.3, equation 12): soft labels, relations of queries, keys and values, relations of hidden states. Any network can
/// teach; the relations need a teacher whose attention layers see the same tokens (<see cref="LayerTap"/>).
/// </summary>
/// <param name="teacher">The teacher in eval mode: pictures [N, C, H, W] to logits [N, K].</param>
public sealed class WeightDistillation(Func<Tensor, Tensor> teacher)
{
    /// <summary>Layers of the student (from 0) whose relations count; empty: up to six, evenly spread.</summary>
    public IReadOnlyList<int> StudentLayers { get; init; } = [];

    /// <summary>Layers of the teacher that they are paired with, in ascending order.</summary>
    public IReadOnlyList<int> TeacherLayers { get; init; } = [];

    /// <summary>Relation heads.</summary>
    public int RelationHeads { get; init; } = 1;

    /// <summary>Temperature of the soft labels.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Weight of the soft labels; 1 minus it is the weight of the true ones.</summary>
    public double Soft { get; init; } = 1;

    /// <summary>Weight of the qkv relations.</summary>
    public double QkvWeight { get; init; } = 1;

    /// <summary>Weight of the hidden relations.</summary>
    public double HiddenWeight { get; init; } = 0.1;

    /// <summary>The loss of a network that is trained: (1 - Soft) of the recipe's loss and the distillation.</summary>
    public ITrainingLoss For(nn.Module<Tensor, Tensor> student) => new TrainingLoss(this, student);

    /// <summary>Runs both networks on pictures [N, C, H, W].</summary>
    /// <param name="student">The student.</param>
    /// <param name="images">The pictures.</param>
    /// <param name="objective">Loss of the student's logits against the true labels; null: none.</param>
    public DistillationTerms Terms(nn.Module<Tensor, Tensor> student, Tensor images, Func<Tensor, Tensor>? objective = null)
    {
        Tensor taught;
        using var theirs = LayerTap.Open();
        using (no_grad()) taught = teacher(images);
        theirs.Stop();
        using var ours = LayerTap.Open();
        var logits = student.call(images);
        ours.Stop();
        if (!taught.shape.SequenceEqual(logits.shape))
            throw new BayouException($"the teacher gives {new Ints(taught.shape)} logits, the student {new Ints(logits.shape)}: both need the same classes");

        var soft = MiniViTLoss.SoftCrossEntropy(logits, taught, Temperature);
        var total = soft.mul(Number.Of(Soft));
        if (objective is not null && Soft < 1) total = total.Plus(objective(logits).mul(Number.Of(1 - Soft)));
        var qkv = QkvWeight > 0 ? Related(ours.Projections, theirs.Projections, (s, t) => MiniViTLoss.QkvRelations(s, t, RelationHeads)) : null;
        var hidden = HiddenWeight > 0 ? Related(ours.States, theirs.States, MiniViTLoss.HiddenRelations) : null;
        if (qkv is not null) total = total.Plus(qkv.mul(Number.Of(QkvWeight)));
        if (hidden is not null) total = total.Plus(hidden.mul(Number.Of(HiddenWeight)));
        return new(logits, taught, soft, qkv, hidden, total);
    }

    // Null where the teacher is no transformer or sees other tokens, unless the layers were named: then that is an error.
    private Tensor? Related(IReadOnlyList<Tensor> ours, IReadOnlyList<Tensor> theirs, Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>, Tensor> loss)
    {
        var named = StudentLayers.Count > 0;
        if (!named && (ours.Count == 0 || theirs.Count == 0)) return null;
        var pairs = named ? MiniViTLoss.Pairs(ours.Count, theirs.Count, StudentLayers, TeacherLayers) : MiniViTLoss.Pairs(ours.Count, theirs.Count);
        if (!named && pairs.Any(p => !ours[p.Student].shape[..2].SequenceEqual(theirs[p.Teacher].shape[..2]))) return null;
        return loss(pairs.Select(p => ours[p.Student]).ToArray(), pairs.Select(p => theirs[p.Teacher]).ToArray());
    }

    private sealed class TrainingLoss(WeightDistillation distillation, nn.Module<Tensor, Tensor> student) : ITrainingLoss
    {
        public Tensor Loss(TrainBatch batch) => distillation.Terms(student, batch.Images, batch.Objective).Total;
    }
}
