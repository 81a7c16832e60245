using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>Named tensors that can be loaded into a module.</summary>
internal interface IWeightSource
{
    /// <summary>What the source is, for messages.</summary>
    string Where { get; }

    IReadOnlyList<string> Keys { get; }

    TensorInfo Info(string key);

    /// <summary>Whether two keys name the very same elements.</summary>
    bool SameElements(string a, string b);

    /// <summary>Copies a value into a tensor of the same shape, converting floating-point types.</summary>
    void CopyTo(string key, Tensor target);
}

/// <summary>Compares named tensors with a module, then copies.</summary>
internal static class ModuleLoader
{
    private const string BatchCounter = "num_batches_tracked";

    /// <summary>Loads; a network that can be merged takes the form of the file first, and its own again afterwards when that is the more merged one.</summary>
    internal static LoadReport Load(IWeightSource file, nn.Module module, bool strict, Func<string, string?>? mapKey)
    {
        if (module is ICheckpointLayouts layouts) file = new RearrangedSource(file, layouts);
        if (module is not IMergeable mergeable) return LoadSameForm(file, module, strict, mapKey);
        var (before, asked) = (mergeable.Form, mergeable.FormOf(MapKeys(file, mapKey).Keys));
        if (asked == before) return LoadSameForm(file, module, strict, mapKey);
        // Changing the form loses weights: what does not fit must leave the network as it was.
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var kept = ModuleState.Of(module).ConvertAll(s => new KeyValuePair<string, Tensor>(s.Key, s.Value.detach().clone()));
        mergeable.TakeForm(asked);
        try
        {
            var report = LoadSameForm(file, module, strict, mapKey);
            if (before > asked) mergeable.TakeForm(before);
            return report;
        }
        catch (BayouException)
        {
            mergeable.TakeForm(before);
            module.LoadState(kept);
            throw;
        }
    }

    private static LoadReport LoadSameForm(IWeightSource file, nn.Module module, bool strict, Func<string, string?>? mapKey)
    {
        var targets = ModuleState.Of(module).ToDictionary();
        var sources = MapKeys(file, mapKey);
        foreach (var key in sources.Keys)
            if (!targets.ContainsKey(key) && ModuleState.Find(module, key) is { } alias && targets.Values.Any(t => ReferenceEquals(t, alias)))
                targets[key] = alias;
        var layouts = module as ICheckpointLayouts;
        using var resized = NewDisposeScope();
        var copies = new List<(string Key, Action Copy)>();
        var mismatched = new List<string>();
        var converted = new List<string>();

        foreach (var (key, target) in targets)
        {
            if (!sources.TryGetValue(key, out var fileKey)) continue;
            var info = file.Info(fileKey);      // a refused weight that the module needs is an error, strict or not
            var same = info.DType == target.dtype;
            if (!info.Shape.SequenceEqual(target.shape))
            {
                if (layouts?.IsDerived(key) == true) continue;
                if (Resized(layouts, file, fileKey, key, target) is { } value) copies.Add((key, () => target.copy_(value)));
                else mismatched.Add($"{key} ([{string.Join(", ", info.Shape)}] in the file, [{string.Join(", ", target.shape)}] in the module)");
            }
            else if (!same && !(ElementTypes.IsFloat(info.DType) && ElementTypes.IsFloat(target.dtype)))
                mismatched.Add($"{key} ({ElementTypes.Name(info.DType)} in the file, {ElementTypes.Name(target.dtype)} in the module)");
            else
            {
                copies.Add((key, () => Copy(file, fileKey, target)));
                if (!same) converted.Add($"{key} ({ElementTypes.Name(info.DType)} to {ElementTypes.Name(target.dtype)})");
            }
        }

        // One tensor may have several names, in the module and in the file: it is missing only if it is under none of them.
        var filled = new HashSet<Tensor>(sources.Keys.Where(targets.ContainsKey).Select(k => targets[k]), ByReference.Instance);
        var missing = targets.Where(t => !filled.Contains(t.Value) && layouts?.IsDerived(t.Key) != true).Select(t => t.Key).ToList();
        var report = new LoadReport
        {
            Loaded = copies.ConvertAll(c => c.Key),
            Missing = missing.FindAll(k => !IsBatchCounter(k)),
            Unexpected = Unexpected(file, sources, targets).FindAll(k => layouts?.IsDerived(k) != true),
            Mismatched = mismatched,
            Converted = converted,
            Defaulted = missing.FindAll(IsBatchCounter),
        };
        if (strict && !report.Complete)
            throw new BayouException($"{file.Where} does not fit {module.GetName()}; nothing was loaded.\n{Problems(report)}");
        using var guard = no_grad();
        foreach (var (_, copy) in copies) copy();
        return report;
    }

    // A value for another picture size, brought to the network's.
    private static Tensor? Resized(ICheckpointLayouts? layouts, IWeightSource file, string fileKey, string key, Tensor target)
    {
        if (layouts is null) return null;
        using var guard = no_grad();
        var info = file.Info(fileKey);
        var value = empty([.. info.Shape], info.DType);
        file.CopyTo(fileKey, value);
        return layouts.Resized(key, value, target) is { } fitted && fitted.shape.SequenceEqual(target.shape) ? fitted : null;
    }

    private static Dictionary<string, string> MapKeys(IWeightSource file, Func<string, string?>? mapKey)
    {
        var sources = new Dictionary<string, string>();
        foreach (var fileKey in file.Keys)
        {
            if ((mapKey is null ? fileKey : mapKey(fileKey)) is not { } key) continue;
            if (!sources.TryAdd(key, fileKey))
                throw new BayouException($"{file.Where}: the keys '{sources[key]}' and '{fileKey}' are both mapped to '{key}'");
        }
        return sources;
    }

    /// <summary>Keys the module lacks; except a second name, in the file, of elements that are loaded under a first.</summary>
    private static List<string> Unexpected(IWeightSource file, Dictionary<string, string> sources, Dictionary<string, Tensor> targets)
    {
        var known = sources.Where(s => targets.ContainsKey(s.Key)).Select(s => s.Value).ToList();
        return [.. sources.Where(s => !targets.ContainsKey(s.Key) && !known.Exists(k => file.SameElements(k, s.Value))).Select(s => s.Key)];
    }

    private static bool IsBatchCounter(string key) => key == BatchCounter || key.EndsWith("." + BatchCounter, StringComparison.Ordinal);

    private static string Problems(LoadReport report) => report.ToString()[(report.ToString().IndexOf('\n') + 1)..];

    private static void Copy(IWeightSource file, string fileKey, Tensor target)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        file.CopyTo(fileKey, target);
    }

    /// <summary>Tensors compare by value; what matters here is which object they are.</summary>
    private sealed class ByReference : IEqualityComparer<Tensor>
    {
        internal static readonly ByReference Instance = new();

        public bool Equals(Tensor? a, Tensor? b) => ReferenceEquals(a, b);

        public int GetHashCode(Tensor tensor) => RuntimeHelpers.GetHashCode(tensor);
    }
}
