using Bayou.Core;
using Bayou.Images;
using Bayou.Train;

namespace Bayou.Claims;

/// <summary>MiniViT at small scale: sharing alone, with own norms, with transformations, with distillation, against the full network.</summary>
public sealed class MiniViTClaim : IClaim
{
    private static readonly MiniDeiTConfig Full = new()
    {
        ImageSize = 32,
        Patch = 4,
        Dim = 32,
        Heads = 4,
        Depth = 4,
        Share = 1,
        Classes = 10,
        Transform = false,
        RelativePositions = false,
        FanInInit = true,
    };

    private static readonly MiniDeiTConfig Plain = Full with { Share = 2, SeparateNorms = false };
    private static readonly MiniDeiTConfig Norms = Full with { Share = 2 };
    private static readonly MiniDeiTConfig Multiplexed = Full with { Share = 2, Transform = true, RelativePositions = true };

    /// <inheritdoc/>
    public string Name => "minivit";

    /// <inheritdoc/>
    public string Paper => "MiniViT: Compressing Vision Transformers with Weight Multiplexing, CVPR 2022, arXiv 2204.07154";

    /// <inheritdoc/>
    public string Statement =>
        "Half the parameters at no loss: sharing weights between layers costs accuracy, own norms and transformations win some of it back, distillation the rest.";

    /// <inheritdoc/>
    public string Data => "CIFAR-10 at 32 pixels: 1,500 training and 1,000 test pictures (--full: 20,000 and 5,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(1500, 20_000), context.Pick(1000, 5000));
        var recipe = Recipe.Short(context.Pick(6, 20), batch: 50, lr: 2e-3) with { EmaDecay = 0 };
        double Of(string key, MiniDeiTConfig config, int seed) => cifar.Accuracy(key, () => new MiniDeiT(config), recipe, seed);
        double Teacher(int seed) => Of("full", Full, seed);
        double Shared(int seed) => Of("shared", Plain, seed);
        double WithNorms(int seed) => Of("norms", Norms, seed);
        double WithTransforms(int seed) => Of("multiplexed", Multiplexed, seed);
        double Distilled(int seed)
        {
            Teacher(seed);      // its weights are in the run folder now
            using var teacher = cifar.Trained("full", () => new MiniDeiT(Full), recipe, seed);
            return cifar.Accuracy("distilled", () => new MiniDeiT(Multiplexed), recipe, seed,
                student => new WeightDistillation(teacher.call) { Soft = 0.5 }.For(student));
        }

        var (full, mini) = (Parameters(context, Full, "full"), Parameters(context, Multiplexed, "mini"));
        context.Check("parameters of the multiplexed network", "of the full one's", ($"{mini:N0} of {full:N0}", mini / full),
            ("0.6 (blocks halve, embeddings and head do not)", 0.6));
        context.Check("size of the weights on disk", "of the full one's", ("safetensors", Bytes(context, Multiplexed, "mini") / Bytes(context, Full, "full")),
            ("0.65", 0.65));
        context.Compare("multiplexed and distilled against the full network", "% top-1", ("half the parameters", Distilled), ("full", Teacher),
            paper: ("80.9 (Mini-DeiT-S)", "79.9 (DeiT-S)"));
        context.Compare("layer norms of one's own", "% top-1", ("own norms", WithNorms), ("nothing unshared", Shared));
        context.Compare("transformations and relative positions", "% top-1", ("with", WithTransforms), ("own norms only", WithNorms));
        context.Compare("weight distillation", "% top-1", ("with, half soft labels", Distilled), ("without", WithTransforms));
        context.Compare("plain sharing against the full network", "% top-1", ("nothing unshared", Shared), ("full", Teacher));
        context.Note("Transformations begin as the identity here; the official random start (deviation 0.02) needs the official 300 epochs.");
    }

    private static double Parameters(ClaimContext context, MiniDeiTConfig config, string key) => context.Measure($"parameters/{key}", () =>
    {
        using var net = new MiniDeiT(config);
        return net.parameters().Sum(p => p.numel());
    });

    private static double Bytes(ClaimContext context, MiniDeiTConfig config, string key) => context.Measure($"bytes/{key}", () =>
    {
        using var net = new MiniDeiT(config);
        var path = Path.Combine(context.RunFolder, $"{key}.safetensors");
        net.Save(path);
        return new FileInfo(path).Length;
    });
}
