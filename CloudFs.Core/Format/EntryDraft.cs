using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>What <see cref="EntrySealer"/> makes a header of.</summary>
public readonly ref struct EntryDraft
{
    /// <summary>What the entry does.</summary>
    public required EntryKind Kind { get; init; }

    /// <summary>One more than the entry before; 1 for a first.</summary>
    public required ulong Lsn { get; init; }

    /// <summary>The disk's base id. In a first entry it is not known yet: what stands here is ignored.</summary>
    public Id160 Disk { get; init; }

    /// <summary>Id of the version before; zero in a new disk's first entry, the origin's version in a
    /// branch's.</summary>
    public Id160 Previous { get; init; }

    /// <summary>Token of the entry before; zero in a first entry and in a forced view.</summary>
    public Id160 Parent { get; init; }

    /// <summary>Secret of the entry's view; in a view or branch, of the one that it introduces.</summary>
    public required Id160 Secret { get; init; }

    /// <summary>Microseconds since 1970, not less than in the entry before.</summary>
    public required ulong TimeMicros { get; init; }

    /// <summary>The extents of an update, in the order in which they take effect; none in other kinds.</summary>
    public ReadOnlySpan<ExtentRecord> Extents { get; init; }

    /// <summary>The records of all pages, in order, all present (<see cref="PageRecord.Of"/>).</summary>
    public ReadOnlySpan<PageRecord> Pages { get; init; }

    /// <summary>True if this is a disk's first entry, which names the disk.</summary>
    public bool IsFirst => Lsn == 1 && (Kind is EntryKind.View or EntryKind.Branch);
}
