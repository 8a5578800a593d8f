using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>Segments that are kept from use: for a while, and for ever.</summary>
public sealed partial class SegmentTable
{
    private int _checkpoints = 1;
    private int _settled;

    /// <summary>Segments that are used no more once they are free: what is in them is still needed.</summary>
    public int Condemned => Locked(() => _segments.Count(segment => segment.IsCondemned));

    /// <summary>
    /// Keeps a sealed segment from being used for anything else until <see cref="EndHold"/>: for who writes in it again what
    /// was written before. Any number of holds at a time. False when it is not there, or not sealed.
    /// </summary>
    /// <param name="use">Its use.</param>
    /// <param name="segment">Where the caller found it.</param>
    /// <param name="orOpen">True to hold one, too, that is still appended to: it may be sealed, but not freed, meanwhile.</param>
    public bool TryHold(ulong use, int segment, bool orOpen = false)
    {
        lock (_lock)
        {
            var isThere = _byUse.TryGetValue(use, out var found) && found == segment
                && (_segments[found].State == SegmentState.Sealed || (orOpen && _segments[found].State == SegmentState.Open));
            if (isThere)
            {
                _held.Add(use);
            }

            return isThere;
        }
    }

    /// <summary>Lets go of what <see cref="TryHold"/> held.</summary>
    public void EndHold(ulong use)
    {
        lock (_lock)
        {
            var wasHeld = _held.Remove(use);
            Invariant.That(wasHeld, "who lets go of a segment held it");
        }
    }

    /// <summary>
    /// A write to a segment failed: it is taken for nothing more. One that is free is bad from here on; any other holds what it
    /// holds, and is bad once it would be free.
    /// </summary>
    public void Condemn(int segment)
    {
        lock (_lock)
        {
            ref var held = ref _segments[segment];
            if (held.State == SegmentState.Free)
            {
                _free--;
                _backed -= held.IsBacked ? 1 : 0;
                Next = Next == segment ? -1 : Next;
                held = new HeldSegment { State = SegmentState.Bad, IsBacked = true };
            }

            held.IsCondemned |= held.State != SegmentState.Bad;
        }
    }

    /// <summary>True when a write to it failed.</summary>
    public bool IsCondemned(int segment) =>
        Locked(() => _segments[segment].IsCondemned || _segments[segment].State == SegmentState.Bad);

    /// <summary>A checkpoint is about to state what is in use: gives its number.</summary>
    public int BeginCheckpoint()
    {
        lock (_lock)
        {
            return ++_checkpoints;
        }
    }

    /// <summary>Both slots hold that checkpoint: what was free when it began is stated by none.</summary>
    public void SettleCheckpoint(int number)
    {
        lock (_lock)
        {
            _settled = number;
        }
    }

    /// <summary>
    /// A free segment with blocks of its own, for what a bad one holds; the log's next where there is no other, -1 where there
    /// is none at all. One that a checkpoint still states, though nothing refers to it, comes last: a start that finds it
    /// overwritten would take that for damage. No checkpoint names it until <see cref="Move"/>; <see cref="ReleasePages"/> gives it back.
    /// </summary>
    public int TakeSpare()
    {
        lock (_lock)
        {
            var segment = FindUnstated();
            segment = segment >= 0 ? segment : FindFree(backed: true, ascending: true);
            if (segment < 0 && Next >= 0)
            {
                (segment, Next) = (Next, -1);
            }

            if (segment >= 0)
            {
                Take(segment, SegmentState.Checkpoint, 0);
            }

            return segment;
        }
    }

    private int FindUnstated()
    {
        for (var i = 0; i < _segments.Length; i++)
        {
            if (_segments[i] is { State: SegmentState.Free, IsBacked: true } free && i != Next
                && (free.FreedAt == 0 || free.FreedAt < _settled))
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>A use goes on in another segment, which was taken for it and holds all that the old one held: that one is bad.</summary>
    public void Move(ulong use, int to)
    {
        lock (_lock)
        {
            var found = _byUse.TryGetValue(use, out var from);
            Invariant.That(found && _segments[to].State == SegmentState.Checkpoint, "a use moves to a segment that was taken for it");
            _segments[to] = _segments[from] with { IsBacked = true, IsCondemned = false };
            _segments[from] = new HeldSegment { State = SegmentState.Bad, IsBacked = true };
            _byUse[use] = to;
        }
    }
}
