using Bayou.Data;
using Bayou.Train;

namespace Bayou.Claims;

/// <summary>
/// Real pictures with an object that is known: Fashion-MNIST items pasted on CIFAR-10 pictures or on a plain ground. The class is the item's, the object mask
/// its non-zero pixels.
/// </summary>
internal sealed class PastedPictures
{
    /// <summary>Side of the pictures.</summary>
    internal const int Side = 32;

    private const int Item = 28;

    private readonly Lazy<MemoryPictures> noisy;

    private PastedPictures(MemoryPictures pictures, List<SaliencyMap> masks, List<bool> plain)
    {
        (Pictures, Masks, Plain) = (pictures, masks, plain);
        noisy = new(() =>
        {
            var corruptor = new Corruptor(CorruptionSet.Small32);
            var copies = Enumerable.Range(0, pictures.Count)
                .Select(i => corruptor.Apply(pictures.Read(i), Corruption.GaussianNoise, 3, SeededDraws.For(0, i, Corruption.GaussianNoise, 3))).ToArray();
            return new MemoryPictures("noisy", pictures.Classes, copies, Enumerable.Range(0, pictures.Count).Select(pictures.Label).ToArray());
        });
    }

    /// <summary>How they become a network's input.</summary>
    internal static Preprocessing Preprocessing { get; } = Preprocessing.For(Side);

    /// <summary>The pictures.</summary>
    internal MemoryPictures Pictures { get; }

    /// <summary>The same with Gaussian noise of severity 3.</summary>
    internal MemoryPictures Noisy => noisy.Value;

    /// <summary>1 where the item is.</summary>
    internal List<SaliencyMap> Masks { get; }

    /// <summary>Whether the ground is plain: an easy picture.</summary>
    internal List<bool> Plain { get; }

    /// <summary>Batches: shuffled for training where a seed is given, else in order.</summary>
    internal IBatchSource Batches(int batch, int? seed = null) => new LoaderSource(new ImageLoader(Pictures, batch, new LoaderOptions
    {
        Shuffle = seed is not null,
        Seed = seed ?? 0,
        DropLast = seed is not null,
        Preprocessing = Preprocessing,
    }));

    /// <summary>Items at random places, three quarters of their size, in random colours.</summary>
    /// <param name="part">"train" or "test": of both data sets.</param>
    /// <param name="count">Pictures.</param>
    /// <param name="seed">Decides everything that is drawn.</param>
    /// <param name="plainShare">Part of the pictures with a ground of one colour.</param>
    internal static PastedPictures Make(string part, int count, int seed, double plainShare = 0)
    {
        var (cifar, fashion) = (DataCatalog.Open("cifar10"), DataCatalog.Open("fashion-mnist"));
        var (items, backgrounds) = part == "train" ? (fashion.Train, cifar.Train) : (fashion.Test, cifar.Test);
        var random = new Random(seed);
        var (pictures, labels, masks, plain) = (new ImageBuffer[count], new int[count], new List<SaliencyMap>(), new List<bool>());
        for (var i = 0; i < count; i++)
        {
            var chosen = random.Next(items.Count);
            const int size = Item * 3 / 4;
            var item = items.Read(chosen).WithChannels(1).Resize(size, size);
            var picture = backgrounds.Read(random.Next(backgrounds.Count)).WithChannels(3);
            var (x, y) = (random.Next(Side - size + 1), random.Next(Side - size + 1));
            double[] colour = [0.5 + 0.5 * random.NextDouble(), 0.5 + 0.5 * random.NextDouble(), 0.5 + 0.5 * random.NextDouble()];
            plain.Add(plainShare > 0 && random.NextDouble() < plainShare);
            if (plain[^1])
            {
                byte[] ground = [(byte)random.Next(128), (byte)random.Next(128), (byte)random.Next(128)];
                for (var p = 0; p < picture.Pixels.Length; p++) picture.Pixels[p] = ground[p % 3];
            }
            var mask = new float[Side * Side];
            for (var p = 0; p < size * size; p++)
            {
                if (item.Pixels[p] < 16) continue;
                var at = (y + p / size) * Side + x + p % size;
                mask[at] = 1;
                for (var c = 0; c < 3; c++) picture.Pixels[3 * at + c] = (byte)(item.Pixels[p] * colour[c]);
            }
            (pictures[i], labels[i]) = (picture, items.Label(chosen));
            masks.Add(new SaliencyMap(Side, Side, mask));
        }
        return new(new MemoryPictures($"pasted-{part}", items.Classes, pictures, labels), masks, plain);
    }
}
