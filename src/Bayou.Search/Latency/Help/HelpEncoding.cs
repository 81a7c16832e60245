using Bayou.Core;
using Bayou.Images;
using static TorchSharp.torch;

namespace Bayou.Search;

/// <summary>Architectures as HELP's predictor reads them (specs/help.md, section 1.2).</summary>
/// <param name="Features">One-hot features: [N, 9, 8] with a graph, [N, F] without.</param>
/// <param name="Graph">[9, 9], which all architectures of a space share, or null.</param>
public sealed record HelpInput(Tensor Features, Tensor? Graph)
{
    /// <summary>The graph once for each architecture, [N, 9, 9], as the official code keeps it.</summary>
    public Tensor? Adjacency => Graph?.expand(Features.shape[0], Graph.shape[0], Graph.shape[1]);

    /// <summary>Rows of the features.</summary>
    public HelpInput Rows(Tensor indices) => new(Features.index_select(0, indices), Graph);

    /// <summary>A range of rows.</summary>
    public HelpInput Slice(long start, long end) => new(Features.slice(0, start, end, 1), Graph);
}

/// <summary>Encodings of the spaces that HELP was published for.</summary>
public static class HelpEncoding
{
    private const int Nodes = 9, Kinds = 8;

    /// <summary>Order of the one-hot columns that the published checkpoint was trained with.</summary>
    public static IReadOnlyList<string> PublishedOrder { get; } =
        ["input", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3", "none", "skip_connect", "output", "global"];

    // Operations are nodes 1..6 in the order of the edges, 0 the input, 7 the output.
    private static readonly int[][] Successors = [[1, 2, 4], [3, 5], [6], [6], [7], [7], [7]];

    /// <summary>
    /// NAS-Bench-201: operations are the nodes of a graph, and a global node that every node is joined to is appended; self-loops are set and the matrix is
    /// transposed.
    /// </summary>
    /// <param name="cells">The cells.</param>
    /// <param name="order">Names of the one-hot columns; null takes <see cref="PublishedOrder"/>.</param>
    /// <exception cref="BayouException">The order lacks a kind of node.</exception>
    public static HelpInput NasBench201(IReadOnlyList<NasBench201Cell> cells, IReadOnlyList<string>? order = null)
    {
        order ??= PublishedOrder;
        int Column(string kind) => order.Select((name, i) => (name, i)).Where(c => c.name == kind).Select(c => (int?)c.i).FirstOrDefault()
            ?? throw new BayouException($"HELP: the order of operations {string.Join(", ", order)} lacks '{kind}'");
        string[] names = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
        var columns = names.Select(Column).ToArray();
        var (input, output, global) = (Column("input"), Column("output"), Column("global"));
        var features = new float[cells.Count * Nodes * Kinds];
        for (var n = 0; n < cells.Count; n++)
        {
            void Set(int node, int column) => features[(n * Nodes + node) * Kinds + column] = 1;
            Set(0, input);
            for (var e = 0; e < NasBench201Cell.Edges; e++) Set(e + 1, columns[(int)cells[n].Operations[e]]);
            Set(7, output);
            Set(8, global);
        }
        var adjacency = new float[Nodes * Nodes];
        for (var from = 0; from < Successors.Length; from++)
            foreach (var to in Successors[from]) adjacency[to * Nodes + from] = 1;
        for (var node = 0; node < Nodes; node++) adjacency[node * Nodes + node] = adjacency[8 * Nodes + node] = 1;
        return new(tensor(features, [cells.Count, Nodes, Kinds]), tensor(adjacency, [Nodes, Nodes]));
    }

    /// <summary>
    /// FBNet: 22 layers of 9 choices; six numbers a layer, all zero for a skipped one, else one-hot of the kernel (3 or 5) and of the choice among four.
    /// </summary>
    /// <param name="blocks">One row of 22 numbers 0..8 for each network.</param>
    /// <exception cref="BayouException">A row has another length or number.</exception>
    public static HelpInput FBNet(IReadOnlyList<int[]> blocks)
    {
        const int layers = 22, width = 6;
        var features = new float[blocks.Count * layers * width];
        for (var n = 0; n < blocks.Count; n++)
        {
            if (blocks[n].Length != layers || blocks[n].Any(b => b is < 0 or > 8))
                throw new BayouException($"HELP: network {n} is no FBNet network: {layers} numbers 0 to 8 are needed");
            for (var l = 0; l < layers; l++)
            {
                if (blocks[n][l] == 8) continue;
                var at = (n * layers + l) * width;
                features[at + blocks[n][l] / 4] = 1;
                features[at + 2 + blocks[n][l] % 4] = 1;
            }
        }
        return new(tensor(features, [blocks.Count, layers * width]), null);
    }

    /// <summary>
    /// Once-for-all (MobileNetV3): 20 blocks in five stages of four, each with a kernel (3, 5, 7) and an expansion (3, 4, 6), all zero where a stage is
    /// shallower; then the resolution, 128 to 224 in steps of four. 145 numbers: kernels 60, expansions 60, resolution 25.
    /// </summary>
    /// <exception cref="BayouException">A network has another number of blocks or stages, or a choice that the space lacks.</exception>
    public static HelpInput Ofa(IReadOnlyList<OfaArchitecture> architectures)
    {
        const int blocks = 20, depth = 4, kinds = 3, sizes = 25, width = 2 * blocks * kinds + sizes;
        int[] kernels = [3, 5, 7], expansions = [3, 4, 6];
        var features = new float[architectures.Count * width];
        for (var n = 0; n < architectures.Count; n++)
        {
            var a = architectures[n];
            if (a.Kernels.Count != blocks || a.Expansions.Count != blocks || a.Depths.Count != blocks / depth || a.Depths.Any(d => d is < 0 or > depth))
                throw new BayouException($"HELP: network {n} is no once-for-all network: {blocks} kernels, {blocks} expansions and {blocks / depth} depths of at most {depth} are needed");
            for (var b = 0; b < blocks; b++)
            {
                if (b % depth >= a.Depths[b / depth]) continue;
                features[n * width + kinds * b + Choice(kernels, a.Kernels[b], "kernel")] = 1;
                features[n * width + kinds * (blocks + b) + Choice(expansions, a.Expansions[b], "expansion")] = 1;
            }
            var size = a.Resolution - 128;
            if (size < 0 || size % 4 != 0 || size / 4 >= sizes)
                throw new BayouException($"HELP: network {n} has resolution {a.Resolution}: 128 to 224 in steps of 4 are possible");
            features[n * width + 2 * blocks * kinds + size / 4] = 1;
        }
        return new(tensor(features, [architectures.Count, width]), null);

        static int Choice(int[] all, int value, string what) =>
            Array.IndexOf(all, value) is var at and >= 0 ? at : throw new BayouException($"HELP: {what} {value} is none of {string.Join(", ", all)}");
    }
}

/// <summary>A network of once-for-all's space.</summary>
/// <param name="Kernels">Kernel of each of the 20 blocks.</param>
/// <param name="Expansions">Expansion of each block.</param>
/// <param name="Depths">Blocks in use in each of the five stages; what lies beyond is ignored.</param>
/// <param name="Resolution">Side of the input in pixels.</param>
public sealed record OfaArchitecture(IReadOnlyList<int> Kernels, IReadOnlyList<int> Expansions, IReadOnlyList<int> Depths, int Resolution);
