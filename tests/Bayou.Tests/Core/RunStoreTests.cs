using Bayou.Core;

namespace Bayou.Tests;

public sealed class RunStoreTests : IDisposable
{
    private readonly string folder = Path.Combine(Path.GetTempPath(), "bayou-" + Guid.NewGuid().ToString("N"));

    private sealed record Trial(string Name, double Accuracy, long[] Shape);

    public void Dispose()
    {
        if (Directory.Exists(folder)) Directory.Delete(folder, true);
    }

    [Fact]
    public void What_was_stored_is_there_after_reopening()
    {
        using (var store = RunStore.Open(folder))
        {
            store.Trials.Put("a/1", new Trial("é\"", double.NaN, [1, 2]));
            store.Trials.Put("b", new Trial("b", 0.5, []));
            store.Trials.Put("b", new Trial("b2", 0.75, []));
            store.AddPoint("loss", 2, 0.5);
            store.AddPoint("loss", 1, double.NaN);
        }
        using var again = RunStore.Open(folder);
        Assert.Equal(["a/1", "b"], again.Trials.All<Trial>().Select(t => t.Key));
        Assert.Equal("é\"", again.Trials.Get<Trial>("a/1")!.Name);
        Assert.True(double.IsNaN(again.Trials.Get<Trial>("a/1")!.Accuracy));
        Assert.Equal(0.75, again.Trials.Get<Trial>("b")!.Accuracy);
        Assert.Null(again.Trials.Get<Trial>("c"));
        Assert.Null(again.Measurements.Get<Trial>("b"));
        Assert.Equal([1L, 2L], again.Curve("loss").Select(p => p.Step));
        Assert.True(double.IsNaN(again.Curve("loss")[0].Value));
    }

    [Fact]
    public void GetOrAdd_computes_once()
    {
        using var store = RunStore.Open(folder);
        var calls = 0;
        for (var i = 0; i < 3; i++) Assert.Equal("x", store.Measurements.GetOrAdd("k", () => { calls++; return new Trial("x", 1, [3]); }).Name);
        Assert.Equal(1, calls);
    }

    [Fact]
    public void Writers_on_several_threads_lose_nothing()
    {
        using var store = RunStore.Open(folder);
        Parallel.For(0, 200, i => store.Trials.Put($"t{i}", new Trial("t", i, [])));
        Assert.Equal(200, store.Trials.All<Trial>().Count);
    }

    [Fact]
    public void A_file_that_is_no_store_is_a_clear_error_and_stays_as_it_is()
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, "run.db");
        File.WriteAllText(path, new string('x', 5000));
        var error = Assert.Throws<BayouException>(() => RunStore.Open(folder));
        Assert.Contains(folder, error.Message);
        Assert.Equal(new string('x', 5000), File.ReadAllText(path));
    }
}
