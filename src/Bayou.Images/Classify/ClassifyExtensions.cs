using Bayou.Core;
using Bayou.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Classifying pictures with a TorchSharp network.</summary>
public static class ClassifyExtensions
{
    /// <summary>Classifies a picture file.</summary>
    /// <param name="model">A network [N, C, H, W] -> [N, classes].</param>
    /// <param name="path">The picture.</param>
    /// <param name="preprocessing">How the network was trained to see pictures; null: 224 pixels, ImageNet mean and deviation.</param>
    /// <param name="labels">Class names; without them classes are numbered.</param>
    public static Classification Classify(this nn.Module<Tensor, Tensor> model, string path, Preprocessing? preprocessing = null,
        IReadOnlyList<string>? labels = null)
    {
        preprocessing ??= Preprocessing.For(224);
        var training = model.training;
        model.eval();
        try
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            var x = tensor(preprocessing.Apply(ImageDecoder.Decode(path)), [1, preprocessing.Channels, preprocessing.Size, preprocessing.Size]);
            return Classification.Of(model.call(x).data<float>().ToArray(), labels ?? []);
        }
        finally
        {
            model.train(training);
        }
    }
}
