using System.Globalization;
using Bayou.Core;

namespace Bayou.Train;

/// <summary>A network whose training has numbers of its own beside the recipe's: `bayou train --set NAME=NUMBER`.</summary>
public interface ITrainingSettings
{
    /// <summary>The numbers by name.</summary>
    IReadOnlyList<TrainingSetting> Settings { get; }
}

/// <summary>One number that steers a training.</summary>
/// <param name="Name">On the command line.</param>
/// <param name="Summary">What it does, in a line.</param>
/// <param name="Get">Its value.</param>
/// <param name="Set">Changes it.</param>
public sealed record TrainingSetting(string Name, string Summary, Func<double> Get, Action<double> Set);

/// <summary>Numbers that are named on a command line.</summary>
public static class NamedSettings
{
    /// <summary>Values after changes such as "ponder=0.001".</summary>
    /// <param name="owner">Whose settings, for messages.</param>
    /// <param name="defaults">All settings and their values.</param>
    /// <param name="changes">NAME=NUMBER.</param>
    /// <exception cref="BayouException">An unknown setting, or no number.</exception>
    public static Dictionary<string, double> Changed(string owner, IReadOnlyDictionary<string, double> defaults, IEnumerable<string> changes)
    {
        var settings = new Dictionary<string, double>(defaults);
        foreach (var change in changes)
        {
            var parts = change.Split('=', 2);
            if (parts.Length == 2 && settings.ContainsKey(parts[0]) && double.TryParse(parts[1], CultureInfo.InvariantCulture, out var value)
                && double.IsFinite(value))
            {
                settings[parts[0]] = value;
                continue;
            }
            var known = settings.Count == 0
                ? "no settings" : string.Join(", ", settings.Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Key}={s.Value}")));
            throw new BayouException($"--set {change}: {owner} knows {known}");
        }
        return settings;
    }

    /// <summary>Changes a network's own settings.</summary>
    /// <exception cref="BayouException">The network has no such setting, or it is no number.</exception>
    public static void Apply(string name, object network, IReadOnlyCollection<string> changes)
    {
        if (changes.Count == 0) return;
        var own = (network as ITrainingSettings)?.Settings ?? [];
        var changed = Changed(name, own.ToDictionary(s => s.Name, s => s.Get()), changes);
        foreach (var setting in own) setting.Set(changed[setting.Name]);
    }

    /// <summary>A network's settings as one line; empty for a network without any.</summary>
    public static string Describe(object network) =>
        string.Join(", ", ((network as ITrainingSettings)?.Settings ?? []).Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Name}={s.Get()}")));
}
