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
    private const int Side = 32, Item = 28, TrainPictures = 1200, TestPictures = 160;

    private readonly ClaimContext context;
    private readonly Func<string, Layer> network;
    private readonly Recipe recipe;
    private readonly Lazy<(MemoryPictures Train, MemoryPictures Test, MemoryPictures Noisy, List<SaliencyMap> Masks)> data;

    internal PastedItems(ClaimContext context, Func<string, Layer> network, Recipe recipe)
    {
        (this.context, this.network, this.recipe) = (context, network, recipe);
        data = new(Make);
    }

    private sealed record Agreement(double Accuracy, double Auc, double Cc, double NoisyAuc, double NoisyCc);

    /// <summary>Reports VARS-D against self-attention.</summary>
    internal void Compare()
    {
        void One(string name, string unit, Func<Agreement, double> of, bool higher = true, string? note = null) =>
            context.Compare(name, unit, ("vars_d", s => of(Measured("vars_d", s))), ("self_att", s => of(Measured("self_att", s))), higher, note: note);
        One("the last attention layer looks at the object", "AUC-Judd against its mask", a => a.Auc, note: "saliency: strength of the reconstruction (VARS), attention received (self-attention), both on a 7 x 7 grid");
        One("correlation with the object", "CC with its mask", a => a.Cc);
        One("the same under noise", "AUC-Judd against the mask, Gaussian noise of severity 3", a => a.NoisyAuc);
        One("what noise costs", "AUC-Judd lost", a => a.Auc - a.NoisyAuc, higher: false);
        context.Table("Pasted items, mean over the seeds", ["attention", "accuracy %", "AUC", "CC", "AUC with noise", "CC with noise"], ((string[])["self_att", "vars_d"]).Select(a => new[]
        {
            a, Mean(a, m => m.Accuracy, "0.0"), Mean(a, m => m.Auc, "0.000"), Mean(a, m => m.Cc, "0.000"), Mean(a, m => m.NoisyAuc, "0.000"), Mean(a, m => m.NoisyCc, "0.000"),
        }));
    }

    private string Mean(string attention, Func<Agreement, double> of, string format) =>
        context.Seeds.Average(s => of(Measured(attention, s))).ToString(format, System.Globalization.CultureInfo.InvariantCulture);

    private Agreement Measured(string attention, int seed) => context.Remember($"pasted/{attention}/seed{seed}", () =>
    {
        manual_seed(seed);
        using var net = network(attention);
        IBatchSource Source(IImageDataset pictures, int batch, bool train) => new LoaderSource(new ImageLoader(pictures, batch, new LoaderOptions
        {
            Shuffle = train,
            Seed = seed,
            DropLast = train,
            Preprocessing = Preprocessing.For(Side),
        }));
        using var result = Trainer.Train(net, Source(data.Value.Train, recipe.Batch, true), null, recipe, new TrainerOptions
        {
            Seed = seed,
            Cancellation = context.Cancel,
            EvaluateEvery = recipe.Epochs,
            Progress = p => context.Status((double)p.Step / p.Steps, $"pasted items, {attention}, seed {seed}: loss {p.Loss:0.000}"),
        });
        if (result.Outcome == TrainOutcome.Cancelled) throw new OperationCanceledException(context.Cancel);
        result.OrThrow().UseBest(net);
        net.eval();
        var accuracy = 100 * Evaluator.Evaluate(net, Source(data.Value.Test, 100, false), context.Cancel).Top1;
        var (auc, cc) = Against(net, data.Value.Test);
        var (noisyAuc, noisyCc) = Against(net, data.Value.Noisy);
        return new Agreement(accuracy, auc, cc, noisyAuc, noisyCc);
    });

    private (double Auc, double Cc) Against(Layer net, MemoryPictures pictures)
    {
        var scores = Enumerable.Range(0, pictures.Count).Select(i =>
        {
            var heat = AttentionExplainer.Heats(new ExplainRequest(net, Preprocessing.For(Side), pictures.Read(i), new ExplainOptions()))[^1].Resize(Side, Side);
            return FixationMetrics.Of(heat, data.Value.Masks[i]);
        }).ToList();
        return (scores.Average(s => s.AucJudd), scores.Where(s => !double.IsNaN(s.Cc)).Average(s => s.Cc));
    }

    private (MemoryPictures Train, MemoryPictures Test, MemoryPictures Noisy, List<SaliencyMap> Masks) Make()
    {
        var (cifar, fashion) = (DataCatalog.Open("cifar10"), DataCatalog.Open("fashion-mnist"));
        var (train, _) = Paste("train", fashion.Train, cifar.Train, TrainPictures, 1);
        var (test, masks) = Paste("test", fashion.Test, cifar.Test, TestPictures, 2);
        var corruptor = new Corruptor(CorruptionSet.Small32);
        var noisy = Enumerable.Range(0, test.Count).Select(i => corruptor.Apply(test.Read(i), Corruption.GaussianNoise, 3, SeededDraws.For(0, i, Corruption.GaussianNoise, 3))).ToArray();
        return (train, test, new MemoryPictures("noisy", test.Classes, noisy, Enumerable.Range(0, test.Count).Select(test.Label).ToArray()), masks);
    }

    // An item at a random place, three quarters of its size, in a random colour.
    private static (MemoryPictures Pictures, List<SaliencyMap> Masks) Paste(string name, IImageDataset items, IImageDataset backgrounds, int count, int seed)
    {
        var random = new Random(seed);
        var (pictures, labels, masks) = (new ImageBuffer[count], new int[count], new List<SaliencyMap>());
        for (var i = 0; i < count; i++)
        {
            var chosen = random.Next(items.Count);
            const int size = Item * 3 / 4;
            var item = items.Read(chosen).WithChannels(1).Resize(size, size);
            var picture = backgrounds.Read(random.Next(backgrounds.Count)).WithChannels(3);
            var (x, y) = (random.Next(Side - size + 1), random.Next(Side - size + 1));
            double[] colour = [0.5 + 0.5 * random.NextDouble(), 0.5 + 0.5 * random.NextDouble(), 0.5 + 0.5 * random.NextDouble()];
            var mask = new float[Side * Side];
            for (var p = 0; p < size * size; p++)
            {
                if (item.Pixels[p] < 16) continue;
                var at = (y + p / size) * Side + x + p % size;
                mask[at] = 1;
                for (var c = 0; c < 3; c++) picture.Pixels[3 * at + c] = (byte)(item.Pixels[p] * colour[c]);
            }
            (pictures[i], labels[i]) = (picture, items.Label(chosen));
            masks.Add(new SaliencyMap(Side, Side, mask));
        }
        return (new MemoryPictures($"pasted-{name}", items.Classes, pictures, labels), masks);
    }
}
