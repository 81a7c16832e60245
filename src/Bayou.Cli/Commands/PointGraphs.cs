using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Onnx;
using Bayou.Points;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Cli;

/// <summary>What profile and export do for models on points.</summary>
internal static class PointGraphs
{
    /// <summary>Whether MODEL is a catalog model on points, or a model.safetensors of one.</summary>
    public static bool Takes(string model) => PointModels.Has(model) || PointSetup.IsModel(model);

    /// <summary>Prints cost and latency on a generated room: the work of a sparse network depends on which voxels are occupied.</summary>
    public static void Profile(ParseResult parsed, ModelArguments model, bool time, bool all, bool json, int threads)
    {
        var (setup, network) = Open(parsed, model);
        using var owned = network;
        using var batch = Example(setup);
        var graph = GraphPasses.Simplify(Trace(setup, network, batch.Images));
        var cost = Cost.Of(graph);
        var what = setup.Task == PointTask.Voxels
            ? $"{batch.Images.shape[0]:N0} voxels of {setup.Voxel} m of a generated room (synthetic)" : $"{setup.Channels} channels x {setup.Points:N0} points";
        ProfileCommand.Print(new(setup.Model, what, batch.Images.shape, false, cost, cost, SparseCost.Of(graph)), time ? Time(network, batch.Images) : null,
            [], all, json, threads);
    }

    /// <summary>Writes a PointNet as ONNX. Networks with furthest points, balls or voxels have no ONNX form; the error names the node.</summary>
    public static int Export(ParseResult parsed, ModelArguments model, string? output, bool json)
    {
        var (setup, network) = Open(parsed, model);
        using var owned = network;
        using var batch = Example(setup);
        var path = output ?? setup.Model + ".onnx";
        var graph = GraphPasses.Simplify(Trace(setup, network, batch.Images));
        if (!PointSetup.IsModel(parsed.GetValue(model.Model)!) && parsed.GetValue(model.Weights) is null)
            Console.Error.WriteLine("bayou: note: no --weights were given; the exported network is untrained");
        var metadata = new Dictionary<string, string>
        {
            ["bayou.model"] = setup.Model,
            ["bayou.labels"] = JsonSerializer.Serialize(setup.Classes),
            ["bayou.version"] = Machine.Here.Bayou
        };
        var check = OnnxWriter.Write(graph, path, new OnnxOptions { Metadata = metadata, Description = setup.Model });
        if (json)
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
    }

    private static (PointSetup, Layer) Open(ParseResult parsed, ModelArguments model)
    {
        var (name, weights) = (parsed.GetValue(model.Model)!, parsed.GetValue(model.Weights));
        if (PointSetup.IsModel(name)) return PointSetup.Load(name);
        if (weights is not null && PointSetup.IsModel(weights))
        {
            var trained = PointSetup.Load(weights);
            return trained.Setup.Model == name ? trained : throw new BayouException($"'{weights}' holds the weights of {trained.Setup.Model}, not of {name}");
        }
        // The classes of ModelNet40, S3DIS and ScanNet, where the published networks come from.
        var classes = parsed.GetValue(model.Classes)
            ?? PointModels.TaskOf(name) switch { PointTask.ClassifyShapes => 40, PointTask.SegmentPoints => 13, _ => 20 };
        var entry = Catalog.Models.Find(name);
        var points = parsed.GetValue(model.Size) ?? (PointModels.TaskOf(name) == PointTask.Voxels ? 0 : entry.InputSize);
        var setup = new PointSetup(entry.Name, [.. Enumerable.Range(0, classes).Select(c => $"class {c}")], parsed.GetValue(model.Channels) ?? 3, points,
            0.05f, false);
        var network = setup.Create();
        if (weights is not null) network.Load(weights);
        network.eval();
        return (setup, network);
    }

    private static Batch Example(PointSetup setup) => setup.Source([new ShapeSample(SyntheticRooms.Make(0).Cloud)], 1, training: false, 0).Epoch(0).First();

    private static Graph Trace(PointSetup setup, Layer network, Tensor example) =>
        setup.Task == PointTask.Voxels ? Capture.TraceOn(network, example) : Capture.Trace(network, example.shape);

    private static LatencyMeasurement Time(Layer network, Tensor example)
    {
        using var guard = no_grad();
        var rounds = new List<double[]>();
        Run(2);
        for (var clock = Stopwatch.StartNew(); rounds.Count < 3 || (rounds.Count < 10 && clock.Elapsed.TotalSeconds < 3);) rounds.Add(Run(3));
        return LatencyMeasurement.Of(rounds);

        double[] Run(int times) => [.. Enumerable.Range(0, times).Select(_ =>
        {
            using var scope = NewDisposeScope();
            var start = Stopwatch.GetTimestamp();
            network.call(example);
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        })];
    }
}
