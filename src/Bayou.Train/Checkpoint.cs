using System.Globalization;
using System.Text.Json;
using Bayou.Core;
using static TorchSharp.torch;

namespace Bayou.Train;

/// <summary>How far a training is; together with the tensors everything needed to go on as if it had never stopped.</summary>
internal sealed record TrainState
{
    public int Epoch { get; set; }

    /// <summary>Optimizer steps done in this epoch.</summary>
    public int StepInEpoch { get; set; }

    /// <summary>Batches taken from the source in this epoch.</summary>
    public int BatchesInEpoch { get; set; }

    public double LossSum { get; set; }

    public long LossCount { get; set; }

    public double TrainSeconds { get; set; }

    public double Seconds { get; set; }

    public long EmaUpdates { get; set; }

    public double? BestAccuracy { get; set; }

    public int BestEpoch { get; set; } = -1;

    public bool BestIsEma { get; set; }

    public List<EpochRecord> Curves { get; set; } = [];

    public SparseProgress? Sparse { get; set; }
}

/// <summary>What a checkpoint must agree on with the training that resumes it.</summary>
internal sealed record TrainIdentity(string RecipeHash, long Seed, int Samples, int BatchCount, int Threads, string Settings = "");

/// <summary>
/// One safetensors file with the network, the average, the optimizer, the best weights, the state of libtorch's generator and the counters; replaced
/// atomically.
/// </summary>
internal static class Checkpoint
{
    private static readonly JsonSerializerOptions Json =
        new() { NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals };

    public static void Save(string path, nn.Module network, AdamW optimizer, Ema? ema, SparseTraining? sparse, Snapshot? best, TrainState state,
        TrainIdentity identity)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var tensors = new List<KeyValuePair<string, Tensor>>();
        Add("model.", NetworkState.Of(network));
        Add("optimizer.", optimizer.State());
        if (ema is not null) Add("ema.", ema.State);
        if (sparse is not null) Add("sparse.", sparse.State());
        if (best is not null) Add("best.", best.State);
        tensors.Add(new("rng", get_rng_state()));
        state.EmaUpdates = ema?.Updates ?? 0;
        state.Sparse = sparse?.Progress;
        WeightFile.Save(path, tensors, new Dictionary<string, string>
        {
            ["format"] = "bayou-checkpoint-1",
            ["state"] = JsonSerializer.Serialize(state, Json),
            ["identity"] = JsonSerializer.Serialize(identity, Json),
        });

        void Add(string prefix, IEnumerable<KeyValuePair<string, Tensor>> values)
        {
            foreach (var (name, value) in values) tensors.Add(new(prefix + name, value));
        }
    }

    /// <summary>Puts a checkpoint back into everything it was made of.</summary>
    /// <exception cref="BayouException">The file is damaged or belongs to another training; the message says what differs.</exception>
    public static (TrainState State, Snapshot? Best) Load(string path, nn.Module network, AdamW optimizer, Ema? ema, SparseTraining? sparse,
        TrainIdentity identity, Action<string>? note)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var file = WeightFile.Open(path);
        if (file.Metadata.GetValueOrDefault("format") != "bayou-checkpoint-1")
            throw new BayouException($"'{path}' is no training checkpoint of this version: start without resuming");
        TrainState state;
        TrainIdentity saved;
        try
        {
            state = JsonSerializer.Deserialize<TrainState>(file.Metadata["state"], Json)!;
            saved = JsonSerializer.Deserialize<TrainIdentity>(file.Metadata["identity"], Json)!;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException)
        {
            throw new BayouException($"the header of checkpoint '{path}' is damaged: start without resuming", e);
        }
        Same("recipe", saved.RecipeHash, identity.RecipeHash);
        Same("seed", saved.Seed, identity.Seed);
        Same("number of pictures", saved.Samples, identity.Samples);
        Same("number of batches", saved.BatchCount, identity.BatchCount);
        Same("settings of the network", saved.Settings, identity.Settings);
        if (saved.Threads != identity.Threads)
            note?.Invoke($"the checkpoint was made with {saved.Threads} threads, this run has {identity.Threads}: the weights will not be bit-identical to an uninterrupted run's");

        var names = NetworkState.Of(network);
        foreach (var (name, tensor) in names)
        {
            var info = file.Info("model." + name);
            if (!info.Shape.SequenceEqual(tensor.shape))
                throw new BayouException($"checkpoint '{path}' holds {name} of shape {new Ints([.. info.Shape])}, the network's is {new Ints(tensor.shape)}: it belongs to another network");
        }
        foreach (var (name, tensor) in names) tensor.copy_(file.Get("model." + name));
        optimizer.Restore(name => file.Get("optimizer." + name));
        ema?.Restore(name => file.Get("ema." + name), state.EmaUpdates);
        sparse?.Restore(
            name => file.Contains("sparse." + name) ? file.Get("sparse." + name) : null,
            state.Sparse ?? throw new BayouException($"checkpoint '{path}' holds no sparse training: start without resuming"));
        Snapshot? best = null;
        if (file.Contains("best." + names[0].Key)) best = Snapshot.Copy(names.Select(n => new KeyValuePair<string, Tensor>(n.Key, file.Get("best." + n.Key))));
        set_rng_state(RngState(file, path));
        return (state, best);

        void Same<T>(string what, T there, T here)
        {
            if (!EqualityComparer<T>.Default.Equals(there, here))
                throw new BayouException(string.Create(CultureInfo.InvariantCulture,
                    $"checkpoint '{path}' was made with another {what} ({there}, now {here}): resume with the same one, or start without resuming"));
        }
    }

    // A tensor of another size would abort the process inside libtorch.
    private static Tensor RngState(WeightFile file, string path)
    {
        var state = file.Get("rng");
        using var present = get_rng_state();
        if (state.dtype != present.dtype || !state.shape.AsSpan().SequenceEqual(present.shape))
            throw new BayouException($"the generator state in checkpoint '{path}' is damaged: start without resuming");
        return state;
    }
}
