using static TorchSharp.torch;

namespace Bayou.Core;

/// <summary>The forms a re-parameterised network can have. All compute the same function in eval mode.</summary>
public enum NetworkForm
{
    /// <summary>As it trains: parallel branches, each with its batch normalisation.</summary>
    Training,

    /// <summary>Parallel branches are one convolution with a bias.</summary>
    Merged,

    /// <summary>As <see cref="Merged"/>, and every other batch normalisation behind a convolution is part of that convolution.</summary>
    Fused,
}

/// <summary>
/// A network whose training form has parallel branches that one cheaper layer replaces exactly in eval mode (structural re-parameterisation). Loading weights
/// puts such a network into the form of the file; one that was already merged merges again after it has loaded a training form.
/// </summary>
public interface IMergeable
{
    /// <summary>The present form.</summary>
    NetworkForm Form { get; }

    /// <summary>The form whose state dict has these keys.</summary>
    NetworkForm FormOf(IReadOnlyCollection<string> keys);

    /// <summary>
    /// Changes the form. Towards <see cref="NetworkForm.Fused"/> the weights are computed from the present ones; back towards
    /// <see cref="NetworkForm.Training"/> the layers of that form come with fresh weights, for a state dict to be loaded into them. Parameter objects change:
    /// make optimisers and captures afterwards.
    /// </summary>
    void TakeForm(NetworkForm form);
}

/// <summary>Merging of any network.</summary>
public static class Merging
{
    /// <summary>
    /// Merges the parallel branches of a re-parameterised network in place (with its running statistics: the result equals the network in eval mode); any other
    /// network is left as it is.
    /// </summary>
    /// <param name="network">The network.</param>
    /// <param name="fuse">Also make the other batch normalisations part of the convolutions before them.</param>
    /// <returns>The network.</returns>
    public static T Merge<T>(this T network, bool fuse = false) where T : nn.Module
    {
        var form = fuse ? NetworkForm.Fused : NetworkForm.Merged;
        if (network is IMergeable mergeable && mergeable.Form < form) mergeable.TakeForm(form);
        return network;
    }
}
