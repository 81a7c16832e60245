using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Train;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Claims;

/// <summary>
/// Where trained networks look, against a known object: Fashion-MNIST items pasted on CIFAR-10 pictures, the class is the item's, the object mask its non-zero
/// pixels. Clean and with noise.
/// </summary>
internal sealed class PastedItems
{
    private static readonly (double Lambda, int Steps)[] Settings = [(0, 5), (0.1, 5), (0.3, 5), (0.3, 1), (0.3, 0)];

    private readonly ClaimContext context;
    private readonly Func<string, VarsConfig, Layer> network;
    private readonly Recipe recipe;
    private readonly Lazy<PastedPictures> train = new(() => PastedPictures.Make("train", 1200, 1));
    private readonly Lazy<PastedPictures> test = new(() => PastedPictures.Make("test", 160, 2));

    /// <summary>Prepares.</summary>
    /// <param name="context">The claim's context.</param>
    /// <param name="network">Makes a network with an attention and, for VARS, its shape.</param>
    /// <param name="recipe">How to train.</param>
    internal PastedItems(ClaimContext context, Func<string, VarsConfig, Layer> network, Recipe recipe) =>
        (this.context, this.network, this.recipe) = (context, network, recipe);

    private sealed record Agreement(double Accuracy, double Auc, double Cc, double NoisyAuc, double NoisyCc, Swept[] Sweep);

    private sealed record Swept(double Accuracy, double Auc, double NoisyAuc);

    /// <summary>Reports VARS-D against self-attention.</summary>
    internal void Compare()
    {
        void One(string name, string unit, Func<Agreement, double> of, bool higher = true, string? note = null) =>
            context.Compare(name, unit, ("vars_d", s => of(Measured("vars_d", s))), ("self_att", s => of(Measured("self_att", s))), higher, note: note);
        One("the last attention layer looks at the object", "AUC-Judd against its mask", a => a.Auc,
            note: "saliency: strength of the reconstruction (VARS), attention received (self-attention), both on a 7 x 7 grid");
        One("correlation with the object", "CC with its mask", a => a.Cc);
        One("the same under noise", "AUC-Judd against the mask, Gaussian noise of severity 3", a => a.NoisyAuc);
        One("what noise costs", "AUC-Judd lost", a => a.Auc - a.NoisyAuc, higher: false);
        context.Table("Pasted items, mean over the seeds", ["attention", "accuracy %", "AUC", "CC", "AUC with noise", "CC with noise"],
            ((string[])["self_att", "vars_d"]).Select(a => new[]
        {
            a, Mean(a, m => m.Accuracy, "0.0"), Mean(a, m => m.Auc, "0.000"), Mean(a, m => m.Cc, "0.000"), Mean(a, m => m.NoisyAuc, "0.000"),
            Mean(a, m => m.NoisyCc, "0.000"),
        }));
        context.Table("The trained vars_d (lambda 0.3, 5 steps) run with other settings, mean over the seeds",
            ["lambda", "steps", "accuracy %", "AUC", "AUC with noise"], Settings.Select((w, i) => new[]
        {
            $"{w.Lambda}", $"{w.Steps}", Mean("vars_d", m => m.Sweep[i].Accuracy, "0.0"), Mean("vars_d", m => m.Sweep[i].Auc, "0.000"),
            Mean("vars_d", m => m.Sweep[i].NoisyAuc, "0.000"),
        }));
    }

    private string Mean(string attention, Func<Agreement, double> of, string format) =>
        context.Seeds.Average(s => of(Measured(attention, s))).ToString(format, System.Globalization.CultureInfo.InvariantCulture);

    private Agreement Measured(string attention, int seed) => context.Remember($"pasted/{attention}/seed{seed}", () =>
    {
        manual_seed(seed);
        using var net = network(attention, new VarsConfig());
        using var result = Trainer.Train(net, train.Value.Batches(recipe.Batch, seed), null, recipe, new TrainerOptions
        {
            Seed = seed,
            Cancellation = context.Cancel,
            EvaluateEvery = recipe.Epochs,
            Progress = p => context.Status((double)p.Step / p.Steps, $"pasted items, {attention}, seed {seed}: loss {p.Loss:0.000}"),
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(context.Cancel);
        result.OrThrow().UseBest(net);
        net.eval();
        var (auc, cc) = Against(net, test.Value.Pictures);
        var (noisyAuc, noisyCc) = Against(net, test.Value.Noisy);
        return new Agreement(Accuracy(net), auc, cc, noisyAuc, noisyCc,
            attention == "self_att" ? [] : Settings.Select(w => Sweep(net, attention, w.Lambda, w.Steps)).ToArray());
    });

    // The weights do not depend on sparsity and steps.
    private Swept Sweep(Layer trained, string attention, double lambda, int steps)
    {
        using var net = network(attention, new VarsConfig { Lambda = lambda, Steps = steps });
        net.LoadState(trained.state_dict());
        net.eval();
        return new(Accuracy(net), Against(net, test.Value.Pictures).Auc, Against(net, test.Value.Noisy).Auc);
    }

    private double Accuracy(Layer net) => 100 * Evaluator.Evaluate(net, test.Value.Batches(test.Value.Pictures.Count), context.Cancel).Top1;

    private (double Auc, double Cc) Against(Layer net, IImageDataset pictures)
    {
        var scores = Enumerable.Range(0, pictures.Count).Select(i =>
        {
            var heat = AttentionExplainer.Heats(new ExplainRequest(net, PastedPictures.Preprocessing, pictures.Read(i), new ExplainOptions()))[^1]
                .Resize(PastedPictures.Side, PastedPictures.Side);
            return FixationMetrics.Of(heat, test.Value.Masks[i]);
        }).ToList();
        return (scores.Average(s => s.AucJudd), scores.Where(s => !double.IsNaN(s.Cc)).Average(s => s.Cc));
    }
}
