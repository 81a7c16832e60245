using Bayou.Fit;
using SkiaSharp;

namespace Bayou.Tests;

/// <summary>A made-up fit with every part filled in: material for the report's tests, not a measurement of anything.</summary>
internal static class ReportSample
{
    private static readonly string[] TenNames = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

    public static FitReportData Full(int classes = 10)
    {
        var random = new Random(7);
        var names = Enumerable.Range(0, classes).Select(i => i < 10 ? TenNames[i] : $"class {i:000}").ToList();
        var confusion = Confusion(classes, random);
        var candidates = Candidates(random);
        return new FitReportData
        {
            Dataset = "fashion-mnist",
            Created = new DateTimeOffset(2026, 1, 2, 15, 4, 0, TimeSpan.Zero),
            Seconds = 318,
            Command = "./bayou fit fashion-mnist --latency 0.45ms --threads 2 --seed 1 --search halving",
            Seed = 1,
            Classes = names,
            Verdict = new ReportVerdict
            {
                Model = "c07",
                Form = "int8",
                MeetsBudget = true,
                Description = "width 24-48-96, depth 1-1-3, patch 2, input 28x28",
                Accuracy = 0.9134,
                AccuracyTop5 = 0.9971,
                TestPictures = 10_000,
                LatencyMs = 0.312,
                SizeBytes = 148_232,
                Params = 103_418,
                Macs = 7_524_000,
                Ace = 481_536_000,
            },
            Budgets = [new ReportBudget(ReportQuantity.Latency, 0.45, 0.312), new ReportBudget(ReportQuantity.Size, 400_000, 148_232)],
            Summary =
            [
                Row(ReportRole.Chosen, "c07", "int8", 0.9134, "test", 0.312, 148_232, true) with { Shipped = true },
                Row(ReportRole.Chosen, "c07", "fp32", 0.9151, "test", 0.536, 431_008, false),
                Row(ReportRole.BestDiscarded, "c06", "int8", 0.8790, "validation, 2 epochs", 0.287, 121_900,
                    true) with { Note = "lost the last round by 0.6 points" },
                Row(ReportRole.BestDiscarded, "c06", "fp32", 0.8815, "validation, 2 epochs", 0.471, 352_100, false),
            ],
            Data = new ReportDataCheck
            {
                Description = "70,000 grey pictures of 28x28, from the built-in data set fashion-mnist (MIT).",
                Counts = names.Select((_, i) => new ReportClassCount(5500 - 137 * (i % 10), 500, 1000)).ToList(),
                Samples = names.SelectMany((_, c) =>
                    Enumerable.Range(0, classes > 20 ? 2 : 12).Select(k => new ReportPicture(Picture(c, k, random), c, Name: $"train/{k}.png"))).ToList(),
                Warnings =
                [
                    new ReportWarning("3 files could not be read", "They were skipped; nothing else was changed.",
                        ["bag/0012.png (truncated)", "bag/notes.txt", "coat/IMG_1.heic"]),
                    new ReportWarning("2 pictures are in both training and test", "The copies were removed from training.",
                        ["dress/7.png = dress/9912.png", "coat/1.png = coat/44.png"]),
                ],
            },
            Candidates = candidates,
            Rounds = Rounds(random),
            Training = Training(random),
            Confusion = confusion,
            Mistakes = Enumerable.Range(0, 16).Select(i => new ReportPicture(
                Picture(i % classes, i, random), i % classes, (i + 4) % classes, 0.999 - 0.004 * i, $"test/{i * 37}.png")).ToList(),
            Layers = Layers(random),
            Robustness = new ReportRobustness
            {
                Pictures = 200,
                Severity = 3,
                Clean = 0.912,
                Mean = 0.754,
                Corruptions = [new ReportCorruption("gaussian noise", "noise", 0.884), new ReportCorruption("fog", "weather", 0.624)],
                Left = 13,
            },
            Quantisation = new ReportQuantisation
            {
                Description = "QDQ, weights per channel, activations per tensor, MSE observer, 512 calibration pictures.",
                AccuracyFp32 = 0.9162,
                AccuracyAllInt8 = 0.8874,
                AccuracyInt8 = 0.9148,
                AccuracyOn = "validation",
                SensitivityUnit = "accuracy lost (points)",
                Layers = Layers(random).Select((l, i) => new ReportSensitivity(
                    l.Name, i is 0 or 17 ? 1.4 - 0.02 * i : 0.12 * random.NextDouble() - 0.02, i is 0 or 17,
                    i is 0 or 17 ? "costs more than 0.2 points alone" : null)).ToList(),
            },
            Checks =
            [
                new ReportCheck("fp32 ONNX against TorchSharp, 256 test pictures", "2.4e-6", "1e-4", true),
                new ReportCheck("INT8 ONNX against the fake-quantised model, equal top-1", "99.7 %", "99 %", true),
            ],
            Files = [new ReportFile("model.onnx", 148_232, "the shipped model, INT8; preprocessing and labels inside"),
                new ReportFile("model.safetensors", 415_120, "weights, fp32"),
                new ReportFile("run.json", 91_000, "all figures of this page"), new ReportFile("run.sqlite", 204_800, "every trial and measurement")],
            Machine = new ReportMachine
            {
                Facts = [new ReportFact("Processor", "x86-64, AVX-512, 2 cores"), new ReportFact("Threads", "2"), new ReportFact("Memory", "8 GB"),
                    new ReportFact("System", "Linux")],
                Versions = [new ReportFact("Bayou", "0.1.0"), new ReportFact(".NET", "10.0"), new ReportFact("TorchSharp", "0.107.0"),
                    new ReportFact("ONNX Runtime", "1.31.1")],
            },
        };
    }

    /// <summary>Only what is required.</summary>
    public static FitReportData Bare() => new()
    {
        Dataset = "three-pictures",
        Verdict = new ReportVerdict { Model = "tiny", Form = "fp32", MeetsBudget = true },
    };

    /// <summary>A PNG of 28x28: one shape a class, a little different each time.</summary>
    public static byte[] Picture(int kind, int variant, Random random)
    {
        using var bitmap = new SKBitmap(28, 28, SKColorType.Gray8, SKAlphaType.Opaque);
        using var canvas = new SKCanvas(bitmap);
        canvas.Clear(SKColors.Black);
        var grey = (byte)(130 + random.Next(110));
        using var paint = new SKPaint { Color = new SKColor(grey, grey, grey), IsAntialias = true, StrokeWidth = 2 + kind % 3, IsStroke = variant % 5 == 4 };
        float s = 6 + random.Next(5), x = 14 + random.Next(-2, 3), y = 14 + random.Next(-2, 3);
        switch (kind % 5)
        {
            case 0: canvas.DrawCircle(x, y, s, paint); break;
            case 1: canvas.DrawRect(x - s / 2, y - s, s, 2 * s, paint); break;
            case 2: canvas.DrawRect(x - s, y - s / 2, 2 * s, s, paint); break;
            case 3: canvas.DrawOval(x, y, s, s / 2, paint); break;
            default: canvas.DrawLine(x - s, y - s, x + s, y + s, paint); break;
        }
        canvas.Flush();
        using var data = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        return data.ToArray();
    }

    private static ReportSummaryRow Row(ReportRole role, string model, string form, double accuracy, string on, double ms, long size, bool fits) => new()
    {
        Role = role,
        Model = model,
        Form = form,
        Accuracy = accuracy,
        AccuracyOn = on,
        LatencyMs = ms,
        SizeBytes = size,
        Params = 103_418,
        Macs = 7_524_000,
        Ace = form == "int8" ? 481_536_000 : 7_704_576_000,
        MeetsBudget = fits,
    };

    private static List<IReadOnlyList<int>> Confusion(int classes, Random random)
    {
        var rows = new List<IReadOnlyList<int>>();
        for (var truth = 0; truth < classes; truth++)
        {
            var row = new int[classes];
            row[truth] = 1000;
            for (var k = 0; k < 5; k++)
            {
                var wrong = random.Next(classes);
                var n = random.Next(truth == 6 ? 90 : 25);
                if (wrong == truth) continue;
                row[wrong] += n;
                row[truth] -= n;
            }
            rows.Add(row);
        }
        return rows;
    }

    private static List<ReportCandidate> Candidates(Random random)
    {
        var list = new List<ReportCandidate>();
        for (var i = 0; i < 14; i++)
        {
            var fp32 = 0.15 * Math.Pow(1.19, i) * (0.9 + 0.2 * random.NextDouble());
            var int8 = fp32 * (0.55 + 0.1 * random.NextDouble());
            var fits = int8 <= 0.45;
            double? accuracy = fits ? 0.905 - 0.12 * Math.Exp(-3 * fp32) + 0.01 * random.NextDouble() : null;
            list.Add(new ReportCandidate
            {
                Name = $"c{i:00}",
                Role = i == 7 ? ReportRole.Chosen : i == 6 ? ReportRole.BestDiscarded : ReportRole.Candidate,
                Description = $"width {12 + 4 * i}, depth 1-1-{1 + i / 3}, patch 2, input 28x28",
                Params = 20_000 + 12_000 * i,
                Macs = 1_000_000 * (i + 2),
                Accuracy = accuracy,
                RoundsTrained = fits ? 1 + i % 3 : 0,
                Forms = [new ReportForm("fp32", fp32, 4 * (20_000 + 12_000 * i), fp32 <= 0.45),
                    new ReportForm("int8", int8, 20_000 + 12_000 * i, fits, accuracy - 0.002)],
                Reason = i == 7 ? null : fits ? "stopped after round " + (1 + i % 3) : "exceeds the latency budget in both forms",
            });
        }
        return list;
    }

    private static List<ReportRound> Rounds(Random random)
    {
        ReportTrial Trial(int i, double level, bool promoted) => new($"c{i:00}", level + 0.02 * random.NextDouble(), 0.9 - 0.3 * level, 6 + i, promoted);
        return
        [
            new ReportRound("Round 1", "0.5 epochs on 12,000 pictures",
                [Trial(2, 0.79, false), Trial(3, 0.8, false), Trial(5, 0.81, true), Trial(6, 0.83, true), Trial(7, 0.83, true), Trial(4, 0.8, false),
                Trial(8, 0.82, true)]),
            new ReportRound("Round 2", "1 epoch on 12,000 pictures",
                [Trial(5, 0.84, false), Trial(6, 0.86, true), Trial(7, 0.86, true), Trial(8, 0.84, false) with { Note = "resumed from the run store" }]),
            new ReportRound("Round 3", "2 epochs on 12,000 pictures", [Trial(6, 0.87, false), Trial(7, 0.89, true)]),
        ];
    }

    private static ReportTraining Training(Random random)
    {
        var steps = Enumerable.Range(0, 1400).Select(i => i / 280.0).ToList();
        double[] epochs = [1, 2, 3, 4, 5];
        return new ReportTraining
        {
            Recipe = [new ReportFact("Optimiser", "AdamW, weight decay 0.05"), new ReportFact("Schedule", "cosine, peak 4e-3, 0.5 epochs of warm-up"),
                new ReportFact("EMA", "decay 0.999"),
                new ReportFact("Label smoothing", "0.1"), new ReportFact("Mixup / CutMix", "off"), new ReportFact("Epochs", "5")],
            Loss = [new ReportCurve("training loss", steps, steps.Select(t => 0.62 + 1.6 * Math.Exp(-1.6 * t) + 0.08 * random.NextDouble()).ToList()),
                new ReportCurve("validation loss", epochs, [0.92, 0.78, 0.71, 0.68, 0.672])],
            Accuracy = [new ReportCurve("weights", epochs, [0.853, 0.881, 0.897, 0.911, 0.9142]),
                new ReportCurve("EMA of the weights", epochs, [0.812, 0.884, 0.903, 0.914, 0.9162])],
            LearningRate = [new ReportCurve("learning rate", steps,
                steps.Select(t => t < 0.5 ? 4e-3 * t / 0.5 : 2e-3 * (1 + Math.Cos(Math.PI * (t - 0.5) / 4.5))).ToList())],
            PicturesPerSecond = 1432,
            Seconds = 203,
        };
    }

    private static List<ReportLayer> Layers(Random random)
    {
        var layers = new List<ReportLayer>();
        void Add(string name, string op, string output, long parameters, long macs, bool int8 = true) => layers.Add(new ReportLayer
        {
            Name = name,
            Op = op,
            Output = output,
            Form = int8 ? "int8" : "fp32",
            Params = parameters,
            Macs = macs,
            Ace = macs * (int8 ? 64.0 : 1024.0),
            LatencyMs = 0.001 + macs * 3e-8 * (0.7 + 0.6 * random.NextDouble()),
        });
        Add("downsample_layers.0.0", "Conv2d 2x2", "24x14x14", 120, 18_816, int8: false);
        for (var stage = 0; stage < 3; stage++)
        {
            var c = 24L << stage;
            var side = 14 >> stage;
            for (var block = 0; block < (stage == 2 ? 3 : 1); block++)
            {
                Add($"stages.{stage}.{block}.dwconv", "Conv2d 7x7 depthwise", $"{c}x{side}x{side}", c * 50, c * 49 * side * side);
                Add($"stages.{stage}.{block}.norm", "LayerNorm", $"{side}x{side}x{c}", 2 * c, 0, int8: false);
                Add($"stages.{stage}.{block}.pwconv1", "Linear", $"{side}x{side}x{4 * c}", 4 * c * c + 4 * c, 4 * c * c * side * side);
                Add($"stages.{stage}.{block}.pwconv2", "Linear", $"{side}x{side}x{c}", 4 * c * c + c, 4 * c * c * side * side);
            }
        }
        Add("head", "Linear", "10", 970, 960);
        return layers;
    }
}
