using Bayou.Core;

namespace Bayou.Claims;

/// <summary>All claims by name.</summary>
public static class Claims
{
    /// <summary>One claim a system.</summary>
    public static IReadOnlyList<IClaim> All { get; } =
    [
        new ConvNeXtClaim(),
        new AceClaim(), new HelpClaim(), new MapleClaim(),
        new FanClaim(),
        new VarsClaim(),
        new RepLKNetClaim(),
        new SLaKClaim(),
        new CorruptionsClaim(),
        new SkipNetClaim(), new AViTClaim(), new MiniViTClaim(),
        new SparseConvClaim(),
        new PointOpsClaim(),
    ];

    /// <summary>Finds a claim.</summary>
    /// <exception cref="BayouException">No claim has that name.</exception>
    public static IClaim Find(string name) =>
        All.FirstOrDefault(c => c.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            ?? throw new BayouException($"no claim is named '{name}'; there are: {string.Join(", ", All.Select(c => c.Name))}");
}
