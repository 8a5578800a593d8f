using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// Finds what is left of a disk's history by passes over its map, layers and tree, a bounded piece at a time; and the view in
/// force with the attributes since, which are pinned.
/// </summary>
internal sealed class MapSurvivors(Disk disk) : ISurvivors
{
    /// <summary>Extents looked up at once.</summary>
    private const int PieceExtents = 1024;

    public async ValueTask<int> NextAsync(
        ulong afterLsn, ulong belowLsn, Memory<(ulong Lsn, LogPosition Position)> into)
    {
        if (into.IsEmpty || belowLsn <= afterLsn + 1)
        {
            return 0;
        }

        // Twice the room: it is sorted and cut whenever it is full, so that each extent costs a few comparisons.
        var room = ArrayPool<(ulong Lsn, LogPosition Position)>.Shared.Rent(into.Length * 2);
        var piece = ArrayPool<MappedExtent>.Shared.Rent(PieceExtents);
        try
        {
            var lowest = new Lowest(room, into.Length, afterLsn, belowLsn);
            foreach (var pin in disk.Locked(state => state.Pins.ToArray()))
            {
                lowest.Offer(pin.Lsn, pin.Position);
            }

            for (ulong lba = 0; lba < EntryLayout.MaxSector;)
            {
                (var count, lba) = await NextPieceAsync(lba, piece.AsMemory(0, PieceExtents));
                foreach (ref readonly var extent in piece.AsSpan(0, count))
                {
                    if (!extent.Position.IsNone)
                    {
                        lowest.Offer(extent.Lsn, extent.Position);
                    }
                }
            }

            return lowest.CopyTo(into.Span);
        }
        finally
        {
            ArrayPool<MappedExtent>.Shared.Return(piece);
            ArrayPool<(ulong Lsn, LogPosition Position)>.Shared.Return(room);
        }
    }

    public async ValueTask<int> LostAsync(ulong fromLba, Memory<LostRun> into)
    {
        var found = 0;
        if (disk.Locked(state => state.Map.LostSectors) == 0)
        {
            return found;
        }

        var piece = new MappedExtent[PieceExtents];
        while (found < into.Length && fromLba < EntryLayout.MaxSector)
        {
            (var count, fromLba) = await NextPieceAsync(fromLba, piece);
            foreach (ref readonly var extent in piece.AsSpan(0, count))
            {
                if (extent.Content == MappedContent.Lost && found < into.Length)
                {
                    into.Span[found++] = new LostRun(extent.Lba, extent.Sectors, extent.Lsn);
                }
            }
        }

        return found;
    }

    private async ValueTask<(int Count, ulong To)> NextPieceAsync(ulong lba, Memory<MappedExtent> into)
    {
        var (status, count) = await disk.LookUpAsync(lba, EntryLayout.MaxSector, into);
        return status != TreeRead.Ok
            ? throw new RefusalException(
                Refusal.Unavailable,
                $"the index of disk {disk.Id} is damaged: what is left of its history can't be told until it is rebuilt")
            : (count, count == into.Length ? into.Span[count - 1].End : EntryLayout.MaxSector);
    }

    /// <summary>Keeps the entries with the lowest LSNs of all that it is offered.</summary>
    private struct Lowest((ulong Lsn, LogPosition Position)[] room, int wanted, ulong after, ulong below)
    {
        private ulong _below = below;
        private int _count;

        public void Offer(ulong lsn, LogPosition position)
        {
            if (lsn <= after || lsn >= _below)
            {
                return;
            }

            room[_count++] = (lsn, position);
            if (_count == wanted * 2)
            {
                Cut();
            }
        }

        public int CopyTo(Span<(ulong Lsn, LogPosition Position)> into)
        {
            Cut();
            room.AsSpan(0, _count).CopyTo(into);
            return _count;
        }

        /// <summary>Sorts, leaves out what stands twice, and keeps as many as are wanted.</summary>
        private void Cut()
        {
            var held = room.AsSpan(0, _count);
            held.Sort((left, right) => left.Lsn != right.Lsn
                ? left.Lsn.CompareTo(right.Lsn) : left.Position.CompareTo(right.Position));
            _count = 0;
            foreach (var entry in held)
            {
                // An entry that was moved in the middle of the pass has two places, the later of which is the new one.
                if (_count > 0 && held[_count - 1].Lsn == entry.Lsn)
                {
                    held[_count - 1] = entry;
                }
                else if (_count < wanted)
                {
                    held[_count++] = entry;
                }
                else
                {
                    _below = entry.Lsn;
                    break;
                }
            }
        }
    }
}
