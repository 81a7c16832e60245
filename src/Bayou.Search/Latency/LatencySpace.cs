using Bayou.Core;
using Bayou.Images;

namespace Bayou.Search;

/// <summary>A finite space of networks whose latencies were measured, and how predictors read its members.</summary>
public abstract class LatencySpace
{
    private float[]?[]? codes;

    /// <summary>Name in meta.json.</summary>
    public abstract string Name { get; }

    /// <summary>Number of networks; they are numbered from 0.</summary>
    public abstract int Count { get; }

    /// <summary>The ten networks whose latencies describe a device to HELP.</summary>
    public abstract IReadOnlyList<int> References { get; }

    /// <summary>
    /// Networks whose latencies stand in for a device's hardware counters (MAPLE), where there are none: for NAS-Bench-201 the five cells of one operation
    /// only.
    /// </summary>
    public abstract IReadOnlyList<int> Probes { get; }

    /// <summary>Architectures from 0 up to here are for training, the next thousand for tests (HELP's protocol).</summary>
    public abstract int TrainingPool { get; }

    /// <summary>Choice at every place, one-hot: what additive tables and MAPLE read. The same array every time: not to be changed.</summary>
    public float[] Encode(int architecture) => (codes ??= new float[Count][])[architecture] ??= OneHot(Choices(architecture), Kinds);

    /// <summary>Choice at every place.</summary>
    public abstract IReadOnlyList<int> Choices(int architecture);

    /// <summary>Choices at a place.</summary>
    public abstract int Kinds { get; }

    /// <summary>What HELP reads.</summary>
    public abstract HelpInput EncodeForHelp(IReadOnlyList<int> architectures);

    /// <summary>Multiply-accumulates, or null where they are not known.</summary>
    public abstract double? Macs(int architecture);

    /// <summary>How the network is written.</summary>
    public abstract string Describe(int architecture);

    /// <summary>One-hot encoding of choices, place by place.</summary>
    public static float[] OneHot(IReadOnlyList<int> choices, int kinds)
    {
        var code = new float[choices.Count * kinds];
        for (var i = 0; i < choices.Count; i++)
        {
            if (choices[i] < 0 || choices[i] >= kinds) throw new BayouException($"choice {choices[i]} at place {i}: 0 to {kinds - 1} are possible");
            code[i * kinds + choices[i]] = 1;
        }
        return code;
    }
}

/// <summary>The 15,625 cells of NAS-Bench-201 in the benchmark's order.</summary>
public sealed class NasBench201LatencySpace : LatencySpace
{
    private readonly NasBench201Cell[] cells = [.. Enumerable.Range(0, NasBench201Cell.Count).Select(NasBench201Cell.At)];

    /// <inheritdoc/>
    public override string Name => "nasbench201";

    /// <inheritdoc/>
    public override int Count => cells.Length;

    /// <inheritdoc/>
    public override IReadOnlyList<int> References { get; } = [11982, 431, 55, 9, 14451, 8636, 9881, 13479, 6196, 1462];

    /// <inheritdoc/>
    public override IReadOnlyList<int> Probes { get; } =
        [.. Enumerable.Range(0, 5).Select(o => NasBench201Cell.Parse(new string((char)('0' + o), NasBench201Cell.Edges)).Index)];

    /// <inheritdoc/>
    public override int TrainingPool => 900;

    /// <summary>The cell of a number.</summary>
    public NasBench201Cell Cell(int architecture) => cells[architecture];

    /// <inheritdoc/>
    public override IReadOnlyList<int> Choices(int architecture) => [.. cells[architecture].Operations.Select(o => (int)o)];

    /// <inheritdoc/>
    public override int Kinds => 5;

    /// <inheritdoc/>
    public override HelpInput EncodeForHelp(IReadOnlyList<int> architectures) => HelpEncoding.NasBench201([.. architectures.Select(a => cells[a])]);

    /// <inheritdoc/>
    public override double? Macs(int architecture) => cells[architecture].Macs();

    /// <inheritdoc/>
    public override string Describe(int architecture) => cells[architecture].ToString();
}

/// <summary>Networks of FBNet's space: 22 layers of nine choices, as a table lists them.</summary>
public sealed class FBNetLatencySpace(IReadOnlyList<int[]> blocks) : LatencySpace
{
    /// <inheritdoc/>
    public override string Name => "fbnet";

    /// <inheritdoc/>
    public override int Count => blocks.Count;

    /// <inheritdoc/>
    public override IReadOnlyList<int> References { get; } = [3328, 3790, 3313, 890, 3052, 2538, 1640, 2514, 457, 2100];

    /// <inheritdoc/>
    public override IReadOnlyList<int> Probes => References;

    /// <inheritdoc/>
    public override int TrainingPool => 4000;

    /// <inheritdoc/>
    public override IReadOnlyList<int> Choices(int architecture) => blocks[architecture];

    /// <inheritdoc/>
    public override int Kinds => 9;

    /// <inheritdoc/>
    public override HelpInput EncodeForHelp(IReadOnlyList<int> architectures) => HelpEncoding.FBNet([.. architectures.Select(a => blocks[a])]);

    /// <inheritdoc/>
    public override double? Macs(int architecture) => null;

    /// <inheritdoc/>
    public override string Describe(int architecture) => string.Concat(blocks[architecture]);
}
