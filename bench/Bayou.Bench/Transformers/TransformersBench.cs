using Bayou.Train;

namespace Bayou.Bench;

/// <summary>Transformers: the attention layer itself, then what systems make of it; each part is one class and one line here.</summary>
public sealed class TransformersBench : IBenchmark
{
    private static readonly IReadOnlyList<Action<BenchContext>> Parts =
    [
        AttentionPart.Run,
        AdaptivePart.Run,
    ];

    /// <inheritdoc/>
    public string Name => "transformers";

    /// <inheritdoc/>
    public string Summary => "attention layers forward against libtorch (fused and plain) and ONNX Runtime; A-ViT and SkipNet against their dense bases";

    /// <inheritdoc/>
    public void Run(BenchContext context)
    {
        // As the trainer and the CLI do.
        GlibcAllocator.KeepFreedMemory();
        foreach (var part in Parts) part(context);
    }
}
