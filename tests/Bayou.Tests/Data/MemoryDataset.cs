using Bayou.Core;
using Bayou.Data;

namespace Bayou.Tests;

/// <summary>Pictures made on demand; some of them may be "unreadable".</summary>
internal sealed class MemoryDataset(int count, int width, int height, int channels, params int[] broken) : IImageDataset
{
    public int Reads;

    public string Name => "memory";

    public IReadOnlyList<string> Classes { get; } = ["a", "b", "c"];

    public int Count => count;

    public Action? OnRead { get; set; }

    public int Label(int index) => index % 3;

    public string Id(int index) => $"p{index}";

    public ImageBuffer Read(int index)
    {
        Interlocked.Increment(ref Reads);
        OnRead?.Invoke();
        if (broken.Contains(index)) throw new BayouException($"p{index}: the file is truncated.");
        var image = Pictures.Formula(width, height, channels);
        for (var i = 0; i < image.Pixels.Length; i++) image.Pixels[i] = (byte)(image.Pixels[i] + index * 7);
        return image;
    }
}
