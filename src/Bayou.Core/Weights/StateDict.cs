namespace Bayou.Core;

/// <summary>Finds the weights in what a checkpoint's pickle holds.</summary>
internal static class StateDict
{
    /// <summary>Where training scripts put the weights, in the order in which they are looked for. The plain model comes before its
    /// average: that is what the official evaluation scripts load unless told otherwise.</summary>
    internal static readonly string[] Sections = ["model", "state_dict", "model_state", "model_state_dict", "model_ema"];

    private const string ParallelPrefix = "module.";

    /// <summary>The entries under string keys that hold a tensor or a placeholder, without the <c>module.</c> prefix of DataParallel.</summary>
    /// <param name="file">For messages.</param>
    /// <param name="root">The pickle's value.</param>
    /// <param name="section">The section to take at the top, or null to look for one.</param>
    internal static List<KeyValuePair<string, object>> Find(MappedFile file, object? root, string? section)
    {
        if (section is not null)
        {
            var top = (root as PickleDict)?[section];
            if (top is not PickleDict)
                throw new BayouException($"'{file.Path}' has no section '{section}' that holds weights; {Describe(root)}");
            root = top;
        }
        // Two levels of nesting occur in published files; more is not looked for.
        for (var level = 0; level < 3 && root is PickleDict dict && Inner(dict) is { } inner; level++) root = inner;
        if (root is not PickleDict found || !(HasTensor(found) || HasPlaceholder(found)))
        {
            if (root is PickleDict { Count: 0, HasOtherKeys: false }) return [];     // the state of a module without weights
            throw new BayouException($"'{file.Path}' holds no weights that can be read; {Describe(root)}");
        }
        var entries = found.Items.Where(item => item.Value is PickleTensor or PicklePlaceholder).Select(item => KeyValuePair.Create(item.Key, item.Value!))
            .ToList();
        for (var depth = 0; depth < 4
            && entries.All(e => e.Key.StartsWith(ParallelPrefix, StringComparison.Ordinal) && e.Key.Length > ParallelPrefix.Length); depth++)
            entries = entries.ConvertAll(e => KeyValuePair.Create(e.Key[ParallelPrefix.Length..], e.Value));
        return entries;
    }

    private static PickleDict? Inner(PickleDict dict)
    {
        var sections = Sections.Select(name => dict[name]).OfType<PickleDict>().ToList();
        return sections.Find(HasTensor)
            ?? sections.Find(s => Deeper(s) is not null)
            ?? (HasTensor(dict) ? null : sections.Find(HasPlaceholder));
    }

    /// <summary>A section that holds no tensor itself but a section that does, such as <c>model: { state_dict: ... }</c>.</summary>
    private static PickleDict? Deeper(PickleDict dict) => Sections.Select(name => dict[name]).OfType<PickleDict>().FirstOrDefault(HasTensor);

    private static bool HasTensor(PickleDict dict) => dict.Items.Any(item => item.Value is PickleTensor);

    private static bool HasPlaceholder(PickleDict dict) => dict.Items.Any(item => item.Value is PicklePlaceholder);

    private static string Describe(object? root) => root switch
    {
        PickleDict { Count: > 0 } dict => $"it is a dict with {string.Join(", ", dict.Items.Take(8).Select(i => $"'{Shown(i.Key)}' ({Kind(i.Value)})"))}",
        PickleDict => "it is a dict whose keys are not names",
        PicklePlaceholder p =>
            $"it is an object of class {p.ClassName}, which is refused: a pickled object runs its own code when loaded. Save its state_dict() instead",
        _ => $"it is {Kind(root)}, not a dict of tensors",
    };

    private static string Shown(string key) => key.Length <= 60 ? key : key[..60] + "...";

    private static string Kind(object? value) => value switch
    {
        null => "None",
        PickleTensor => "a tensor",
        PickleDict => "a dict",
        PickleList => "a list",
        object?[] => "a tuple",
        string => "text",
        bool => "a truth value",
        PicklePlaceholder p => p.ClassName,
        PickleGlobal g => g.FullName,
        PickleData or PickleStorage => "bytes",
        _ => "a number",
    };
}
