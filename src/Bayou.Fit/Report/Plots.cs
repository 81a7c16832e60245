using System.Globalization;
using ScottPlot;
using ScottPlot.TickGenerators;
using BayouException = Bayou.Core.BayouException;

namespace Bayou.Fit;

/// <summary>A model in one form, as a point of <see cref="Plots.AccuracyLatency"/>.</summary>
/// <param name="Name">The model's name.</param>
/// <param name="Form"><c>fp32</c> or <c>int8</c>.</param>
/// <param name="LatencyMs">Median latency (ms), positive.</param>
/// <param name="Accuracy">Accuracy in [0, 1]; null: never trained, drawn in a lane of its own below the others.</param>
/// <param name="MeetsBudget">Whether it meets every budget; if not, it is drawn hollow.</param>
/// <param name="Role">Whether it is marked as the chosen or the best discarded one.</param>
/// <param name="Note">Said when pointed at (why it was discarded, for example).</param>
public sealed record AccuracyLatencyPoint(
    string Name, string Form, double LatencyMs, double? Accuracy, bool MeetsBudget = true, ReportRole Role = ReportRole.Candidate, string? Note = null);

/// <summary>The plots of Bayou's reports, usable on their own.</summary>
public static class Plots
{
    private const int LongestCurve = 400;       // points of a line: more than a plot has pixels to show, and the page stays small

    /// <summary>
    /// Accuracy over latency: circles fp32, diamonds INT8, hollow and grey what exceeds a budget, a ring around the chosen and the best discarded, the budget
    /// as a dashed line with everything beyond it shaded. A thin line joins the forms of one model. Latency is logarithmic when it spans more than a factor of
    /// 12.
    /// </summary>
    /// <param name="points">All models in all forms; those without a positive latency are left out.</param>
    /// <param name="budgetMs">The latency budget (ms), if there is one.</param>
    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    /// <exception cref="BayouException">No point has a latency.</exception>
    public static PlotImage AccuracyLatency(IReadOnlyList<AccuracyLatencyPoint> points, double? budgetMs = null, int width = 860, int height = 440)
    {
        var shown = points.Where(p => double.IsFinite(p.LatencyMs) && p.LatencyMs > 0).ToList();
        if (shown.Count == 0)
            throw new BayouException("The accuracy-latency plot has nothing to show: no point has a positive latency. Measure latencies first.");
        var budget = budgetMs is > 0 && double.IsFinite(budgetMs.Value) ? budgetMs : null;

        var latencies = shown.Select(p => p.LatencyMs).Concat(budget is { } limit ? [limit] : []).ToList();
        var logarithmic = latencies.Max() > 12 * latencies.Min();
        double X(double ms) => logarithmic ? Math.Log10(ms) : ms;

        var (low, high, lane) = AccuracyRange(shown);
        double Y(AccuracyLatencyPoint p) => Measured(p) is { } accuracy ? 100 * accuracy : lane;

        var plot = PlotStyle.NewPlot("latency, p50 at batch 1 (ms)", "accuracy (%)");
        var (left, right) = Padded(X(latencies.Min()), X(latencies.Max()), 0.06);
        if (!logarithmic) left = Math.Max(0, left);
        plot.Axes.SetLimits(left, right, low, high);
        plot.Axes.Left.TickGenerator = AccuracyTicks(lane, high, hasLane: shown.Any(p => Measured(p) is null));
        if (logarithmic) plot.Axes.Bottom.TickGenerator = LogTicks(left, right);
        else plot.Axes.Bottom.TickGenerator = new NumericAutomatic { TargetTickCount = Math.Max(3, width / 90), LabelFormatter = Short };

        if (budget is { } b) AddBudget(plot, X(b), right, high, b);
        if (shown.Any(p => Measured(p) is null))
        {
            var word = plot.Add.Text("not trained", left, lane);
            Style(word, PlotStyle.Muted);
            word.LabelStyle.Alignment = Alignment.MiddleLeft;
            word.OffsetX = 6;
        }
        foreach (var model in shown.GroupBy(p => p.Name).Where(g => g.Count() > 1))
        {
            var line = plot.Add.ScatterLine(model.OrderBy(p => p.LatencyMs).Select(p => new Coordinates(X(p.LatencyMs), Y(p))).ToArray(), PlotStyle.Grid);
            line.LineWidth = 1.5f;
        }
        AddPoints(plot, shown, "fp32", meetsBudget: false, X, Y);
        AddPoints(plot, shown, "INT8", meetsBudget: false, X, Y);
        AddPoints(plot, shown, "fp32", meetsBudget: true, X, Y);
        AddPoints(plot, shown, "INT8", meetsBudget: true, X, Y);
        AddRings(plot, shown, ReportRole.BestDiscarded, "best discarded", PlotStyle.Purple, X, Y);
        AddRings(plot, shown, ReportRole.Chosen, "chosen", PlotStyle.Green, X, Y);
        PlotStyle.AddLegend(plot);

        var hints = shown.Select(p => new PlotHint(new Coordinates(X(p.LatencyMs), Y(p)), Hint(p))).ToList();
        var over = shown.Count(p => !p.MeetsBudget);
        return new PlotImage(plot, width, height,
            $"Accuracy over latency of {shown.Count} models and forms, {over} of them over budget{(budget is { } ms ? $", budget {Units.Of(ReportQuantity.Latency, ms)}" : "")}.", [(PlotStyle.Red, LinePattern.DenselyDashed)], hints);
    }

    /// <summary>Lines over epochs (or whatever <paramref name="xLabel"/> says). Long curves are averaged down to a few hundred points.</summary>
    /// <param name="curves">The lines; those without a finite value are left out. Names are drawn in Liberation Sans: Latin, Greek, Cyrillic, Hebrew.</param>
    /// <param name="yLabel">Label of the vertical axis, with its unit.</param>
    /// <param name="xLabel">Label of the horizontal axis.</param>
    /// <param name="percent">Values are shares in [0, 1], shown in per cent.</param>
    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    /// <exception cref="BayouException">No curve has a finite value, or a curve's X and Y differ in length.</exception>
    public static PlotImage Curves(
        IReadOnlyList<ReportCurve> curves, string yLabel, string xLabel = "epoch", bool percent = false, int width = 860, int height = 320)
    {
        foreach (var curve in curves)
        {
            if (curve.X.Count != curve.Y.Count)
                throw new BayouException($"The curve '{curve.Name}' has {curve.X.Count} positions and {curve.Y.Count} values. Give one value for each position.");
        }
        var shown = curves.Select(c => (Name: HtmlWriter.Clean(c.Name), Points: Thin(c, percent ? 100 : 1))).Where(c => c.Points.Any(IsDrawable)).ToList();
        if (shown.Count == 0) throw new BayouException($"The plot of {yLabel} has nothing to show: no curve has a finite value.");

        var plot = PlotStyle.NewPlot(xLabel, yLabel);
        for (var i = 0; i < shown.Count; i++)
        {
            var (name, points) = shown[i];
            var colour = PlotStyle.Lines[i % PlotStyle.Lines.Count];
            var legend = name;
            foreach (var piece in Pieces(points))
            {
                var line = plot.Add.ScatterLine(piece, colour);
                line.LineWidth = 2;
                line.LegendText = legend;
                legend = "";        // the gaps of one curve are not curves of their own
                if (piece.Length <= 12) plot.Add.Markers(piece, MarkerShape.FilledCircle, 6, colour);
            }
        }
        var drawn = shown.SelectMany(c => c.Points).Where(IsDrawable).ToList();
        var (left, right) = Padded(drawn.Min(p => p.X), drawn.Max(p => p.X), 0.02);
        var (low, high) = Padded(drawn.Min(p => p.Y), drawn.Max(p => p.Y), 0.08);
        plot.Axes.SetLimits(left, right, low, high);
        plot.Axes.Bottom.TickGenerator =
            new NumericAutomatic { TargetTickCount = Math.Max(3, width / 90), LabelFormatter = Short, IntegerTicksOnly = right - left >= 3 };
        plot.Axes.Left.TickGenerator = new NumericAutomatic { TargetTickCount = Math.Max(3, height / 60), LabelFormatter = Short };
        PlotStyle.AddLegend(plot);
        return new PlotImage(plot, width, height, $"{yLabel} over {xLabel}: {string.Join(", ", shown.Select(c => c.Name))}.", PlotStyle.LineDashes);
    }

    // Limits of the accuracy axis (%) and the height of the lane for untrained points, which exists only if there are any.
    private static (double Low, double High, double Lane) AccuracyRange(List<AccuracyLatencyPoint> points)
    {
        var measured = points.Select(Measured).OfType<double>().Select(a => 100 * a).ToList();
        var (low, high) = measured.Count == 0 ? (0, 1) : Padded(measured.Min(), measured.Max(), 0.14);
        high += 0.1 * (high - low);     // room for the words above the best
        if (measured.Count == points.Count) return (low, high, low);
        var lane = low - 0.04 * (high - low);
        return (lane - 0.1 * (high - low), high, lane);
    }

    private static double? Measured(AccuracyLatencyPoint point) => point.Accuracy is { } a && double.IsFinite(a) ? a : null;

    private static (double Low, double High) Padded(double low, double high, double share)
    {
        var span = high - low;
        if (span <= 0) span = Math.Max(Math.Abs(high) * 0.2, 1e-9);
        return (low - share * span, high + share * span);
    }

    private static NumericAutomatic AccuracyTicks(double lane, double high, bool hasLane) => new()
    {
        TargetTickCount = 6,
        // The lane is not an accuracy: no number stands beside it.
        LabelFormatter = value => (hasLane && value <= lane + 0.02 * (high - lane)) || value > 100 + 1e-9 || value < 0 ? "" : Short(value),
    };

    private static NumericManual LogTicks(double left, double right)
    {
        var ticks = new NumericManual();
        for (var decade = (int)Math.Floor(left); decade <= Math.Ceiling(right); decade++)
        {
            foreach (var step in new[] { 1, 2, 5 })
            {
                var value = step * Math.Pow(10, decade);
                if (Math.Log10(value) >= left && Math.Log10(value) <= right) ticks.AddMajor(Math.Log10(value), Short(value));
            }
        }
        return ticks;
    }

    private static void AddBudget(Plot plot, double x, double right, double high, double budget)
    {
        var beyond = plot.Add.HorizontalSpan(x, right + (right - x) + 1, PlotStyle.Red.WithAlpha(0.07));
        beyond.LineStyle.Width = 0;
        var line = plot.Add.VerticalLine(x, 2, PlotStyle.Red);
        line.LegendText = "";
        var label = plot.Add.Text($"budget {Units.Of(ReportQuantity.Latency, budget)}", x, high);
        Style(label, PlotStyle.Red);
        label.LabelStyle.Alignment = x > right - 0.2 * (right - plot.Axes.GetLimits().Left) ? Alignment.UpperRight : Alignment.UpperLeft;
        label.OffsetX = label.LabelStyle.Alignment == Alignment.UpperRight ? -6 : 6;
        label.OffsetY = 4;
    }

    private static void AddPoints(
        Plot plot, List<AccuracyLatencyPoint> points, string form, bool meetsBudget, Func<double, double> x, Func<AccuracyLatencyPoint, double> y)
    {
        var group = points.Where(p => Units.Form(p.Form) == form && p.MeetsBudget == meetsBudget).Select(p => new Coordinates(x(p.LatencyMs), y(p))).ToArray();
        if (group.Length == 0) return;
        var int8 = form == "INT8";
        var shape = (int8, meetsBudget) switch
        {
            (true, false) => MarkerShape.OpenDiamond,
            (true, true) => MarkerShape.FilledDiamond,
            (false, false) => MarkerShape.OpenCircle,
            _ => MarkerShape.FilledCircle,
        };
        var colour = !meetsBudget ? PlotStyle.Muted : int8 ? PlotStyle.Orange : PlotStyle.Blue;
        var markers = plot.Add.Markers(group, shape, int8 ? 12 : 9, colour);
        markers.MarkerStyle.LineColor = colour;
        markers.MarkerStyle.LineWidth = meetsBudget ? 0 : 1.3f;
        markers.LegendText = meetsBudget ? form : $"{form}, over budget";
    }

    // The ring goes around every form of the model; the word stands beside its best form within the budget only.
    private static void AddRings(
        Plot plot, List<AccuracyLatencyPoint> points, ReportRole role, string word, Color colour, Func<double, double> x, Func<AccuracyLatencyPoint, double> y)
    {
        var marked = points.Where(p => p.Role == role).ToList();
        if (marked.Count == 0) return;
        var rings = plot.Add.Markers(marked.Select(p => new Coordinates(x(p.LatencyMs), y(p))).ToArray(), MarkerShape.OpenCircle, 19, colour);
        rings.MarkerStyle.LineColor = colour;
        rings.MarkerStyle.LineWidth = 2.2f;

        var best = marked.MaxBy(p => (p.MeetsBudget, Measured(p) ?? -1))!;
        var label = plot.Add.Text(word, x(best.LatencyMs), y(best));
        Style(label, colour);
        var limits = plot.Axes.GetLimits();
        var leftHalf = x(best.LatencyMs) < limits.HorizontalCenter;
        // The chosen one's word stands above its ring and the other's below, so that neighbours do not write over each other.
        label.LabelStyle.Alignment = (role, leftHalf) switch
        {
            (ReportRole.Chosen, true) => Alignment.LowerLeft,
            (ReportRole.Chosen, false) => Alignment.LowerRight,
            (_, true) => Alignment.UpperLeft,
            _ => Alignment.UpperRight,
        };
        label.OffsetX = leftHalf ? -6 : 6;
        label.OffsetY = role == ReportRole.Chosen ? -11 : 11;
    }

    private static void Style(ScottPlot.Plottables.Text label, Color colour)
    {
        label.LabelStyle.FontName = PlotFonts.Name;
        label.LabelStyle.FontSize = 12.5f;
        label.LabelStyle.ForeColor = colour;
    }

    private static string Hint(AccuracyLatencyPoint p)
    {
        var accuracy = Measured(p) is { } a ? $"{Units.Percent(a)} accurate" : "not trained";
        return $"{p.Name}, {Units.Form(p.Form)}\n{Units.Milliseconds(p.LatencyMs)}, {accuracy}{(string.IsNullOrEmpty(p.Note) ? "" : "\n" + p.Note)}";
    }

    private static string Short(double value) => Math.Round(value, 10).ToString("0.##########", CultureInfo.InvariantCulture);

    private static bool IsDrawable(Coordinates point) => double.IsFinite(point.X) && double.IsFinite(point.Y);

    // Averages runs of neighbours; a run that holds a value that is not finite stays a gap.
    private static List<Coordinates> Thin(ReportCurve curve, double factor)
    {
        var run = Math.Max(1, (int)Math.Ceiling(curve.X.Count / (double)LongestCurve));
        var thin = new List<Coordinates>();
        for (var i = 0; i < curve.X.Count; i += run)
        {
            var n = Math.Min(run, curve.X.Count - i);
            double x = 0, y = 0;
            for (var j = i; j < i + n; j++)
            {
                x += curve.X[j];
                y += curve.Y[j];
            }
            thin.Add(new Coordinates(x / n, factor * y / n));
        }
        return thin;
    }

    private static IEnumerable<Coordinates[]> Pieces(List<Coordinates> points)
    {
        var piece = new List<Coordinates>();
        foreach (var point in points)
        {
            if (IsDrawable(point))
            {
                piece.Add(point);
                continue;
            }
            if (piece.Count > 0) yield return piece.ToArray();
            piece.Clear();
        }
        if (piece.Count > 0) yield return piece.ToArray();
    }
}
