using Bayou.Fit;
using Spectre.Console;

namespace Bayou.Cli;

/// <summary>
/// Progress on standard error: a live bar for each stage on a terminal; plain lines, and the state of long stages every ten seconds, elsewhere.
/// </summary>
internal sealed class ConsoleProgress : IFitProgress
{
    private static readonly TimeSpan QuietInterval = TimeSpan.FromSeconds(10);

    private readonly IAnsiConsole console;
    private readonly ProgressContext? live;
    private ProgressTask? task;
    private string stage = "";
    private DateTime lastQuiet = DateTime.UtcNow;

    private ConsoleProgress(IAnsiConsole console, ProgressContext? live) => (this.console, this.live) = (console, live);

    /// <summary>Runs work with progress.</summary>
    public static T Run<T>(Func<IFitProgress, T> work)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        if (Console.IsErrorRedirected || !console.Profile.Capabilities.Interactive) return work(new ConsoleProgress(console, null));
        return console.Progress()
            .AutoClear(false)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(),
                new ElapsedTimeColumn())
            .Start(context =>
            {
                var progress = new ConsoleProgress(console, context);
                var result = work(progress);
                progress.Finish();
                return result;
            });
    }

    public void Stage(string title)
    {
        Finish();
        stage = title;
        lastQuiet = DateTime.UtcNow;
        if (live is not null) task = live.AddTask(Markup.Escape(title), maxValue: 1);
        else Console.Error.WriteLine($"== {title}");
    }

    public void Line(string text)
    {
        if (live is not null) console.MarkupLineInterpolated($"[grey]{text}[/]");
        else Console.Error.WriteLine(text);
    }

    public void Status(double fraction, string text)
    {
        if (task is not null)
        {
            task.Value = Math.Clamp(fraction, 0, 1);
            task.Description = Markup.Escape($"{stage}: {text}");
        }
        else if (DateTime.UtcNow - lastQuiet > QuietInterval)
        {
            lastQuiet = DateTime.UtcNow;
            Console.Error.WriteLine($"   {fraction:P0} {text}");
        }
    }

    private void Finish()
    {
        if (task is null) return;
        task.Value = 1;
        task.Description = Markup.Escape(stage);
        task.StopTask();
    }
}
