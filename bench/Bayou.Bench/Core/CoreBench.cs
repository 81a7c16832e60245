using Bayou.Core;
using Bayou.Data;
using Bayou.Images;
using Bayou.Kernels;
using Bayou.Onnx;
using Bayou.Train;
using Microsoft.ML.OnnxRuntime;
using SkiaSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Bench;

/// <summary>
/// The main job's speed: training steps and predictions of the demo's network and of ConvNeXt-T, against the same network in plain TorchSharp and ONNX Runtime;
/// loading alone; resizing. Every step is a whole one: forward, loss, backward, AdamW. Data of the loader are drawn pixels in memory, so that no disk is
/// measured.
/// </summary>
internal sealed class CoreBench : IBenchmark
{
    private static readonly ConvNeXtConfig Demo =
        new() { Depths = [1, 1, 1], Dims = [48, 96, 192], Patch = 3, InChannels = 1, Classes = 10, LayerScale = 1, FanInInit = true };

    private static readonly ConvNeXtConfig Tiny = new() { Depths = [3, 3, 9, 3], Dims = [96, 192, 384, 768] };

    public string Name => "core";

    public string Summary =>
        "training and inference of the demo's network and ConvNeXt-T against plain TorchSharp and ONNX Runtime; loader; resize against SkiaSharp";

    public void Run(BenchContext context)
    {
        var training = Training(context, "ConvNeXt 48-96-192 at 28, batch 64", Demo, 28, 64, seconds: 6, least: 20);
        Training(context, "ConvNeXt-T at 224, batch 2", Tiny, 224, 2, seconds: 8, least: 3);
        var ratios = new List<double>();
        foreach (var (name, config, size, batch) in new[] { ("ConvNeXt 48-96-192 at 28", Demo, 28, 1), ("ConvNeXt 48-96-192 at 28", Demo, 28, 64),
            ("ConvNeXt-T at 224", Tiny, 224, 1) })
            ratios.Add(Inference(context, $"{name}, batch {batch}", config, size, batch));
        var loaded = Loading(context);
        Resizing(context);
        context.Mark("training of the demo's network, times plain TorchSharp", training.Peers["plain"] / training.OursMs, 1.5);
        context.Mark("inference, ONNX Runtime's time of the plain export by ours (worst case)", ratios.Min(), 1);
        context.Mark("loader, pictures a second by those the training takes", loaded / (64e3 / training.OursMs), 2);
    }

    private static BenchRow Training(BenchContext context, string title, ConvNeXtConfig config, int size, int batch, double seconds, int least)
    {
        using var scope = NewDisposeScope();
        GlibcAllocator.KeepFreedMemory();
        Tensor planar = randn(batch, config.InChannels, size, size), last = planar.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
            labels = randint(0, config.Classes, batch);
        using var network = new ConvNeXt(config);
        using PlainConvNeXt plain = new(config), plainLast = new(config);
        using (no_grad())
        {
            foreach (var parameter in plainLast.parameters().Where(p => p.dim() == 4))
                parameter.set_(parameter.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2));
        }
        using var optimizer = new AdamW(ParameterGroups.Of(network, 1));
        using optim.Optimizer plainOptimizer = optim.AdamW(plain.parameters()), lastOptimizer = optim.AdamW(plainLast.parameters());
        foreach (nn.Module module in (nn.Module[])[network, plain, plainLast]) module.train();

        void Ours()
        {
            using var step = NewDisposeScope();
            LabelSmoothingCrossEntropyLoss.Of(network.call(planar), labels, 0.1).backward();
            optimizer.Step(1e-3, 0.05);
            optimizer.ZeroGrad();
        }

        void Plain(nn.Module<Tensor, Tensor> module, optim.Optimizer own, Tensor images)
        {
            using var step = NewDisposeScope();
            own.zero_grad();
            nn.functional.cross_entropy(module.call(images), labels, label_smoothing: 0.1).backward();
            own.step();
        }

        var macs = Cost.Of(network, [1, config.InChannels, size, size]).Macs;
        context.Seconds = seconds;
        var times = context.Time(least, Ours, () => Plain(plain, plainOptimizer, planar), () => Plain(plainLast, lastOptimizer, last));
        double Processor(Action run)
        {
            var before = Environment.CpuUsage.TotalTime;
            for (var i = 0; i < least; i++) run();
            return (Environment.CpuUsage.TotalTime - before).TotalMilliseconds / least;
        }
        // The backward of a product is two products.
        var work = 3.0 * macs * batch / (times[0] * 1e6);
        return context.Add("training", title, times[0], new Dictionary<string, double> { ["plain"] = times[1], ["plain, channels-last"] = times[2] },
            work / context.FmaPeak,
            new Dictionary<string, double>
            {
                ["share of GEMM"] = work / context.GemmPeak,
                ["img/s"] = batch * 1e3 / times[0],
                ["plain img/s"] = batch * 1e3 / times[1],
                // What does not depend on how busy the machine is.
                ["processor ms"] = Processor(Ours),
                ["plain processor ms"] = Processor(() => Plain(plain, plainOptimizer, planar))
            });
    }

    private static double Inference(BenchContext context, string title, ConvNeXtConfig config, int size, int batch)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var network = new ConvNeXt(config with { LayerScale = 1 });
        using var plain = new PlainConvNeXt(config);
        network.eval();
        plain.eval();
        var graph = Capture.Trace(network, 1, config.InChannels, size, size);
        using var runner = new OnnxRunner(OnnxWriter.ToBytes(GraphPasses.Simplify(graph)), new OnnxRunnerOptions { Threads = context.Threads });
        // The plain export is the network node by node. Both wait without spinning: side by side, one would spin away the other's cores.
        using var settings = new SessionOptions { IntraOpNumThreads = context.Threads };
        settings.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
        using var session = new InferenceSession(OnnxWriter.ToBytes(graph), settings);
        var shape = new long[] { batch, config.InChannels, size, size };
        var images = randn(shape);
        var pixels = images.data<float>().ToArray();
        context.Seconds = size > 100 ? 4 : 2;
        var row = context.Row("inference", title, () => runner.Run(pixels, shape),
        [
            ("onnx runtime", () =>
            {
                using var input = OrtValue.CreateTensorValueFromMemory(pixels, shape);
                using var run = new RunOptions();
                using var output = session.Run(run, session.InputNames, [input], session.OutputNames);
                output[0].GetTensorDataAsSpan<float>().ToArray();
            }),
            ("torchsharp", () =>
            {
                using var one = NewDisposeScope();
                plain.call(images);
            }),
        ], (double)Cost.Of(graph).Macs * batch, least: 20);
        return row.Peers["onnx runtime"] / row.OursMs;
    }

    // Pictures a second of the demo's loader; the other rows say what photographs cost.
    private static double Loading(BenchContext context)
    {
        var speed = 0.0;
        foreach (var (title, side, channels, count, augmentation) in new (string, int, int, int, Augmentation)[]
        {
            ("28 to 28, grey, flip", 28, 1, 20_000, Augmentation.None with { Flip = 0.5 }),
            ("28 to 28, grey, padded crop, flip", 28, 1, 20_000, Augmentation.SmallPictures),
            ("256 to 224, RGB, random resized crop, flip", 256, 3, 400, new Augmentation()),
        })
        {
            var size = side == 28 ? 28 : 224;
            var preprocessing = Preprocessing.For(size, channels) with
            {
                Mean = [.. Enumerable.Repeat(0.3f, channels)],
                Std = [.. Enumerable.Repeat(0.3f, channels)]
            };
            var loader = new ImageLoader(new DrawnPictures(Math.Min(count, 1000), count, side, channels, context.Seed), 64, new LoaderOptions
            {
                Shuffle = true,
                Augmentation = augmentation,
                Preprocessing = preprocessing,
                Workers = 1,
            });
            var epoch = 0;
            void Read()
            {
                foreach (var batch in loader.Epoch(epoch++)) batch.Dispose();
            }
            context.Seconds = 1;
            var ms = context.Time(3, Read)[0];
            var perSecond = count * 1e3 / ms;
            context.Add("loading, one thread", title, ms * 64 / count, new Dictionary<string, double>(),
                notes: new Dictionary<string, double> { ["img/s"] = perSecond });
            if (speed == 0) speed = perSecond;
        }
        return speed;
    }

    private static void Resizing(BenchContext context)
    {
        context.Seconds = 1;
        foreach (var (width, height, to) in new[] { (512, 384, 224), (1920, 1080, 224) })
        {
            var source = new DrawnPictures(1, 1, Math.Max(width, height), 3, context.Seed).Read(0).Pixels[..(width * height * 3)];
            var target = new byte[to * to * 3];
            using SKBitmap from = new(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque), into = new(to, to, SKColorType.Rgba8888, SKAlphaType.Opaque);
            var pixels = from.GetPixelSpan();
            for (var i = 0; i < width * height; i++)
                (pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2], pixels[4 * i + 3]) = (source[3 * i], source[3 * i + 1], source[3 * i + 2], 255);
            context.Row("resize, one thread", $"{width}x{height} to {to}x{to}, RGB, antialiased bilinear",
                () => ImageResize.Resize(source, width, height, 3, target, to, to, ResampleFilter.Bilinear),
                [("skia, mipmaps", () => from.ScalePixels(into, new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Linear)))]);
        }
    }

    /// <summary>Drawn pictures in memory, repeated to any number.</summary>
    private sealed class DrawnPictures : IImageDataset
    {
        private readonly ImageBuffer[] pictures;

        public DrawnPictures(int drawn, int count, int side, int channels, int seed)
        {
            var random = new Random(seed);
            pictures = new ImageBuffer[drawn];
            for (var i = 0; i < drawn; i++)
            {
                pictures[i] = new ImageBuffer(side, side, channels);
                random.NextBytes(pictures[i].Pixels);
            }
            Count = count;
        }

        public string Name => "drawn pictures";

        public IReadOnlyList<string> Classes { get; } = ["a", "b"];

        public int Count { get; }

        public bool InMemory => true;

        public int Label(int index) => index % 2;

        public string Id(int index) => $"{index}";

        public ImageBuffer Read(int index) => pictures[index % pictures.Length];
    }
}
