using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>How deep tokens of an A-ViT go where the object is known: <see cref="PastedPictures"/>, half of them on plain ground.</summary>
internal sealed class KnownObjects(ClaimContext context, Func<AViT> create, Recipe recipe)
{
    private readonly Lazy<PastedPictures> train = new(() => PastedPictures.Make("train", 1500, 1, plainShare: 0.5));
    private readonly Lazy<PastedPictures> test = new(() => PastedPictures.Make("test", 300, 2, plainShare: 0.5));

    /// <summary>Mean depth of patches on the object and beside it, in layers; tokens kept on both grounds, as parts of 1.</summary>
    internal sealed record Depths(double Object, double Ground, double KeptCluttered, double KeptPlain);

    /// <summary>Trains and measures, once a run.</summary>
    internal Depths Of(int seed) => context.Remember($"objects/seed{seed}", () =>
    {
        using var scope = NewDisposeScope();
        manual_seed(seed);
        using var net = create();
        using var result = StagedTraining.Train(net, train.Value.Batches(recipe.Batch, seed), null, recipe, new TrainerOptions
        {
            Seed = seed,
            Cancellation = context.Cancel,
            EvaluateEvery = recipe.Epochs,
            Progress = p => context.Status((double)p.Step / p.Steps, $"known objects, seed {seed}: loss {p.Loss:0.000}"),
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(context.Cancel);
        result.OrThrow().UseBest(net);
        net.eval();
        return Measure(net);
    });

    private Depths Measure(AViT net)
    {
        using var noGrad = no_grad();
        var (side, patch) = (PastedPictures.Side / net.Config.Patch, net.Config.Patch);
        var (onObject, beside, cluttered, plain) = (new List<double>(), new List<double>(), new List<double>(), new List<double>());
        foreach (var batch in test.Value.Batches(50).Epoch(0))
        {
            using var owned = batch;
            using var scope = NewDisposeScope();
            var trace = net.Removing(batch.Images);
            for (var n = 0; n < trace.Depths.Length; n++)
            {
                var (depths, mask) = (trace.Depths[n], test.Value.Masks[batch.Indices[n]]);
                (test.Value.Plain[batch.Indices[n]] ? plain : cluttered).Add(depths.Average() / net.Config.Depth);
                for (var p = 0; p < side * side; p++)
                {
                    var covered = 0f;
                    for (var i = 0; i < patch * patch; i++)
                        covered += mask.Values[(p / side * patch + i / patch) * PastedPictures.Side + p % side * patch + i % patch];
                    if (covered > patch * patch / 2f) onObject.Add(depths[p + 1]);
                    else if (covered == 0) beside.Add(depths[p + 1]);
                }
            }
        }
        return new(onObject.Average(), beside.Average(), cluttered.Average(), plain.Average());
    }
}
