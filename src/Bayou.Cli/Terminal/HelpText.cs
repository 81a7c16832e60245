using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Bayou.Cli;

/// <summary>
/// The library's help with the program's own name, and with one line a command in a list of commands; the examples stand in each command's own help.
/// </summary>
internal sealed class HelpText(HelpAction library) : SynchronousCommandLineAction
{
    /// <summary>Puts this in the place of a root command's help.</summary>
    public static void Install(RootCommand root)
    {
        foreach (var option in root.Options.OfType<HelpOption>())
        {
            if (option.Action is HelpAction action) option.Action = new HelpText(action);
        }
    }

    /// <inheritdoc/>
    public override int Invoke(ParseResult parsed)
    {
        var configuration = parsed.InvocationConfiguration;
        var (output, text) = (configuration.Output, new StringWriter());
        var commands = parsed.CommandResult.Command.Subcommands.Select(c => (Command: c, c.Description)).ToList();
        foreach (var (command, description) in commands) command.Description = description?.Split('\n')[0].TrimEnd();
        configuration.Output = text;
        try
        {
            library.Invoke(parsed);
        }
        finally
        {
            configuration.Output = output;
            foreach (var (command, description) in commands) command.Description = description;
        }
        output.Write(text.ToString().Replace(RootCommand.ExecutableName, "bayou", StringComparison.Ordinal));
        return 0;
    }
}
