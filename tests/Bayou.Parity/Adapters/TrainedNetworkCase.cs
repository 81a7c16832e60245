using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>
/// What many classification cases ask of a network: "logits", "eval.NAME" (a sub-module's output in eval mode), "train.logits", "train.loss" (mean
/// cross-entropy against "y"),
/// "train.grad.KEY" and "train.after_forward.KEY" (buffers after one forward in train mode).
/// </summary>
internal static class TrainedNetworkCase
{
    private const string Eval = "eval.", Grad = "train.grad.", After = "train.after_forward.";

    /// <summary>Runs the network for every output that the case has.</summary>
    /// <param name="c">The case.</param>
    /// <param name="network">The network with the case's weights.</param>
    /// <param name="module">The module path behind an output name without "eval.".</param>
    public static Dictionary<string, Tensor> Run(ParityCase c, nn.Module<Tensor, Tensor> network, Func<string, string> module)
    {
        var x = c.Inputs["x"];
        var ours = new Dictionary<string, Tensor>();
        network.eval();
        using (no_grad())
        {
            var wanted = c.Expected.Keys.Where(k => k.StartsWith(Eval, StringComparison.Ordinal)).ToArray();
            var seen = Outputs(network, () => ours["logits"] = network.call(x).DetachFromDisposeScope(), wanted.Select(k => module(k[Eval.Length..])));
            foreach (var name in wanted) ours[name] = Shaped(seen[module(name[Eval.Length..])], c.Expected[name].shape);
        }

        if (!c.Expected.ContainsKey("train.loss")) return ours;
        network.train();
        var logits = network.call(x);
        var loss = nn.functional.cross_entropy(logits, c.Inputs["y"]);
        loss.backward();
        (ours["train.logits"], ours["train.loss"]) = (logits.detach(), loss.detach());
        var parameters = network.named_parameters().ToDictionary(p => p.name, p => p.parameter);
        var buffers = network.named_buffers().ToDictionary(b => b.name, b => b.buffer);
        foreach (var name in c.Expected.Keys)
        {
            if (name.StartsWith(Grad, StringComparison.Ordinal)) ours[name] = parameters[name[Grad.Length..]].grad!;
            if (name.StartsWith(After, StringComparison.Ordinal)) ours[name] = buffers[name[After.Length..]];
        }
        return ours;
    }

    /// <summary>The last output of every named sub-module while something runs.</summary>
    public static Dictionary<string, Tensor> Outputs(nn.Module network, Action run, IEnumerable<string> names)
    {
        var modules = network.named_modules().ToDictionary(m => m.name, m => m.module);
        var seen = new Dictionary<string, Tensor>();
        foreach (var name in names.Distinct())
        {
            if (!modules.TryGetValue(name, out var found) || found is not nn.Module<Tensor, Tensor> layer)
                throw new BayouException($"the network has no module '{name}'");
            layer.register_forward_hook((_, _, output) =>
            {
                seen[name] = output.clone().DetachFromDisposeScope();
                return output;
            });
        }
        run();
        return seen;
    }

    // Our maps are [N, H, W, C] where the official tokens are [N, T, C], and one encoding serves the whole batch.
    private static Tensor Shaped(Tensor x, long[] shape)
    {
        if (shape.Length == 4 && x.dim() == 4 && x.shape[^1] == shape[1] && !x.shape[1..].SequenceEqual(shape[1..])) x = x.permute(0, 3, 1, 2);
        if (x.numel() * shape[0] == shape.Aggregate(1L, (a, b) => a * b) && x.shape[0] == 1) return x.reshape([1, .. shape[1..]]).expand(shape);
        return x.reshape(shape);
    }
}
