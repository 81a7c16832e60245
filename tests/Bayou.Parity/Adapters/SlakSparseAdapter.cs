using Bayou.Core;
using Bayou.Train;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>slak/sparse-update: SNIP, ERK, first masks, single prune and growth steps, and a trajectory of AdamW, masks and running average.</summary>
public sealed class SlakSparseAdapter : IParityAdapter
{
    public string Name => "slak/sparse-update";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        // A layer that comes out nearly dense leaves the masks: the second list is then shorter.
        var (names, masked) = (Names("layers"), Names("mask_layer_order"));
        Densities(c, names, ours);
        foreach (var name in names) Update(c, name, ours);
        Trajectory(c, names, masked, ours);
        var cosine = new SparseOptions { PruneRate = 0.3, EndPruneRate = c.Config.Number("eta_min", 0.005) };
        ours["cosine_decay_0.3_10"] = tensor(Enumerable.Range(1, 10).Select(t => SparseMasks.PruneRate(cosine, t, 10)).ToArray());
        return ours;

        string[] Names(string key) => c.Config.GetProperty(key).EnumerateArray().Select(n => n.GetString()!).ToArray();
    }

    private static void Densities(ParityCase c, string[] names, Dictionary<string, Tensor> ours)
    {
        using var net = new Net(c);
        net.train();
        nn.functional.cross_entropy(net.call(c.Inputs["snip.x"]), c.Inputs["snip.y"]).backward();
        var weights = net.named_parameters().ToDictionary(p => p.name, p => p.parameter);
        using var guard = no_grad();
        // Ours must be the case's gradients; the scores then come from the case's, so that no rounding moves a weight across the threshold.
        foreach (var name in names)
        {
            var theirs = c.Inputs["snip.grad/" + name];
            if ((weights[name].grad! - theirs).abs().max().item<float>() > 1e-4f * Math.Max(1e-3f, theirs.abs().max().item<float>()))
                throw new BayouException($"the gradient of {name} differs from the case's");
        }
        var scores = names.Select(n => (weights[n] * c.Inputs["snip.grad/" + n]).abs()).ToArray();
        ours["snip.layer_sparsity"] = tensor(SparseMasks.Snip(scores, c.Config.Number("snip_keep_ratio", 0.6)).Select(d => 1 - d).ToArray());
        ours["erk.density"] = tensor(SparseMasks.Erk(names.Select(n => weights[n].shape).ToArray(), c.Config.Number("density", 0.6)));
    }

    private static void Update(ParityCase c, string name, Dictionary<string, Tensor> ours)
    {
        using var guard = no_grad();
        var (weight, old) = (c.Inputs["update.weight/" + name], c.Inputs["update.mask/" + name].ne(0));
        var (mask, removed) = SparseMasks.Prune(weight.abs(), old, c.Inputs["update.prune_rate"].item<double>());
        ours["update.pruned/" + name] = mask.to(float32);
        ours["update.removed/" + name] = removed.to(float32).squeeze(0);
        ours["update.grown_gradient/" + name] = SparseMasks.GrowBest(c.Inputs["update.grad/" + name].abs(), mask, removed).to(float32);
        ours["update.grown_random/" + name] = SparseMasks.GrowRandom(c.Inputs["update.uniform/" + name], mask, removed).to(float32);
    }

    private static void Trajectory(ParityCase c, string[] names, string[] masked, Dictionary<string, Tensor> ours)
    {
        using var net = new Net(c);
        var steps = (int)c.Config.Number("steps", 6);
        var step = -1;
        using var sparse = new SparseTraining(net, new SparseOptions
        {
            Sparsity = 1 - c.Config.Number("density", 0.6),
            PruneRate = c.Config.Number("prune_rate0", 0.3),
            EndPruneRate = c.Config.Number("eta_min", 0.005),
            UpdateEvery = (int)c.Config.Number("update_frequency", 100),
            Grow = Enum.Parse<SparseCriterion>(c.Config.GetProperty("growth_in_trajectory").GetString()!, ignoreCase: true),
        }, (int)c.Config.Number("T_max", 20))
        {
            Uniform = (name, _) => c.Inputs[step < 0 ? "init.uniform/" + name : $"traj.uniform{step}/{name}"],
        };
        sparse.Initialise(names.Select(_ => c.Config.Number("density", 0.6)).ToArray());
        foreach (var (name, mask) in sparse.Masks) ours["init.mask/" + name] = mask.to(float32);
        ours["init.densities"] = tensor(masked.Select(n => ours["init.mask/" + n].mean().item<float>()).ToArray());

        using var optimizer = new AdamW(net.named_parameters().Select(p => new ParameterSlot(p.name, p.parameter, 1, 1)));
        using var ema = new Ema(net, c.Config.Number("ema_decay", 0.9));
        var rows = new List<double>();
        for (step = 0; step < steps; step++)
        {
            foreach (var (name, parameter) in net.named_parameters()) parameter.grad = c.Inputs[$"traj.grad{step}/{name}"].clone();
            optimizer.Step(c.Config.Number("lr", 1e-2), c.Config.Number("weight_decay", 0.05));
            sparse.Step(optimizer);
            sparse.Average(ema);
            rows.Add(sparse.PruneRate);
            var masks = sparse.Masks.ToDictionary();
            rows.AddRange(masked.Select(n => (double)masks[n].sum().item<long>()));
        }
        ours["traj.prune_rate_and_nnz"] = tensor(rows.ToArray()).reshape(steps, 1 + masked.Length);
        foreach (var (name, mask) in sparse.Masks) ours["traj.mask/" + name] = mask.to(float32);
        foreach (var (name, parameter) in net.named_parameters()) ours["traj.weight/" + name] = parameter.detach().clone();
        foreach (var (name, average) in ema.State) ours["traj.ema/" + name] = average.clone();
    }

    /// <summary>The case's network: depthwise 7x3, batch normalisation, mean over the picture, two linear layers.</summary>
    private sealed class Net : Layer
    {
        private readonly Conv2d dw;
        private readonly BatchNorm bn;
        private readonly Linear fc1, fc2;

        public Net(ParityCase c)
        {
            var (first, second) = (c.Weights["fc1.weight"].shape, c.Weights["fc2.weight"].shape);
            var kernel = c.Weights["dw.weight"].shape;
            dw = new Conv2d(kernel[0], kernel[0], (kernel[2], kernel[3]), 1, (kernel[2] / 2, kernel[3] / 2), groups: kernel[0], bias: false);
            bn = new BatchNorm(kernel[0]);
            (fc1, fc2) = (new Linear(first[1], first[0]), new Linear(second[1], second[0]));
            RegisterComponents();
            this.LoadState(c.Weights);
        }

        public override Tensor forward(Tensor x) => fc2.call(Gelu(fc1.call(GlobalAveragePool(bn.call(dw.call(x))))));
    }
}
