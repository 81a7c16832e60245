using Bayou.Core;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Points;

/// <summary>What PointNet++'s opaque nodes compute: neighbourhoods and their features as tensors, differentiable in the features.</summary>
internal static class PointGroups
{
    // xyz [B, N, 3] -> indices of the furthest points int [B, M].
    public static Tensor Centres(Tensor xyz, int samples)
    {
        using var noGrad = no_grad();
        return PointOps.FurthestPointSample(xyz.detach(), samples);
    }

    // The points in the ball around each of the centres [B, M, 3] -> [B, M, k, 3 + C]: coordinates relative to the centre, then features (or features first).
    public static Tensor Gather(Tensor xyz, Tensor? features, Tensor centres, float radius, int neighbours, bool featuresFirst = false)
    {
        Tensor index;
        using (no_grad()) index = PointOps.BallQuery(radius, neighbours, xyz.detach(), centres.detach());
        var local = Rows(xyz, index).sub(centres.unsqueeze(2));
        if (features is null) return local;
        return featuresFirst ? cat([Rows(features, index), local], -1) : cat([local, Rows(features, index)], -1);
    }

    // Inputs fine xyz, coarse xyz, coarse features [B, M, D] -> [B, N, D].
    public static Tensor[] Interpolate(Tensor?[] x, bool training)
    {
        var (fine, coarse, features) = (x[0]!, x[1]!, x[2]!);
        if (coarse.shape[1] == 1) return [features.expand(-1, fine.shape[1], -1).contiguous()];
        var (_, index, weight) = PointOps.ThreeNearest(fine.detach(), coarse.detach());
        return [Rows(features, index).mul(weight.unsqueeze(-1)).sum(2)];
    }

    // x [B, N, C], index [B, ...] -> [B, ..., C].
    public static Tensor Rows(Tensor x, Tensor index)
    {
        var (b, n) = (x.shape[0], x.shape[1]);
        long[] ones = [b, .. Enumerable.Repeat(1L, (int)index.dim() - 1)];
        var flat = index.to(ScalarType.Int64).Plus(arange(b).mul(Number.Of(n)).reshape(ones)).reshape(-1);
        return x.reshape(b * n, -1).index_select(0, flat).reshape([.. index.shape, x.shape[2]]);
    }
}
