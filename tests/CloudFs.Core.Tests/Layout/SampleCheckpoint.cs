using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Tests.Layout;

/// <summary>A checkpoint of fixed contents, written by the store into a device in memory.</summary>
internal static class SampleCheckpoint
{
    public const int SegmentCount = 40;

    public static LogPosition RollFrom { get; } = new(3, 8192);

    /// <summary>A device with a checkpoint in slot 0, which with many runs does not fit it.</summary>
    /// <param name="runs">Entries of the first disk, each in a segment use of its own.</param>
    /// <param name="isPair">True to leave its twin in slot 1, where there else is none.</param>
    public static async Task<MemoryDevice> DeviceAsync(int runs = 3, bool isPair = false)
    {
        var device = new MemoryDevice(DeviceGeometry.SegmentsOffset + ((ulong)SegmentCount * DeviceGeometry.SegmentBytes));
        var segments = new SegmentTable(SegmentCount);
        segments.Occupy(0, SegmentState.Sealed, 1);
        segments.Occupy(5, SegmentState.Sealed, 2);
        segments.SetHeaders(2, new HeaderTally(3, 2000));
        segments.Occupy(1, SegmentState.Open, 3);
        segments.SetNext(2);
        for (var segment = 0; segment < SegmentCount; segment++)
        {
            segments.SetBacked(segment);
        }

        DiskSnapshot[] disks = [Disk(segments, LayoutSamples.Secret, runs), Disk(segments, LayoutSamples.Id(0x66), 0)];
        await new CheckpointStore(device, LayoutSamples.Device).WriteAsync(
            segments, Contents(segments, RollFrom, 77, disks), RollFrom, LayoutSamples.Label.CreatedMicros + 5);
        if (!isPair)
        {
            await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(1), new byte[CheckpointRootLayout.Size]);
            await device.FlushAsync();
        }

        return device;
    }

    public static CheckpointContents Contents(
        SegmentTable segments, LogPosition rollFrom, ulong nextCommit, params DiskSnapshot[] disks)
    {
        var used = new byte[IndexPageNumber.FixedPages / 8];
        used[0] = 0b10;
        return new CheckpointContents(
            new LogCut(rollFrom, nextCommit, segments.Next), LogPosition.FirstRelocationUse + 4,
            [.. segments.Snapshot().Select(use => use with { References = (int)use.Use, LiveSectors = 8, SealedMicros = 9 })],
            [(IndexPageNumber.FixedArea, used)], disks,
            [new RememberedDisk(LayoutSamples.Id(0x77), new Ballot(7, LayoutSamples.Id(0x78)), default, 5)]);
    }

    public static ValueTask<LoadedCheckpoint?> LoadAsync(MemoryDevice device, List<string> damage, int segmentCount = SegmentCount) =>
        new CheckpointStore(device, LayoutSamples.Device).LoadAsync(segmentCount, damage.Add);

    public static async Task<byte[]> ReadAsync(MemoryDevice device, ulong offset, int length)
    {
        var bytes = new byte[length];
        await device.ReadAsync(offset, bytes);
        return bytes;
    }

    private static DiskSnapshot Disk(SegmentTable segments, Id160 secret, int runs)
    {
        var sample = new SampleDisk(secret);
        var state = new DiskState(segments) { Secret = secret };
        EntryHeaderCodec.TryRead(sample.First.AsSpan(0, 512), out var first, out _);
        EntryBodyParsed.TryParse(EntryKind.View, sample.First.AsSpan(512), out var body, out _);
        state.Advance(default(ChainHead).Next(first, body), body, default, new LogPosition(1, 1024), sample.First.Length);
        for (var i = 0; i < runs; i++)
        {
            var entry = sample.Update((ulong)i * 16, 2);
            EntryHeaderCodec.TryRead(entry.AsSpan(0, 512), out var fields, out _);
            var position = new LogPosition(1 + (ulong)i, 4096 + ((uint)i * 64));
            state.Advance(state.Head.Next(fields, null), null, fields.Previous, position, entry.Length);
            state.ApplyHeader(entry.AsSpan(0, 512), fields, position);
        }

        state.ApplyLost(1000, 8, 2);
        state.Suspect = runs == 0 ? "a reason" : null;
        return DiskSnapshot.Of(state) with { Tree = runs == 0 ? default : new TreeRoot(1, 0x1122334455667788, 1, 4, 6, 8, 1) };
    }
}
