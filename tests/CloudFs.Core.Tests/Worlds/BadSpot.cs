using CloudFs.Core.Engine;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>
/// The place that the n-th write goes to is bad from then on: every write that touches its first 4 KiB is refused. So may be that
/// of a later write.
/// </summary>
internal sealed class BadSpot(int write, int second = 0)
{
    private const ulong Bytes = 4096;

    private readonly List<ulong> _bad = [];
    private int _writes;

    public bool IsHit => _bad.Count > 0;

    /// <summary>True once no other place goes bad.</summary>
    public bool IsOver { get; set; }

    /// <summary>True when a checkpoint slot is bad: it has no other place.</summary>
    public bool IsInSlot => _bad.Exists(bad => bad >= DeviceGeometry.CheckpointSlotsOffset
        && bad < DeviceGeometry.CheckpointSlotOffset(DeviceGeometry.CheckpointSlots));

    public bool Refuses(ulong offset, int length)
    {
        if (_bad.Exists(bad => bad < offset + (ulong)length && offset < bad + Bytes))
        {
            _writes++;
            return true;
        }

        if (IsOver)
        {
            return false;
        }

        if (++_writes == write || (second > 0 && _writes == write + second))
        {
            _bad.Add(offset & ~(Bytes - 1));
            return true;
        }

        return false;
    }

    /// <summary>What health may tell of it.</summary>
    public bool IsExpected(HealthIssue issue) =>
        issue.Code is "bad-segments" or "upkeep" or "unmended-footer" || (issue.Code == "poisoned" && IsInSlot);

    /// <summary>Writes are taken; what the list names is not written to.</summary>
    public async Task CheckAfterAsync(StorageEngine engine, MemoryDevice device)
    {
        if (IsInSlot)
        {
            return;
        }

        var known = _bad.TrueForAll(bad => engine.Services.Bad.Contains(PlaceOf(bad)));
        if (known)
        {
            Assert.Equal("degraded", engine.GetHealth().Status);
        }

        var before = device.RefusedWrites;
        foreach (var disk in engine.ListDisks().Take(1))
        {
            var bytes = new byte[4096];
            Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, bytes, CancellationToken.None));
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, bytes, true, CancellationToken.None));
        }

        Assert.True(await engine.CheckpointAsync());
        Assert.True(device.RefusedWrites == before || !known, "a bad place was written to again");
    }

    public override string ToString() => string.Join(", ", _bad);

    private static int PlaceOf(ulong offset) => offset >= DeviceGeometry.SegmentsOffset
        ? (int)((offset - DeviceGeometry.SegmentsOffset) / DeviceGeometry.SegmentBytes)
        : offset >= 6 << 20 ? BadList.IndexArea : int.MaxValue;
}
