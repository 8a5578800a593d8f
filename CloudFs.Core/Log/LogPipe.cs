using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>Something for the device: a closed commit, or the footer of a full segment.</summary>
/// <param name="Commit">The commit; null for a footer.</param>
/// <param name="Seal">The headers of the segment to seal; null for a commit.</param>
/// <param name="NextSegment">The segment that follows the sealed one; -1 for none yet.</param>
/// <param name="CommitsEnd">Where its commits end, bytes from its start.</param>
/// <param name="LastSequence">The sequence of its last commit.</param>
internal readonly record struct LogJob(
    OpenCommit? Commit, SegmentCatalog? Seal, int NextSegment, int CommitsEnd, ulong LastSequence);

/// <summary>
/// The device's end of the log: writes what the log has closed, one thing at a time and in order, and makes it durable.
/// Used by the log's loop alone; only <see cref="Durable"/> and the counters are read by others.
/// </summary>
internal sealed class LogPipe(
    IBlockDevice device, SegmentTable segments, BadPlaces bad, Id160 deviceId, int physicalBlock, LogPosition end, EngineRuntime runtime)
{
    private readonly List<OpenCommit> _unflushed = [];
    private readonly WriteAhead _ahead = new(device, segments);
    private byte[] _footer = [];
    private ulong _durable = end.Value;

    /// <summary>Everything before it is durable. Never goes back. Any thread.</summary>
    public LogPosition Durable => new(Volatile.Read(ref _durable));

    /// <summary>Everything before it is in the kernel's hands.</summary>
    public LogPosition WrittenEnd { get; private set; } = end;

    /// <summary>Up to where the device itself says that it is durable.</summary>
    public LogPosition Claimed { get; private set; } = end;

    /// <summary>True when commits with entries were written and not flushed.</summary>
    public bool HasUnflushed => _unflushed.Count > 0;

    /// <summary>Counters for metrics.</summary>
    public LogCounters Counters { get; } = new();

    /// <summary>How long things take.</summary>
    public StageLatencies Stages { get; } = new(runtime.Time);

    /// <summary>Writes a commit; its slot is free then.</summary>
    public async ValueTask WriteAsync(OpenCommit commit)
    {
        var began = Stages.Now;
        Stages.Queue.Add(began - commit.ClosedAt);
        await WriteAsync(commit.Position.Use, commit.Position.Offset, commit.Bytes, commit.Position.Offset);
        Stages.DeviceWrite.Add(Stages.Now - began);
        Counters.AddCommit(commit.Length);
        WrittenEnd = commit.Position.Plus(commit.Length);
        Claimed = commit.Claim;
        commit.Buffer.Written = WrittenEnd;
        commit.Buffer.Free(commit.Slot);
        if (!commit.IsEmpty)
        {
            _unflushed.Add(commit);
        }
    }

    /// <summary>Seals a segment: flushes its commits, then writes its footer and flushes that.</summary>
    public async ValueTask SealAsync(LogJob job)
    {
        var catalog = job.Seal!;
        var length = catalog.FooterBytes(0, 0, physicalBlock);
        if (_footer.Length < length)
        {
            _footer = GC.AllocateUninitializedArray<byte>(length);
        }

        if (WrittenEnd > Durable)
        {
            await FlushAsync();
        }

        catalog.WriteFooter(_footer.AsSpan(0, length), deviceId, job.CommitsEnd, job.NextSegment, job.LastSequence);
        await WriteAsync(
            catalog.Use, (uint)(DeviceGeometry.SegmentBytes - length), _footer.AsMemory(0, length), (uint)job.CommitsEnd);
        Counters.AddFooter(length);
        WrittenEnd = Claimed = new LogPosition(catalog.Use + 1, 0);
        await FlushAsync();
        segments.SetHeaders(catalog.Use, catalog.Tally);
        segments.Seal(catalog.Use, (ulong)(runtime.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalMicroseconds, catalog.Use);
    }

    /// <summary>
    /// Writes to the segment of a use. Where the device refuses the place, the use, with its commits up to
    /// <paramref name="commitsEnd"/>, goes on in another segment, and this is written there.
    /// </summary>
    private async ValueTask WriteAsync(ulong use, uint offset, ReadOnlyMemory<byte> bytes, uint commitsEnd)
    {
        for (var tries = 1; ; tries++)
        {
            var located = segments.TryLocate(use, out var segment);
            Invariant.That(located, "the open segment is not reclaimed");
            try
            {
                await device.WriteAsync(DeviceGeometry.SegmentOffset(segment) + offset, bytes);
                return;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                await bad.MoveAsync(tries, new MovedPart(use, commitsEnd, DeviceGeometry.SegmentBytes, Durable), e);
            }
        }
    }

    /// <summary>Before a flush that somebody asked for: if more such are to be expected, the way is made ready for them.</summary>
    public async ValueTask WriteAheadAsync() => Counters.AddAhead(await _ahead.BeforeFlushAsync(WrittenEnd));

    /// <summary>Makes what was written durable, and tells the disks so in order.</summary>
    public async ValueTask FlushAsync()
    {
        var flushed = WrittenEnd;
        var began = Stages.Now;
        if (runtime.Planted != PlantedBug.SkipFlush)
        {
            await device.FlushAsync();
        }

        Stages.Flush.Add(Stages.Now - began);
        Counters.AddFlush();
        Volatile.Write(ref _durable, Math.Max(_durable, flushed.Value));
        foreach (var commit in _unflushed)
        {
            foreach (var (sink, lsn, id) in commit.Sealed)
            {
                sink.OnDurable(lsn, id);
            }
        }

        _unflushed.Clear();
    }
}
