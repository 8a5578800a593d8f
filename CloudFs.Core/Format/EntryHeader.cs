using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// The fixed fields of an entry that was read and found sound (<see cref="EntryHeaderCodec.TryRead"/>). Extents and
/// page records stay in the header's bytes.
/// </summary>
public readonly struct EntryHeader
{
    /// <summary>What the entry does.</summary>
    public EntryKind Kind { get; init; }

    /// <summary><see cref="EntryLayout.FlagCompacted"/> or 0.</summary>
    public byte Flags { get; init; }

    /// <summary>Bytes of the header: whole sectors, at most <see cref="EntryLayout.MaxHeaderLength"/>.</summary>
    public int HeaderLength { get; init; }

    /// <summary>Bytes of the body: whole sectors, at most <see cref="EntryLayout.MaxBodyLength"/>, 0
    /// possible.</summary>
    public int BodyLength { get; init; }

    /// <summary>Log sequence number within the disk, from 1.</summary>
    public ulong Lsn { get; init; }

    /// <summary>The disk's base id.</summary>
    public Id160 Disk { get; init; }

    /// <summary>Id of the version before; zero in a new disk's first entry, the origin's version in a
    /// branch's.</summary>
    public Id160 Previous { get; init; }

    /// <summary>Token of the entry before; zero in a first entry and in a forced view.</summary>
    public Id160 Parent { get; init; }

    /// <summary>H(token of this entry).</summary>
    public Id160 Lock { get; init; }

    /// <summary>Id of the version that this entry makes.</summary>
    public Id160 Id { get; init; }

    /// <summary>Number of extents.</summary>
    public int ExtentCount { get; init; }

    /// <summary>Number of page records.</summary>
    public int PageCount { get; init; }

    /// <summary>Microseconds since 1970 by the primary's clock.</summary>
    public ulong TimeMicros { get; init; }

    /// <summary>H(previous ‖ parent ‖ content). Not stored: computed when the header was checked.</summary>
    public Id160 Entropy { get; init; }

    /// <summary>Bytes of header and body.</summary>
    public int TotalLength => HeaderLength + BodyLength;

    /// <summary>True if some page's bytes are no longer here.</summary>
    public bool IsCompacted => (Flags & EntryLayout.FlagCompacted) != 0;

    /// <summary>True for the kinds whose body is JSON.</summary>
    public bool HasJsonBody => Kind != EntryKind.Update;
}
