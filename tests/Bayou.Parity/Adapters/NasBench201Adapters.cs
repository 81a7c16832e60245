using System.Text;
using System.Text.Json;
using Bayou.Core;
using Bayou.Images;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Parity;

/// <summary>nasbench201/network: every module's output, logits, and one training step's loss, gradients and running statistics.</summary>
public sealed class NasBench201NetworkAdapter : IParityAdapter
{
    public string Name => "nasbench201/network";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var x = c.Inputs["x"];
        var model = c.LoadWeights(new NasBench201(NasBench201Cell.Parse(c.Config.GetProperty("arch_str").GetString()!),
            (int)c.Config.Number("C", 16), (int)c.Config.Number("N", 5), (int)c.Config.Number("num_classes", 10), (int)x.shape[1]));
        var ours = new Dictionary<string, Tensor>();
        model.eval();
        using (no_grad())
        {
            var outputs = model.Activations(x);
            ours["stem"] = outputs[0];
            for (var i = 1; i < outputs.Length; i++) ours[$"cell_{i - 1}"] = outputs[i];
            ours["feature"] = model.Pool(outputs[^1]);
            ours["logits"] = model.call(x);
        }
        model.train();
        var logits = model.call(x);
        var loss = nn.functional.cross_entropy(logits, c.Inputs["target"]);
        loss.backward();
        ours["train_logits"] = logits.detach();
        ours["train_loss"] = loss.detach();
        foreach (var (name, parameter) in model.named_parameters())
            if (parameter.grad is { } grad) ours[$"grad.{name}"] = grad;
        foreach (var (name, buffer) in model.named_buffers()) ours[$"after_train.{name}"] = buffer;
        return ours;
    }
}

/// <summary>nasbench201/counts: official index, MACs, parameters and canonical strings; expected values lie in config.json.</summary>
public sealed class NasBench201CountsAdapter : IParityAdapter
{
    public string Name => "nasbench201/counts";

    public IReadOnlyDictionary<string, Tensor> Run(ParityCase c)
    {
        var ours = new Dictionary<string, Tensor>();
        foreach (var (path, entry) in Entries(c))
        {
            var cell = NasBench201Cell.Parse(entry.GetProperty("arch_str").GetString()!);
            ours[$"{path}/index"] = tensor(cell.Index, int64);
            ours[$"{path}/flops_M"] = tensor(cell.Macs() / 1e6, float64);
            ours[$"{path}/params_M"] = tensor(cell.Parameters() / 1e6, float64);
            ours[$"{path}/unique_str"] = Text(cell.Canonical(zero: false));
            ours[$"{path}/unique_str_consider_zero"] = Text(cell.Canonical(zero: true));
        }
        return ours;
    }

    public IReadOnlyDictionary<string, Tensor> ExpectedFromConfig(ParityCase c)
    {
        var expected = new Dictionary<string, Tensor>();
        foreach (var (path, entry) in Entries(c))
        {
            expected[$"{path}/index"] = tensor(entry.GetProperty("index").GetInt64(), int64);
            expected[$"{path}/flops_M"] = tensor(entry.GetProperty("flops_M").GetDouble(), float64);
            expected[$"{path}/params_M"] = tensor(entry.GetProperty("params_M").GetDouble(), float64);
            expected[$"{path}/unique_str"] = Text(entry.GetProperty("unique_str").GetString()!);
            expected[$"{path}/unique_str_consider_zero"] = Text(entry.GetProperty("unique_str_consider_zero").GetString()!);
        }
        return expected;
    }

    private static IEnumerable<(string, JsonElement)> Entries(ParityCase c) =>
        c.Config.GetProperty("entries").EnumerateArray().Select((e, i) => ($"config/entries/{i}", e));

    private static Tensor Text(string text) => tensor(Encoding.UTF8.GetBytes(text));
}
