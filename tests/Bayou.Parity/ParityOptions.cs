using Bayou.Core;

namespace Bayou.Parity;

/// <summary>The command line of the parity tool.</summary>
public sealed record ParityOptions(IReadOnlyList<string> Folders, bool KnownOnly, string? System, bool Json, bool Verbose, bool Help)
{
    public const string Usage = """
        Compares Bayou's systems with golden numbers.

        ./bayou parity DIR... [options]

        DIR              a case folder (with config.json), or a folder of them at any depth
        --system NAME    only cases of this system
        --known-only     leave out cases whose adapter is unknown (they are still counted)
        --json           one JSON object instead of lines
        --verbose        every reason of a failure, and stack traces
        --help           this text

        Each case is a line: outcome, system, case, tensors compared, largest error as a multiple of what its rule allows (1 is at the bound).
        The last line is "N passed, N failed, N unknown". Exit code: 0 all passed, 1 a case failed, is unknown or none was found, 2 wrong usage.

        Examples:
          ./bayou parity tests/parity
          ./bayou parity ../shared/parity --known-only --system convnext
        """;

    /// <exception cref="BayouException">An option is unknown or lacks its value, or no folder is given.</exception>
    public static ParityOptions Parse(IReadOnlyList<string> args)
    {
        var options = new ParityOptions([], false, null, false, false, false);
        var folders = new List<string>();
        for (var i = 0; i < args.Count; i++)
        {
            options = args[i] switch
            {
                "--known-only" => options with { KnownOnly = true },
                "--json" => options with { Json = true },
                "--verbose" => options with { Verbose = true },
                "--help" or "-h" => options with { Help = true },
                "--system" => options with { System = ++i < args.Count ? args[i] : throw new BayouException("--system needs a name") },
                ['-', ..] => throw new BayouException($"unknown option '{args[i]}'; --help lists them"),
                _ => Folder(args[i]),
            };
        }
        if (folders.Count == 0 && !options.Help) throw new BayouException("give at least one folder of cases; --help shows how");
        return options with { Folders = folders };

        ParityOptions Folder(string folder)
        {
            folders.Add(folder);
            return options;
        }
    }
}
