using Bayou.Core;
using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// AdamW (Loshchilov and Hutter, ICLR 2019) in one pass over memory: both moments, the parameter and its running average. Equal to torch.optim.AdamW within
/// rounding, about ten times as fast on small networks. The parameters stay the module's own objects.
/// </summary>
public sealed unsafe class AdamW : IDisposable
{
    private readonly Entry[] entries;
    private readonly HashSet<Tensor> owned;
    private readonly double beta1, beta2, eps;

    /// <summary>An optimizer with zero moments.</summary>
    /// <param name="slots">The parameters with their shares of the schedule (<see cref="ParameterGroups"/>); float32 on the CPU.</param>
    /// <param name="beta1">Decay of the first moment.</param>
    /// <param name="beta2">Decay of the second moment.</param>
    /// <param name="eps">Added to the denominator.</param>
    /// <exception cref="BayouException">A parameter is not contiguous float32 on the CPU.</exception>
    public AdamW(IEnumerable<ParameterSlot> slots, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8)
    {
        (this.beta1, this.beta2, this.eps) = (beta1, beta2, eps);
        var list = slots.ToArray();
        foreach (var slot in list)
        {
            if (slot.Parameter.dtype != ScalarType.Float32 || slot.Parameter.device_type != TorchSharp.DeviceType.CPU || !slot.Parameter.is_contiguous())
                throw new BayouException($"AdamW: parameter {slot.Name} is {slot.Parameter.dtype} on {slot.Parameter.device}; this optimizer updates contiguous float32 parameters on the CPU");
        }
        entries = list.Select(s => new Entry(s)).ToArray();
        owned = new(list.Select(s => (Tensor)s.Parameter), ReferenceEqualityComparer.Instance);
    }

    /// <summary>
    /// One step from the parameters' gradients; parameters without one are left alone. If any gradient is not finite nothing changes.
    /// </summary>
    /// <param name="learningRate">Scheduled learning rate; each parameter's own scale applies.</param>
    /// <param name="weightDecay">Scheduled weight decay.</param>
    /// <param name="clipNorm">Largest allowed norm of all gradients together; null or 0 for no clipping.</param>
    /// <param name="ema">Average to update in the same pass (its other tensors are updated too).</param>
    /// <returns>Norm of all gradients before clipping. Not finite: the step was refused.</returns>
    public double Step(double learningRate, double weightDecay, double? clipNorm = null, Ema? ema = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var found = new List<Entry>(entries.Length);
        var parts = new List<AdamWPart>(entries.Length);
        foreach (var entry in entries)
        {
            var parameter = entry.Slot.Parameter;
            if (parameter.grad is not { } gradient) continue;
            // The layout contract of autograd makes this a no-op; a gradient set by hand may be strided.
            if (!gradient.is_contiguous()) gradient = gradient.contiguous();
            found.Add(entry);
            parts.Add(new(
                TensorMemory.Floats(parameter), TensorMemory.Floats(gradient), TensorMemory.Floats(entry.Mean), TensorMemory.Floats(entry.Square),
                ema is null ? null : TensorMemory.Floats(ema.AverageOf(parameter)), parameter.numel()));
        }
        var all = parts.ToArray();
        var norm = Math.Sqrt(AdamWKernel.SumOfSquares(all));
        if (!double.IsFinite(norm)) return norm;

        var scale = clipNorm is > 0 ? Math.Min(1, clipNorm.Value / (norm + 1e-6)) : 1;
        var decay = ema?.NextDecay ?? 0;
        AdamWKernel.Update(all, [.. found.Select(entry =>
        {
            entry.Steps++;
            var lr = learningRate * entry.Slot.LrScale;
            return new AdamWStep(
                beta1, beta2, eps,
                Keep: 1 - lr * weightDecay * entry.Slot.WeightDecay,
                StepSize: lr / (1 - Math.Pow(beta1, entry.Steps)),
                Correction2: Math.Sqrt(1 - Math.Pow(beta2, entry.Steps)),
                GradScale: scale,
                EmaDecay: decay);
        })]);
        if (ema is not null && found.Count < entries.Length)
        {
            foreach (var entry in entries.Except(found))
                ema.AverageOf(entry.Slot.Parameter).mul_(Number.Of(decay)).add_(entry.Slot.Parameter, Number.Of(1 - decay));
        }
        ema?.UpdateExcept(owned);
        return norm;
    }

    /// <summary>Forgets the gradients.</summary>
    public void ZeroGrad()
    {
        foreach (var entry in entries) entry.Slot.Parameter.grad = null;
    }

    /// <summary>First and second moment of a parameter: the optimizer's own tensors.</summary>
    internal (Tensor Mean, Tensor Square) MomentsOf(Tensor parameter)
    {
        var entry = Array.Find(entries, e => ReferenceEquals(e.Slot.Parameter, parameter))
            ?? throw new BayouException("AdamW: a parameter asked for is not among those it trains");
        return (entry.Mean, entry.Square);
    }

    /// <summary>Moments and step counts: "exp_avg.NAME", "exp_avg_sq.NAME" and "step" (int64, one a parameter in order).</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State()
    {
        foreach (var entry in entries)
        {
            yield return new("exp_avg." + entry.Slot.Name, entry.Mean);
            yield return new("exp_avg_sq." + entry.Slot.Name, entry.Square);
        }
        yield return new("step", tensor(entries.Select(e => e.Steps).ToArray()));
    }

    /// <summary>Sets what <see cref="State"/> gave, exactly.</summary>
    /// <param name="get">The tensor of a name.</param>
    /// <exception cref="BayouException">The state belongs to other parameters.</exception>
    public void Restore(Func<string, Tensor> get)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var steps = get("step").data<long>().ToArray();
        if (steps.Length != entries.Length) throw new BayouException($"optimizer state of {steps.Length} parameters does not fit {entries.Length}");
        foreach (var (entry, count) in entries.Zip(steps))
        {
            Copy("exp_avg." + entry.Slot.Name, entry.Mean);
            Copy("exp_avg_sq." + entry.Slot.Name, entry.Square);
            entry.Steps = count;
        }

        void Copy(string name, Tensor target)
        {
            var value = get(name);
            if (!value.shape.AsSpan().SequenceEqual(target.shape))
                throw new BayouException($"optimizer state {name} has shape {new Ints(value.shape)}, the parameter {new Ints(target.shape)}");
            target.copy_(value);
        }
    }

    /// <summary>Frees the moments.</summary>
    public void Dispose()
    {
        foreach (var entry in entries)
        {
            entry.Mean.Dispose();
            entry.Square.Dispose();
        }
    }

    private sealed class Entry(ParameterSlot slot)
    {
        public ParameterSlot Slot { get; } = slot;

        public Tensor Mean { get; } = zeros(slot.Parameter.shape).DetachFromDisposeScope();

        public Tensor Square { get; } = zeros(slot.Parameter.shape).DetachFromDisposeScope();

        public long Steps { get; set; }
    }
}
