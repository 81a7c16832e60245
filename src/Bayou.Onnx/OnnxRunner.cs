using Bayou.Core;
using Bayou.Onnx.Proto;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Bayou.Onnx;

/// <summary>How <see cref="OnnxRunner"/> runs a file.</summary>
public sealed record OnnxRunnerOptions
{
    /// <summary>Threads of one run; 0 for all cores.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Whether ONNX Runtime's threads wait for the next piece of work in a busy loop. Alone on an idle machine that is up to a quarter faster for networks
    /// below a millisecond; but while they spin they take the cores from libtorch and from everything else (prediction in turns with libtorch: libtorch many
    /// times slower when cores are scarce), so it is off.
    /// </summary>
    public bool Spinning { get; init; }

    /// <summary>Where ONNX Runtime writes the graph as it optimised it, to see which kernels run; null for nowhere.</summary>
    public string? OptimizedModelPath { get; init; }

    /// <summary>Off only to compare: fusions and layout changes.</summary>
    public bool Optimize { get; init; } = true;

    internal string? ProfilePrefix { get; init; }
}

/// <summary>An input or output of a file.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Sizes; -1 where an axis is open.</param>
/// <param name="Symbols">Name of each open axis ("N" for the batch), "" for a fixed one.</param>
/// <param name="Dtype">Element type.</param>
public sealed record OnnxValue(string Name, long[] Shape, string[] Symbols, ScalarType Dtype)
{
    /// <summary>Whether an axis is open.</summary>
    public bool IsDynamic => Array.IndexOf(Shape, -1) >= 0;

    /// <summary>The shape at a batch: "N" becomes the batch, "4N" four times it.</summary>
    public long[] ShapeAt(long batch)
    {
        var shape = (long[])Shape.Clone();
        for (var i = 0; i < shape.Length; i++)
        {
            if (shape[i] >= 0) continue;
            shape[i] = Symbols[i].EndsWith('N') && long.TryParse(Symbols[i][..^1], out var times) ? times * batch : batch;
        }
        return shape;
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Name}[{string.Join(",", Shape.Select((d, i) => d >= 0 ? d.ToString() : Symbols[i].Length > 0 ? Symbols[i] : "?"))}]";
}

/// <summary>Runs an ONNX file, ours or another's, on the CPU. Safe to call from several threads at once.</summary>
public sealed partial class OnnxRunner : IDisposable
{
    private readonly InferenceSession session;
    private readonly string[] inputNames, outputNames;

    /// <summary>Loads a file.</summary>
    /// <exception cref="BayouException">The file is missing, truncated, not ONNX, or uses something ONNX Runtime does not know.</exception>
    public OnnxRunner(string path, OnnxRunnerOptions? options = null) : this(Load(path, options ?? new()), options ?? new(), path) { }

    /// <summary>Loads a file's bytes.</summary>
    /// <exception cref="BayouException">The bytes are truncated, not ONNX, or use something ONNX Runtime does not know.</exception>
    public OnnxRunner(byte[] model, OnnxRunnerOptions? options = null) : this(Load(model, "the given bytes", options ?? new()), options ?? new(),
        "the given bytes")
    { }

    private OnnxRunner(InferenceSession session, OnnxRunnerOptions options, string what)
    {
        this.session = session;
        Source = what;
        Threads = ThreadsOf(options);
        Metadata = new Dictionary<string, string>(session.ModelMetadata.CustomMetadataMap);
        Inputs = session.InputNames.Select(n => Describe(n, session.InputMetadata[n])).ToArray();
        Outputs = session.OutputNames.Select(n => Describe(n, session.OutputMetadata[n])).ToArray();
        (inputNames, outputNames) = ([.. session.InputNames], [.. session.OutputNames]);
    }

    /// <summary>The path, for messages.</summary>
    public string Source { get; }

    /// <summary>Threads of one run.</summary>
    public int Threads { get; }

    /// <summary>What the file carries beside the network (metadata_props).</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Inputs in order.</summary>
    public IReadOnlyList<OnnxValue> Inputs { get; }

    /// <summary>Outputs in order.</summary>
    public IReadOnlyList<OnnxValue> Outputs { get; }

    /// <summary>Runs a file with one float input and gives its first output.</summary>
    /// <param name="input">The values, row-major; read in place.</param>
    /// <param name="shape">Their shape, e.g. [1, 3, 224, 224].</param>
    /// <exception cref="BayouException">The shape does not fit the file or the number of values.</exception>
    public float[] Run(float[] input, long[] shape)
    {
        NeedsInputs(1);
        CheckShape(0, shape);
        if (shape.Aggregate(1L, (a, b) => a * b) != input.Length) throw new BayouException($"OnnxRunner: {input.Length} values for shape {new Ints(shape)}");
        using var value = OrtValue.CreateTensorValueFromMemory(input, shape);
        using var results = RunSession([value]);
        if (results[0].GetTensorTypeAndShape().ElementDataType != TensorElementType.Float)
            throw new BayouException($"OnnxRunner: output '{outputNames[0]}' of {Source} is not float; run it with tensors");
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>Runs a file with one input and gives its first output, which the caller's dispose scope owns.</summary>
    /// <param name="input">The input; read in place when it is contiguous on the CPU.</param>
    /// <exception cref="BayouException">Shape or type do not fit the file.</exception>
    public Tensor Run(Tensor input) => Run([input], 1)[0];

    /// <summary>Runs a file with any number of inputs and gives all outputs.</summary>
    /// <exception cref="BayouException">Number, shapes or types do not fit the file.</exception>
    public Tensor[] Run(Tensor[] inputs) => Run(inputs, outputNames.Length);

    private Tensor[] Run(Tensor[] inputs, int outputs)
    {
        NeedsInputs(inputs.Length);
        var plain = new Tensor[inputs.Length];
        var values = new OrtValue[inputs.Length];
        try
        {
            for (var i = 0; i < inputs.Length; i++)
            {
                if (inputs[i].dtype != Inputs[i].Dtype)
                    throw new BayouException($"OnnxRunner: input '{inputNames[i]}' of {Source} takes {Inputs[i].Dtype}, a {inputs[i].dtype} was given");
                CheckShape(i, inputs[i].shape);
                plain[i] = inputs[i].detach().cpu().contiguous();
                unsafe
                {
                    fixed (byte* data = plain[i].bytes)
                    {
                        // libtorch's memory does not move: the pointer stays good while the tensor lives.
                        values[i] = OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, ElementType(plain[i].dtype), plain[i].shape, (nint)data,
                            plain[i].numel() * plain[i].element_size());
                    }
                }
            }
            using var results = RunSession(values);
            return Enumerable.Range(0, outputs).Select(i => ToTensor(results[i])).ToArray();
        }
        finally
        {
            foreach (var value in values) value?.Dispose();
            foreach (var tensor in plain) if (tensor is not null) tensor.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => session.Dispose();

    /// <summary>Writes the profile and gives its path.</summary>
    internal string EndProfiling() => session.EndProfiling();

    private IDisposableReadOnlyCollection<OrtValue> RunSession(OrtValue[] values)
    {
        try
        {
            using var run = new RunOptions();
            return session.Run(run, inputNames, values, outputNames);
        }
        catch (OnnxRuntimeException error)
        {
            throw new BayouException($"OnnxRunner: {Source} failed: {error.Message}", error);
        }
    }

    private void NeedsInputs(int count)
    {
        if (count != inputNames.Length)
            throw new BayouException($"OnnxRunner: {count} inputs given, {Source} takes {inputNames.Length}: {string.Join(", ", Inputs)}");
    }

    private void CheckShape(int index, long[] shape)
    {
        var declared = Inputs[index].Shape;
        var fits = shape.Length == declared.Length && !shape.Contains(0);
        for (var i = 0; fits && i < shape.Length; i++) fits = declared[i] < 0 || declared[i] == shape[i];
        if (!fits) throw new BayouException($"OnnxRunner: shape {new Ints(shape)} does not fit {Inputs[index]} of {Source}");
    }

    private static unsafe Tensor ToTensor(OrtValue value)
    {
        var info = value.GetTensorTypeAndShape();
        var tensor = empty(info.Shape, Dtype(info.ElementDataType, "an output"));
        var source = value.GetTensorMutableRawData();
        if (source.Length > 0) source.CopyTo(tensor.bytes);
        return tensor;
    }

    private static OnnxValue Describe(string name, NodeMetadata node)
    {
        if (!node.IsTensor) throw new BayouException($"OnnxRunner: '{name}' is no tensor ({node.OnnxValueType}); only tensors are supported");
        return new OnnxValue(name, node.Dimensions.Select(d => (long)d).ToArray(), node.SymbolicDimensions, Dtype(node.ElementDataType, name));
    }

    private static ScalarType Dtype(TensorElementType type, string name) => type switch
    {
        TensorElementType.Float => ScalarType.Float32,
        TensorElementType.Double => ScalarType.Float64,
        TensorElementType.Float16 => ScalarType.Float16,
        TensorElementType.BFloat16 => ScalarType.BFloat16,
        TensorElementType.Int64 => ScalarType.Int64,
        TensorElementType.Int32 => ScalarType.Int32,
        TensorElementType.Int16 => ScalarType.Int16,
        TensorElementType.Int8 => ScalarType.Int8,
        TensorElementType.UInt8 => ScalarType.Byte,
        TensorElementType.Bool => ScalarType.Bool,
        _ => throw new BayouException($"OnnxRunner: '{name}' has element type {type}, which has no TorchSharp counterpart"),
    };

    private static TensorElementType ElementType(ScalarType type) => type switch
    {
        ScalarType.Float32 => TensorElementType.Float,
        ScalarType.Float64 => TensorElementType.Double,
        ScalarType.Float16 => TensorElementType.Float16,
        ScalarType.BFloat16 => TensorElementType.BFloat16,
        ScalarType.Int64 => TensorElementType.Int64,
        ScalarType.Int32 => TensorElementType.Int32,
        ScalarType.Int16 => TensorElementType.Int16,
        ScalarType.Int8 => TensorElementType.Int8,
        ScalarType.Byte => TensorElementType.UInt8,
        _ => TensorElementType.Bool,
    };

    private static int ThreadsOf(OnnxRunnerOptions options) => options.Threads > 0 ? options.Threads : Environment.ProcessorCount;

    private static InferenceSession Load(string path, OnnxRunnerOptions options)
    {
        if (Directory.Exists(path)) throw new BayouException($"OnnxRunner: '{path}' is a folder, not an .onnx file");
        if (!File.Exists(path)) throw new BayouException($"OnnxRunner: there is no file '{path}'");
        try
        {
            using (var stream = File.OpenRead(path)) Inspect(stream, path);
            return Open(settings => new InferenceSession(path, settings), path, options);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"OnnxRunner: cannot read '{path}': {error.Message}", error);
        }
    }

    private static InferenceSession Load(byte[] model, string what, OnnxRunnerOptions options)
    {
        using (var stream = new MemoryStream(model, writable: false)) Inspect(stream, what);
        return Open(settings => new InferenceSession(model, settings), what, options);
    }

    // ONNX Runtime reports damage in its own words; a file that is no model at all is told apart first.
    private static void Inspect(Stream stream, string what)
    {
        ModelProto model;
        try
        {
            model = ModelProto.Parser.ParseFrom(stream);
        }
        catch (InvalidProtocolBufferException error)
        {
            throw new BayouException($"OnnxRunner: '{what}' is no ONNX file or is cut off ({error.Message.TrimEnd('.')})", error);
        }
        if (model.IrVersion <= 0 || model.Graph is null || model.Graph.Output.Count == 0)
            throw new BayouException($"OnnxRunner: '{what}' is no ONNX model: it has no graph with outputs");
    }

    private static InferenceSession Open(Func<SessionOptions, InferenceSession> open, string what, OnnxRunnerOptions options)
    {
        using var settings = new SessionOptions
        {
            IntraOpNumThreads = ThreadsOf(options),
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            GraphOptimizationLevel = options.Optimize ? GraphOptimizationLevel.ORT_ENABLE_ALL : GraphOptimizationLevel.ORT_DISABLE_ALL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL,     // errors come as exceptions; warnings would go to the user's terminal
        };
        settings.AddSessionConfigEntry("session.intra_op.allow_spinning", options.Spinning ? "1" : "0");
        if (options.OptimizedModelPath is { } optimised) settings.OptimizedModelFilePath = optimised;
        if (options.ProfilePrefix is { } prefix)
        {
            settings.ProfileOutputPathPrefix = prefix;
            settings.EnableProfiling = true;
        }
        try
        {
            return open(settings);
        }
        catch (OnnxRuntimeException error)
        {
            throw new BayouException($"OnnxRunner: ONNX Runtime cannot load '{what}': {error.Message}", error);
        }
    }
}
