namespace Bayou.Kernels;

/// <summary>
/// What decides between exactly equal distances in KPConv's radius search: the order in which its kd-tree (sliding midpoint splits, at most ten points a
/// leaf, the nearer child first) meets the
/// points, and what an introsort by distance makes of that order. Barycentres of two points, which grid subsampling makes, are equally far from both, so this
/// is not rare.
/// Built only for clouds in which a query meets equals.
/// </summary>
internal sealed class RadiusTieOrder
{
    private const int LeafSize = 10, SmallSort = 16;

    private readonly float[] points;
    private readonly int[] order;
    private readonly List<Node> nodes = [];

    private record struct Node(int From, int To, int Axis, float Low, float High, int Left, int Right);

    public RadiusTieOrder(ReadOnlySpan<float> xyz)
    {
        points = xyz.ToArray();
        order = new int[xyz.Length / 3];
        for (var i = 0; i < order.Length; i++) order[i] = i;
        if (order.Length > 0) Build(0, order.Length, Box(0, order.Length));
    }

    private float At(int position, int axis) => points[3 * order[position] + axis];

    // Low and high of three axes.
    private float[] Box(int from, int to)
    {
        float[] box = [float.PositiveInfinity, float.PositiveInfinity, float.PositiveInfinity, float.NegativeInfinity, float.NegativeInfinity,
            float.NegativeInfinity];
        for (var p = from; p < to; p++)
        {
            for (var d = 0; d < 3; d++) (box[d], box[d + 3]) = (MathF.Min(box[d], At(p, d)), MathF.Max(box[d + 3], At(p, d)));
        }
        return box;
    }

    private int Build(int from, int to, float[] cell)
    {
        var number = nodes.Count;
        nodes.Add(default);
        if (to - from <= LeafSize)
        {
            nodes[number] = new(from, to, -1, 0, 0, -1, -1);
            return number;
        }
        // The axis along which the points spread most, among the longest sides of the cell.
        var tight = Box(from, to);
        var longest = MathF.Max(MathF.Max(cell[3] - cell[0], cell[4] - cell[1]), cell[5] - cell[2]);
        var (axis, most) = (0, -1f);
        for (var d = 0; d < 3; d++)
        {
            if (cell[d + 3] - cell[d] > (1 - 0.00001f) * longest && tight[d + 3] - tight[d] > most) (axis, most) = (d, tight[d + 3] - tight[d]);
        }
        var cut = Math.Clamp((cell[axis] + cell[axis + 3]) / 2, tight[axis], tight[axis + 3]);
        // Below the cut, on it, above it: points on the cut go wherever that balances the halves.
        var below = Partition(from, from, to, axis, cut, equalsLeft: false);
        var upTo = Partition(below, from, to, axis, cut, equalsLeft: true);
        var half = from + (to - from) / 2;
        var split = below > half ? below : upTo < half ? upTo : half;
        float[] left = [.. cell], right = [.. cell];
        (left[axis + 3], right[axis]) = (cut, cut);
        var a = Build(from, split, left);
        var b = Build(split, to, right);
        var (low, high) = (float.NegativeInfinity, float.PositiveInfinity);
        for (var p = from; p < split; p++) low = MathF.Max(low, At(p, axis));
        for (var p = split; p < to; p++) high = MathF.Min(high, At(p, axis));
        nodes[number] = new(from, to, axis, low, high, a, b);
        return number;
    }

    // Two pointers from both ends; returns where the right part begins.
    private int Partition(int left, int from, int to, int axis, float cut, bool equalsLeft)
    {
        var right = to - 1;
        while (true)
        {
            while (left <= right && (equalsLeft ? At(left, axis) <= cut : At(left, axis) < cut)) left++;
            while (right > from && left <= right && (equalsLeft ? At(right, axis) > cut : At(right, axis) >= cut)) right--;
            if (left > right || right == from) return left;
            (order[left], order[right]) = (order[right], order[left]);
            left++;
            right--;
        }
    }

    /// <summary>Puts the hits of a query, (bits of the squared distance, index), into the official order.</summary>
    public void Sort(float qx, float qy, float qz, ulong[] hits)
    {
        var rank = new Dictionary<int, int>(hits.Length);
        foreach (var hit in hits) rank[(int)(uint)hit] = -1;
        var next = 0;
        ReadOnlySpan<float> query = [qx, qy, qz];
        var stack = new Stack<int>([0]);
        while (next < hits.Length && stack.TryPop(out var number))
        {
            var node = nodes[number];
            if (node.Axis < 0)
            {
                for (var p = node.From; p < node.To; p++) if (rank.ContainsKey(order[p])) rank[order[p]] = next++;
                continue;
            }
            var value = query[node.Axis];
            var leftFirst = value - node.Low + (value - node.High) < 0;
            stack.Push(leftFirst ? node.Right : node.Left);
            stack.Push(leftFirst ? node.Left : node.Right);
        }
        Array.Sort(hits, (a, b) => rank[(int)(uint)a].CompareTo(rank[(int)(uint)b]));
        Introsort(hits, 0, hits.Length);
        for (var i = 1; i < hits.Length; i++)       // what is left to do is a stable insertion sort
        {
            var hit = hits[i];
            var j = i;
            for (; j > 0 && Less(hit, hits[j - 1]); j--) hits[j] = hits[j - 1];
            hits[j] = hit;
        }
    }

    private static bool Less(ulong a, ulong b) => a >> 32 < b >> 32;

    // Quicksort with the median of second, middle and last as pivot, down to pieces of sixteen.
    private static void Introsort(ulong[] a, int from, int to)
    {
        while (to - from > SmallSort)
        {
            var (x, y, z) = (from + 1, from + (to - from) / 2, to - 1);
            var median = Less(a[x], a[y]) ? Less(a[y], a[z]) ? y : Less(a[x], a[z]) ? z : x : Less(a[x], a[z]) ? x : Less(a[y], a[z]) ? z : y;
            (a[from], a[median]) = (a[median], a[from]);
            var (left, right) = (from + 1, to);
            while (true)
            {
                while (Less(a[left], a[from])) left++;
                right--;
                while (Less(a[from], a[right])) right--;
                if (left >= right) break;
                (a[left], a[right]) = (a[right], a[left]);
                left++;
            }
            Introsort(a, left, to);
            to = left;
        }
    }
}
