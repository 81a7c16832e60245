using System.Text;

namespace Bayou.Core;

/// <summary>What loading a weight file into a module did, key by key (the module's keys, after mapping).</summary>
public sealed class LoadReport
{
    private const int Listed = 5;

    /// <summary>Keys whose values were copied.</summary>
    public required IReadOnlyList<string> Loaded { get; init; }

    /// <summary>Keys of the module that the file lacks: those tensors keep their values.</summary>
    public required IReadOnlyList<string> Missing { get; init; }

    /// <summary>Keys of the file that the module lacks.</summary>
    public required IReadOnlyList<string> Unexpected { get; init; }

    /// <summary>Keys of both whose shape or kind of element differs, with both sides in words: they were not copied.</summary>
    public required IReadOnlyList<string> Mismatched { get; init; }

    /// <summary>Keys whose floating-point values were widened or narrowed, with both types in words.</summary>
    public required IReadOnlyList<string> Converted { get; init; }

    /// <summary>Batch counters (<c>num_batches_tracked</c>) that the file lacks, as every file older than PyTorch 0.4.1 does: not an error.</summary>
    public required IReadOnlyList<string> Defaulted { get; init; }

    /// <summary>Whether module and file fit: nothing missing, unexpected or mismatched.</summary>
    public bool Complete => Missing.Count == 0 && Unexpected.Count == 0 && Mismatched.Count == 0;

    /// <summary>For people: one line for each kind that occurs, with the first few keys.</summary>
    public override string ToString()
    {
        var text = new StringBuilder($"{Loaded.Count} tensors loaded");
        Line("missing in the file", Missing);
        Line("unexpected in the file", Unexpected);
        Line("mismatched", Mismatched);
        Line("converted", Converted);
        Line("left at their initial value", Defaulted);
        return text.ToString();

        void Line(string what, IReadOnlyList<string> keys)
        {
            if (keys.Count == 0) return;
            text.Append($"\n  {keys.Count} {what}: {string.Join(", ", keys.Take(Listed))}");
            if (keys.Count > Listed) text.Append($", and {keys.Count - Listed} more");
        }
    }
}
