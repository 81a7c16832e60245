namespace Bayou.Core;

/// <summary>Energy of one operation in a format, picojoules.</summary>
/// <param name="Add">One addition.</param>
/// <param name="Multiply">One multiplication.</param>
/// <param name="Published">Whether both are published figures; otherwise scaled from the nearest one.</param>
public readonly record struct OperationEnergy(double Add, double Multiply, bool Published);

/// <summary>
/// Published energies per operation and per memory access (specs/ace.md, section 4): Horowitz, ISSCC 2014 (45 nm); Jouppi et al., ISCA 2021 (7 nm). What a
/// network's energy is under such a table is a model, not a measurement: every output says so.
/// </summary>
public sealed class EnergyTable
{
    // Accumulators: the sums of small products are 32 bits wide.
    private readonly Dictionary<string, (double Add, double Multiply)> operations;
    private readonly double accumulate;

    private EnergyTable(string name, string source, Dictionary<string, (double, double)> operations, double accumulate, double sramPerBit, double dramPerBit)
    {
        (Name, Source, this.operations, this.accumulate, SramPerBit, DramPerBit) = (name, source, operations, accumulate, sramPerBit, dramPerBit);
    }

    /// <summary>45 nm.</summary>
    public static EnergyTable Nm45 { get; } = new("45nm", "Horowitz, ISSCC 2014 (45 nm)",
        new() { ["int8"] = (0.03, 0.2), ["int32"] = (0.1, 3.1), ["fp16"] = (0.4, 1.1), ["fp32"] = (0.9, 3.7) }, 0.1, 10.0 / 64, 1300.0 / 64);

    /// <summary>7 nm.</summary>
    public static EnergyTable Nm7 { get; } = new("7nm", "Jouppi et al., ISCA 2021 (7 nm)",
        new() { ["int8"] = (0.007, 0.07), ["int32"] = (0.03, 1.48), ["bf16"] = (0.11, 0.21), ["fp16"] = (0.16, 0.34), ["fp32"] = (0.38, 1.31) }, 0.03,
        7.5 / 64, 1300.0 / 64);

    /// <summary>Both.</summary>
    public static IReadOnlyList<EnergyTable> All { get; } = [Nm7, Nm45];

    /// <summary>Short name.</summary>
    public string Name { get; }

    /// <summary>Where the figures come from.</summary>
    public string Source { get; }

    /// <summary>Reading a bit of a small on-chip memory (8 KB), picojoules.</summary>
    public double SramPerBit { get; }

    /// <summary>Reading a bit of DRAM (DDR), picojoules.</summary>
    public double DramPerBit { get; }

    /// <summary>
    /// Energy of an operation. A format that is not in the table takes a multiplier in proportion to its ACE (bits x bits) and an adder in proportion to its
    /// bits, from the nearest published format of its kind: floats from fp16 or fp32, integers from int8.
    /// </summary>
    public OperationEnergy Of(NumberFormat format)
    {
        if (operations.TryGetValue(format.Name, out var known)) return new(known.Add, known.Multiply, true);
        var (name, bits) = format.IsInteger ? ("int8", 8.0) : format.Bits > 16 ? ("fp32", 32.0) : ("fp16", 16.0);
        var (add, multiply) = operations[name];
        var share = format.Bits / bits;
        return new(add * share, multiply * share * share, false);
    }

    /// <summary>
    /// One multiply-accumulate, picojoules: a product in the wider of the two formats, scaled by ACE when they differ, and an addition into a 32-bit
    /// accumulator.
    /// </summary>
    public double Mac(NumberFormat a, NumberFormat b)
    {
        var wide = a.Bits >= b.Bits ? a : b;
        var product = Of(wide).Multiply * Math.Min(a.Bits, b.Bits) / wide.Bits;
        return product + (a.IsInteger && b.IsInteger ? accumulate : Of(NumberFormat.Fp32).Add);
    }

    /// <summary>
    /// Energy of a node, nanojoules: arithmetic; elementwise work at one bf16-sized operation each; weights from DRAM once and activations from on-chip memory.
    /// </summary>
    public NodeEnergy Of(NodeCost node, NumberFormat format) => Of(node, format, format);

    /// <summary>
    /// As <see cref="Of(NodeCost, NumberFormat)"/> with the operands as they are: whole numbers of the bits they are quantised to, float32 where they are not.
    /// </summary>
    public NodeEnergy AsIs(NodeCost node) => Of(node, Operand(node.ABits), Operand(node.BBits));

    private NodeEnergy Of(NodeCost node, NumberFormat activations, NumberFormat weights) => new(
        node.Macs * Mac(activations, weights) / 1e3,
        node.Elementwise * (Of(NumberFormat.Bf16).Add + Of(NumberFormat.Bf16).Multiply) / 1e3,
        (node.ElementsRead + node.ElementsWritten - node.Parameters) * (double)activations.Bits * SramPerBit / 1e3,
        node.Parameters * (double)weights.Bits * DramPerBit / 1e3);

    private static NumberFormat Operand(int bits) => bits == 32 ? NumberFormat.Fp32 : NumberFormat.Parse($"int{bits}");
}

/// <summary>Modelled energy, nanojoules.</summary>
/// <param name="Products">Multiply-accumulates.</param>
/// <param name="Elementwise">Everything else that computes.</param>
/// <param name="OnChip">Activations from and to on-chip memory.</param>
/// <param name="Dram">Weights from DRAM, once a picture.</param>
public readonly record struct NodeEnergy(double Products, double Elementwise, double OnChip, double Dram)
{
    /// <summary>The sum.</summary>
    public double Total => Products + Elementwise + OnChip + Dram;

    /// <summary>Adds two.</summary>
    public static NodeEnergy operator +(NodeEnergy a, NodeEnergy b) =>
        new(a.Products + b.Products, a.Elementwise + b.Elementwise, a.OnChip + b.OnChip, a.Dram + b.Dram);
}

/// <summary>
/// Performance per total cost of ownership (specs/ace.md, section 4): what a picture costs when a fleet of machines answers requests, capital and electricity
/// over its life.
/// </summary>
/// <param name="MachinePrice">Price of a machine.</param>
/// <param name="Machines">Machines of the fleet.</param>
/// <param name="PricePerKwh">Electricity.</param>
/// <param name="Watts">Power of a machine at work.</param>
/// <param name="PicturesPerSecond">What a machine does.</param>
/// <param name="Years">Life, 3 to 5 years.</param>
/// <param name="Utilisation">Share of the time at work.</param>
/// <param name="Pue">Power usage effectiveness: what cooling and losses add.</param>
public sealed record TotalCost(double MachinePrice, int Machines, double PricePerKwh, double Watts, double PicturesPerSecond, double Years = 4,
    double Utilisation = 0.5, double Pue = 1.2)
{
    private double BusySeconds => Years * 365.25 * 86400 * Utilisation;

    /// <summary>Price of all machines.</summary>
    public double Capital => MachinePrice * Machines;

    /// <summary>Price of the electricity over the fleet's life.</summary>
    public double Electricity => Watts / 1000 * BusySeconds / 3600 * Pue * PricePerKwh * Machines;

    /// <summary>Price of the electricity of a million pictures.</summary>
    public double ElectricityPerMillion => 1e6 / PicturesPerSecond * Watts / 3.6e6 * Pue * PricePerKwh;

    /// <summary>Both.</summary>
    public double Total => Capital + Electricity;

    /// <summary>Share of electricity.</summary>
    public double EnergyShare => Total > 0 ? Electricity / Total : 0;

    /// <summary>Pictures over the fleet's life.</summary>
    public double Pictures => PicturesPerSecond * BusySeconds * Machines;

    /// <summary>Pictures for each unit of money.</summary>
    public double PicturesPerPrice => Total > 0 ? Pictures / Total : double.PositiveInfinity;
}
