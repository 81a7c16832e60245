using System.Globalization;
using System.Text.RegularExpressions;
using Bayou.Core;
using Bayou.Data;
using Bayou.Images;

namespace Bayou.Search;

/// <summary>
/// The ConvNeXt family scaled continuously in width, depth, patch and input size. A point is (width, depth, patch, resolution); points come from a
/// low-discrepancy sequence, so that few proposals cover the space and the same seed proposes the same candidates.
/// </summary>
public sealed partial class ConvNeXtSpace(ulong seed) : IProposer
{
    // Widths are multiples of 8: whole vectors in ONNX Runtime's kernels.
    private const int WidthStep = 8;

    /// <inheritdoc/>
    public string Name => "convnext-space";

    /// <inheritdoc/>
    public IReadOnlyList<Candidate> Spread(ProposalContext context, int count)
    {
        // Rank many points by size and take evenly spaced ranks, so that small and large ones are all there.
        var points = Draw(context, Math.Max(64, 8 * count), new HashSet<string>()).OrderBy(c => c.Estimate.Macs).ToList();
        if (points.Count <= count) return points;
        return Enumerable.Range(0, count).Select(i => points[(int)((i + 0.5) * points.Count / count)]).ToList();
    }

    /// <inheritdoc/>
    public IReadOnlyList<Candidate> Near(ProposalContext context, int count, Func<CostEstimate, double> load, IReadOnlySet<string> known)
    {
        var fitting = Draw(context, 1024, known)
            .Select(c => (Candidate: c, Load: load(c.Estimate)))
            .Where(c => c.Load is > 0.45 and <= 1)
            .OrderByDescending(c => c.Load)
            .ToList();
        // Of those near the limit, the ones most unlike each other: a greedy farthest-point choice in log space.
        var chosen = new List<Candidate>();
        var pool = fitting.Take(Math.Max(4 * count, fitting.Count / 2)).Select(c => c.Candidate).ToList();
        while (chosen.Count < count && pool.Count > 0)
        {
            var next = chosen.Count == 0 ? pool[0] : pool.MaxBy(c => chosen.Min(o => Distance(c, o)))!;
            chosen.Add(next);
            pool.Remove(next);
        }
        return chosen;
    }

    /// <summary>Parameters, MACs and activations of a configuration in closed form; equal to what <see cref="Cost"/> counts on the captured graph.</summary>
    public static CostEstimate Estimate(ConvNeXtConfig c, int inputSize)
    {
        long side = inputSize / c.Patch, parameters = 0, macs = 0, activations = 0;
        long k2 = (long)c.Kernel * c.Kernel, patch2 = (long)c.Patch * c.Patch;
        for (var s = 0; s < c.Dims.Length; s++)
        {
            long d = c.Dims[s];
            var (fanIn, norm) = s == 0 ? (c.InChannels * patch2, d) : (4L * c.Dims[s - 1], c.Dims[s - 1]);
            if (s > 0) side /= 2;
            var pixels = side * side;
            parameters += fanIn * d + d + 2 * norm;
            macs += pixels * fanIn * d;
            var block = k2 * d + d + 2 * d + 8 * d * d + 5 * d + (c.LayerScale > 0 ? d : 0);
            parameters += c.Depths[s] * block;
            macs += c.Depths[s] * pixels * (k2 * d + 8 * d * d);
            activations += pixels * d * 2 + c.Depths[s] * pixels * d * 12;
        }
        long last = c.Dims[^1];
        parameters += 2 * last + last * c.Classes + c.Classes;
        macs += last * c.Classes;
        return new(parameters, macs, activations, 2 * c.Dims.Length + 7 * c.Depths.Sum() + 3);
    }

    private List<Candidate> Draw(ProposalContext context, int draws, IReadOnlySet<string> known)
    {
        var candidates = new List<Candidate>();
        var keys = new HashSet<string>(known);
        // The seed rotates the sequence (Cranley and Patterson): other points, as evenly spread.
        double Coordinate(int index, int radix) => (Halton(index + 20, radix) + StableHash.Mix(seed, (ulong)radix) / (double)ulong.MaxValue) % 1;
        for (var i = 0; i < draws; i++)
        {
            if (Point(context, Coordinate(i, 2), Coordinate(i, 3), Coordinate(i, 5), Coordinate(i, 7)) is not { } candidate) continue;
            if (keys.Add(candidate.Key)) candidates.Add(candidate);
        }
        return candidates;
    }

    // Four numbers in [0, 1) to a network; null where no stage would have a pixel left.
    private static Candidate? Point(ProposalContext context, double uWidth, double uDepth, double uPatch, double uSize)
    {
        var native = Math.Clamp(context.PictureSize, 8, 224);
        // Small pictures are never shrunk; photographs may be, down to a quarter of their side.
        var size = native <= 40 ? native : Round(native * Math.Pow(4, -uSize), 16);
        // The stem leaves a map of 7 to 28 pixels a side, of small pictures 9 to 16: finer maps cost more than they tell, coarser ones lose detail.
        var smallest = Math.Max(1, (int)Math.Ceiling(size / (native <= 40 ? 16.0 : 28.0)));
        var largest = Math.Max(smallest, size / (native <= 40 ? 9 : 7));
        var patch = (int)Math.Round(smallest * Math.Pow((double)largest / smallest, uPatch));
        var map = size / patch;
        var stages = map >= 28 ? 4 : map >= 7 ? 3 : map >= 4 ? 2 : 1;
        var width = native <= 40 ? 16 * Math.Pow(3, uWidth) : 8 * Math.Pow(12, uWidth);     // first stage: 16 to 48 (8 to 96) channels
        var depth = 2 * Math.Pow(native <= 40 ? 4 : 9, uDepth);             // blocks in all: 2 to 8 (18)
        var dims = new int[stages];
        for (var s = 0; s < stages; s++) dims[s] = Math.Max(WidthStep, Round(width * Math.Pow(2, s), WidthStep));
        // The paper's stage ratio 1:1:3:1; with fewer stages the heavy one is the last but one.
        double[] ratio = stages switch { 4 => [1, 1, 3, 1], 3 => [1, 2, 1], 2 => [1, 1], _ => [1] };
        var depths = ratio.Select(r => Math.Max(1, (int)Math.Round(depth * r / ratio.Sum()))).ToArray();
        var config = new ConvNeXtConfig
        {
            Depths = depths,
            Dims = dims,
            Patch = patch,
            InChannels = context.Channels,
            Classes = context.Classes,
            LayerScale = 1,
            FanInInit = true
        };
        return size < config.MinInput ? null : Of(config, size);
    }

    /// <summary>A configuration as a candidate.</summary>
    public static Candidate Of(ConvNeXtConfig config, int size)
    {
        var (dims, depths) = (config.Dims, config.Depths);
        var key = $"convnext-w{string.Join('.', dims)}-d{string.Join('.', depths)}-p{config.Patch}-i{size}";
        return new Candidate(key, $"ConvNeXt {string.Join('-', dims)} channels, {string.Join('-', depths)} blocks, patch {config.Patch}, input {size}", size,
            Estimate(config, size),
            o => new ConvNeXt(config with
            {
                Classes = o.Classes,
                InChannels = o.InChannels,
                DropPath = o.DropPath,
                LayerScale = o.LayerScale ?? config.LayerScale
            }));
    }

    /// <summary>The candidate a key of this space stands for (3 channels, 1000 classes until it is built for others); null for any other text.</summary>
    public static Candidate? TryParse(string key)
    {
        var match = KeyPattern().Match(key);
        if (!match.Success) return null;
        int[] Numbers(int group) => match.Groups[group].Value.Split('.').Select(n => int.Parse(n, CultureInfo.InvariantCulture)).ToArray();
        var config = new ConvNeXtConfig { Dims = Numbers(1), Depths = Numbers(2), Patch = Numbers(3)[0], LayerScale = 1, FanInInit = true };
        var size = Numbers(4)[0];
        return config.Dims.Length == config.Depths.Length && size >= config.MinInput ? Of(config, size) : null;
    }

    [GeneratedRegex(@"^convnext-w(\d{1,5}(?:\.\d{1,5})*)-d(\d{1,3}(?:\.\d{1,3})*)-p(\d{1,3})-i(\d{1,4})$")]
    private static partial Regex KeyPattern();

    private static int Round(double value, int step) => Math.Max(step, (int)Math.Round(value / step) * step);

    private static double Distance(Candidate a, Candidate b)
    {
        double D(long x, long y) => Math.Pow(Math.Log((double)x / y), 2);
        return D(a.Estimate.Parameters, b.Estimate.Parameters) + D(a.Estimate.Activations, b.Estimate.Activations) + D(a.Estimate.Nodes, b.Estimate.Nodes)
            + D(a.InputSize, b.InputSize);
    }

    // Van der Corput sequence in a base: the coordinates of a Halton point.
    private static double Halton(int index, int radix)
    {
        double result = 0, fraction = 1;
        for (; index > 0; index /= radix)
        {
            fraction /= radix;
            result += fraction * (index % radix);
        }
        return result;
    }
}
