using System.Collections;

namespace Bayou.Core;

/// <summary>A list of integers that compares by value, so that two ops with equal attributes are equal records.</summary>
public readonly struct Ints : IEquatable<Ints>, IReadOnlyList<long>
{
    private readonly long[]? values;

    /// <summary>Wraps the values (not copied).</summary>
    public Ints(params long[] values) => this.values = values;

    /// <summary>The values as an array for TorchSharp; do not change it.</summary>
    public long[] Array => values ?? [];

    /// <inheritdoc/>
    public int Count => values?.Length ?? 0;

    /// <inheritdoc/>
    public long this[int index] => Array[index];

    /// <summary>Wraps an array.</summary>
    public static implicit operator Ints(long[] values) => new(values);

    /// <inheritdoc/>
    public bool Equals(Ints other) => Array.AsSpan().SequenceEqual(other.Array);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Ints other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (var value in Array) hash.Add(value);
        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public IEnumerator<long> GetEnumerator() => ((IEnumerable<long>)Array).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => Array.GetEnumerator();

    /// <inheritdoc/>
    public override string ToString() => "[" + string.Join(",", Array) + "]";

    /// <summary>Equality by value.</summary>
    public static bool operator ==(Ints left, Ints right) => left.Equals(right);

    /// <summary>Inequality by value.</summary>
    public static bool operator !=(Ints left, Ints right) => !left.Equals(right);
}
