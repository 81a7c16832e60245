using Bayou.Core;

namespace Bayou.Images;

/// <summary>What an edge of a cell does; the numbers are the benchmark's.</summary>
public enum NasBench201Operation
{
    /// <summary>Zero.</summary>
    None = 0,

    /// <summary>Identity.</summary>
    SkipConnect = 1,

    /// <summary>ReLU, 1x1 convolution, batch norm.</summary>
    Conv1x1 = 2,

    /// <summary>ReLU, 3x3 convolution, batch norm.</summary>
    Conv3x3 = 3,

    /// <summary>3x3 mean.</summary>
    AvgPool3x3 = 4,
}

/// <summary>
/// A cell of NAS-Bench-201: one operation for each of the edges 1-0, 2-0, 2-1, 3-0, 3-1, 3-2 (node - source). Written as the benchmark does,
/// <c>|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|</c>, or as six digits.
/// </summary>
public sealed class NasBench201Cell : IEquatable<NasBench201Cell>
{
    /// <summary>Edges of a cell.</summary>
    public const int Edges = 6;

    /// <summary>All cells: 5^6.</summary>
    public const int Count = 15625;

    private static readonly string[] Names = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];

    private readonly NasBench201Operation[] operations;

    /// <summary>A cell of given operations.</summary>
    /// <exception cref="BayouException">They are not six, or no operations.</exception>
    public NasBench201Cell(params IReadOnlyList<NasBench201Operation> operations)
    {
        if (operations.Count != Edges || operations.Any(o => !Enum.IsDefined(o)))
            throw new BayouException($"NAS-Bench-201: a cell has {Edges} edges with operations 0 to 4, not [{string.Join(", ", operations)}]");
        this.operations = [.. operations];
    }

    /// <summary>Operations in the order of the edges.</summary>
    public IReadOnlyList<NasBench201Operation> Operations => operations;

    /// <summary>Six digits, one for each edge.</summary>
    public string Digits => string.Concat(operations.Select(o => (char)('0' + (int)o)));

    /// <summary>The benchmark's index, 0..15624.</summary>
    public int Index => NasBench201Index.Of(this);

    /// <summary>The cell of a benchmark index.</summary>
    /// <exception cref="BayouException">Not between 0 and 15624.</exception>
    public static NasBench201Cell At(int index) => NasBench201Index.At(index);

    /// <summary>Reads a cell: the benchmark's string, six digits, or "#" and the benchmark's index.</summary>
    /// <exception cref="BayouException">It is none of these.</exception>
    public static NasBench201Cell Parse(string text)
    {
        var t = text.Trim();
        if (t.StartsWith('#') && int.TryParse(t[1..], out var index)) return At(index);
        if (t.Length == Edges && t.All(c => c is >= '0' and <= '4')) return new([.. t.Select(c => (NasBench201Operation)(c - '0'))]);
        var nodes = t.Split('+');
        if (nodes.Length != 3) throw Bad();
        var operations = new List<NasBench201Operation>();
        for (var n = 0; n < nodes.Length; n++)
        {
            var edges = nodes[n].Split('|', StringSplitOptions.RemoveEmptyEntries);
            if (edges.Length != n + 1) throw Bad();
            for (var source = 0; source < edges.Length; source++)
            {
                var parts = edges[source].Split('~');
                var op = Array.IndexOf(Names, parts[0]);
                if (parts.Length != 2 || op < 0 || parts[1] != source.ToString()) throw Bad();
                operations.Add((NasBench201Operation)op);
            }
        }
        return new(operations);

        BayouException Bad() =>
            new($"'{text}' is no cell of NAS-Bench-201: write |op~0|+|op~0|op~1|+|op~0|op~1|op~2| with {string.Join(", ", Names)}, or six digits 0 to 4, or # and the benchmark's index");
    }

    /// <summary>The benchmark's string.</summary>
    public override string ToString()
    {
        string E(int edge, int source) => $"{Names[(int)operations[edge]]}~{source}|";
        return $"|{E(0, 0)}+|{E(1, 0)}{E(2, 1)}+|{E(3, 0)}{E(4, 1)}{E(5, 2)}";
    }

    /// <summary>
    /// A string that isomorphic cells share: skip edges are resolved and the edges of a node sorted; with <paramref name="zero"/> also edges that pass nothing.
    /// </summary>
    public string Canonical(bool zero)
    {
        var nodes = new string[4];
        nodes[0] = "0";
        var edge = 0;
        for (var node = 1; node < 4; node++)
        {
            var edges = new string[node];
            for (var source = 0; source < node; source++)
            {
                var op = operations[edge++];
                edges[source] = zero && (op == NasBench201Operation.None || nodes[source] == "#") ? "#"
                    : op == NasBench201Operation.SkipConnect ? nodes[source]
                    : $"({nodes[source]})@{Names[(int)op]}";
            }
            Array.Sort(edges, string.CompareOrdinal);
            nodes[node] = string.Join('+', edges);
        }
        return nodes[3];
    }

    /// <summary>Multiply-accumulates of convolutions and the head, with one more for each bias of the head, as the official counter has them.</summary>
    public long Macs(int width = 16, int depth = 5, int side = 32, int classes = 10, int inChannels = 3)
    {
        long c = width, r = side;
        long total = 9 * inChannels * c * r * r;
        for (var stage = 0; stage < 3; stage++, c *= 2, r /= 2)
        {
            if (stage > 0) total += r * r * (9 * c / 2 * c + 9 * c * c + c / 2 * c);
            total += depth * (9L * ConvCount(NasBench201Operation.Conv3x3) + ConvCount(NasBench201Operation.Conv1x1)) * c * c * r * r;
        }
        return total + (c / 2 + 1) * classes;
    }

    /// <summary>Trainable parameters.</summary>
    public long Parameters(int width = 16, int depth = 5, int classes = 10, int inChannels = 3)
    {
        long c = width;
        var total = 9 * inChannels * c + 2 * c;
        for (var stage = 0; stage < 3; stage++, c *= 2)
        {
            if (stage > 0) total += 9 * c / 2 * c + 9 * c * c + c / 2 * c + 4 * c;
            var (n3, n1) = (ConvCount(NasBench201Operation.Conv3x3), ConvCount(NasBench201Operation.Conv1x1));
            total += depth * ((9L * n3 + n1) * c * c + 2 * c * (n3 + n1));
        }
        return total + c + (c / 2 + 1) * classes;
    }

    /// <inheritdoc/>
    public bool Equals(NasBench201Cell? other) => other is not null && operations.AsSpan().SequenceEqual(other.operations);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as NasBench201Cell);

    /// <inheritdoc/>
    public override int GetHashCode() => Number;

    /// <summary>The cell's place in the enumeration: its digits read in base 5.</summary>
    internal int Number => operations.Aggregate(0, (n, o) => 5 * n + (int)o);

    private int ConvCount(NasBench201Operation op) => operations.Count(o => o == op);
}
