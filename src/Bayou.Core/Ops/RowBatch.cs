using Bayou.Kernels;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A batch whose rows go different ways, layer after layer, in inference: rows that take a layer are gathered and run together, their results stay where they
/// are made, and rows that do not are not touched. The batch is put together again only where all rows go on together. No gradients.
/// </summary>
public sealed class RowBatch : IDisposable
{
    // Where each row lies; a tensor is this object's own and goes with its last row.
    private readonly (Held In, int At)[] rows;

    /// <summary>Takes a batch over: it is disposed when it is no longer needed.</summary>
    /// <param name="batch">[N, C, ...], plain.</param>
    public RowBatch(Tensor batch)
    {
        rows = new (Held, int)[(int)batch.shape[0]];
        Take(batch.DetachFromDisposeScope(), All());
    }

    /// <summary>N.</summary>
    public int Rows => rows.Length;

    /// <summary>C of the rows as they are now.</summary>
    public int Channels { get; private set; }

    /// <summary>What the last layer changed: results and the rows that they are.</summary>
    public IReadOnlyList<(Tensor Maps, long[] Rows)> Changed { get; private set; } = [];

    /// <summary>Each row goes its way and only that.</summary>
    /// <param name="ways">Rows that run <paramref name="then"/>, rising, and all others.</param>
    /// <param name="then">For any number of rows; keeps the batch axis.</param>
    /// <param name="otherwise">The other way; null: rows stay as they are.</param>
    public void Run((long[] Running, long[] Staying) ways, Func<Tensor, Tensor> then, Func<Tensor, Tensor>? otherwise)
    {
        var (go, rest) = ways;
        var results = new List<(Tensor Maps, long[] Rows)>();
        if (go.Length > 0) results.Add((Of(go, then), go));
        if (otherwise is not null && rest.Length > 0) results.Add((Of(rest, otherwise), rest));
        foreach (var (maps, at) in results) Take(maps, at);
        Changed = results;
    }

    /// <summary>All rows in one tensor, which stays this object's.</summary>
    public Tensor Whole()
    {
        var all = All();
        if (Range(all) is not ({ } held, 0) || held.Count != Rows) Take(Gather(all).DetachFromDisposeScope(), all);
        return rows[0].In.Maps;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (held, _) in rows) held?.Release();
        Array.Clear(rows);
    }

    private Tensor Of(long[] at, Func<Tensor, Tensor> layer)
    {
        using var scope = NewDisposeScope();
        var y = layer(Input(at));
        if (!TensorMemory.IsPlain(y)) y = y.contiguous();
        // What a layer hands back unchanged is somebody else's.
        if (at.Any(row => ReferenceEquals(rows[row].In.Maps, y))) y = y.clone();
        return y.DetachFromDisposeScope();
    }

    // Rows that lie side by side already are not copied.
    private Tensor Input(long[] at) =>
        Range(at) is not ({ } held, var first) ? Gather(at) : held.Count == at.Length ? held.Maps : held.Maps.narrow(0, first, at.Length);

    private (Held? In, int First) Range(long[] at)
    {
        var (held, first) = rows[at[0]];
        for (var i = 1; i < at.Length; i++) if (rows[at[i]] != (held, first + i)) return default;
        return (held, first);
    }

    private unsafe Tensor Gather(long[] at)
    {
        var shape = (long[])rows[at[0]].In.Maps.shape.Clone();
        shape[0] = at.Length;
        var y = empty(shape);
        var length = y.numel() / at.Length;
        RowCopy.Gather([.. at.Select(row => (nint)(TensorMemory.Floats(rows[row].In.Maps) + rows[row].At * length))], length, TensorMemory.Floats(y));
        GC.KeepAlive(this);
        return y;
    }

    private void Take(Tensor maps, long[] at)
    {
        Channels = (int)maps.shape[1];
        var held = new Held(maps, at.Length);
        for (var j = 0; j < at.Length; j++)
        {
            rows[at[j]].In?.Release();
            rows[at[j]] = (held, j);
        }
        Changed = [(maps, at)];
    }

    private long[] All() => [.. Enumerable.Range(0, Rows).Select(n => (long)n)];

    // A tensor and how many of its rows are still read.
    private sealed class Held(Tensor maps, int count)
    {
        private int read = count;

        public Tensor Maps => maps;

        public int Count { get; } = count;

        public void Release()
        {
            if (--read == 0) maps.Dispose();
        }
    }
}
