global using Xunit;

// libtorch's random generator, its thread count and Tensor.TotalCount belong to the process: tests that run side by side would disturb each other.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
