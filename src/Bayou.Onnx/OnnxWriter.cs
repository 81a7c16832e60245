using Bayou.Core;
using Bayou.Onnx.Proto;
using Google.Protobuf;
using static TorchSharp.torch;

namespace Bayou.Onnx;

/// <summary>
/// Writes a graph as an ONNX file: opset 20, ir 9 (21 and 10 where codes have more than 8 bits), the batch open (axis "N"), weights under their state-dict
/// names (".T" where a Linear's is stored as [I, O]), quantised weights as codes. The file appears under its name only once it is complete and agrees with
/// TorchSharp.
/// </summary>
public static class OnnxWriter
{
    /// <summary>Largest batches that the comparison runs at; 3 shows that the batch is open.</summary>
    private static readonly long[] CheckBatches = [1, 3];

    /// <summary>Writes a graph and compares what ONNX Runtime makes of the file with TorchSharp.</summary>
    /// <param name="graph">The graph; batch-normalisation, dropout and stochastic depth are written as they predict.</param>
    /// <param name="path">The file; its folder is made when it is missing, an older file is replaced.</param>
    /// <param name="options">Metadata, comparison; null for the defaults.</param>
    /// <returns>How well the two agree (<see cref="OnnxCheck.None"/> when <see cref="OnnxOptions.Verify"/> is off).</returns>
    /// <exception cref="BayouException">A node has no ONNX form (named), the file cannot be written, or a float graph gives other results in ONNX Runtime; no
    /// file is left then.</exception>
    public static OnnxCheck Write(Graph graph, string path, OnnxOptions? options = null)
    {
        options ??= new OnnxOptions();
        var model = Build(graph, options);
        path = Path.GetFullPath(path);
        var folder = Path.GetDirectoryName(path) ?? throw new BayouException($"ONNX export: '{path}' is a folder; give a file name");
        if (Directory.Exists(path)) throw new BayouException($"ONNX export: '{path}' is a folder; give a file name");
        // Complete and checked in a folder of its own, then moved: model and weight file keep the names by which they know each other.
        var staging = Path.Combine(folder, $".{Path.GetFileName(path)}.{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(staging);
            var staged = Path.Combine(staging, Path.GetFileName(path));
            var dataFile = Path.GetFileName(path) + ".data";
            var external = model.Graph.Initializer.Sum(t => (long)t.RawData.Length) > options.ExternalDataAbove;
            if (external) WriteWeightsBeside(model, Path.Combine(staging, dataFile), dataFile);
            WriteDurably(staged, model.WriteTo);
            var check = options.Verify ? OnnxVerifier.Compare(graph, staged, CheckBatches, options) : OnnxCheck.None;
            if (external) File.Move(Path.Combine(staging, dataFile), Path.Combine(folder, dataFile), overwrite: true);
            File.Move(staged, path, overwrite: true);
            return check;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"ONNX export: cannot write '{path}': {error.Message}", error);
        }
        finally
        {
            if (Directory.Exists(staging)) Directory.Delete(staging, recursive: true);
        }
    }

    /// <summary>The file's bytes without writing one, e.g. to time a candidate; not compared with TorchSharp.</summary>
    /// <exception cref="BayouException">A node has no ONNX form, or the weights exceed 2 GB.</exception>
    public static byte[] ToBytes(Graph graph, OnnxOptions? options = null)
    {
        options ??= new OnnxOptions();
        var model = Build(graph, options);
        var bytes = model.Graph.Initializer.Sum(t => (long)t.RawData.Length);
        if (bytes > options.ExternalDataAbove)
            throw new BayouException($"ONNX export: {bytes:N0} bytes of weights do not fit one protobuf; write them to a file");
        return model.ToByteArray();
    }

    internal static ModelProto Build(Graph graph, OnnxOptions options)
    {
        var emitter = new OnnxEmitter(graph, options.GraphName);
        foreach (var node in graph.Nodes) OnnxOps.Emit(emitter, node);
        var newer = OnnxQuantize.NeedsOpset21(graph);
        var model = new ModelProto
        {
            IrVersion = newer ? 10 : 9,
            ProducerName = "bayou",
            ProducerVersion = typeof(OnnxWriter).Assembly.GetName().Version?.ToString(3) ?? "",
            DocString = options.Description,
            Graph = emitter.Finish(),
        };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = newer ? 21 : 20 });
        foreach (var (key, value) in options.Metadata) model.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });
        return model;
    }

    // Large tensors go to the second file, each at a page border so that it can be memory-mapped.
    private static void WriteWeightsBeside(ModelProto model, string path, string location) => WriteDurably(path, stream =>
    {
        const int page = 4096, small = 1024;
        foreach (var tensor in model.Graph.Initializer)
        {
            if (tensor.RawData.Length < small) continue;
            stream.Write(new byte[(page - stream.Position % page) % page]);
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = stream.Position.ToString() });
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = tensor.RawData.Length.ToString() });
            tensor.DataLocation = TensorProto.Types.DataLocation.External;
            stream.Write(tensor.RawData.Span);
            tensor.ClearRawData();
        }
    });

    private static void WriteDurably(string path, Action<Stream> write)
    {
        using var stream = new FileStream(path, FileMode.Create, FileAccess.Write);
        write(stream);
        stream.Flush(flushToDisk: true);
    }
}

/// <summary>Export straight from a network.</summary>
public static class OnnxExport
{
    /// <summary>Captures a network with one input and one output and writes it (<see cref="OnnxWriter.Write"/>). The batch stays open.</summary>
    /// <param name="model">The network.</param>
    /// <param name="path">The file.</param>
    /// <param name="inputShape">Shape of the input, batch axis included (its size does not matter), e.g. [1, 3, 224, 224].</param>
    /// <param name="options">Metadata, comparison; null for the defaults.</param>
    /// <exception cref="BayouException">As for capture and writing.</exception>
    public static OnnxCheck ExportOnnx(this nn.Module<Tensor, Tensor> model, string path, long[] inputShape, OnnxOptions? options = null) =>
        OnnxWriter.Write(Capture.Trace(model, inputShape), path, options);
}
