using System.CommandLine;
using Bayou.Core;
using Bayou.Train;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>The switches of sparse training on the command line.</summary>
internal sealed class SparseTrainOptions
{
    private readonly Option<double?> sparse = new("--sparse") { Description = "share of weights kept at zero, e.g. 0.4; masks change during training" };
    private readonly Option<SparseInit> init =
        new("--sparse-init") { Description = "densities of the layers; resume: the zeros of --weights", DefaultValueFactory = _ => SparseInit.Snip };
    private readonly Option<SparseCriterion> prune =
        new("--sparse-prune") { Description = "what decides which weights go", DefaultValueFactory = _ => SparseCriterion.Magnitude };
    private readonly Option<SparseCriterion> grow =
        new("--sparse-grow") { Description = "what decides which weights come", DefaultValueFactory = _ => SparseCriterion.Random };
    private readonly Option<double> rate =
        new("--sparse-rate") { Description = "share of active weights exchanged at an update, at the start", DefaultValueFactory = _ => 0.3 };
    private readonly Option<SparseSchedule> schedule =
        new("--sparse-schedule") { Description = "how that share goes down", DefaultValueFactory = _ => SparseSchedule.Cosine };
    private readonly Option<int> every =
        new("--sparse-every") { Description = "steps between updates; 0: masks stay as they are", DefaultValueFactory = _ => 100 };
    private readonly Option<string?> only = new("--sparse-only") { Description = "only parameters whose key contains this, e.g. large_kernel.LoRA" };
    private readonly Option<bool> perChannel = new("--sparse-per-channel") { Description = "every output channel keeps its number of weights" };

    public SparseTrainOptions()
    {
        prune.AcceptOnlyFromAmong("magnitude", "gradient", "random");
        grow.AcceptOnlyFromAmong("random", "gradient", "momentum");
        init.AcceptOnlyFromAmong("snip", "erk", "uniform", "resume");
        schedule.AcceptOnlyFromAmong("cosine", "linear", "constant");
    }

    public Option[] All => [sparse, init, prune, grow, rate, schedule, every, only, perChannel];

    public Recipe Apply(Recipe recipe, ParseResult parsed) => recipe with
    {
        Sparse = parsed.GetValue(sparse) is not { } share ? null : new SparseOptions
        {
            Sparsity = share,
            Init = parsed.GetValue(init),
            Prune = parsed.GetValue(prune),
            Grow = parsed.GetValue(grow),
            PruneRate = parsed.GetValue(rate),
            Schedule = parsed.GetValue(schedule),
            UpdateEvery = parsed.GetValue(every),
            Only = parsed.GetValue(only),
            PerChannel = parsed.GetValue(perChannel),
        }.Checked(),
    };

    /// <summary>Density of every layer and the change of the masks.</summary>
    public static void Print(SparsityReport report, SparseCost cost)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumn("layer").AddColumn("shape");
        foreach (var column in (string[])["weights", "not zero", "density", "overlap of the last update"])
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var l in report.Layers)
        {
            table.AddRow(Markup.Escape(l.Name), string.Join('x', l.Shape), $"{l.Elements:N0}", $"{l.NonZero:N0}", $"{l.Density:P1}",
                l.Overlap is { } o ? $"{o:P1}" : "");
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"{report.Density:P1} of the weights are not zero; {cost.NonZeroMacs:N0} MACs with them");
        if (report.Updates.Count == 0) return;
        var (first, last) = (report.Updates[0], report.Updates[^1]);
        AnsiConsole.MarkupLineInterpolated(
            $"{report.Updates.Count} updates of the masks: overlap of successive masks {first.Overlap:P1} at step {first.Step}, {last.Overlap:P1} at step {last.Step}; {last.Explored:P1} of the weights were active at some time");
    }
}
