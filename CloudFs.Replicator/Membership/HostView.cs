using CloudFs.Core.Primitives;
using CloudFs.Replicator.Placement;

namespace CloudFs.Replicator.Membership;

/// <summary>How a host stands, by the silence of its beat.</summary>
internal enum HostState
{
    Up,
    Suspect,
    Down,
}

/// <summary>A host as this one knows it at a moment. Immutable.</summary>
internal sealed record HostView(HostRecord Record, Id160 Id, HostState State, bool Draining, TimeSpan Silent)
{
    /// <summary>Less room than this, or than a twentieth of a small device, is full: nothing new goes there.</summary>
    private const ulong FullBelowBytes = 1UL << 30;

    public bool IsUp => State == HostState.Up;

    public bool IsFull => Record.FreeBytes < Math.Min(FullBelowBytes, Record.CapacityBytes / 20);

    /// <summary>True if a new replica may go there.</summary>
    public bool TakesData => IsUp && Record is { Witness: false, Ready: true, Device.Length: > 0 } && !Draining && !IsFull;

    /// <summary>True if it may be a witness: any host that is up.</summary>
    public bool TakesVotes => IsUp && Record is { Ready: true, Device.Length: > 0 } && !Draining;

    public PlacementHost ForPlacement => new(Id, Record.Zone.Length > 0 ? Record.Zone : Record.Id, Record.Weight);

    /// <summary>For people: the id's first eight digits and the address.</summary>
    public string Name => $"{Record.Id[..8]} ({Record.Address})";
}

/// <summary>Two processes that claim one id, and the line that names both.</summary>
internal sealed record IdConflict(string Id, string Line)
{
    public static IdConflict Of(string id, string one, string other) =>
        new(id, $"two hosts claim the id {id}: {one} and {other}; stop one of them, or give it an id of its own");
}
