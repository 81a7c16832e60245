namespace Bayou.Tests;

/// <summary>Tests that rely on what the whole process shares, libtorch's random generator or the count of live tensors, run alone.</summary>
[CollectionDefinition(nameof(GlobalTorchState), DisableParallelization = true)]
public sealed class GlobalTorchState;
