using System.Diagnostics;
using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>
/// The training loop. Runs on the CPU are repeatable: (network, source, recipe, seed, threads) decide the weights bit for bit, and a run that was killed
/// anywhere and resumed ends with the same weights as one that was not.
/// </summary>
public static class Trainer
{
    /// <summary>Trains a classifier in place.</summary>
    /// <param name="network">[N, C, H, W] -> logits [N, K]; trainable parameters float32 on the CPU.</param>
    /// <param name="train">Training batches.</param>
    /// <param name="val">Validation batches for the evaluation after each epoch; null for none.</param>
    /// <param name="recipe">How.</param>
    /// <param name="options">Where, seed, callbacks; null for the defaults.</param>
    /// <returns>Curves, the best weights, and how it ended. The network is left with its final weights (the last good ones if the training diverged), in eval
    /// mode.</returns>
    /// <exception cref="BayouException">Recipe, source and network do not fit together, or the checkpoint belongs to another training.</exception>
    public static TrainResult Train(nn.Module<Tensor, Tensor> network, IBatchSource train, IBatchSource? val, Recipe recipe, TrainerOptions? options = null)
    {
        options ??= new();
        recipe.Checked();
        if (train.BatchSize != recipe.Batch)
            throw new BayouException($"the recipe wants batches of {recipe.Batch}, the training source gives {train.BatchSize}: make them equal");
        if (val is not null && val.Classes != train.Classes) throw new BayouException($"training has {train.Classes} classes, validation {val.Classes}");
        var stepsPerEpoch = train.BatchCount / recipe.UpdateFreq;
        if (stepsPerEpoch == 0)
            throw new BayouException($"an epoch of {train.BatchCount} batches is shorter than one step of {recipe.UpdateFreq}: use a smaller batch or update frequency");
        if (recipe.DistillWeight > 0 && options.Teacher is null)
            throw new BayouException("the recipe distils, and there is no teacher: give one, or set DistillWeight to 0");
        var own = options.Loss ?? network as ITrainingLoss;
        if (recipe.ClassWeights is { } w && w.Count != train.Classes)
            throw new BayouException($"the recipe weights {w.Count} classes, the data have {train.Classes}");
        if (options.TuneAllocator) GlibcAllocator.KeepFreedMemory();

        // --- what is trained, and with what
        var (rates, decays) = (recipe.LearningRates(stepsPerEpoch), recipe.WeightDecays(stepsPerEpoch));
        using var optimizer = new AdamW(ParameterGroups.Of(network, recipe.LayerDecay), recipe.Beta1, recipe.Beta2, recipe.Eps);
        using var ema = recipe.EmaDecay > 0 ? new Ema(network, recipe.EmaDecay, recipe.EmaRamp) : null;
        using var sparse = recipe.Sparse is null ? null : new SparseTraining(network, recipe.Sparse, rates.Length);
        var followers = network.modules().Prepend(network).OfType<IAfterStep>().Distinct().ToArray();
        var mixup = recipe.Mixes
            ? new Mixup(train.Classes, recipe.MixupAlpha, recipe.CutmixAlpha, recipe.MixProbability, recipe.MixSwitchProbability, recipe.LabelSmoothing)
            : null;

        using var classWeights = recipe.ClassWeights is null ? null : tensor(recipe.ClassWeights.Select(v => (float)v).ToArray()).DetachFromDisposeScope();

        // --- from the beginning, or from where it stopped
        var state = new TrainState();
        Snapshot? best = null;
        var identity = new TrainIdentity(recipe.Hash(), options.Seed, train.Samples, train.BatchCount, get_num_threads(), NamedSettings.Describe(network));
        var files = options.RunFolder is null ? null : new RunFiles(options.RunFolder);
        var resumed = options.Resume && files?.HasCheckpoint == true;
        if (resumed) (state, best) = Checkpoint.Load(files!.Checkpoint, network, optimizer, ema, sparse, identity, options.Note);
        else manual_seed(options.Seed);
        if (!resumed) sparse?.Initialise(FirstBatch);
        using var events = files is null ? null : new EventFile(files.Events, resumed ? state.Epoch * stepsPerEpoch + state.StepInEpoch : null);
        var (good, goodEma) = (Snapshot.Of(network), ema is null ? null : Snapshot.Copy(ema.State));

        var (outcome, message) = (TrainOutcome.Completed, "");
        var clock = new TrainClock(state, options.MaxSeconds);
        while (state.Epoch < recipe.Epochs && outcome == TrainOutcome.Completed)
        {
            network.train();
            optimizer.ZeroGrad();
            if (state.StepInEpoch < stepsPerEpoch) (outcome, message) = RunSteps();
            if (outcome == TrainOutcome.Completed) (outcome, message) = EndEpoch();
            if (outcome is TrainOutcome.Cancelled or TrainOutcome.TimeUp) SaveCheckpoint();
        }

        if (outcome == TrainOutcome.Diverged)
        {
            good.CopyTo(network);
            ema?.Restore(name => goodEma![name], ema.Updates);
        }
        network.eval();
        var result = new TrainResult
        {
            Outcome = outcome,
            Message = outcome == TrainOutcome.Completed ? $"{recipe.Epochs} epochs done" : message,
            Curves = state.Curves,
            Steps = state.Epoch * stepsPerEpoch + state.StepInEpoch,
            Seconds = clock.TotalSeconds,
            BestAccuracy = state.BestAccuracy,
            BestEpoch = state.BestEpoch,
            BestIsEma = state.BestIsEma,
            Best = best,
            Ema = ema is null ? null : Snapshot.Copy(ema.State),
            Sparsity = sparse?.Report(),
        };
        good.Dispose();
        goodEma?.Dispose();
        return result;

        // The rest of one epoch. Nothing is saved or left between two optimizer steps: half a step cannot be resumed.
        (TrainOutcome, string) RunSteps()
        {
            var (accumulated, images, lossSum) = (0, 0, 0.0);
            clock.Start();
            foreach (var batch in train.Epoch(state.Epoch, state.BatchesInEpoch))
            {
                using var owned = batch;
                var step = state.Epoch * stepsPerEpoch + state.StepInEpoch;
                var loss = ForwardBackward(batch.Images, batch.Labels, (long)step * recipe.UpdateFreq + accumulated);
                if (!double.IsFinite(loss)) return Diverged($"the loss is {loss}", step);
                var count = batch.Indices.Length;
                (images, lossSum) = (images + count, lossSum + loss * count);
                if (++accumulated < recipe.UpdateFreq) continue;

                // A sparse network's average must see the masked weights: it is not updated in the optimizer's pass.
                var norm = optimizer.Step(rates[step], decays[step], recipe.ClipNorm, sparse is null ? ema : null);
                if (!double.IsFinite(norm)) return Diverged($"the norm of the gradients is {norm}", step);
                sparse?.Step(optimizer);
                if (ema is not null) sparse?.Average(ema);
                foreach (var follower in followers) follower.AfterStep(step + 1);
                optimizer.ZeroGrad();

                state.StepInEpoch++;
                state.BatchesInEpoch = batch.Number + 1;
                state.LossSum += lossSum;
                state.LossCount += images;
                clock.Step(images);
                Report(step, lossSum / images, norm);
                (accumulated, images, lossSum) = (0, 0, 0);

                if (options.Cancellation.IsCancellationRequested) return (TrainOutcome.Cancelled, "cancelled; resume goes on from here");
                if (clock.IsTimeUp) return (TrainOutcome.TimeUp, $"the {options.MaxSeconds} seconds are over; resume goes on from here");
                if (state.StepInEpoch == stepsPerEpoch) break;
                if (options.CheckpointEvery > 0 && (step + 1) % options.CheckpointEvery == 0) SaveCheckpoint();
            }
            return (TrainOutcome.Completed, "");
        }

        // For SNIP: the first batch of the training, before anything is mixed.
        (Tensor, Tensor) FirstBatch()
        {
            using var batch = train.Epoch(0).FirstOrDefault() ?? throw new BayouException("sparse training: the training source gives no batch to start from");
            return (batch.Images.clone(), batch.Labels.clone());
        }

        double ForwardBackward(Tensor images, Tensor labels, long draw)
        {
            using var scope = NewDisposeScope();
            // Mixing changes the pictures in place: before the network and the teacher see them.
            var targets = mixup?.Apply(images, labels, mixup.Draw(options.Seed, draw, (int)images.shape[2], (int)images.shape[3]));
            var loss = own is null ? Objective(network.call(images)) : own.Loss(new(images, labels, targets, Objective));
            var value = loss.item<float>();
            if (float.IsFinite(value)) (recipe.UpdateFreq == 1 ? loss : loss.div(Number.Of(recipe.UpdateFreq))).backward();
            return value;

            Tensor Objective(Tensor logits)
            {
                var loss = targets is null
                    ? LabelSmoothingCrossEntropyLoss.Of(logits, labels, recipe.LabelSmoothing, classWeights)
                    : SoftTargetCrossEntropyLoss.Of(logits, targets, classWeights);
                return recipe.DistillWeight > 0 ? Distilled(loss, logits, images) : loss;
            }
        }

        Tensor Distilled(Tensor loss, Tensor logits, Tensor images)
        {
            Tensor teacher;
            using (no_grad()) teacher = options.Teacher!(images);
            if (!teacher.shape.SequenceEqual(logits.shape))
                throw new BayouException($"the teacher gives [{string.Join(", ", teacher.shape)}] logits, the network [{string.Join(", ", logits.shape)}]");
            return loss.mul(Number.Of(1 - recipe.DistillWeight))
                .Plus(DistillationLoss.Of(logits, teacher, recipe.DistillTemperature).mul(Number.Of(recipe.DistillWeight)));
        }

        void Report(int step, double loss, double norm)
        {
            if (events is not null && (step + 1) % Math.Max(1, options.LogEvery) == 0)
            {
                events.Scalar("train/loss", loss, step + 1);
                events.Scalar("train/lr", rates[step], step + 1);
                events.Scalar("train/img_per_s", clock.ImagesPerSecond, step + 1);
            }
            if (options.Progress is null) return;
            var last = state.Curves.LastOrDefault(r => r.Val is not null);
            var left = (double)(rates.Length - step - 1) * recipe.Batch * recipe.UpdateFreq / clock.ImagesPerSecond;
            options.Progress(new(
                state.Epoch, recipe.Epochs, step + 1, rates.Length, loss, rates[step], norm, clock.ImagesPerSecond, TimeSpan.FromSeconds(left),
                last is null ? null : Math.Max(last.Val!.Top1, last.EmaVal?.Top1 ?? 0)));
        }

        // Evaluation, curves, best weights, checkpoint.
        (TrainOutcome, string) EndEpoch()
        {
            Score? score = null, emaScore = null;
            if (val is not null && ((state.Epoch + 1) % Math.Max(1, options.EvaluateEvery) == 0 || state.Epoch + 1 == recipe.Epochs))
            {
                try
                {
                    score = Measure();
                    if (ema is not null)
                    {
                        using (ema.Swap()) emaScore = Measure();
                    }
                }
                catch (OperationCanceledException)
                {
                    return (TrainOutcome.Cancelled, "cancelled; resume goes on from here");
                }
                Consider(score, average: false);
                if (emaScore is not null) Consider(emaScore, average: true);
            }
            var record = new EpochRecord(
                state.Epoch, state.Epoch * stepsPerEpoch + state.StepInEpoch, state.LossSum / Math.Max(1, state.LossCount),
                rates[(state.Epoch + 1) * stepsPerEpoch - 1],
                state.LossCount / Math.Max(1e-9, state.TrainSeconds), score, emaScore);
            state.Curves.Add(record);
            if (score is not null) events?.Scalar("val/top1", score.Top1, record.Step);
            if (score is not null) events?.Scalar("val/loss", score.Loss, record.Step);
            if (emaScore is not null) events?.Scalar("val/top1_ema", emaScore.Top1, record.Step);
            if (emaScore is not null) events?.Scalar("val/loss_ema", emaScore.Loss, record.Step);
            events?.Scalar("epoch/train_loss", record.TrainLoss, record.Step);
            events?.Flush();

            (state.Epoch, state.StepInEpoch, state.BatchesInEpoch) = (state.Epoch + 1, 0, 0);
            (state.LossSum, state.LossCount, state.TrainSeconds) = (0, 0, 0);
            good.Dispose();
            goodEma?.Dispose();
            (good, goodEma) = (Snapshot.Of(network), ema is null ? null : Snapshot.Copy(ema.State));
            if (files is not null)
            {
                network.Save(files.Last);
                if (best is not null && state.BestEpoch == record.Epoch) WeightFile.Save(files.Best, best.State);
            }
            SaveCheckpoint();
            options.EpochDone?.Invoke(record);
            return (TrainOutcome.Completed, "");
        }

        Score Measure()
        {
            var evaluation = Evaluator.Evaluate(network, val!, options.Cancellation);
            return new(evaluation.Top1, evaluation.Top5, evaluation.Loss);
        }

        void Consider(Score score, bool average)
        {
            if (score.Top1 <= (state.BestAccuracy ?? -1)) return;
            (state.BestAccuracy, state.BestEpoch, state.BestIsEma) = (score.Top1, state.Epoch, average);
            best?.Dispose();
            best = average ? Snapshot.Copy(ema!.State) : Snapshot.Of(network);
        }

        void SaveCheckpoint()
        {
            if (files is null) return;
            state.Seconds = clock.TotalSeconds;
            Checkpoint.Save(files.Checkpoint, network, optimizer, ema, sparse, best, state, identity);
            events?.Flush();
        }

        (TrainOutcome, string) Diverged(string what, int step) =>
            (TrainOutcome.Diverged,
                $"training diverged: {what} at step {step + 1} (epoch {state.Epoch + 1}). The weights of the last finished epoch are kept. " +
                $"Lower the learning rate (now {recipe.LearningRate:G3}), lengthen the warm-up, or set ClipNorm");
    }

    /// <summary>The files of a run folder.</summary>
    private sealed class RunFiles(string folder)
    {
        public string Checkpoint { get; } = Path.Combine(Directory.CreateDirectory(folder).FullName, "checkpoint.safetensors");

        public string Best { get; } = Path.Combine(folder, "best.safetensors");

        public string Last { get; } = Path.Combine(folder, "last.safetensors");

        public string Events { get; } = Path.Combine(folder, "tb");

        public bool HasCheckpoint => File.Exists(Checkpoint);
    }

    /// <summary>Training speed and time: of steps only, evaluations and checkpoints excluded; and of the whole session.</summary>
    private sealed class TrainClock(TrainState state, double maxSeconds)
    {
        private readonly Stopwatch session = Stopwatch.StartNew();
        private readonly double before = state.Seconds;
        private long mark;
        private double secondsPerImage;

        public double TotalSeconds => before + session.Elapsed.TotalSeconds;

        public bool IsTimeUp => maxSeconds > 0 && session.Elapsed.TotalSeconds >= maxSeconds;

        public double ImagesPerSecond => secondsPerImage > 0 ? 1 / secondsPerImage : 0;

        public void Start() => mark = Stopwatch.GetTimestamp();

        public void Step(int images)
        {
            var seconds = Stopwatch.GetElapsedTime(mark).TotalSeconds;
            mark = Stopwatch.GetTimestamp();
            state.TrainSeconds += seconds;
            secondsPerImage = secondsPerImage == 0 ? seconds / images : 0.95 * secondsPerImage + 0.05 * seconds / images;
        }
    }
}
