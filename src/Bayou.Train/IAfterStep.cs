namespace Bayou.Train;

/// <summary>
/// A layer that keeps something up with its weights while they are trained, such as a bound on their norm. The trainer calls every one after each optimizer
/// step.
/// </summary>
public interface IAfterStep
{
    /// <summary>What the step asks for; what it changes must be in the layer's state, so that a resumed training goes on alike.</summary>
    /// <param name="step">Optimizer steps done so far, from 1.</param>
    void AfterStep(int step);
}
