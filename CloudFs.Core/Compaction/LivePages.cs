using System.Runtime.InteropServices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>
/// Which pages of an update are live, and what becomes of the sectors that are mapped to it. Of one entry at a time; its
/// memory is used again for the next.
/// </summary>
internal sealed class LivePages
{
    private readonly List<Page> _pages = [];
    private readonly List<int> _dropped = [];
    private int _present;

    /// <summary>Pages to copy.</summary>
    public int Count => _pages.Count;

    /// <summary>Present pages that nothing reads.</summary>
    public int Dead => _present - _pages.Count;

    /// <summary>Live pages that turned out to be damaged.</summary>
    public int Lost { get; private set; }

    /// <summary>Bytes of the pages to copy.</summary>
    public int Bytes { get; private set; }

    /// <summary>The page to copy with that index.</summary>
    public Page this[int index] => _pages[index];

    /// <summary>Judges the pages of an entry.</summary>
    /// <param name="header">The header.</param>
    /// <param name="fields">What was read from it.</param>
    /// <param name="fragments">What is mapped to it, by address.</param>
    public void Judge(ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<LiveFragment> fragments)
    {
        _pages.Clear();
        _present = Lost = Bytes = 0;
        foreach (var page in EntryPages.Of(header, fields))
        {
            if (!page.IsPresent)
            {
                continue;
            }

            _present++;
            if (fields.HasJsonBody || IsTouched(page, fragments))
            {
                _pages.Add(new Page(page.Index, page.Extent, page.Lba, page.BodyOffset, page.Record, IsLost: false));
                Bytes += page.Record.Length;
            }
        }
    }

    /// <summary>The bytes of a page are not what they should be.</summary>
    public void Lose(int index)
    {
        Lost++;
        _pages[index] = _pages[index] with { IsLost = true };
    }

    /// <summary>Writes the header as it is with only the copied pages in the body, and gives the body's length.</summary>
    public int WriteHeader(ReadOnlySpan<byte> header, in EntryHeader fields, Span<byte> destination)
    {
        _dropped.Clear();
        var next = 0;
        for (var i = 0; i < fields.PageCount; i++)
        {
            if (next < _pages.Count && _pages[next].Index == i)
            {
                if (!_pages[next++].IsLost)
                {
                    continue;
                }
            }

            _dropped.Add(i);
        }

        return EntryCompaction.DropFromHeader(header, fields, CollectionsMarshal.AsSpan(_dropped), destination);
    }

    /// <summary>
    /// Adds what is to happen to a fragment: sectors of zeroes and of pages that were copied go to the new place, all
    /// others are lost; also those of which the entry has no page, which an index that is wrong may mean.
    /// </summary>
    public void Move(in LiveFragment fragment, in EntryHeader fields, LogPosition from, LogPosition to, VictimHaul haul)
    {
        var at = fragment.Lba;
        for (var i = FirstEndingAfter(fragment.Extent, at); !fragment.IsZero && i < _pages.Count; i++)
        {
            var page = _pages[i];
            if (page.Extent != fragment.Extent || page.Lba >= fragment.End)
            {
                break;
            }

            at = MoveUntil(page.Lba, LogPosition.None, at, fields, from, haul);
            at = MoveUntil(Math.Min(page.End, fragment.End), page.IsLost ? LogPosition.None : to, at, fields, from, haul);
        }

        _ = MoveUntil(fragment.End, fragment.IsZero ? to : LogPosition.None, at, fields, from, haul);
    }

    private static ulong MoveUntil(
        ulong until, LogPosition to, ulong at, in EntryHeader fields, LogPosition from, VictimHaul haul)
    {
        if (until <= at)
        {
            return at;
        }

        haul.Move(fields.Disk, new ExtentMove(at, until - at, fields.Lsn, from, to));
        return until;
    }

    private static bool IsTouched(in EntryPage page, ReadOnlySpan<LiveFragment> fragments)
    {
        var low = 0;
        var high = fragments.Length;
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = fragments[middle].End > page.Lba ? (low, middle) : (middle + 1, high);
        }

        var end = page.Lba + page.Record.Sectors;
        for (; low < fragments.Length && fragments[low].Lba < end; low++)
        {
            if (!fragments[low].IsZero && fragments[low].Extent == page.Extent)
            {
                return true;
            }
        }

        return false;
    }

    private int FirstEndingAfter(int extent, ulong lba)
    {
        var low = 0;
        var high = _pages.Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            var page = _pages[middle];
            var behind = page.Extent > extent || (page.Extent == extent && page.End > lba);
            (low, high) = behind ? (low, middle) : (middle + 1, high);
        }

        return low;
    }

    /// <summary>A live page.</summary>
    public readonly record struct Page(int Index, int Extent, ulong Lba, int BodyOffset, PageRecord Record, bool IsLost)
    {
        public ulong End => Lba + Record.Sectors;
    }
}
