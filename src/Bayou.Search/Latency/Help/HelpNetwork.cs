using Bayou.Core;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>
/// HELP's predictor, its learned learning rates and its inference network (NeurIPS 2021, arXiv 2106.08630; specs/help.md, sections 1.3 and 1.4). Parameters are
/// kept by the names of the official checkpoints, because adaptation computes with changed copies of them.
/// </summary>
public sealed class HelpNetwork : IDisposable
{
    /// <summary>Architectures that describe a device.</summary>
    public const int References = 10;

    /// <summary>How much z changes the last layers, as published.</summary>
    public const double Modulation = 0.01;

    private const double InitialRate = 1e-3;
    private static readonly string[] Modulated = ["fc3", "fc4", "fc5"];

    private readonly OrderedDictionary<string, Parameter> weights = [];
    private readonly OrderedDictionary<string, Parameter> rates = [];
    private readonly OrderedDictionary<string, Parameter> inference = [];

    /// <summary>A network with fresh weights.</summary>
    /// <param name="features">F: length of an architecture's features; null for graphs of 8 kinds of nodes.</param>
    /// <param name="layerSize">H.</param>
    /// <param name="hardware">Numbers that describe a device.</param>
    public HelpNetwork(int? features = null, int layerSize = 100, int hardware = References)
    {
        (Features, LayerSize) = (features, layerSize);
        if (features is { } f)
        {
            Linear("fc1", f, layerSize);
            Linear("fc2", layerSize, layerSize);
        }
        else
        {
            for (var i = 1; i <= 4; i++)
            {
                Add($"gc{i}.weight", empty(i == 1 ? 8 : layerSize, layerSize).uniform_(-0.05, 0.05));
                Add($"gc{i}.bias", empty(layerSize).uniform_(-0.05, 0.05));
            }
        }
        Linear("fc_hw1", hardware, layerSize);
        Linear("fc_hw2", layerSize, layerSize);
        Linear("fc3", 2 * layerSize, 2 * layerSize);
        Linear("fc4", 2 * layerSize, 2 * layerSize);
        Linear("fc5", 2 * layerSize, 1);
        using var first = new Core.Linear(hardware, hardware);
        using var second = new Core.Linear(hardware, 2 * LatentSize);
        foreach (var (name, layer) in new[] { ("z_encoder.0", first), ("z_encoder.2", second) })
        {
            inference[$"{name}.weight"] = New(layer.Weight.detach().clone());
            inference[$"{name}.bias"] = New(layer.Bias!.detach().clone());
        }

        void Add(string name, Tensor value)
        {
            rates[name] = New(full_like(value, Number.Of(InitialRate)));
            weights[name] = New(value);
        }

        void Linear(string name, int inputs, int outputs)
        {
            using var layer = new Core.Linear(inputs, outputs);
            Add($"{name}.weight", layer.Weight.detach().clone());
            Add($"{name}.bias", layer.Bias!.detach().clone());
        }
    }

    /// <summary>F, or null for graphs.</summary>
    public int? Features { get; }

    /// <summary>H.</summary>
    public int LayerSize { get; }

    /// <summary>Length of z: a gain for each input of the three last layers and a shift for each of their biases.</summary>
    public int LatentSize => (2 * LayerSize + 1) * Modulated.Length;

    /// <summary>The predictor's parameters (official keys without "meta_learner.").</summary>
    public IReadOnlyDictionary<string, Parameter> Weights => weights;

    /// <summary>Learning rate of every element, by the same names.</summary>
    public IReadOnlyDictionary<string, Parameter> Rates => rates;

    /// <summary>The inference network's parameters (z_encoder.*).</summary>
    public IReadOnlyDictionary<string, Parameter> Inference => inference;

    /// <summary>Everything that meta-training trains.</summary>
    public IEnumerable<Parameter> All => [.. weights.Values, .. rates.Values, .. inference.Values];

    /// <summary>Predicted scaled latencies.</summary>
    /// <param name="p">The predictor's parameters: <see cref="Weights"/> or an adapted copy.</param>
    /// <param name="x">Architectures.</param>
    /// <param name="hardware">[10], the device's reference latencies scaled to [0, 1].</param>
    /// <returns>[N, 1].</returns>
    public Tensor Forward(IReadOnlyDictionary<string, Tensor> p, HelpInput x, Tensor hardware)
    {
        if (Features is null != x.Graph is not null || (Features is { } f && x.Features.shape[^1] != f))
            throw new BayouException($"HELP: the network reads {(Features is null ? "graphs" : $"{Features} features")}, the architectures have {new Ints(x.Features.shape)}{(x.Graph is null ? "" : " and a graph")}");
        Tensor a;
        if (x.Graph is { } graph)
        {
            // Nodes first, so that graph and weights each meet all architectures in one matrix product; of the last layer only the global node is read.
            long nodes = graph.shape[0], n = x.Features.shape[0];
            a = x.Features.transpose(0, 1);
            for (var i = 1; i <= 4; i++)
            {
                var rows = i < 4 ? graph : graph.slice(0, nodes - 1, nodes, 1);
                a = matmul(matmul(rows, a.reshape(nodes, -1)).reshape(rows.shape[0] * n, -1), p[$"gc{i}.weight"]).Plus(p[$"gc{i}.bias"]).relu();
            }
        }
        else
        {
            a = Layer("fc2", Layer("fc1", x.Features).relu()).relu();
        }
        var h = Layer("fc_hw2", Layer("fc_hw1", hardware.reshape(1, -1)).relu()).relu().expand(a.shape[0], LayerSize);
        return Layer("fc5", Layer("fc4", Layer("fc3", cat([a, h], 1)).relu()).relu());

        Tensor Layer(string name, Tensor v) => nn.functional.linear(v, p[$"{name}.weight"], p[$"{name}.bias"]);
    }

    /// <summary>Mean and standard deviation of z for a device.</summary>
    public (Tensor Mean, Tensor Std) Posterior(Tensor hardware)
    {
        var h = nn.functional.linear(hardware, inference["z_encoder.0.weight"], inference["z_encoder.0.bias"]).relu();
        var stats = nn.functional.linear(h, inference["z_encoder.2.weight"], inference["z_encoder.2.bias"]);
        return (stats.slice(0, 0, LatentSize, 1), nn.functional.softplus(stats.slice(0, LatentSize, 2 * LatentSize, 1), 1, 20));
    }

    /// <summary>Divergence of N(mean, std) from N(0, 1), summed.</summary>
    public static Tensor Kl(Tensor mean, Tensor std) => (mean.Squared().Plus(std.Squared()) / 2 - std.log()).Plus(Number.Of(-0.5)).sum();

    /// <summary>The parameters for a device: those of the last three layers changed by z.</summary>
    /// <param name="z">[<see cref="LatentSize"/>]: gains of the inputs of each layer, then a shift for each bias.</param>
    /// <param name="scaling">Factor of z.</param>
    public Dictionary<string, Tensor> Modulate(Tensor z, double scaling = Modulation)
    {
        var p = weights.ToDictionary(w => w.Key, w => (Tensor)w.Value);
        var width = 2 * LayerSize;
        for (var i = 0; i < Modulated.Length; i++)
        {
            var (weight, bias) = ($"{Modulated[i]}.weight", $"{Modulated[i]}.bias");
            p[weight] = p[weight] * z.slice(0, i * width, (i + 1) * width, 1).mul(Number.Of(scaling)).Plus(Number.Of(1));
            p[bias] = p[bias].Plus(z[Modulated.Length * width + i].mul(Number.Of(scaling)));
        }
        return p;
    }

    /// <summary>
    /// Gradient steps on measured architectures with the learned rates: theta - rate x gradient of the mean squared error.
    /// </summary>
    /// <param name="p">Modulated parameters.</param>
    /// <param name="x">Measured architectures.</param>
    /// <param name="target">Their scaled latencies, [k, 1].</param>
    /// <param name="hardware">The device.</param>
    /// <param name="steps">Two as published.</param>
    /// <param name="differentiable">Whether the result can be differentiated with respect to <paramref name="p"/> and the rates (meta-training).</param>
    /// <param name="secondOrder">Whether that includes the steps' gradients; without, they count as constants (first-order approximation).</param>
    /// <returns>Adapted parameters and the losses before each step.</returns>
    public (Dictionary<string, Tensor> Adapted, double[] Losses) Adapt(
        IReadOnlyDictionary<string, Tensor> p, HelpInput x, Tensor target, Tensor hardware, int steps = 2, bool differentiable = false, bool secondOrder = true)
    {
        secondOrder &= differentiable;
        var names = p.Keys.ToArray();
        var now = p.ToDictionary(v => v.Key, v => differentiable ? v.Value : v.Value.detach().requires_grad_(true));
        var losses = new double[steps];
        for (var step = 0; step < steps; step++)
        {
            var loss = nn.functional.mse_loss(Forward(now, x, hardware), target);
            losses[step] = loss.item<float>();
            if (!double.IsFinite(losses[step]))
                throw new BayouException($"HELP: the error of the measured architectures is {losses[step]} before step {step + 1}: check the measurements, or lower the learned rates by training again");
            var gradients = autograd.grad([loss], names.Select(n => now[n]).ToArray(), retain_graph: differentiable, create_graph: secondOrder);
            for (var i = 0; i < names.Length; i++)
            {
                var next = now[names[i]] - rates[names[i]] * gradients[i];
                now[names[i]] = differentiable ? next : next.detach().requires_grad_(true);
            }
        }
        return (now, losses);
    }

    /// <summary>
    /// Loads an official checkpoint (.pth or .pt with model, inference_network, task_lr) or a file that <see cref="Save"/> wrote. The sizes come from the file.
    /// </summary>
    /// <exception cref="BayouException">The file cannot be read, or is no HELP checkpoint.</exception>
    public static HelpNetwork Load(string path)
    {
        using var scope = NewDisposeScope();
        var state = Read(path);
        Tensor Get(string key) =>
            state.TryGetValue(key, out var value) ? value : throw new BayouException($"'{path}' is no HELP checkpoint: it has no '{key}'");
        var fc3 = Get("meta_learner.fc3.weight");
        int? features = state.TryGetValue("meta_learner.fc1.weight", out var fc1) ? (int)fc1.shape[1] : null;
        var network = new HelpNetwork(features, (int)(fc3.shape[0] / 2), (int)Get("meta_learner.fc_hw1.weight").shape[1]);
        using var noGrad = no_grad();
        foreach (var (key, parameter) in network.State())
        {
            var value = Get(key);
            if (!value.shape.SequenceEqual(parameter.shape))
                throw new BayouException($"'{path}': '{key}' is {new Ints(value.shape)}, {new Ints(parameter.shape)} fits");
            parameter.copy_(value);
        }
        return network;
    }

    /// <summary>Writes all parameters as safetensors: meta_learner.*, task_lr.meta_learner.*, z_encoder.*.</summary>
    public void Save(string path) => WeightFile.Save(path, State().Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value.detach())));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var parameter in All) parameter.Dispose();
    }

    private IEnumerable<KeyValuePair<string, Parameter>> State() =>
    [
        .. weights.Select(p => KeyValuePair.Create($"meta_learner.{p.Key}", p.Value)),
        .. rates.Select(p => KeyValuePair.Create($"task_lr.meta_learner.{p.Key}", p.Value)),
        .. inference,
    ];

    // A PyTorch checkpoint keeps its three parts under keys of their own; safetensors holds one flat list.
    private static Dictionary<string, Tensor> Read(string path)
    {
        var state = new Dictionary<string, Tensor>();
        using (var file = WeightFile.Open(path))
        {
            foreach (var key in file.Keys) state[key] = file.Get(key);
        }
        if (state.ContainsKey("z_encoder.0.weight")) return state;
        if (!state.ContainsKey("meta_learner.fc3.weight"))
            throw new BayouException($"'{path}' is no HELP checkpoint: it has no 'meta_learner.fc3.weight', but {string.Join(", ", state.Keys.Take(3))}...");
        foreach (var (section, prefix) in new[] { ("inference_network", ""), ("task_lr", "task_lr.") })
        {
            using var file = WeightFile.Open(path, section);
            foreach (var key in file.Keys) state[prefix + key] = file.Get(key);
        }
        return state;
    }

    private static Parameter New(Tensor value) => (Parameter)new Parameter(value.DetachFromDisposeScope()).DetachFromDisposeScope();
}
