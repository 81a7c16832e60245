using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>
/// Base of Bayou's layers and networks. A subclass assigns its fields (their names are the official state-dict keys) and then calls
/// <c>RegisterComponents()</c> at the end of its constructor; a parameter that was not registered is found by the capture.
/// </summary>
public abstract class Layer : nn.Module<Tensor, Tensor>
{
    /// <summary>Creates the layer; the name is only for messages.</summary>
    protected Layer() : base("layer") { }

    /// <summary>A parameter that outlives any dispose scope.</summary>
    protected static Parameter NewParameter(Tensor value) => (Parameter)new Parameter(value.DetachFromDisposeScope()).DetachFromDisposeScope();

    /// <summary>A buffer that outlives any dispose scope; assign it to a field, which makes it part of the state dict.</summary>
    protected static Tensor NewBuffer(Tensor value) => value.DetachFromDisposeScope();

    /// <summary>Puts another layer (or none) in the place of a registered child, in the field and under its key; the old one is freed.</summary>
    protected void Replace<T>(string name, ref T? field, T? next) where T : nn.Module
    {
        // TorchSharp takes a null for "remove".
        if (field is not null) register_module(name, null!);
        field?.Dispose();
        field = next;
        if (next is null) return;
        register_module(name, next);
        next.train(training);
    }
}
