using System.Buffers.Binary;
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
    private const int ContentsVersion = 1;
    private const int ExtentBytes = 35;

    public static async ValueTask WriteAsync(
        BlobWriter blob, LogPosition rollFrom, ulong nextCommit, int nextSegment, IReadOnlyList<SegmentUse> segments,
        IReadOnlyList<DiskSnapshot> disks)
    {
        await blob.PutAsync(ContentsVersion);
        await blob.PutAsync(rollFrom.Value);
        await blob.PutAsync(nextCommit);
        await blob.PutAsync(nextSegment);
        await blob.PutAsync(segments.Count);
        foreach (var use in segments)
        {
            await blob.PutAsync(use.Segment);
            await blob.PutAsync((byte)use.State);
            await blob.PutAsync(use.Use);
        }

        await blob.PutAsync(disks.Count);
        foreach (var disk in disks)
        {
            await WriteDiskAsync(blob, disk);
        }
    }

    public static async ValueTask<LoadedCheckpoint> ReadAsync(BlobReader blob, CheckpointRoot root, int segmentCount)
    {
        var version = await blob.Int32Async();
        if (version != ContentsVersion)
        {
            throw new DamagedCheckpointException($"contents of version {version}, expected {ContentsVersion}");
        }

        var rollFrom = new LogPosition(await blob.UInt64Async());
        var nextCommit = await blob.UInt64Async();
        var nextSegment = await blob.Int32Async();
        var segments = await ReadSegmentsAsync(blob, segmentCount);
        var disks = new Dictionary<Id160, DiskState>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var disk = await ReadDiskAsync(blob, segments);
            if (!disks.TryAdd(disk.Head.Disk, disk))
            {
                throw new DamagedCheckpointException($"disk {disk.Head.Disk} stands there twice");
            }
        }

        return new LoadedCheckpoint(rollFrom, root.Durable, nextCommit, nextSegment, segments, disks);
    }

    private static async ValueTask<SegmentTable> ReadSegmentsAsync(BlobReader blob, int segmentCount)
    {
        var table = new SegmentTable(segmentCount);
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            var segment = await blob.Int32Async();
            var state = (SegmentState)await blob.ByteAsync();
            var use = await blob.UInt64Async();
            if (segment < 0 || segment >= segmentCount || use == 0 || table.StateOf(segment) != SegmentState.Free
                || state is not (SegmentState.Open or SegmentState.Sealed) || table.TryLocate(use, out _))
            {
                throw new DamagedCheckpointException($"segment {segment} in state {state} with use {use}");
            }

            table.Occupy(segment, state, use);
        }

        return table;
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
            await blob.PutAsync(pin.Value);
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

        await WriteExtentsAsync(blob, disk.Extents);
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

        var pins = new List<LogPosition>();
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            pins.Add(new LogPosition(await blob.UInt64Async()));
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
        await ReadExtentsAsync(blob, state);
        return state;
    }

    private static async ValueTask WriteExtentsAsync(BlobWriter blob, ExtentSnapshot extents)
    {
        await blob.PutAsync(extents.Count);
        var bytes = new byte[ExtentBytes * 256];
        foreach (var leaf in extents.Leaves)
        {
            var length = 0;
            foreach (var extent in leaf)
            {
                Write(extent, bytes.AsSpan(length));
                length += ExtentBytes;
            }

            await blob.PutAsync(bytes.AsSpan(0, length));
        }
    }

    private static async ValueTask ReadExtentsAsync(BlobReader blob, DiskState state)
    {
        for (var left = await blob.CountAsync(); left > 0; left--)
        {
            await blob.EnsureAsync(ExtentBytes);
            state.Map.Apply(Read(blob.Take(ExtentBytes)));
        }
    }

    private static void Write(in MappedExtent extent, Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, extent.Lba);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], extent.Sectors);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[16..], extent.Lsn);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[24..], extent.Position.Value);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[32..], extent.ExtentIndex);
        destination[34] = (byte)extent.Content;
    }

    private static MappedExtent Read(ReadOnlySpan<byte> source)
    {
        var extent = new MappedExtent(
            BinaryPrimitives.ReadUInt64LittleEndian(source),
            BinaryPrimitives.ReadUInt64LittleEndian(source[8..]),
            (MappedContent)source[34],
            BinaryPrimitives.ReadUInt16LittleEndian(source[32..]),
            BinaryPrimitives.ReadUInt64LittleEndian(source[16..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(source[24..])));
        return extent.Sectors > 0 && extent.Sectors <= EntryLayout.MaxSector
            && extent.Lba <= EntryLayout.MaxSector - extent.Sectors && extent.Content <= MappedContent.Lost
            ? extent
            : throw new DamagedCheckpointException($"an extent of {extent.Sectors} sectors with content {extent.Content}");
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
