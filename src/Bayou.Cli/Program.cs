using Bayou.Cli;

return await BayouCli.RunAsync(args);
