namespace Bayou.Train;

/// <summary>
/// Where and how a training runs; none of this changes the weights it ends with (but <see cref="Seed"/>, <see cref="Teacher"/> and <see cref="MaxSeconds"/>).
/// </summary>
public sealed record TrainerOptions
{
    /// <summary>Folder for checkpoint.safetensors, best.safetensors, last.safetensors and tb/; null writes nothing.</summary>
    public string? RunFolder { get; init; }

    /// <summary>Go on from the run folder's checkpoint; without one, start from the beginning. False starts from the beginning in any case.</summary>
    public bool Resume { get; init; }

    /// <summary>Seed of everything random in the training (drop path, mixup); the loader has its own.</summary>
    public long Seed { get; init; }

    /// <summary>Logits [N, K] of a teacher for the pictures [N, C, H, W] as the network sees them; needed when the recipe distils.</summary>
    public Func<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor>? Teacher { get; init; }

    /// <summary>
    /// The loss instead of the recipe's on the logits; null: the network's own where it is an <see cref="ITrainingLoss"/>, else the recipe's.
    /// </summary>
    public ITrainingLoss? Loss { get; init; }

    /// <summary>Called after every optimizer step.</summary>
    public Action<TrainProgress>? Progress { get; init; }

    /// <summary>Called after every epoch, once its evaluation is done.</summary>
    public Action<EpochRecord>? EpochDone { get; init; }

    /// <summary>Called with notes for the user, such as a resume on another number of threads.</summary>
    public Action<string>? Note { get; init; }

    /// <summary>Ends the training after the step under way, with a checkpoint.</summary>
    public CancellationToken Cancellation { get; init; }

    /// <summary>Write a checkpoint every so many optimizer steps, besides the end of each epoch; 0: only there.</summary>
    public int CheckpointEvery { get; init; }

    /// <summary>Ends the training after the step in which this time (of this session, in seconds) is over, with a checkpoint; 0: no limit.</summary>
    public double MaxSeconds { get; init; }

    /// <summary>Evaluate every so many epochs, and after the last.</summary>
    public int EvaluateEvery { get; init; } = 1;

    /// <summary>Steps between two points of the TensorBoard curves.</summary>
    public int LogEvery { get; init; } = 10;

    /// <summary>Let glibc keep freed memory between steps instead of returning it page by page (Linux; other systems ignore it).</summary>
    public bool TuneAllocator { get; init; } = true;
}

/// <summary>How a training ended.</summary>
public enum TrainOutcome
{
    /// <summary>All epochs done.</summary>
    Completed,

    /// <summary>The cancellation token ended it; it can be resumed.</summary>
    Cancelled,

    /// <summary>The time was over; it can be resumed.</summary>
    TimeUp,

    /// <summary>The loss or the gradients were no longer finite; the network has its last good weights.</summary>
    Diverged,
}

/// <summary>One optimizer step.</summary>
/// <param name="Epoch">From 0.</param>
/// <param name="Epochs">Epochs in all.</param>
/// <param name="Step">Optimizer steps done, in all epochs.</param>
/// <param name="Steps">Optimizer steps in all.</param>
/// <param name="Loss">Of this step, mean over its pictures.</param>
/// <param name="LearningRate">Of this step.</param>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="ImagesPerSecond">Smoothed over the last steps, without evaluations.</param>
/// <param name="Eta">Estimated time to the end, evaluations not counted.</param>
/// <param name="ValAccuracy">Top-1 of the last evaluation (the better of network and average), or null before the first.</param>
public readonly record struct TrainProgress(
    int Epoch, int Epochs, int Step, int Steps, double Loss, double LearningRate, double GradientNorm, double ImagesPerSecond, TimeSpan Eta,
        double? ValAccuracy);

/// <summary>Top-1, top-5 and loss on the validation part.</summary>
public sealed record Score(double Top1, double Top5, double Loss);

/// <summary>One epoch of the curves.</summary>
/// <param name="Epoch">From 0.</param>
/// <param name="Step">Optimizer steps done when it ended.</param>
/// <param name="TrainLoss">Mean training loss (of mixed and smoothed targets where the recipe has them).</param>
/// <param name="LearningRate">Of its last step.</param>
/// <param name="ImagesPerSecond">Training pictures by training time.</param>
/// <param name="Val">The network on the validation part; null when not evaluated.</param>
/// <param name="EmaVal">The running average on it; null without one.</param>
public sealed record EpochRecord(int Epoch, int Step, double TrainLoss, double LearningRate, double ImagesPerSecond, Score? Val, Score? EmaVal);

/// <summary>
/// What came out of a training. The network itself holds its final weights, not the average and not the best ones: see <see cref="UseBest"/>.
/// </summary>
public sealed class TrainResult : IDisposable
{
    /// <summary>How it ended.</summary>
    public required TrainOutcome Outcome { get; init; }

    /// <summary>For people: why it ended, and what to do.</summary>
    public required string Message { get; init; }

    /// <summary>The curves, all epochs, those before a resume included.</summary>
    public required IReadOnlyList<EpochRecord> Curves { get; init; }

    /// <summary>Optimizer steps done.</summary>
    public required int Steps { get; init; }

    /// <summary>Training time in seconds, all sessions and evaluations included.</summary>
    public required double Seconds { get; init; }

    /// <summary>The best top-1 on the validation part; null when nothing was evaluated.</summary>
    public required double? BestAccuracy { get; init; }

    /// <summary>Its epoch, or -1.</summary>
    public required int BestEpoch { get; init; }

    /// <summary>Whether it was the running average that scored best.</summary>
    public required bool BestIsEma { get; init; }

    /// <summary>The best weights; null when nothing was evaluated.</summary>
    public required Snapshot? Best { get; init; }

    /// <summary>The running average at the end; null without one.</summary>
    public required Snapshot? Ema { get; init; }

    /// <summary>Where the network is sparse and how its masks changed; null where the recipe trains dense.</summary>
    public SparsityReport? Sparsity { get; init; }

    /// <summary>Gives the network the best weights; without any evaluation the average, without an average the final weights it has anyway.</summary>
    public void UseBest(TorchSharp.torch.nn.Module network) => (Best ?? Ema)?.CopyTo(network);

    /// <summary>This result unless the training diverged.</summary>
    /// <exception cref="Core.BayouException">It diverged.</exception>
    public TrainResult OrThrow() => Outcome == TrainOutcome.Diverged ? throw new Core.BayouException(Message) : this;

    /// <summary>Frees the kept weights.</summary>
    public void Dispose()
    {
        Best?.Dispose();
        Ema?.Dispose();
    }
}
