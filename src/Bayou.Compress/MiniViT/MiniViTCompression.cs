using Bayou.Core;
using Bayou.Images;
using Bayou.Train;

namespace Bayou.Compress;

/// <summary>
/// MiniViT (arXiv 2204.07154): consecutive transformer layers share their weights, and the result learns from a teacher by weight distillation.
/// </summary>
public sealed class MiniViTCompression : ICompressMethod
{
    // The multiplexed network of each dense one, and how many layers share weights.
    private static readonly Dictionary<string, string> Students = new(StringComparer.OrdinalIgnoreCase)
    {
        ["deit_tiny"] = "mini_deit_tiny",
        ["deit_small"] = "mini_deit_small",
        ["deit_base"] = "mini_deit_base",
        ["vit_tiny"] = "mini_deit_tiny",
        ["vit_small"] = "mini_deit_small",
        ["vit_base"] = "mini_deit_base",
        ["swin_tiny"] = "mini_swin_tiny",
        ["swin_small"] = "mini_swin_small",
        ["swin_base"] = "mini_swin_base",
    };

    /// <inheritdoc/>
    public string Name => "minivit";

    /// <inheritdoc/>
    public string Summary => "share the weights of consecutive transformer layers (half the parameters) and distil from a teacher";

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, double> Defaults { get; } = new Dictionary<string, double>
    {
        ["soft"] = 1,
        ["qkv"] = 1,
        ["hidden"] = 0.1,
        ["temperature"] = 1,
        ["single_block"] = 0,
    };

    /// <inheritdoc/>
    public CompressedModel Run(CompressJob job)
    {
        if (!Students.TryGetValue(job.Model, out var name))
            throw new BayouException($"minivit multiplexes plain and Swin transformers ({string.Join(", ", Students.Keys)}), not '{job.Model}'");
        if (job.Settings["single_block"] != 0)
            name = name == "mini_deit_base"
                ? "mini_deit_base_9m" : throw new BayouException("single_block=1: a single shared block is published for deit_base only");
        var student = job.Create(name);
        try
        {
            var report = WeightMultiplexing.Start(job.Network, student);
            job.Note($"  {name}: {report.Shared} shared tensors begin as the first layer of their group, {report.Own} are each layer's own, {report.Fresh} are new");
            var distillation = new WeightDistillation(job.Teacher ?? (x => job.Network.call(x)))
            {
                Soft = job.Settings["soft"],
                QkvWeight = job.Settings["qkv"],
                HiddenWeight = job.Settings["hidden"],
                Temperature = job.Settings["temperature"],
            };
            using var result = Trainer.Train(student, job.Train, job.Val, job.Recipe, job.Options with { Loss = distillation.For(student) });
            if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(job.Options.Cancellation);
            result.OrThrow().UseBest(student);
            return new CompressedModel(name, student);
        }
        catch
        {
            student.Dispose();
            throw;
        }
    }
}
