using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Engine;

/// <summary>The engine over one device: it owns the log, the disks and the loops that serve them.</summary>
public sealed class StorageEngine : IAsyncDisposable
{
    /// <summary>The device's own id, made when it was formatted.</summary>
    public Id160 DeviceId => throw new NotImplementedException();

    /// <summary>The id of the host that the device belongs to.</summary>
    public Id160 HostId => throw new NotImplementedException();

    /// <summary>The disks that are here and not deleted, in the order of their ids.</summary>
    public IReadOnlyList<Disk> ListDisks() => throw new NotImplementedException();

    /// <summary>
    /// Finds a disk by its id, a prefix of its id that is unique (4 digits at least), or its name.
    /// Throws <see cref="RefusalException"/> NotFound, or Conflict for an ambiguous prefix.
    /// </summary>
    public Disk FindDisk(string idPrefixOrName) => throw new NotImplementedException();

    /// <summary>Finds a disk by exact id (40 digits) or exact name, as NBD and HTTP queries do.</summary>
    public bool TryGetDisk(string idOrName, out Disk disk) => throw new NotImplementedException();

    /// <summary>
    /// Makes a disk, durable when it returns. Throws <see cref="RefusalException"/> Invalid, Conflict (name taken),
    /// NoSpace or Unavailable.
    /// </summary>
    public ValueTask<Disk> CreateDiskAsync(DiskSpec spec, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>
    /// Takes one entry from outside (<c>PUT /log</c>): header and body, whole. Checked, and appended if it extends what is
    /// here; a first entry makes a mirror. Appended does not mean durable: call <see cref="FlushAsync"/> at the end.
    /// </summary>
    public ValueTask<IngestResult> IngestAsync(ReadOnlyMemory<byte> entry, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>Everything acknowledged or appended before this call is durable when it completes with Ok.</summary>
    public ValueTask<IoStatus> FlushAsync(CancellationToken cancellation) => throw new NotImplementedException();

    public SpaceReport GetSpace() => throw new NotImplementedException();

    public HealthReport GetHealth() => throw new NotImplementedException();

    public EngineCounters GetCounters() => throw new NotImplementedException();

    /// <summary>Stops cleanly: refuses new work, makes all durable, seals the open segment, writes a checkpoint.</summary>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}

/// <summary>What became of an entry from outside.</summary>
public enum IngestOutcome
{
    /// <summary>It was appended.</summary>
    Appended,

    /// <summary>It is here already: same LSN, same id.</summary>
    AlreadyHeld,

    /// <summary>The bytes are no valid entry (400).</summary>
    Malformed,

    /// <summary>It does not fit what is here: a fork, a gap, a wrong token, a disk that is not a mirror here (409).</summary>
    DoesNotFit,

    /// <summary>No room (507).</summary>
    NoSpace,

    /// <summary>The device failed or the engine is stopping (503).</summary>
    Unavailable,
}

/// <summary>The outcome, and for a refusal one line that names the disk, the LSN and the reason.</summary>
public readonly record struct IngestResult(IngestOutcome Outcome, string Reason);
