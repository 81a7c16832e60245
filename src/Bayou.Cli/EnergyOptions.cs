using System.CommandLine;
using System.Globalization;
using Bayou.Core;

namespace Bayou.Cli;

/// <summary>What a user wants to know about the energy of a training.</summary>
internal sealed record EnergyRequest(double? UntilAccuracy, double? Price, double Watts);

/// <summary>Energy and cost of a training so far.</summary>
internal sealed record TrainingEnergy(double Joules, bool Measured, string Source, double Accuracy, int Epochs, bool Reached, double? Cost)
{
    private const double JoulesPerKwh = 3.6e6;

    public string Text =>
        string.Create(CultureInfo.InvariantCulture,
        $"{Joules:0} J{(Cost is { } c ? $", {c:0.######} at the given price" : "")} for {Accuracy:P2} after {Epochs} epochs{(Reached ? ", the accuracy asked for" : "")}; {Source}");

    public static TrainingEnergy Of(EnergyReading reading, EnergyRequest request, double accuracy, int epochs) => new(
        reading.Joules, reading.Measured, reading.Source, accuracy, epochs, request.UntilAccuracy is { } wanted && accuracy >= wanted,
        request.Price * reading.Joules / JoulesPerKwh);
}

/// <summary>The options of `bayou train` about energy.</summary>
internal sealed class EnergyOptions
{
    private readonly Option<bool> energy =
        new("--energy") { Description = "count Joules: RAPL where the machine shows it, otherwise modelled and labelled so" };

    private readonly Option<double?> until = new("--until-accuracy") { Description = "end once the validation accuracy reaches this, per cent" };

    private readonly Option<double?> price = new("--price") { Description = "price of a kWh, for the cost of the training" };

    private readonly Option<double> watts =
        new("--watts") { Description = "power of the machine at full load, where energy must be modelled", DefaultValueFactory = _ => 65 };

    public Option[] All => [energy, until, price, watts];

    public EnergyRequest? Read(ParseResult parsed)
    {
        var wanted = parsed.GetValue(until);
        if (wanted is <= 0 or > 100) throw new BayouException($"--until-accuracy {wanted}: per cent, above 0 and up to 100");
        if (parsed.GetValue(watts) <= 0 || parsed.GetValue(price) < 0) throw new BayouException("--watts must be positive and --price not negative");
        return parsed.GetValue(energy) || wanted is not null ? new(wanted / 100, parsed.GetValue(price), parsed.GetValue(watts)) : null;
    }
}
