using System.CommandLine;
using Bayou.Core;
using Bayou.Images;
using Bayou.Onnx;

namespace Bayou.Cli;

/// <summary>bayou export MODEL: ONNX, checked while it is written.</summary>
internal static class ExportCommand
{
    public static Command Create()
    {
        var command = new Command("export", """
            Writes a catalog model as ONNX (opset 20, open batch axis, preprocessing and labels in the metadata) and compares it with TorchSharp through ONNX Runtime.
            Parallel branches of a re-parameterised network (RepLKNet, SLaK) are merged first: the file computes the same with fewer layers.

            Examples:
              bayou export convnext_tiny --weights convnext_tiny_1k_224_ema.pth --out convnext_tiny.onnx
              bayou export convnext_tiny --weights runs/train-x/model.safetensors
              bayou export runs/train-pointnet_cls/model.safetensors --out shapes.onnx
              bayou export replknet_31b --weights RepLKNet-31B_ImageNet-1K_224.pth
            """);
        var model = new ModelArguments();
        var output = new Option<string?>("--out") { Description = "file to write; default MODEL.onnx" };
        var labels = new Option<string?>("--labels") { Description = "text file with a class name a line, where the weights bring none" };
        var noMerge = new Option<bool>("--no-merge") { Description = "keep the training form's parallel branches" };
        var json = Common.Json();
        model.AddTo(command);
        foreach (var option in (Option[])[output, labels, noMerge, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            if (PointGraphs.Takes(parsed.GetValue(model.Model)!)) return PointGraphs.Export(parsed, model, parsed.GetValue(output), parsed.GetValue(json));
            var source = model.Open(parsed);
            var path = parsed.GetValue(output) ?? source.Name + ".onnx";
            var names = parsed.GetValue(labels) is { } file ? ReadLabels(file) : source.Labels;
            if (!parsed.GetValue(noMerge)) source.Network.Merge();
            var graph = GraphPasses.Simplify(Capture.Trace(source.Network, 1, source.Preprocessing.Channels, source.Preprocessing.Size,
                source.Preprocessing.Size));
            if (parsed.GetValue(model.Weights) is null) Console.Error.WriteLine("bayou: note: no --weights were given; the exported network is untrained");
            var check = OnnxWriter.Write(graph, path,
                new OnnxOptions { Metadata = OnnxClassifier.Metadata(source.Preprocessing, names, source.Name), Description = source.Name });
            if (parsed.GetValue(json))
                Common.PrintJson(new
                {
                    path,
                    bytes = new FileInfo(path).Length,
                    maxAbsDiff = check.MaxAbsDiff,
                    maxAbsReference = check.MaxAbsReference,
                    top1Agreement = check.Top1Agreement
                });
            else Console.Out.WriteLine($"{path}: {check}");
            return 0;
        });
        return command;
    }

    private static string[] ReadLabels(string path)
    {
        try
        {
            return File.ReadAllLines(path).Select(l => l.Trim()).Where(l => l.Length > 0).ToArray();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"--labels: cannot read '{path}': {e.Message}", e);
        }
    }
}
