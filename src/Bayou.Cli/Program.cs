using Bayou.Cli;
using Bayou.Train;

// Predictions one after the other would otherwise pay for the same memory in page faults each time.
GlibcAllocator.KeepFreedMemory();
return await BayouCli.RunAsync(args);
