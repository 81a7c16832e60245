namespace Bayou.Claims;

/// <summary>
/// What a paper claims, as an experiment that can be run here: a statement, a real baseline at equal cost, fixed seeds. The result may be that the effect does
/// not show.
/// </summary>
public interface IClaim
{
    /// <summary>Name on the command line and of docs/claims/NAME.json and docs/systems/NAME.md.</summary>
    string Name { get; }

    /// <summary>Title, venue, arXiv number.</summary>
    string Paper { get; }

    /// <summary>What is claimed, in a sentence or two.</summary>
    string Statement { get; }

    /// <summary>Which data, and "procedural" where they are made here.</summary>
    string Data { get; }

    /// <summary>Runs the experiment: measures through the context, which keeps every finished measurement, and reports effects to it.</summary>
    void Run(ClaimContext context);
}
