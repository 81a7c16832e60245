using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;
using Bayou.Train;

namespace Bayou.Claims;

/// <summary>
/// No accuracy is claimed: that the corruptions are the published ones, number by number, and that the metrics are. Then what they do to two small classifiers
/// of CIFAR-10, without a bar.
/// </summary>
public sealed class CorruptionsClaim : IClaim
{
    /// <inheritdoc/>
    public string Name => "corruptions";

    /// <inheritdoc/>
    public string Paper =>
        "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019, arXiv 1903.12261; any size: arXiv 1907.07484";

    /// <inheritdoc/>
    public string Statement =>
        "All 19 corruptions at all 5 severities equal the published code's results when fed the same random numbers, traps included; CE and mCE are the published ones.";

    /// <inheritdoc/>
    public string Data =>
        "golden pictures of the published code (tests/parity/corruptions); CIFAR-10 at 32 pixels: 3,000 training and 300 test pictures (--full: 20,000 and 2,000)";

    /// <inheritdoc/>
    public void Run(ClaimContext context)
    {
        GoldenCorruptions.Run(context);
        Traps(context);
        Classifiers(context);
    }

    // What the published code does against the obvious reading, seen through the public API.
    private static void Traps(ClaimContext context)
    {
        var corruptor = new Corruptor(CorruptionSet.Small32);
        var picture = new ImageBuffer(12, 12, 3, [.. Enumerable.Range(0, 12 * 12 * 3).Select(i => (byte)(i * 11 % 253))]);
        var upwards = new sbyte[2 * 10 * 10];
        for (var i = 1; i < upwards.Length; i += 2) upwards[i] = -1;
        var shifted = corruptor.Apply(picture, Corruption.GlassBlur, 1, new RecordedDraws { GlassOffsets = upwards });
        var wrong = Enumerable.Range(0, picture.Pixels.Length).Count(i =>
        {
            int x = i / 3 % 12, y = i / 36;
            return shifted.Pixels[i] != picture.Pixels[x >= 2 && y >= 2 ? i - 36 : i];
        });
        context.Check("glass blur copies, it does not swap", "values", ("values that are not the copy of the pixel above", wrong), ("0", 0));
        var grey = new ImageBuffer(1, 1, 1, [100]);
        // One deviation of severity 1 is 0.08 of full scale: 100.96.
        var noisy = new Corruptor(CorruptionSet.AnySize).Apply(grey, Corruption.GaussianNoise, 1, new RecordedDraws { ValueZ = [0.96 / (0.08 * 255)] });
        context.Check("results are truncated to 8 bits", "grey levels", ("100.96 becomes", noisy.Pixels[0]), ("100", 100));
        var indices = Enumerable.Range(0, 200).Select(seed => new NumpyRandom((uint)seed).NextInt(0, 5)).Distinct().Count();
        context.Check("frost takes one of the first five pictures only", "pictures", ("different pictures over 200 seeds", indices), ("5", 5));
        context.Note("The numbers of zooms (12, 16, 11, 13 and 11, of floating-point ranges) are part of the golden zoom_blur results: another number would change every pixel.");
    }

    private static void Classifiers(ClaimContext context)
    {
        var cifar = new SmallCifar(context, context.Pick(3000, 20_000), context.Pick(300, 2000));
        var recipe = Recipe.Short(context.Pick(6, 15), batch: 64, lr: 2e-3) with { EmaDecay = 0.99 };
        var seed = context.Seeds[0];
        RobustnessResult Measured(string key, string name)
        {
            var step = ConvNeXtVariants.Ladder.Single(s => s.Key == key);
            var config = step.Config with { Depths = [1, 1, 3, 1], Width = Math.Max(8, step.Config.Width / 4), Classes = 10 };
            return context.Remember($"robustness/{key}/{seed}", () =>
            {
                using var network = cifar.Trained($"corruptions-{key}", () => new ResNetLadder(config), recipe, seed);
                var task = new ClassificationRobustness(name, key, network.call, cifar.Preprocessing, cifar.Test, context.Threads);
                var options = new RobustnessOptions
                {
                    Corruptions = Bayou.Data.Corruptions.All,
                    Seed = seed,
                    Progress = (done, what) => context.Status(done, $"{name}: {what}"),
                };
                return RobustnessEvaluator.Run([task], options, context.Cancel)[0];
            });
        }
        var (resnet, convnext) = (Measured("stage_ratio", "small ResNet"), Measured("sep", "small ConvNeXt"));
        Table(context, resnet, resnet);
        Table(context, convnext, resnet);
        context.Table("Retention and mCE (no bar)", ["model", "clean top-1", "mean top-1 under the 15", "retention", "mCE relative to the small ResNet"],
            new[] { resnet, convnext }.Select(r =>
                new[] { r.Model, Percent(r.Clean), Percent(r.MeanQuality), Percent(r.Retention), $"{r.Mce(resnet.Errors):0.0} %" }));
        AtomicFile.Write(context.Figure("corruptions-cifar10.png"), file => file.Write(RobustnessPlots.ByCorruption([resnet, convnext], 900, 400).ToPng(1)));
        context.Note("One seed of each classifier. The four validation corruptions are listed and count neither in means nor in the mCE. Frost is blended from procedural pictures.");
    }

    private static void Table(ClaimContext context, RobustnessResult result, RobustnessResult baseline) => context.Table(
        $"Top-1 error of the {result.Model} (clean {Percent(1 - result.Clean)})", ["corruption", "1", "2", "3", "4", "5", "CE"],
        result.Corruptions.Select(c => (string[])
        [
            c.Name() + (c.IsValidation() ? " (validation)" : ""),
            .. result.Cells.Where(x => x.Corruption == c).OrderBy(x => x.Severity).Select(x => Percent(1 - x.Quality)),
            $"{result.Ce(c, Math.Max(1e-9, baseline.Errors[c])):0.0} %",
        ]));

    private static string Percent(double value) => $"{100 * value:0.0} %";
}
