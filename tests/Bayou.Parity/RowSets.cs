namespace Bayou.Parity;

/// <summary>Mode set: two tensors hold the same rows (along the first axis), as often, in any order. With a tolerance one row may fit
/// several, so the partners are found by bipartite matching, not by sorting.</summary>
internal static class RowSets
{
    internal static Comparison Compare(CompareRule rule, TensorValues ours, TensorValues reference)
    {
        var rows = reference.Shape.Length == 0 ? 1 : (int)reference.Shape[0];
        if (reference.Count == 0) return new(true, 0, "");
        var width = reference.Count / rows;
        double worst = 0;
        var missing = rule is { RelativeTolerance: 0, AbsoluteTolerance: 0 }
            ? Exact(ours, reference, rows, width)
            : Matched(rule, ours, reference, rows, width, out worst);
        return missing.Count == 0
            ? new(true, worst, "")
            : Comparison.Failed($"{missing.Count} of {rows} rows have no partner, first row {missing[0]}: [{Shown(reference, missing[0], width)}]");
    }

    /// <summary>The reference's rows that ours lacks.</summary>
    private static List<int> Exact(TensorValues ours, TensorValues reference, int rows, int width)
    {
        int[] a = [.. Enumerable.Range(0, rows)], b = [.. a];
        Array.Sort(a, (x, y) => TensorValues.CompareRows(ours, x, ours, y, width));
        Array.Sort(b, (x, y) => TensorValues.CompareRows(reference, x, reference, y, width));
        var missing = new List<int>();
        for (int i = 0, j = 0; j < rows;)
        {
            var order = i < rows ? TensorValues.CompareRows(ours, a[i], reference, b[j], width) : 1;
            if (order <= 0) i++;
            if (order == 0) j++;
            if (order > 0) missing.Add(b[j++]);
        }
        return missing;
    }

    private static List<int> Matched(CompareRule rule, TensorValues ours, TensorValues reference, int rows, int width, out double worst)
    {
        var candidates = Candidates(rule, ours, reference, rows, width);
        var partnerOfReference = Enumerable.Repeat(-1, rows).ToArray();
        var partnerOfOurs = Enumerable.Repeat(-1, rows).ToArray();
        for (var row = 0; row < rows; row++) Augment(row, candidates, partnerOfReference, partnerOfOurs);

        var missing = Enumerable.Range(0, rows).Where(r => partnerOfReference[r] < 0).ToList();
        worst = 0;
        for (var r = 0; r < rows; r++)
            if (partnerOfReference[r] >= 0) worst = Math.Max(worst, Ratio(rule, ours, partnerOfReference[r], reference, r, width));
        return missing;
    }

    /// <summary>For each row of the reference, our rows that are within tolerance. Sorting by the first column avoids comparing all pairs.</summary>
    private static List<int>[] Candidates(CompareRule rule, TensorValues ours, TensorValues reference, int rows, int width)
    {
        int[] order = [.. Enumerable.Range(0, rows)];
        double[] first = [.. order.Select(r => ours[r * width])];
        Array.Sort(first, order);      // NaN first, infinities at the ends
        var result = new List<int>[rows];
        for (var r = 0; r < rows; r++)
        {
            result[r] = [];
            var value = reference[r * width];
            var bound = (rule.AbsoluteTolerance + rule.RelativeTolerance * Math.Abs(value)) * (1 + 1e-12);
            var finite = double.IsFinite(value);
            var at = finite ? Array.BinarySearch(first, value - bound) : 0;
            if (at < 0) at = ~at;
            while (at > 0 && finite && first[at - 1] >= value - bound) at--;     // the search may land amid equal values
            for (; at < rows && !(finite && first[at] > value + bound); at++)
                if (Ratio(rule, ours, order[at], reference, r, width) <= 1) result[r].Add(order[at]);
        }
        return result;
    }

    /// <summary>Finds a partner for one more row, moving others if needed (breadth first along alternating paths).</summary>
    private static void Augment(int row, List<int>[] candidates, int[] partnerOfReference, int[] partnerOfOurs)
    {
        var cameFrom = new Dictionary<int, int>();      // our row -> the reference row that reached it
        var queue = new Queue<int>([row]);
        while (queue.TryDequeue(out var r))
        {
            foreach (var o in candidates[r])
            {
                if (!cameFrom.TryAdd(o, r)) continue;
                if (partnerOfOurs[o] >= 0)
                {
                    queue.Enqueue(partnerOfOurs[o]);
                    continue;
                }
                // A free row: hand the partners down the path, back to where it began.
                for (var free = o; ;)
                {
                    var taker = cameFrom[free];
                    var given = partnerOfReference[taker];
                    (partnerOfReference[taker], partnerOfOurs[free]) = (free, taker);
                    if (taker == row) return;
                    free = given;
                }
            }
        }
    }

    private static double Ratio(CompareRule rule, TensorValues ours, int ourRow, TensorValues reference, int row, int width)
    {
        double worst = 0;
        for (var c = 0; c < width && worst <= 1; c++)
        {
            int i = ourRow * width + c, j = row * width + c;
            var bound = rule.AbsoluteTolerance + rule.RelativeTolerance * Math.Abs(reference[j]);
            worst = Math.Max(worst, Comparison.RatioOf(TensorValues.Distance(ours, i, reference, j), bound));
        }
        return worst;
    }

    private static string Shown(TensorValues values, int row, int width) =>
        string.Join(", ", Enumerable.Range(row * width, Math.Min(width, 8)).Select(i => Comparison.Number(values[i]))) + (width > 8 ? ", ..." : "");
}
