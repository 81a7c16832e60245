using System.CommandLine;
using System.Numerics;
using System.Text.Json;
using Bayou.Core;
using Bayou.Data;
using Bayou.Fit;
using Bayou.Points;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>bayou points info|convert|view|make.</summary>
internal static class PointsCommand
{
    private const string Formats =
        ".bin (KITTI, nuScenes, ScanNet/S3DIS/SUN RGB-D rows), .ply, .pcd, .off, .npy, .npz, .h5, .txt/.xyz/.csv, or a room folder of S3DIS";

    public static Command Create()
    {
        var command = new Command("points", """
            Point clouds: what is in a file, other formats, a page to turn it, generated scenes.

            Examples:
              bayou points info scan.bin
              bayou points convert scene.pcd scene.ply
              bayou points view scan.bin --out scan.html --png scan.png
              bayou points make room --seed 3 --out room.ply
            """);
        command.Add(Info());
        command.Add(Convert());
        command.Add(View());
        command.Add(Make());
        return command;
    }

    private static Argument<string> File() => new("FILE") { Description = Formats };

    private static Option<int> Columns() =>
        new("--columns") { Description = "floats of a row of a .bin file; 0 decides by the values", DefaultValueFactory = _ => 0 };

    private static Option<int> Index() => new("--index") { Description = "which cloud of a file that holds many", DefaultValueFactory = _ => 0 };

    private static Command Info()
    {
        var command = new Command("info",
            "Shows points, box, columns, classes and voxel statistics of a cloud.\n\nExamples:\n  bayou points info scan.bin\n  bayou points info scene.ply --voxel 0.02 --json");
        var (file, columns, index, json) = (File(), Columns(), Index(), Common.Json());
        var voxel = new Option<float>("--voxel")
        {
            Description = "also count voxels of this side and their 3x3x3 pairs; 0: not",
            DefaultValueFactory = _ => 0f
        };
        command.Add(file);
        foreach (var option in (Option[])[columns, index, voxel, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            var path = parsed.GetValue(file)!;
            var cloud = PointFiles.Read(path, parsed.GetValue(columns), parsed.GetValue(index));
            var clouds = PointFiles.Clouds(path);
            var (low, high) = cloud.Bounds();
            var finite = cloud.Finite();
            var present = ((string, bool)[])[("colours", cloud.Colours is not null), ("normals", cloud.Normals is not null),
                ("intensity", cloud.Intensity is not null), ("labels", cloud.Labels is not null),
                ("instances", cloud.Instances is not null), ("triangles", cloud.Triangles is not null)];
            string[] has = [.. present.Where(p => p.Item2).Select(p => p.Item1), .. cloud.Fields.Keys];
            var classes = cloud.Labels?.GroupBy(l => l).OrderByDescending(g => g.Count()).Select(g => new { label = g.Key, points = g.Count() }).ToArray();
            (float side, int voxels, long pairs, double pairsPerVoxel)? counted = null;
            if (parsed.GetValue(voxel) is > 0 and var side)
            {
                var set = VoxelSpace.Create(SparseTensor.Quantize(finite.Positions, side).Coordinates);
                var map = set.Space.Map(set, set, 3, 1, KernelRegion.Hypercube);
                counted = (side, set.Count, map.Pairs, (double)map.Pairs / Math.Max(1, set.Count));
            }
            var voxels = counted is { } v ? new { v.side, v.voxels, v.pairs, v.pairsPerVoxel } : null;
            if (parsed.GetValue(json))
            {
                Common.PrintJson(new
                {
                    file = path,
                    clouds,
                    index = parsed.GetValue(index),
                    points = cloud.Count,
                    notFinite = cloud.Count - finite.Count,
                    low = finite.Count > 0 ? low : null,
                    high = finite.Count > 0 ? high : null,
                    has,
                    classes,
                    voxels
                });
                return 0;
            }
            AnsiConsole.MarkupLineInterpolated($"[bold]{path}[/]: {(clouds > 1 ? $"cloud {parsed.GetValue(index)} of {clouds}, " : "")}{cloud.Count:N0} points{(finite.Count < cloud.Count ? $", {cloud.Count - finite.Count:N0} of them not finite" : "")}");
            if (finite.Count > 0)
                AnsiConsole.MarkupLineInterpolated($"  box      {string.Join("   ", "xyz".Select((c, d) => $"{c} {low[d]:0.###} to {high[d]:0.###}"))}");
            AnsiConsole.MarkupLineInterpolated($"  columns  {(has.Length == 0 ? "only positions" : string.Join(", ", has))}");
            if (classes is not null)
                AnsiConsole.MarkupLineInterpolated($"  classes  {string.Join(", ", classes.Take(12).Select(c => $"{c.label}: {c.points:N0}"))}{(classes.Length > 12 ? ", ..." : "")}");
            if (voxels is not null)
                AnsiConsole.MarkupLineInterpolated($"  voxels   {voxels.voxels:N0} of side {voxels.side}, {voxels.pairs:N0} pairs of a 3x3x3 kernel, {voxels.pairsPerVoxel:0.00} a voxel");
            return 0;
        });
        return command;
    }

    private static Command Convert()
    {
        var command = new Command("convert",
            "Writes a cloud in another format: .ply, .pcd, .bin, .npy, .off, .xyz.\n\nExamples:\n  bayou points convert scan.bin scan.ply\n  bayou points convert scene.pcd scene.npy");
        var (file, columns, index, json) = (File(), Columns(), Index(), Common.Json());
        var target = new Argument<string>("OUT") { Description = "file to write; its extension is the format" };
        command.Add(file);
        command.Add(target);
        foreach (var option in (Option[])[columns, index, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            var cloud = PointFiles.Read(parsed.GetValue(file)!, parsed.GetValue(columns), parsed.GetValue(index));
            var path = parsed.GetValue(target)!;
            PointFiles.Write(cloud, path);
            if (parsed.GetValue(json)) Common.PrintJson(new { file = path, points = cloud.Count });
            else Console.Out.WriteLine($"{path}: {cloud.Count:N0} points");
            return 0;
        });
        return command;
    }

    private static Command View()
    {
        var command = new Command("view",
            "Writes a self-contained page (WebGL 2, no download) that turns the cloud, and on request a picture.\n\nExamples:\n  bayou points view scan.bin\n  bayou points view scene.pcd --out scene.html --png scene.png");
        var (file, columns, index, json) = (File(), Columns(), Index(), Common.Json());
        var output = new Option<string?>("--out") { Description = "the page; default: the file's name with .html in the current folder" };
        var png = new Option<string?>("--png") { Description = "also a picture" };
        var names = new Option<string>("--names") { Description = "names of the classes: none, room, street, s3dis, semantickitti (raw labels become its 19 classes)", DefaultValueFactory = _ => "none" };
        names.AcceptOnlyFromAmong("none", "room", "street", "s3dis", "semantickitti");
        command.Add(file);
        foreach (var option in (Option[])[output, png, names, columns, index, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            var path = parsed.GetValue(file)!;
            var cloud = PointFiles.Read(path, parsed.GetValue(columns), parsed.GetValue(index));
            var (classes, kitti) = (parsed.GetValue(names) switch
            {
                "room" => SyntheticRooms.Classes,
                "street" => SyntheticStreets.Classes,
                "s3dis" => S3disRoom.Classes,
                "semantickitti" => SemanticKitti.Classes,
                _ => null,
            }, parsed.GetValue(names) == "semantickitti");
            // A scan has the raw classes; what `bayou predict` wrote has those of training.
            if (kitti && Path.GetExtension(path) == ".bin" && cloud.Labels is { } raw)
                cloud = cloud with { Labels = Array.ConvertAll(raw, SemanticKitti.TrainingClass) };
            var page = parsed.GetValue(output) ?? Path.GetFileNameWithoutExtension(path.TrimEnd('/')) + ".html";
            AtomicFile.WriteAllText(page, PointViewer.Html(cloud, Path.GetFileName(path.TrimEnd('/')), classes));
            if (parsed.GetValue(png) is { } picture) ImageEncoder.Save(PointViewer.Render(cloud), picture);
            if (parsed.GetValue(json)) Common.PrintJson(new { page, png = parsed.GetValue(png), points = cloud.Count });
            else Console.Out.WriteLine($"{page}{(parsed.GetValue(png) is { } p ? $" {p}" : "")}");
            return 0;
        });
        return command;
    }

    private static Command Make()
    {
        var command = new Command("make",
            "Generates a scene with labels and instances (synthetic; the same seed gives the same scene).\n\nExamples:\n  bayou points make room --seed 3 --out room.ply\n  bayou points make street --domain target --out street.ply --picture street.png --boxes street.json");
        var kind = new Argument<string>("KIND") { Description = "room or street" };
        kind.AcceptOnlyFromAmong("room", "street");
        var output = new Option<string>("--out") { Description = "file to write", Required = true };
        var picture = new Option<string?>("--picture") { Description = "also a camera picture" };
        var boxes = new Option<string?>("--boxes") { Description = "also a .json: 3D boxes of the objects (centre, size in metres, yaw), the camera and its 2D boxes (left, top, right, bottom)" };
        var domain = new Option<string>("--domain") { Description = "source, or target: sparser, noisier, fuller", DefaultValueFactory = _ => "source" };
        domain.AcceptOnlyFromAmong("source", "target");
        var (seed, json) = (Common.Seed(), Common.Json());
        command.Add(kind);
        foreach (var option in (Option[])[output, picture, boxes, domain, seed, json]) command.Add(option);
        command.SetAction(parsed =>
        {
            var shift = parsed.GetValue(domain) == "target" ? SceneDomain.Target : null;
            var (scene, cloud, sensor) = parsed.GetValue(kind) == "room"
                ? SyntheticRooms.Make(parsed.GetValue(seed), shift) : SyntheticStreets.Make(parsed.GetValue(seed), shift);
            var path = parsed.GetValue(output)!;
            PointFiles.Write(cloud, path);
            var view = parsed.GetValue(picture) is null && parsed.GetValue(boxes) is null ? null : scene.Picture(sensor, 0);
            if (parsed.GetValue(picture) is { } image) ImageEncoder.Save(view!.Image, image);
            if (parsed.GetValue(boxes) is { } list) AtomicFile.WriteAllText(list, BoxesText(scene, view!));
            if (parsed.GetValue(json)) Common.PrintJson(new { file = path, points = cloud.Count, objects = scene.Boxes.Count, classes = scene.Classes });
            else Console.Out.WriteLine($"{path}: {cloud.Count:N0} points, {scene.Boxes.Count} objects");
            return 0;
        });
        return command;
    }

    private static string BoxesText(SyntheticScene scene, SceneView view)
    {
        static float[] Numbers(Vector3 v) => [v.X, v.Y, v.Z];
        return JsonSerializer.Serialize(new
        {
            synthetic = true,
            scene.Classes,
            boxes = scene.Boxes.Select(b => new { label = scene.Classes[b.Label], b.Instance, centre = Numbers(b.Centre), size = Numbers(b.Size), b.Yaw }),
            camera = new { position = Numbers(view.Position), view.Yaw, view.Focal, view.Image.Width, view.Image.Height },
            boxes2d = view.Boxes.Select(b => new { label = scene.Classes[b.Label], b.Instance, b.Left, b.Top, b.Right, b.Bottom }),
        }, FitResult.Json);
    }
}
