using System.Diagnostics.CodeAnalysis;

namespace CloudFs.Core.Primitives;

/// <summary>A condition that our own code guarantees did not hold: a defect, never a bad input.</summary>
public sealed class InvariantException(string message) : Exception(message);

/// <summary>Assertions that stay on in production: a store that goes on over a broken invariant loses data.</summary>
public static class Invariant
{
    /// <exception cref="InvariantException">The condition does not hold.</exception>
    public static void That([DoesNotReturnIf(false)] bool condition, string message)
    {
        if (!condition)
        {
            throw new InvariantException(message);
        }
    }
}
