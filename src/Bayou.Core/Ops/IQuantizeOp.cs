namespace Bayou.Core;

/// <summary>An op that puts its first input onto the values of a format: costs count its readers with the format's bits, and not itself.</summary>
public interface IQuantizeOp
{
    /// <summary>Bits of the format.</summary>
    int Bits { get; }
}
