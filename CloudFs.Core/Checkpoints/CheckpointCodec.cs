using System.Text;
using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>The contents of a checkpoint, field by field (docs/format/checkpoint.md). Writing and reading stand side by side.</summary>
internal static class CheckpointCodec
{
    private const int ContentsVersion = 5;

    public static async ValueTask WriteAsync(BlobWriter blob, CheckpointContents contents)
    {
        await blob.PutAsync(ContentsVersion);
        await blob.PutAsync(contents.Cut.RollFrom.Value);
        await blob.PutAsync(contents.Cut.NextCommit);
        await blob.PutAsync(contents.Cut.NextSegment);
        await blob.PutAsync(contents.NextRelocation);
        await blob.PutAsync(contents.Segments.Count);
        foreach (var use in contents.Segments)
        {
            await blob.PutAsync(use.Segment);
            await blob.PutAsync((byte)use.State);
            await blob.PutAsync(use.Use);
            await blob.PutAsync(use.References);
            await blob.PutAsync(use.LiveSectors);
            await blob.PutAsync(use.SealedAt);
            await blob.PutAsync(use.SealedMicros);
            await blob.PutAsync(use.Headers.Entries);
            await blob.PutAsync(use.Headers.Bytes);
        }

        await blob.PutAsync(contents.IndexPages.Count);
        foreach (var (segment, used) in contents.IndexPages)
        {
            await blob.PutAsync(segment);
            await blob.PutAsync(used.Length);
            await blob.PutAsync(used);
        }

        await blob.PutAsync(contents.Disks.Count);
        foreach (var disk in contents.Disks)
        {
            await WriteDiskAsync(blob, disk);
        }

        await blob.PutAsync(contents.Remembered.Count);
        foreach (var disk in contents.Remembered)
        {
            await blob.PutAsync(disk.Disk);
            await blob.PutAsync(disk.Promised.Epoch);
            await blob.PutAsync(disk.Promised.Primary);
            await blob.PutAsync(disk.View.Ballot.Epoch);
            await blob.PutAsync(disk.View.Ballot.Primary);
            await blob.PutAsync(disk.View.Lsn);
            await blob.PutAsync(disk.View.Id);
            await blob.PutAsync(disk.View.Previous);
            await blob.PutAsync(disk.DroppedUse);
            await blob.PutAsync(disk.CopyNumber);
            await blob.PutAsync((byte)(disk.IsCopying ? 1 : 0));
            await blob.PutAsync(disk.CopiedAfter);
            await blob.PutAsync(disk.CopiesDropped);
        }
    }

    public static async ValueTask<LoadedCheckpoint> ReadAsync(BlobReader blob, CheckpointRoot root, int segmentCount)
    {
        var version = await blob.Int32Async();
        if (version != ContentsVersion)
        {
            throw new DamagedCheckpointException($"contents of version {version}, expected {ContentsVersion}");
        }

        var cut = new LogCut(new LogPosition(await blob.UInt64Async()), await blob.UInt64Async(), await blob.Int32Async());
        var nextRelocation = await blob.UInt64Async();
        var segments = await ReadSegmentsAsync(blob, segmentCount);

        // Segments that were relocated into since, and forgotten by a crash, had uses too: at most all segments.
        segments.NextRelocationUse = nextRelocation + (ulong)segmentCount;
        var pages = await ReadIndexPagesAsync(blob, segments);
        var disks = new Dictionary<Id160, DiskState>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var disk = await ReadDiskAsync(blob, segments);
            if (!disks.TryAdd(disk.Head.Disk, disk))
            {
                throw new DamagedCheckpointException($"disk {disk.Head.Disk} stands there twice");
            }
        }

        var remembered = new List<RememberedDisk>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var (disk, promised) = (await blob.IdAsync(), new Ballot(await blob.UInt64Async(), await blob.IdAsync()));
            var view = new ViewMark(
                new Ballot(await blob.UInt64Async(), await blob.IdAsync()), await blob.UInt64Async(), await blob.IdAsync(),
                await blob.IdAsync());
            remembered.Add(new RememberedDisk(disk, promised, view, await blob.UInt64Async())
            {
                CopyNumber = await blob.UInt64Async(),
                IsCopying = await blob.ByteAsync() != 0,
                CopiedAfter = await blob.UInt64Async(),
                CopiesDropped = await blob.UInt64Async(),
            });
        }

        return new LoadedCheckpoint(cut, root.Durable, segments, pages, disks, remembered);
    }

    private static async ValueTask<SegmentTable> ReadSegmentsAsync(BlobReader blob, int segmentCount)
    {
        var table = new SegmentTable(segmentCount);
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var kept = new SegmentUse(
                await blob.Int32Async(), (SegmentState)await blob.ByteAsync(), await blob.UInt64Async(), await blob.Int32Async(),
                await blob.Int32Async(), 0, await blob.UInt64Async(), await blob.UInt64Async(),
                new HeaderTally(await blob.Int32Async(), await blob.Int32Async()));
            var holdsEntries = kept.State is SegmentState.Open or SegmentState.Sealed;
            if (kept.Segment < 0 || kept.Segment >= segmentCount || kept.References < 0 || kept.LiveSectors < 0
                || kept.Headers.Entries < 0 || kept.Headers.Bytes < 0
                || !(holdsEntries || kept.State is SegmentState.Index or SegmentState.Bad) || holdsEntries != (kept.Use != 0)
                || table.StateOf(kept.Segment) != SegmentState.Free || (holdsEntries && table.TryLocate(kept.Use, out _)))
            {
                throw new DamagedCheckpointException($"segment {kept.Segment} in state {kept.State} with use {kept.Use}");
            }

            table.Occupy(kept);
        }

        return table;
    }

    private static async ValueTask<List<(int Segment, byte[] Used)>> ReadIndexPagesAsync(BlobReader blob, SegmentTable segments)
    {
        var pages = new List<(int Segment, byte[] Used)>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var segment = await blob.Int32Async();
            var length = await blob.CountAsync();
            await blob.EnsureAsync(length);
            if (segment < -1 || segment >= segments.Count
                || (segment >= 0 && segments.StateOf(segment) != SegmentState.Index))
            {
                throw new DamagedCheckpointException($"index pages in segment {segment}");
            }

            pages.Add((segment, blob.Take(length).ToArray()));
        }

        // A segment whose last pages this checkpoint replaced holds nothing any more.
        foreach (var kept in segments.Snapshot().Where(kept => kept.State == SegmentState.Index))
        {
            if (!pages.Exists(page => page.Segment == kept.Segment))
            {
                segments.ReleasePages(kept.Segment, SegmentState.Index);
            }
        }

        return pages;
    }

    private static async ValueTask WriteDiskAsync(BlobWriter blob, DiskSnapshot disk)
    {
        var head = disk.Head;
        await blob.PutAsync(head.Disk);
        await blob.PutAsync(head.Lsn);
        await blob.PutAsync(head.Id);
        await blob.PutAsync(head.Entropy);
        await blob.PutAsync(head.Lock);
        await blob.PutAsync(head.TimeMicros);
        await blob.PutAsync(disk.Secret);
        await blob.PutAsync(head.View!.Lsn);
        await blob.PutAsync(head.View.Id);
        await blob.PutAsync(head.View.Previous);
        await blob.PutAsync(Encoding.UTF8.GetString(head.View.Body.ToBytes()));
        await blob.PutAsync(head.Attributes!.ToJson());
        await blob.PutAsync(disk.Suspect ?? "");
        await blob.PutAsync(disk.Views.Count);
        foreach (var view in disk.Views)
        {
            await blob.PutAsync(view.Ballot.Epoch);
            await blob.PutAsync(view.Ballot.Primary);
            await blob.PutAsync(view.Lsn);
            await blob.PutAsync(view.Id);
            await blob.PutAsync(view.Previous);
        }

        await blob.PutAsync(disk.Pins.Count);
        foreach (var pin in disk.Pins)
        {
            await blob.PutAsync(pin.Lsn);
            await blob.PutAsync(pin.Position.Value);
        }

        await blob.PutAsync(disk.OldestLsn);
        await blob.PutAsync(disk.Runs.Count);
        foreach (var run in disk.Runs)
        {
            await blob.PutAsync(run.Use);
            await blob.PutAsync(run.FirstLsn);
            await blob.PutAsync(run.LastLsn);
            await blob.PutAsync((ulong)run.Bytes);
        }

        await blob.PutAsync(disk.Lost.Count);
        foreach (var (lba, end) in disk.Lost)
        {
            await blob.PutAsync(lba);
            await blob.PutAsync(end);
        }

        await blob.PutAsync(disk.Tree.Page);
        await blob.PutAsync(disk.Tree.Check);
        await blob.PutAsync(disk.Tree.Height);
        await blob.PutAsync(disk.Tree.Extents);
        await blob.PutAsync(disk.Tree.DataSectors);
        await blob.PutAsync(disk.Tree.LostSectors);
        await blob.PutAsync(disk.Tree.Pages);
    }

    private static async ValueTask<DiskState> ReadDiskAsync(BlobReader blob, SegmentTable segments)
    {
        var state = new DiskState(segments);
        var head = new ChainHead
        {
            Disk = await blob.IdAsync(),
            Lsn = await blob.UInt64Async(),
            Id = await blob.IdAsync(),
            Entropy = await blob.IdAsync(),
            Lock = await blob.IdAsync(),
            TimeMicros = await blob.UInt64Async(),
        };
        state.Secret = await blob.IdAsync();
        var (viewLsn, viewId, viewPrevious) = (await blob.UInt64Async(), await blob.IdAsync(), await blob.IdAsync());
        state.Head = head with
        {
            View = new ChainView(ParseView(await blob.StringAsync()), viewLsn, viewId, viewPrevious),
            Attributes = ParseAttributes(await blob.StringAsync()),
        };
        var suspect = await blob.StringAsync();
        state.Suspect = suspect.Length == 0 ? null : suspect;
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var ballot = new Ballot(await blob.UInt64Async(), await blob.IdAsync());
            state.Views.Add(new ViewMark(ballot, await blob.UInt64Async(), await blob.IdAsync(), await blob.IdAsync()));
        }

        var pins = new List<PinnedEntry>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            pins.Add(new PinnedEntry(await blob.UInt64Async(), new LogPosition(await blob.UInt64Async())));
        }

        state.RestorePins(pins);
        var oldest = await blob.UInt64Async();
        var runs = new List<LsnRun>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            runs.Add(new LsnRun(
                await blob.UInt64Async(), await blob.UInt64Async(), await blob.UInt64Async(), (long)await blob.UInt64Async()));
        }

        state.Lsns.Restore(oldest, runs);
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var (lba, end) = (await blob.UInt64Async(), await blob.UInt64Async());
            if (lba >= end || end > EntryLayout.MaxSector)
            {
                throw new DamagedCheckpointException($"lost sectors from {lba} to {end}");
            }

            state.Damage.Add(lba, end - lba, DamageBook.LostEntry);
        }

        var tree = new TreeRoot(
            await blob.UInt64Async(), await blob.UInt64Async(), await blob.Int32Async(), await blob.UInt64Async(),
            await blob.UInt64Async(), await blob.UInt64Async(), await blob.UInt64Async());
        state.Map.Restore(tree, head.Lsn);
        return state;
    }

    private static ViewBody ParseView(string json)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        return ViewBody.TryParse(EntryKind.Branch, bytes, out var view, out _)
            || ViewBody.TryParse(EntryKind.View, bytes, out view, out _)
            ? view!
            : throw new DamagedCheckpointException("a view that can't be parsed");
    }

    private static DiskAttributes ParseAttributes(string json) =>
        DiskAttributes.TryParse(json, out var attributes, out _)
            ? attributes
            : throw new DamagedCheckpointException("attributes that can't be parsed");
}
