using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// A batch whose rows go different ways, layer after layer, in inference: rows that take a layer are gathered and run together, their results stay where they
/// are made, and rows that do not are not touched. The batch is put together again only where all rows go on together. No gradients.
/// </summary>
public sealed class RowBatch : IDisposable
{
    // Either one tensor with all rows in order, or a view of each row; every tensor here is this object's own.
    private readonly Tensor?[] parts;
    private readonly List<Tensor> owned = [];
    private Tensor? whole;

    /// <summary>Takes a batch over: it is disposed when it is no longer needed.</summary>
    /// <param name="batch">[N, C, ...], plain.</param>
    public RowBatch(Tensor batch)
    {
        Rows = (int)batch.shape[0];
        parts = new Tensor?[Rows];
        Take(batch, All());
    }

    /// <summary>N.</summary>
    public int Rows { get; }

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
        Forget();
        var results = new List<(Tensor, long[])>();
        if (go.Length > 0) results.Add((Of(go, then), go));
        if (otherwise is not null && rest.Length > 0) results.Add((Of(rest, otherwise), rest));
        foreach (var (maps, rows) in results) Take(maps, rows);
        Changed = results;
    }

    /// <summary>All rows in one tensor, which stays this object's.</summary>
    public Tensor Whole()
    {
        if (whole is null)
        {
            using var scope = NewDisposeScope();
            Take(cat([.. parts.Select(p => p!)], 0).DetachFromDisposeScope(), All());
        }
        return whole!;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        whole?.Dispose();
        foreach (var part in parts) part?.Dispose();
        foreach (var tensor in owned) tensor.Dispose();
        owned.Clear();
    }

    private Tensor Of(long[] rows, Func<Tensor, Tensor> layer)
    {
        using var scope = NewDisposeScope();
        var input = rows.Length == Rows ? Whole() : rows.Length == 1 ? Row(rows[0]) : cat([.. rows.Select(Row)], 0);
        var y = layer(input);
        if (!TensorMemory.IsPlain(y)) y = y.contiguous();
        return y.DetachFromDisposeScope();
    }

    private Tensor Row(long row) => parts[row] ??= whole!.narrow(0, row, 1).DetachFromDisposeScope();

    // Rows get their new values; a tensor that holds some of them only is kept by their views.
    private void Take(Tensor maps, long[] rows)
    {
        maps.DetachFromDisposeScope();
        Channels = (int)maps.shape[1];
        if (rows.Length == Rows)
        {
            whole?.Dispose();
            whole = maps;
            for (var n = 0; n < Rows; n++)
            {
                parts[n]?.Dispose();
                parts[n] = null;
            }
        }
        else
        {
            // The others leave the common tensor as views of it.
            if (whole is not null)
            {
                var replaced = 0;
                for (var n = 0; n < Rows; n++)
                {
                    if (replaced < rows.Length && rows[replaced] == n) replaced++;
                    else Row(n);
                }
                owned.Add(whole);
                whole = null;
            }
            for (var j = 0; j < rows.Length; j++)
            {
                parts[rows[j]]?.Dispose();
                parts[rows[j]] = maps.narrow(0, j, 1).DetachFromDisposeScope();
            }
            owned.Add(maps);
        }
        Changed = [(maps, rows)];
    }

    // Handles of tensors that live on in their views: gone once nobody reads what changed.
    private void Forget()
    {
        foreach (var tensor in owned) tensor.Dispose();
        owned.Clear();
    }

    private long[] All() => [.. Enumerable.Range(0, Rows).Select(n => (long)n)];
}
