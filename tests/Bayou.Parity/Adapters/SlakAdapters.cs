using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>slak/network: stages, the branches of the first large kernel, training, folded kernels.</summary>
public sealed class SlakNetworkAdapter : IParityAdapter
{
    public string Name => "slak/network";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var args = c.Config.GetProperty("constructor");
        bool Flag(string key, bool otherwise) => args.TryGetProperty(key, out var v) ? v.GetBoolean() : otherwise;
        using var model = c.LoadWeights(new SLaK(new SLaKConfig
        {
            Depths = args.Ints("depths", [3, 3, 9, 3]),
            Dims = args.Ints("dims", [96, 192, 384, 768]),
            Kernels = args.Ints("kernel_size", [51, 49, 47, 13, 5]),
            WidthFactor = args.Number("width_factor", 1),
            Decom = Flag("Decom", true),
            Bn = Flag("bn", true),
            Classes = (int)args.Number("num_classes", 1000),
            InChannels = (int)args.Number("in_chans", 3),
            DropPath = args.Number("drop_path_rate", 0),
            LayerScale = args.Number("layer_scale_init_value", 1e-6),
            HeadInitScale = args.Number("head_init_scale", 1),
        }));
        model.eval();
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        using (no_grad())
        {
            Forward(model, x, ours);
            foreach (var (key, module) in model.named_modules())
                if (module is SLaKBlock block && key.EndsWith(".0", StringComparison.Ordinal)) Fold(key["stages.".Length..], block, ours);
            var merged = Merged(model, c).call(x);
            // The merged form must be the same function; a case has no tensor for it.
            if ((merged - ours["logits"]).abs().max().item<float>() > 1e-4f * Math.Max(1, ours["logits"].abs().max().item<float>()))
                throw new BayouException("the merged form gives other logits");
        }
        Train(model, x, c.Inputs["labels"], ours);
        return ours;
    }

    private static void Forward(SLaK model, Tensor x, Dictionary<string, Tensor> ours)
    {
        var children = model.named_children().ToDictionary(n => n.name, n => n.module);
        var (downs, stages) = ((LayerList<Sequential>)children["downsample_layers"], (LayerList<Sequential>)children["stages"]);
        ours["logits"] = model.call(x);
        for (var s = 0; s < stages.Count; s++)
        {
            ours[$"down{s}"] = x = downs[s].call(x);
            if (s == 0) FirstBlock((SLaKBlock)stages[0].Layers[0], x, ours);
            ours[$"stage{s}"] = x = stages[s].call(x);
        }
    }

    private static void FirstBlock(SLaKBlock block, Tensor x, Dictionary<string, Tensor> ours)
    {
        ours["block0_large_kernel"] = block.LargeKernel.call(x);
        if (block.LargeKernel is not DecomposedLargeKernelConv decomposed) return;
        foreach (var (branch, name) in decomposed.Branches.Zip(["LoRA1", "LoRA2", "small"])) ours["block0_" + name] = branch.call(x);
    }

    private static void Fold(string place, SLaKBlock block, Dictionary<string, Tensor> ours)
    {
        if (block.LargeKernel is not DecomposedLargeKernelConv decomposed)
        {
            (ours[$"dense.{place}.weight"], ours[$"fused.{place}.bias_sum"]) = ((ReparamLargeKernelConv)block.LargeKernel).EquivalentKernel();
            return;
        }
        foreach (var (branch, name) in decomposed.Branches.Zip(["LoRA1", "LoRA2", "small"])) ours[$"fused.{place}.{name}_weight"] = branch.Folded().Weight;
        (ours[$"dense.{place}.weight"], ours[$"fused.{place}.bias_sum"]) = decomposed.EquivalentKernel();
    }

    private static SLaK Merged(SLaK model, ParityCase c)
    {
        var copy = c.LoadWeights(new SLaK(model.Config)).Merge();
        copy.eval();
        return copy;
    }

    private static void Train(SLaK model, Tensor x, Tensor labels, Dictionary<string, Tensor> ours)
    {
        model.train();
        var logits = model.call(x);
        var loss = nn.functional.cross_entropy(logits, labels);
        loss.backward();
        (ours["train_logits"], ours["train_loss"]) = (logits.detach(), loss.detach());
        foreach (var (key, parameter) in model.named_parameters()) if (parameter.grad is { } grad) ours["grad." + key] = grad;
    }
}
