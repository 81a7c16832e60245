using Bayou.Core;

namespace Bayou.Points;

/// <summary>PointNet and PointNet++ in the catalog. Their input is [channels, points]; InputSize is the number of points.</summary>
public static class PointNetVariants
{
    private const string Paper = "PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation, CVPR 2017, arXiv 1612.00593";
    private const string Paper2 = "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space, NeurIPS 2017, arXiv 1706.02413";

    /// <summary>Catalog entries.</summary>
    public static IEnumerable<ModelEntry> Entries { get; } =
    [
        new("pointnet_cls", "pointnet", Paper, o => new PointNet(new PointNetConfig { Classes = o.Classes, InChannels = o.InChannels }), 1024, 3_718_193,
            "ModelNet40 overall accuracy 89.2 % (1,024 points)"),
        new("pointnet_cls_small", "pointnet", Paper,
            o => new PointNet(new PointNetConfig { Classes = o.Classes, InChannels = o.InChannels, FeatureTransform = false, Width = 0.25 }), 1024, 167_985,
            "a quarter of the widths, no feature transform: for small data"),
        new("pointnet_seg", "pointnet", Paper, o => new PointNet(new PointNetConfig { Classes = o.Classes, InChannels = o.InChannels, Segment = true }), 4096,
            3_656_113,
            "S3DIS mean IoU 47.6 % (nine channels)"),
        new("pointnet2_cls", "pointnet", Paper2, o => PointNet2.Classifier(o.Classes, o.InChannels), 1024, 1_722_408,
            "ModelNet40 overall accuracy 90.7 %, with normals 91.9 %"),
        new("pointnet2_seg", "pointnet", Paper2, o => PointNet2.Segmenter(o.Classes, o.InChannels), 4096, 1_095_400,
            "ScanNet voxel accuracy 83.3 % (single scale)"),
        new("pointnet2_msg_cls", "pointnet", Paper2, o => PointNet2.MultiScaleClassifier(o.Classes, o.InChannels), 1024, 1_994_088,
            "multi-scale grouping: holds up where points are sparse (paper, figure 4)"),
        new("pointnet2_msg_seg", "pointnet", Paper2, o => PointNet2.MultiScaleSegmenter(o.Classes, o.InChannels), 4096, 2_010_304,
            "multi-scale grouping; ScanNet voxel accuracy 84.5 % (with random dropout)"),
    ];
}
