using Bayou.Core;

namespace Bayou.Train;

/// <summary>Values for every optimizer step, in float64.</summary>
public static class Schedules
{
    /// <summary>
    /// Linear warm-up, then half a cosine, exactly as the official ConvNeXt code: the warm-up is linspace(start, value, W) inclusive of both ends, then
    /// final + (value - final) (1 + cos(pi i / M)) / 2 for i = 0..M-1, so value appears twice in a row and final is never quite reached.
    /// </summary>
    /// <param name="value">Top value.</param>
    /// <param name="final">Value the cosine tends to.</param>
    /// <param name="totalSteps">Optimizer steps in all.</param>
    /// <param name="warmupSteps">Steps of the warm-up, 0 for none.</param>
    /// <param name="start">First value of the warm-up.</param>
    /// <exception cref="BayouException">The warm-up is longer than the run.</exception>
    public static double[] Cosine(double value, double final, int totalSteps, int warmupSteps = 0, double start = 0)
    {
        if (totalSteps < 0 || warmupSteps < 0 || warmupSteps > totalSteps)
            throw new BayouException($"a warm-up of {warmupSteps} steps does not fit in a training of {totalSteps}: fewer warm-up or more epochs are needed");
        var values = new double[totalSteps];
        for (var i = 0; i < warmupSteps; i++) values[i] = warmupSteps == 1 ? start : start + (value - start) / (warmupSteps - 1) * i;
        if (warmupSteps > 1) values[warmupSteps - 1] = value;
        var rest = totalSteps - warmupSteps;
        for (var i = 0; i < rest; i++) values[warmupSteps + i] = final + 0.5 * (value - final) * (1 + Math.Cos(Math.PI * i / rest));
        return values;
    }

    /// <summary>
    /// Warm-up length as the official code decides it: <paramref name="warmupSteps"/> replaces the epochs' length, but only counts when there is a warm-up at
    /// all.
    /// </summary>
    /// <exception cref="BayouException">Warm-up steps without warm-up epochs (the official code fails an assertion).</exception>
    public static int WarmupSteps(double warmupEpochs, int stepsPerEpoch, int warmupSteps = 0)
    {
        if (warmupSteps > 0 && warmupEpochs <= 0) throw new BayouException($"{warmupSteps} warm-up steps need warm-up epochs above 0");
        return warmupSteps > 0 ? warmupSteps : (int)(warmupEpochs * stepsPerEpoch);
    }
}
