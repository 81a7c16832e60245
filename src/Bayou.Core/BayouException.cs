namespace Bayou.Core;

/// <summary>An error a user can act on: what went wrong, where, and what to do. The CLI prints its message without a stack trace.</summary>
public class BayouException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What, where, what to do.</param>
    public BayouException(string message) : base(message) { }

    /// <summary>Creates the error with the lower-level one that led to it.</summary>
    public BayouException(string message, Exception inner) : base(message, inner) { }
}
