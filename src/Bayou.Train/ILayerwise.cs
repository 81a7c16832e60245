namespace Bayou.Train;

/// <summary>A network that says how deep each parameter sits, for layer-wise learning-rate decay.</summary>
public interface ILayerwise
{
    /// <summary>The id of the last group (head); ids run from 0 (stem) to this, inclusive.</summary>
    int LayerCount { get; }

    /// <summary>The group of a parameter, by its state-dict key.</summary>
    int LayerId(string parameterName);
}
