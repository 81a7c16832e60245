using System.CommandLine;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Images;

namespace Bayou.Cli;

/// <summary>bayou explain MODEL PHOTO|FOLDER... --method NAME.</summary>
internal static class ExplainCommand
{
    public static Command Create()
    {
        var command = new Command("explain", $"""
            Shows what a catalog model looks at or holds together: writes pictures and a JSON file for each photo.

            Methods:
              {string.Join("\n  ", Explainers.All.Select(e => $"{e.Name,-12}{e.Summary}"))}

            With --fixations DIR, maps of where people looked (the photo's name, any picture format, bright = looked at) are compared with the method's:
            NSS, AUC-Judd, CC, SIM and KL.

            Examples:
              bayou explain deit_tiny dog.jpg --method attention --weights deit_tiny_patch16_224-a1311bcf.pth
              bayou explain fan_tiny_8_p4_hybrid street.jpg --method clusters --clusters 6
              bayou explain rvt_tiny_vars_d photos/ --method attention --fixations fixations/ --json
            """);
        var model = new ModelArguments();
        var photos = new Argument<string[]>("PHOTO|FOLDER") { Description = "pictures, or folders of them", Arity = ArgumentArity.OneOrMore };
        var method = new Option<string>("--method")
        {
            Description = string.Join(", ", Explainers.All.Select(e => e.Name)),
            DefaultValueFactory = _ => Explainers.All[0].Name
        };
        var layer = new Option<int?>("--layer") { Description = "layer or stage, from 0" };
        var clusters = new Option<int?>("--clusters") { Description = "groups to find" };
        var fixations = new Option<string?>("--fixations") { Description = "folder of fixation maps named as the photos" };
        var output = new Option<string?>("--out") { Description = "folder; default runs/explain-MODEL-TIME" };
        var (threads, json) = (Common.Threads(), Common.Json());
        model.AddTo(command);
        command.Add(photos);
        foreach (var option in (Option[])[method, layer, clusters, fixations, output, threads, json]) command.Add(option);
        command.SetAction((parsed, cancel) =>
        {
            Common.UseThreads(parsed.GetValue(threads));
            var explainer = Explainers.Find(parsed.GetValue(method)!);
            var options = new ExplainOptions { Layer = parsed.GetValue(layer), Clusters = parsed.GetValue(clusters) };
            var source = model.Open(parsed);
            using var network = source.Network;
            if (parsed.GetValue(model.Weights) is null)
                Console.Error.WriteLine($"{source.Name} without --weights: the network is untrained, and so is what it looks at");
            var folder = parsed.GetValue(output) ?? Common.NewRunFolder("explain", source.Name);
            return Task.FromResult(Run(source, explainer, options, parsed.GetValue(photos)!, parsed.GetValue(fixations), folder, parsed.GetValue(json),
                cancel));
        });
        return command;
    }

    private sealed record Explained(string File, string[]? Written, FixationMetrics? Fixations, string? Error);

    private static int Run(ModelSource source, IExplainer explainer, ExplainOptions options, string[] paths, string? fixations, string folder, bool json,
        CancellationToken cancel)
    {
        if (fixations is not null && !Directory.Exists(fixations)) throw new BayouException($"'{fixations}' is no folder of fixation maps");
        var results = new List<Explained>();
        foreach (var file in paths.SelectMany(Common.Pictures))
        {
            cancel.ThrowIfCancellationRequested();
            var result = One(source, explainer, options, file, fixations, folder, json);
            results.Add(result);
            if (result.Error is not null) Console.Error.WriteLine($"{file}: {result.Error}");
        }
        var scored = results.Where(r => r.Fixations is not null).Select(r => r.Fixations!).ToList();
        var mean = scored.Count == 0
            ? null : new FixationMetrics(Mean(scored, f => f.Nss), Mean(scored, f => f.AucJudd), Mean(scored, f => f.Cc), Mean(scored, f => f.Sim),
            Mean(scored, f => f.Kl));
        if (json)
            Common.PrintJson(new
            {
                model = source.Name,
                method = explainer.Name,
                folder,
                photos = results,
                fixations = mean is null ? null : new { pictures = scored.Count, mean }
            });
        else
        {
            if (mean is not null)
                Console.Out.WriteLine($"agreement with {scored.Count} fixation maps: NSS {mean.Nss:0.000}, AUC-Judd {mean.AucJudd:0.000}, CC {mean.Cc:0.000}, SIM {mean.Sim:0.000}, KL {mean.Kl:0.000}");
            if (results.Count == 0) Console.Out.WriteLine("no pictures there");
            else if (results.Exists(r => r.Written is not null)) Console.Out.WriteLine($"written to {folder}");
        }
        return results.Count > 0 && results.TrueForAll(r => r.Error is null) ? 0 : 1;
    }

    private static Explained One(ModelSource source, IExplainer explainer, ExplainOptions options, string file, string? fixations, string folder, bool json)
    {
        try
        {
            var request = new ExplainRequest(source.Network, source.Preprocessing, ImageDecoder.Decode(file), options);
            var explanation = explainer.Explain(request);
            Directory.CreateDirectory(folder);
            var name = Path.GetFileNameWithoutExtension(file);
            var written = new List<string>();
            foreach (var (part, picture) in explanation.Pictures)
            {
                written.Add(Path.Combine(folder, $"{name}-{part}.png"));
                ImageEncoder.Save(picture, written[^1]);
            }
            written.Add(Path.Combine(folder, $"{name}-{explainer.Name}.json"));
            AtomicFile.WriteAllText(written[^1], JsonSerializer.Serialize(explanation.Facts, FitResult.Json) + "\n");
            if (!json)
            {
                Console.Out.WriteLine(file);
                foreach (var line in explanation.Lines) Console.Out.WriteLine($"  {line}");
            }
            return new Explained(file, [.. written], fixations is null ? null : Compare(explanation, request, name, fixations, explainer), null);
        }
        catch (BayouException e)
        {
            return new Explained(file, null, null, e.Message);
        }
    }

    private static FixationMetrics Compare(Explanation explanation, ExplainRequest request, string name, string fixations, IExplainer explainer)
    {
        if (explanation.Heat is null) throw new BayouException($"method {explainer.Name} gives no map that could be compared with fixations");
        var path = Directory.EnumerateFiles(fixations)
            .Where(f => Path.GetFileNameWithoutExtension(f).Equals(name, StringComparison.OrdinalIgnoreCase) && Common.IsPicture(f))
            .Order(StringComparer.Ordinal).FirstOrDefault()
            ?? throw new BayouException($"'{fixations}' has no map named {name}");
        var map = ImageDecoder.Decode(path).WithChannels(1);
        if (map.Width != request.Picture.Width || map.Height != request.Picture.Height) map = map.Resize(request.Picture.Width, request.Picture.Height);
        // The network sees a part of the photo: the map is cut the same way.
        var seen = SaliencyMap.FromPicture(request.Preprocessing.Fit(map.WithChannels(request.Preprocessing.Channels)));
        return FixationMetrics.Of(explanation.Heat.Resize(seen.Width, seen.Height), seen);
    }

    private static double Mean(IEnumerable<FixationMetrics> all, Func<FixationMetrics, double> of) =>
        all.Select(of).Where(v => !double.IsNaN(v)).DefaultIfEmpty(double.NaN).Average();
}
