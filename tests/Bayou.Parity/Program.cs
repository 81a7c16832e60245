using Bayou.Parity;

return ParityTool.Run(args, ParityAdapters.All, Console.Out, Console.Error);
