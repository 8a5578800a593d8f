namespace CloudFs.Core.Primitives;

/// <summary>What the engine takes from outside: time, chance, and the start of its loops.</summary>
public sealed class EngineRuntime
{
    /// <summary>The clock; entries carry its UTC time, loops wait on its timers.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Fills a span with random bytes fit for secrets. Called from any thread.</summary>
    public required Action<Span<byte>> FillRandom { get; init; }

    /// <summary>Starts a background loop and gives the task that ends with it.</summary>
    public required Func<Func<Task>, Task> Spawn { get; init; }

    /// <summary>Told one event a line: what happened, to whom, and what to do. Called from any thread.</summary>
    public required Action<EngineEvent> Report { get; init; }

    /// <summary>A bug that a test wants to see found.</summary>
    internal PlantedBug Planted { get; init; }
}

/// <summary>How much an event matters.</summary>
public enum EventLevel
{
    Info,
    Warning,
    Error,
}

/// <summary>Something that an operator may want to know.</summary>
/// <param name="Level">How much it matters.</param>
/// <param name="Code">A short fixed word for machines, such as "recovered" or "clock-jumped".</param>
/// <param name="Message">One line for people.</param>
public sealed record EngineEvent(EventLevel Level, string Code, string Message);
