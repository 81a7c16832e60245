using Bayou.Core;
using Bayou.Data;
using Bayou.Points;
using Bayou.Train;
using static TorchSharp.torch;

namespace Bayou.Tests.Points;

/// <summary>Networks on points: keys, invariances, training, generated scenes, the viewer.</summary>
public sealed class PointNetworksTests
{
    [Theory]
    [InlineData("pointnet_cls", "feat.stn.conv1.weight", 64, 3, 1)]
    [InlineData("pointnet_cls", "feat.fstn.fc3.weight", 4096, 256, 0)]
    [InlineData("pointnet_seg", "conv1.weight", 512, 1088, 1)]
    [InlineData("pointnet2_cls", "sa1.mlp_convs.0.weight", 64, 3, 1)]
    [InlineData("pointnet2_cls", "sa3.mlp_convs.0.weight", 256, 259, 1)]
    [InlineData("pointnet2_seg", "fp4.mlp_convs.0.weight", 256, 768, 1)]
    [InlineData("pointnet2_msg_cls", "sa1.conv_blocks.2.1.weight", 96, 64, 1)]
    [InlineData("pointnet2_msg_cls", "sa2.conv_blocks.0.0.weight", 64, 323, 1)]
    [InlineData("pointnet2_msg_cls", "sa3.mlp_convs.0.weight", 256, 643, 1)]
    [InlineData("pointnet2_msg_seg", "sa4.conv_blocks.1.0.weight", 256, 515, 1)]
    [InlineData("pointnet2_msg_seg", "fp4.mlp_convs.0.weight", 256, 1536, 1)]
    [InlineData("minkunet34c", "block4.5.conv2.kernel", 27, 256, 256)]
    [InlineData("minkunet50", "block1.0.downsample.0.kernel", 32, 128, 0)]
    public void CatalogModelsHaveThePublishedKeysAndTheirOwnCount(string name, string key, long a, long b, long c)
    {
        var entry = PointModels.All.Single(e => e.Name == name);
        using var network = entry.Create(new ModelOptions(Classes: name.StartsWith("mink", StringComparison.Ordinal) ? 20 : 40));
        var shape = network.state_dict()[key].shape;
        Assert.Equal([a, b], shape.Take(2));
        if (c > 0) Assert.Equal(c, shape[2]);
    }

    [Fact]
    public void EntriesCountTheirParameters()
    {
        foreach (var entry in PointModels.All)
        {
            using var network = entry.Create(new ModelOptions());
            Assert.True(entry.Parameters == network.parameters().Sum(p => p.numel()), $"{entry.Name} has {network.parameters().Sum(p => p.numel())}");
        }
    }

    [Fact]
    public void TheOrderOfThePointsDoesNotMatter()
    {
        var (cloud, order) = (randn(2, 3, 64), randperm(64));
        foreach (var network in (Layer[])[new PointNet(new PointNetConfig { Classes = 5, Width = 0.25 }),
            PointNet2.Classifier(5, 3, [new(64, 0.8f, 64, [8, 16]), new(64, 5f, 64, [16, 16]), new(0, 0, 0, [16, 32])])])
        {
            network.eval();
            using var guard = no_grad();
            TensorAssert.Close(network.call(cloud), network.call(cloud.index_select(2, order)), 1e-3, 1e-4);
            network.Dispose();
        }
        // Multi-scale: a ball as large as the cloud in one of the scales.
        using (var multi = PointNet2.MultiScaleClassifier(5, 3,
            [new MultiScaleConfig(64, new(0.8f, 64, [8, 16]), new(5f, 64, [8])), new MultiScaleConfig(64, new GroupScale(5f, 64, [16, 16])),
            new SetAbstractionConfig(0, 0, 0, [16, 32])]))
        {
            multi.eval();
            using var guard = no_grad();
            TensorAssert.Close(multi.call(cloud), multi.call(cloud.index_select(2, order)), 1e-3, 1e-4);
            Assert.Equal(multi.parameters().Sum(p => p.numel()), Cost.Of(multi, 1, 3, 64).Parameters);
        }
        var segmenter = new PointNet(new PointNetConfig { Classes = 4, Width = 0.25, Segment = true });
        segmenter.eval();
        using (no_grad())
        {
            var plain = segmenter.call(cloud).reshape(2, 64, 4);
            TensorAssert.Close(plain.index_select(1, order), segmenter.call(cloud.index_select(2, order)).reshape(2, 64, 4), 1e-3, 1e-4);
        }
    }

    [Fact]
    public void PointNetsAreCapturedAndCosted()
    {
        using var network = new PointNet(new PointNetConfig { Classes = 5, Width = 0.25 });
        var cost = Cost.Of(network, 1, 3, 128);
        Assert.Equal(network.parameters().Sum(p => p.numel()), cost.Parameters);
        Assert.True(cost.Macs > 128L * 32 * 256);
        using var deep = PointNet2.Classifier(5, 3, [new(16, 0.8f, 8, [8, 16]), new(8, 5f, 4, [16, 16]), new(0, 0, 0, [16, 32])]);
        Assert.True(Cost.Of(deep, 1, 3, 64).Macs > 0);
    }

    // Spheres, cubes and rods: a PointNet tells them apart after a few epochs.
    private static ShapeSample[] Shapes(int count, ulong seed)
    {
        var random = new SampleRandom(seed);
        return [.. Enumerable.Range(0, count).Select(s =>
        {
            var positions = new float[3 * 128];
            for (var i = 0; i < 128; i++)
            {
                double x = random.NextGaussian(), y = random.NextGaussian(), z = random.NextGaussian();
                var norm = s % 3 == 0 ? Math.Sqrt(x * x + y * y + z * z) : Math.Max(Math.Abs(x), Math.Max(Math.Abs(y), Math.Abs(z)));
                (positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]) =
                    ((float)(x / norm), (float)(y / norm), (float)(z / norm * (s % 3 == 2 ? 4 : 1)));
            }
            return new ShapeSample(new PointCloud { Positions = positions }, s % 3);
        })];
    }

    [Fact]
    public void APointNetLearnsShapesWithTheTrainer()
    {
        manual_seed(1);
        using var network = new PointNet(new PointNetConfig { Classes = 3, Width = 0.125, FeatureTransform = false, Dropout = 0 });
        var options = new ShapeOptions { Points = 128, Training = true, Seed = 1, Augmentation = new PointAugmentation { RotateZ = Math.PI, Jitter = 0.01 } };
        var recipe = VoxelTraining.Recipe(8, 12, 5e-3);
        using var result = Trainer.Train(network, new ShapeSource(Shapes(96, 1), 3, 12, options), null, recipe, new TrainerOptions { Seed = 1 });
        Assert.Equal(TrainOutcome.Completed, result.Outcome);
        var test = Evaluator.Evaluate(network, new ShapeSource(Shapes(30, 2), 3, 10, new ShapeOptions { Points = 128 }));
        Assert.True(test.Top1 > 0.85, $"accuracy {test.Top1}");
    }

    [Fact]
    public void AUNetLearnsARoomWithTheTrainer()
    {
        manual_seed(2);
        var domain = SceneDomain.Source with { Rings = 40, Columns = 120 };
        var rooms = Enumerable.Range(0, 3).Select(s => SyntheticRooms.Make(s, domain).Cloud).ToArray();
        var options = new VoxelOptions { Side = 0.2f, Features = VoxelFeatures.Colour, Training = true };
        using var network = new MinkUNet(new MinkUNetConfig
        {
            Planes = [8, 8, 8, 8, 8, 8, 8, 8],
            Layers = [1, 1, 1, 1, 1, 1, 1, 1],
            InitDim = 8,
            StemKernel = 3,
            Classes = SyntheticRooms.Classes.Count
        });
        using var result = Trainer.Train(network, new VoxelSource(rooms, SyntheticRooms.Classes.Count, 1, options), null, VoxelTraining.Recipe(12, 1, 1e-2),
            new TrainerOptions());
        Assert.Equal(TrainOutcome.Completed, result.Outcome);
        var metrics = VoxelTraining.Evaluate(network, new VoxelSource(rooms, SyntheticRooms.Classes.Count, 1, options with { Training = false }));
        Assert.True(metrics.OverallAccuracy > 0.6, $"accuracy {metrics.OverallAccuracy}");
        // Evaluator leaves ignored voxels out.
        var evaluation = Evaluator.Evaluate(network, new VoxelSource(rooms, SyntheticRooms.Classes.Count, 1, options with { Training = false }));
        Assert.Equal(metrics.OverallAccuracy, evaluation.Top1, 6);
        Assert.Equal(rooms[0].Count, VoxelSource.Label(network, rooms[0], options).Length);
    }

    [Fact]
    public void EveryPointOfALargeCloudGetsALabel()
    {
        // A network that says which half of the (centred) cloud a point lies in.
        using var halves = new Halves();
        var cloud = new PointCloud { Positions = [.. Enumerable.Range(0, 3 * 150).Select(i => i % 3 == 0 ? (i / 3 % 2 == 0 ? -1f : 1f) : i * 1e-4f)] };
        Assert.Equal(Enumerable.Range(0, 150).Select(i => i % 2), ShapeSource.Label(halves, cloud, new ShapeOptions { Points = 64 }));
    }

    private sealed class Halves() : nn.Module<Tensor, Tensor>("halves")
    {
        public override Tensor forward(Tensor x) => stack([x[0, 0].neg(), x[0, 0]], 1);
    }

    [Fact]
    public void APredictedCloudIsShownBesideItsOwnLabels()
    {
        var cloud = new PointCloud
        {
            Positions = new float[9],
            Labels = [0, 1, 1],
            Fields = new Dictionary<string, float[]> { [PointColouring.GivenLabels] = [0, 0, -100] }
        };
        var ways = PointColouring.Of(cloud, ["left", "right"]);
        Assert.Equal(["predicted", "given", "errors", "height"], ways.Select(w => w.Name));
        Assert.Equal(["ignored", "left"], ways[1].Legend.Select(l => l.Name));
        // Right, wrong, not labelled: three colours.
        Assert.Equal([0x7C, 0x87, 0x94, 0xF2, 0x49, 0x5C, 0x3A, 0x40, 0x48], ways[2].Rgb);
    }

    [Fact]
    public void SourcesGiveTheSameBatchForTheSameEpochAndNumber()
    {
        var source = new ShapeSource(Shapes(20, 3), 3, 4, new ShapeOptions { Points = 64, Training = true, Augmentation = PointAugmentation.Shapes, Seed = 5 });
        var all = source.Epoch(2).ToArray();
        var rest = source.Epoch(2, 3).ToArray();
        Assert.Equal(5, all.Length);
        for (var i = 0; i < rest.Length; i++)
        {
            Assert.Equal(all[3 + i].Number, rest[i].Number);
            TensorAssert.Same(all[3 + i].Images, rest[i].Images);
            TensorAssert.Same(all[3 + i].Labels, rest[i].Labels);
        }
        foreach (var batch in all.Concat(rest)) batch.Dispose();
        Assert.Throws<BayouException>(() => new ShapeSource([], 3, 4, new()));
        Assert.Throws<BayouException>(() => new VoxelSource([new PointCloud { Positions = new float[3] }], 3, 4, new()));
    }

    [Fact]
    public void GeneratedScenesAreRepeatableLabelledAndOccluded()
    {
        var (scene, cloud, sensor) = SyntheticRooms.Make(4);
        var again = SyntheticRooms.Make(4).Cloud;
        Assert.Equal(cloud.Positions, again.Positions);
        Assert.NotEqual(cloud.Count, SyntheticRooms.Make(5).Cloud.Count);
        Assert.True(cloud.Labels!.Distinct().Count() >= 5);
        // Points of an object lie in its box (but for noise), and no point lies behind a wall.
        foreach (var box in scene.Boxes)
        {
            var rows = Enumerable.Range(0, cloud.Count).Where(i => cloud.Instances![i] == box.Instance).ToArray();
            Assert.All(rows, i => Assert.Equal(box.Label, cloud.Labels![i]));
            var (sin, cos) = MathF.SinCos(-box.Yaw);
            foreach (var i in rows)
            {
                float x = cloud.Positions[3 * i] - box.Centre.X, y = cloud.Positions[3 * i + 1] - box.Centre.Y, z = cloud.Positions[3 * i + 2] - box.Centre.Z;
                Assert.InRange(MathF.Abs(cos * x - sin * y), 0, box.Size.X / 2 + 0.06f);
                Assert.InRange(MathF.Abs(sin * x + cos * y), 0, box.Size.Y / 2 + 0.06f);
                Assert.InRange(MathF.Abs(z), 0, box.Size.Z / 2 + 0.06f);
            }
        }
        var view = scene.Picture(sensor, 0, 80, 60);
        Assert.True(view.Image.Pixels.Distinct().Count() > 20);
        Assert.All(view.Boxes, b => Assert.True(b.Left < b.Right && b.Right <= 80 && b.Top < b.Bottom && b.Bottom <= 60));

        var street = SyntheticStreets.Make(1);
        Assert.True(street.Cloud.Labels!.Distinct().Count() >= 6);
        Assert.True(SyntheticRooms.Make(4, SceneDomain.Target).Cloud.Count < cloud.Count);
    }

    [Fact]
    public void ThePictureShowsThePoints()
    {
        var cloud = SyntheticRooms.Make(2, SceneDomain.Source with { Rings = 48, Columns = 200 }).Cloud;
        var image = PointViewer.Render(cloud, 0, 200, 120);
        var lit = Enumerable.Range(0, 200 * 120).Count(i => image.Pixels[3 * i] != 20 || image.Pixels[3 * i + 1] != 23);
        Assert.InRange(lit, 1500, 200 * 120 - 500);
        Assert.Throws<BayouException>(() => PointViewer.Html(new PointCloud { Positions = [float.NaN, 0, 0] }, "x"));
        var page = PointViewer.Html(cloud, "<script>alert(1)</script>");
        Assert.DoesNotContain("<script>alert", page);
        Assert.DoesNotContain("http", page.Replace("http-equiv", ""), StringComparison.Ordinal);
    }
}
