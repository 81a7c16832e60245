using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>A module's state under all of its keys.</summary>
internal static class ModuleState
{
    /// <summary>Every parameter and persistent buffer. TorchSharp lists a tensor that is registered twice only once; walking the
    /// modules one by one brings back the other names, so that the keys are those of PyTorch's state_dict.</summary>
    internal static List<KeyValuePair<string, Tensor>> Of(nn.Module module)
    {
        var state = new List<KeyValuePair<string, Tensor>>();
        var names = new HashSet<string>();
        foreach (var (name, parameter) in module.named_parameters()) Add(name, parameter);
        foreach (var (name, buffer) in module.named_buffers()) Add(name, buffer);
        Walk(module, "");
        return state;

        void Walk(nn.Module m, string prefix)
        {
            foreach (var (name, parameter) in m.named_parameters(recurse: false)) Add(prefix + name, parameter);
            foreach (var (name, buffer) in m.named_buffers(recurse: false)) Add(prefix + name, buffer);
            foreach (var (name, child) in m.named_children()) Walk(child, $"{prefix}{name}.");
        }

        void Add(string name, Tensor tensor)
        {
            if (names.Add(name)) state.Add(new(name, tensor));
        }
    }

    /// <summary>The parameter or buffer that a key names although no walk lists it: a second field of one module that holds the same tensor.</summary>
    internal static Tensor? Find(nn.Module module, string key)
    {
        var dot = key.IndexOf('.');
        if (dot < 0) return module.has_parameter(key) ? module.get_parameter(key) : module.has_buffer(key) ? module.get_buffer(key) : null;
        foreach (var (name, child) in module.named_children())
            if (key.StartsWith(name + ".", StringComparison.Ordinal) && Find(child, key[(name.Length + 1)..]) is { } found) return found;
        return null;
    }
}
