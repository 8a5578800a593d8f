using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>What a replica says when it asks to be sent what it lacks.</summary>
internal readonly record struct FollowAsk(
    Id160 Disk, Ballot Promised, ulong Lsn, Id160 Version, bool IsCopying, IReadOnlyList<ViewMark> Views);

/// <summary>What it is told.</summary>
internal enum FollowStatus : byte
{
    Ok = 0,

    /// <summary>The disk is not here.</summary>
    Unknown = 1,

    NotPrimary = 2,

    /// <summary>It is a candidate still, or hands over: ask again soon.</summary>
    NotYet = 3,

    /// <summary>The view does not name the one who asks, and nobody said that it is to join.</summary>
    NotNamed = 4,

    /// <summary>What the replica has is not in the chain here.</summary>
    Forked = 5,

    /// <summary>What follows is gone from the history here: what is left of it comes first.</summary>
    State = 6,

    /// <summary>The replica has promised a higher ballot.</summary>
    Fenced = 7,
}

/// <summary>How an Entries frame begins.</summary>
internal static class EntriesFrame
{
    private const int CountOffset = 56;
    private const int FlagsOffset = 60;

    public static void Begin(FrameWriter into, Id160 disk, ulong committed, Ballot ballot)
    {
        into.Begin(FrameType.Entries);
        into.Put(disk);
        into.Put(committed);
        into.Put(ballot);
        into.Put(0u);
        into.Put(0u);
    }

    public static void End(FrameWriter into, int start, int count, EntriesFlags flags)
    {
        into.Patch(start + FrameLayout.HeaderSize + CountOffset, (uint)count);
        into.Patch(start + FrameLayout.HeaderSize + FlagsOffset, (uint)flags);
        into.End();
    }
}

/// <summary>What is to be done with entries that arrive.</summary>
[Flags]
internal enum EntriesFlags : uint
{
    None = 0,

    /// <summary>Make all of it durable now: somebody waits for that.</summary>
    Sync = 1,

    /// <summary>Views alone, for a witness.</summary>
    Views = 2,

    /// <summary>What is left of a long history, with gaps and state items.</summary>
    State = 4,
}
