using System.Diagnostics;
using System.Text.Json;
using Bayou.Core;
using Bayou.Fit;

namespace Bayou.Claims;

/// <summary>Runs a claim and writes what came out.</summary>
public static class ClaimRunner
{
    /// <summary>Runs one claim: its figures go to <paramref name="docs"/>/claims/NAME.json and into <paramref name="docs"/>/systems/NAME.md.</summary>
    /// <param name="claim">The claim.</param>
    /// <param name="full">Full mode instead of quick.</param>
    /// <param name="runFolder">Folder of the run store; measurements found there are used.</param>
    /// <param name="docs">The folder of pages.</param>
    /// <param name="threads">Threads in use.</param>
    /// <param name="progress">What a person sees.</param>
    /// <param name="cancel">Ends it; finished measurements are kept.</param>
    public static ClaimResult Run(IClaim claim, bool full, string runFolder, string docs, int threads, IFitProgress progress, CancellationToken cancel)
    {
        using var store = RunStore.Open(runFolder);
        var identity = $"{claim.Name} {(full ? "full" : "quick")} {threads} threads";
        if (store.Facts.Get<string>("claim") is { } other && other != identity)
            throw new BayouException($"'{runFolder}' holds the claim run '{other}', not '{identity}': choose another folder with --out");
        store.Facts.Put("claim", identity);
        store.Facts.Put("machine", Machine.Here);
        progress.Stage(claim.Name);
        var clock = Stopwatch.StartNew();
        var before = store.Facts.Get<Elapsed>("elapsed")?.Seconds ?? 0;
        // After every measurement: a run that is killed has its time counted too.
        void Count() => store.Facts.Put("elapsed", new Elapsed(before + clock.Elapsed.TotalSeconds));
        var context = new ClaimContext(store, progress, full, Path.Combine(docs, "claims"), threads, Count, cancel);
        try
        {
            claim.Run(context);
        }
        finally
        {
            Count();
        }
        var result = context.Result(claim, store.Facts.Get<Elapsed>("elapsed")!.Seconds);
        Directory.CreateDirectory(Path.Combine(docs, "claims"));
        Directory.CreateDirectory(Path.Combine(docs, "systems"));
        AtomicFile.WriteAllText(Path.Combine(docs, "claims", $"{claim.Name}.json"), JsonSerializer.Serialize(result, ClaimResult.Json) + "\n");
        ClaimPage.Update(Path.Combine(docs, "systems", $"{claim.Name}.md"), result);
        return result;
    }

    // Time of all sessions of a claim that was stopped and resumed.
    private sealed record Elapsed(double Seconds);
}
