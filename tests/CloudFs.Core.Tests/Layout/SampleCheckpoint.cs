using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;

namespace CloudFs.Core.Tests.Layout;

/// <summary>A checkpoint of fixed contents, written by the store into a device in memory.</summary>
internal static class SampleCheckpoint
{
    public const int SegmentCount = 40;

    public static LogPosition RollFrom { get; } = new(3, 8192);

    /// <summary>A device with one checkpoint in slot 0, or, with <paramref name="spilling"/>, one that does not fit it.</summary>
    public static async Task<MemoryDevice> DeviceAsync(bool spilling = false)
    {
        var device = new MemoryDevice(DeviceGeometry.SegmentsOffset + ((ulong)SegmentCount * DeviceGeometry.SegmentBytes));
        var segments = new SegmentTable(SegmentCount);
        segments.Occupy(0, SegmentState.Sealed, 1);
        segments.Occupy(5, SegmentState.Sealed, 2);
        segments.Occupy(1, SegmentState.Open, 3);
        segments.SetNext(2);
        DiskSnapshot[] disks = [Disk(segments, LayoutSamples.Secret, spilling ? 70_000 : 3), Disk(segments, LayoutSamples.Id(0x66), 0)];
        await new CheckpointStore(device, LayoutSamples.Device).WriteAsync(
            segments, RollFrom, RollFrom, nextCommit: 77, LayoutSamples.Label.CreatedMicros + 5, disks);
        return device;
    }

    public static ValueTask<LoadedCheckpoint?> LoadAsync(MemoryDevice device, List<string> damage, int segmentCount = SegmentCount) =>
        new CheckpointStore(device, LayoutSamples.Device).LoadAsync(segmentCount, damage.Add);

    public static async Task<byte[]> ReadAsync(MemoryDevice device, ulong offset, int length)
    {
        var bytes = new byte[length];
        await device.ReadAsync(offset, bytes);
        return bytes;
    }

    private static DiskSnapshot Disk(SegmentTable segments, Id160 secret, int extents)
    {
        var sample = new SampleDisk(secret);
        var state = new DiskState(segments) { Secret = secret };
        EntryHeaderCodec.TryRead(sample.First.AsSpan(0, 512), out var first, out _);
        EntryBodyParsed.TryParse(EntryKind.View, sample.First.AsSpan(512), out var body, out _);
        state.Advance(default(ChainHead).Next(first, body), body, default, new LogPosition(1, 1024), sample.First.Length);
        for (var i = 0; i < extents; i++)
        {
            var entry = sample.Update((ulong)i * 16, 2);
            EntryHeaderCodec.TryRead(entry.AsSpan(0, 512), out var fields, out _);
            var position = new LogPosition(1 + ((ulong)i % 3), 4096 + ((uint)i * 64));
            state.Advance(state.Head.Next(fields, null), null, fields.Previous, position, entry.Length);
            state.ApplyHeader(entry.AsSpan(0, 512), fields, position);
        }

        state.ApplyLost(1000, 8, 2);
        state.Suspect = extents == 0 ? "a reason" : null;
        return DiskSnapshot.Of(state);
    }
}
