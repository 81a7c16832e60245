using Bayou.Core;
using Bayou.Parity;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public sealed class ParityRunnerTests : IDisposable
{
    private const string Exact = """{"tensors":"*","mode":"exact"}""";

    private readonly TempFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>An adapter that does what the test says.</summary>
    private sealed class Scripted(Func<ParityCase, Dictionary<string, Tensor>> run, Dictionary<string, Tensor>? expected = null) : IParityAdapter
    {
        public string Name => "sys/kind";

        public IReadOnlyDictionary<string, Tensor> Run(ParityCase c) => run(c);

        public IReadOnlyDictionary<string, Tensor>? ExpectedFromConfig(ParityCase c) => expected;
    }

    [Fact]
    public void A_case_passes_when_every_output_is_right()
    {
        Case(outputs: new() { ["y"] = ones(2), ["z/a"] = zeros(3) });
        var result = Run(_ => new() { ["y"] = ones(2), ["z/a"] = zeros(3), ["more"] = ones(1) });
        Assert.Equal((Outcome.Passed, 2, 0.0), (result.Outcome, result.Tensors, result.Worst));
        Assert.Equal(("sys", "case"), (result.System, result.Case));
    }

    [Fact]
    public void Wrong_missing_and_unruled_outputs_fail()
    {
        Case(outputs: new() { ["y"] = ones(2), ["z"] = zeros(3) });
        AssertFails(Run(_ => new() { ["y"] = ones(2), ["z"] = ones(3) }), "z (exact): 3 of 3 elements differ");
        AssertFails(Run(_ => new() { ["y"] = ones(2) }), "z: not produced");
        Case(outputs: new() { ["y"] = ones(2), ["z"] = zeros(3) }, rules: """{"tensors":"y","mode":"exact"}""");
        AssertFails(Run(_ => new() { ["y"] = ones(2), ["z"] = zeros(3) }), "z: no entry of \"compare\" matches it");
    }

    [Fact]
    public void The_first_matching_rule_decides()
    {
        Case(outputs: new() { ["y"] = ones(2), ["z"] = ones(2) }, rules: """{"tensors":"y","mode":"element","atol":5},{"tensors":"y","mode":"exact"},{"tensors":"*","mode":"max","atol":1}""");
        var result = Run(_ => new() { ["y"] = zeros(2), ["z"] = full(2, 1.5f) });
        Assert.Equal((Outcome.Passed, 0.5, "z"), (result.Outcome, result.Worst, result.WorstTensor));
    }

    [Fact]
    public void Skipped_outputs_need_not_be_produced_but_something_must_be_compared()
    {
        var skip = """{"tensors":"z*","mode":"skip","why":"random"}""";
        Case(outputs: new() { ["y"] = ones(2), ["z"] = ones(2) }, rules: $"{skip},{Exact}");
        var result = Run(_ => new() { ["y"] = ones(2) });
        Assert.Equal((Outcome.Passed, 1, 1), (result.Outcome, result.Tensors, result.Skipped));
        Case(outputs: new() { ["z"] = ones(2) }, rules: skip);
        AssertFails(Run(_ => []), "nothing was compared");
    }

    [Fact]
    public void Weights_and_inputs_nobody_read_fail()
    {
        Case(outputs: new() { ["y"] = ones(2) }, weights: new() { ["w"] = ones(1), ["v"] = ones(1) }, inputs: new() { ["x"] = ones(1) });
        var result = Run(c =>
        {
            _ = c.Weights["w"];
            _ = c.Weights.Keys.ToList();
            return new() { ["y"] = ones(2) };
        });
        AssertFails(result, "weight 'v' was never read");
        Assert.Contains("input 'x' was never read", result.Reasons);
        Assert.Equal(Outcome.Passed, Run(c =>
        {
            _ = c.Weights.ToList();
            _ = c.Inputs.TryGetValue("x", out _);
            return new() { ["y"] = ones(2) };
        }).Outcome);
    }

    [Fact]
    public void Tensors_outlive_the_adapters_dispose_scopes()
    {
        Case(outputs: new() { ["y"] = ones(2) }, inputs: new() { ["x"] = ones(2) });
        Assert.Equal(Outcome.Passed, Run(c =>
        {
            using (NewDisposeScope()) _ = c.Inputs["x"];
            return new() { ["y"] = c.Inputs["x"].clone() };
        }).Outcome);
    }

    [Fact]
    public void Loading_a_module_reads_all_weights_and_checks_shapes()
    {
        Case(outputs: new() { ["y"] = ones(1, 1) }, weights: new() { ["net.weight"] = ones(1, 2), ["net.bias"] = zeros(1) });
        Assert.Equal(Outcome.Passed, Run(c => new() { ["y"] = c.LoadWeights(nn.Linear(2, 1), "net.").call(full(1, 2, 0.5f)) }).Outcome);
        AssertFails(Run(c => new() { ["y"] = c.LoadWeights(nn.Linear(2, 3), "net.").call(ones(1, 2)) }), "mismatched: weight");
    }

    [Fact]
    public void An_expected_error_must_come_as_a_clear_one()
    {
        Case(error: "damaged");
        Assert.Equal(Outcome.Passed, Run(_ => throw new BayouException("the file is damaged: short")).Outcome);
        AssertFails(Run(_ => []), "no error was raised");
        AssertFails(Run(_ => throw new BayouException("something else")), "does not say 'damaged'");
        AssertFails(Run(_ => throw new InvalidOperationException("damaged")), "InvalidOperationException");
    }

    [Fact]
    public void Crashes_and_unknown_adapters_are_that_cases_outcome()
    {
        Case(outputs: new() { ["y"] = ones(2) });
        AssertFails(Run(_ => throw new KeyNotFoundException("stride")), "KeyNotFoundException: stride");
        var unknown = new ParityRunner([]).Run(folder["sys/case"]);
        Assert.Equal(Outcome.Unknown, unknown.Outcome);
        Assert.Contains("sys/kind", unknown.Reasons[0]);
    }

    [Fact]
    public void Expected_values_may_come_from_the_configuration_but_must_exist()
    {
        Case();
        AssertFails(Run(_ => new() { ["y"] = ones(2) }), "neither outputs.safetensors nor expected values");
        var runner = new ParityRunner([new Scripted(_ => new() { ["count"] = torch.tensor(5L) }, new() { ["count"] = torch.tensor(6L) })]);
        AssertFails(runner.Run(folder["sys/case"]), "count (exact)");
    }

    [Theory]
    [InlineData("{", "config.json cannot be read")]
    [InlineData("[]", "not an object")]
    [InlineData("""{"compare":[]}""", "no \"adapter\"")]
    [InlineData("""{"adapter":"sys/kind","compare":{}}""", "not a list")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"tensors":"*","mode":"near"}]}""", "unknown mode 'near'")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"tensors":"*","mode":"3"}]}""", "unknown mode '3'")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"mode":"exact"}]}""", "lacks \"tensors\"")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"tensors":"*","mode":"max","atol":"1"}]}""", "not a number")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"tensors":"*","mode":"max","atol":-1}]}""", "negative")]
    [InlineData("""{"adapter":"sys/kind","compare":[{"tensors":"*","mode":"fraction"}]}""", "fraction")]
    public void Broken_configurations_fail(string config, string reason)
    {
        Case(outputs: new() { ["y"] = ones(2) });
        folder.Write("sys/case/config.json", config);
        AssertFails(Run(_ => new() { ["y"] = ones(2) }), reason);
    }

    [Fact]
    public void Cases_are_found_at_any_depth_and_foreign_configurations_left_alone()
    {
        Case(outputs: new() { ["y"] = ones(2) });
        folder.Write("a/b/c/d/config.json", """{"adapter":"x/y"}""");
        folder.Write("foreign/config.json", """{"name":"a web project"}""");
        folder.Write("broken/config.json", "{");
        folder.Write("lost/outputs.safetensors", "x");
        Assert.Equal(["a/b/c/d", "broken", "lost", "sys/case"],
            ParityRunner.FindCases([folder.Root, folder["sys"]]).Select(f => Path.GetRelativePath(folder.Root, f).Replace('\\', '/')));
        AssertFails(new ParityRunner([]).Run(folder["lost"]), "config.json is missing");
    }

    [Fact]
    public void The_tool_counts_filters_and_sets_its_exit_code()
    {
        Case(outputs: new() { ["y"] = ones(2) });
        folder.Write("other/one/config.json", """{"adapter":"other/kind"}""");
        IParityAdapter right = new Scripted(_ => new() { ["y"] = ones(2) }), wrong = new Scripted(_ => new() { ["y"] = zeros(2) });

        Assert.Equal((1, "1 passed, 0 failed, 1 unknown"), Tool(right));
        Assert.Equal((0, "1 passed, 0 failed, 1 unknown"), Tool(right, "--known-only"));
        Assert.Equal((1, "0 passed, 1 failed, 1 unknown"), Tool(wrong, "--known-only"));
        Assert.Equal((0, "1 passed, 0 failed, 0 unknown"), Tool(right, "--system", "sys"));
        Assert.Equal((1, "0 passed, 0 failed, 0 unknown"), Tool(right, "--system", "nobody"));
        Assert.Equal(2, Tool(right, "--sytem").Exit);
        Assert.Equal(2, Tool(right, folder["nowhere"]).Exit);

        var (exit, json) = Output(wrong, "--json");
        var parsed = System.Text.Json.JsonDocument.Parse(json).RootElement;
        Assert.Equal((1, 1), (exit, parsed.GetProperty("failed").GetInt32()));
        Assert.Contains("y (exact)",
            parsed.GetProperty("cases").EnumerateArray().Single(c => c.GetProperty("outcome").GetString() == "failed").GetProperty("reasons")[0].GetString());
        Assert.DoesNotContain("other", Output(right, "--known-only").Text);

        (int Exit, string Last) Tool(IParityAdapter adapter, params string[] args)
        {
            var (exit, text) = Output(adapter, args);
            return (exit, text.TrimEnd().Split('\n')[^1].TrimEnd());
        }

        (int Exit, string Text) Output(IParityAdapter adapter, params string[] args)
        {
            using StringWriter output = new(), error = new();
            return (ParityTool.Run([folder.Root, .. args], [adapter], output, error), output.ToString());
        }
    }

    [Fact]
    public void The_golden_weight_files_pass()
    {
        var runner = new ParityRunner(ParityAdapters.All);
        var results = ParityRunner.FindCases([WeightCases.Folder]).Select(runner.Run).ToList();
        Assert.Equal(11, results.Count);
        Assert.All(results, r => Assert.True(r.Outcome == Outcome.Passed, $"{r.Case}: {string.Join("; ", r.Reasons)}"));
    }

    private void Case(Dictionary<string, Tensor>? outputs = null, Dictionary<string, Tensor>? weights = null, Dictionary<string, Tensor>? inputs = null,
        string rules = Exact, string? error = null)
    {
        folder.Write("sys/case/config.json", $$"""{"adapter":"sys/kind"{{(error is null ? "" : $",\"error\":\"{error}\"")}},"compare":[{{rules}}]}""");
        if (outputs is not null) WeightFile.Save(folder["sys/case/outputs.safetensors"], outputs);
        if (weights is not null) WeightFile.Save(folder["sys/case/weights.safetensors"], weights);
        if (inputs is not null) WeightFile.Save(folder["sys/case/inputs.safetensors"], inputs);
    }

    private CaseResult Run(Func<ParityCase, Dictionary<string, Tensor>> run) => new ParityRunner([new Scripted(run)]).Run(folder["sys/case"]);

    private static void AssertFails(CaseResult result, string reason)
    {
        Assert.Equal(Outcome.Failed, result.Outcome);
        Assert.Contains(reason, string.Join("\n", result.Reasons));
    }
}
