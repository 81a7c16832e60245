using System.Globalization;
using Bayou.Core;
using TorchSharp;

namespace Bayou.Parity;

/// <summary>How one output compares with its reference.</summary>
/// <param name="Passed">Within its rule.</param>
/// <param name="Ratio">The error as a multiple of what the rule allows: 0 equal, 1 at the bound, infinite where nothing was allowed.</param>
/// <param name="Reason">Why it failed; empty when it passed.</param>
public sealed record Comparison(bool Passed, double Ratio, string Reason)
{
    private static readonly Comparison Equal = new(true, 0, "");

    /// <summary>Judges a tensor by a rule; all arithmetic in float64.</summary>
    public static Comparison Of(CompareRule rule, torch.Tensor ours, torch.Tensor reference)
    {
        if (rule.Mode == CompareMode.Skip) return Equal;
        if (ours.dtype != reference.dtype) return Failed($"has elements of {ours.dtype}, expected {reference.dtype}");
        if (!ours.shape.SequenceEqual(reference.shape))
            return Failed($"has shape [{string.Join(", ", ours.shape)}], expected [{string.Join(", ", reference.shape)}]");
        TensorValues a = new(ours), b = new(reference);
        return rule.Mode switch
        {
            CompareMode.Exact => Elements(rule with { RelativeTolerance = 0, AbsoluteTolerance = 0, Fraction = 1 }, a, b),
            CompareMode.Element => Elements(rule with { Fraction = 1 }, a, b),
            CompareMode.Fraction => Elements(rule, a, b),
            CompareMode.Max => Largest(rule, a, b, negate: null),
            CompareMode.Sign => Largest(rule, a, b, Signs(rule, a, b)),
            CompareMode.Set => RowSets.Compare(rule, a, b),
            _ => throw new BayouException($"unknown mode {rule.Mode}"),
        };
    }

    internal static Comparison Failed(string reason, double ratio = double.PositiveInfinity) => new(false, ratio, reason);

    /// <summary>An error as a multiple of its bound.</summary>
    internal static double RatioOf(double error, double bound) => error == 0 ? 0 : double.IsInfinity(error) ? double.PositiveInfinity : error / bound;

    internal static string Number(double x) => x.ToString("G6", CultureInfo.InvariantCulture);

    private static Comparison Elements(CompareRule rule, TensorValues a, TensorValues b)
    {
        double worst = 0;
        int worstAt = -1, outside = 0;
        for (var i = 0; i < b.Count; i++)
        {
            var ratio = RatioOf(TensorValues.Distance(a, i, b, i), rule.AbsoluteTolerance + rule.RelativeTolerance * Math.Abs(b[i]));
            if (ratio > 1) outside++;
            if (ratio > worst) (worst, worstAt) = (ratio, i);
        }
        if (rule.Mode != CompareMode.Fraction)
            return outside == 0 ? new(true, worst, "") : Failed($"{outside} of {b.Count} elements differ, {At(a, b, worstAt)}", worst);

        // What counts is how many elements are outside, so that is what the ratio tells.
        var share = RatioOf(outside, (1 - rule.Fraction) * b.Count);
        // The tolerance is for fractions such as 0.9 that have no exact form.
        return b.Count - outside >= rule.Fraction * b.Count - 1e-9 * b.Count
            ? new(true, Math.Min(share, 1), "")
            : Failed($"{outside} of {b.Count} elements differ, {Number((1 - rule.Fraction) * b.Count)} may; {At(a, b, worstAt)}", share);
    }

    private static Comparison Largest(CompareRule rule, TensorValues a, TensorValues b, bool[]? negate)
    {
        double error = 0, scale = 0;
        var errorAt = -1;
        for (var i = 0; i < b.Count; i++)
        {
            var distance = TensorValues.Distance(a, i, b, i, negate is not null && negate[i]);
            if (distance > error) (error, errorAt) = (distance, i);
            if (double.IsFinite(b[i])) scale = Math.Max(scale, Math.Abs(b[i]));
        }
        var bound = rule.AbsoluteTolerance + rule.RelativeTolerance * scale;
        var ratio = RatioOf(error, bound);
        return ratio <= 1 ? new(true, ratio, "") : Failed($"largest error {Number(error)}, {Number(bound)} allowed; {At(a, b, errorAt)}", ratio);
    }

    /// <summary>For each element, whether its vector fits better with the sign changed.</summary>
    private static bool[] Signs(CompareRule rule, TensorValues a, TensorValues b)
    {
        var rank = b.Shape.Length;
        var axis = rule.Axis < 0 ? rule.Axis + rank : rule.Axis;
        if (axis < 0 || axis >= rank) throw new BayouException($"config.json: mode sign has the axis {rule.Axis}, but the tensor has {rank} dimensions");
        var vectors = b.Shape[axis];
        var inner = b.Shape[(axis + 1)..].Aggregate(1L, (x, y) => x * y);
        var asIs = new double[vectors];
        var changed = new double[vectors];
        for (var i = 0; i < b.Count; i++)
        {
            var v = i / inner % vectors;
            asIs[v] = Math.Max(asIs[v], TensorValues.Distance(a, i, b, i));
            changed[v] = Math.Max(changed[v], TensorValues.Distance(a, i, b, i, negate: true));
        }
        var negate = new bool[b.Count];
        for (var i = 0; i < b.Count; i++) negate[i] = changed[i / inner % vectors] < asIs[i / inner % vectors];
        return negate;
    }

    private static string At(TensorValues a, TensorValues b, int i) => $"worst at {b.Position(i)}: {Number(a[i])}, expected {Number(b[i])}";
}
