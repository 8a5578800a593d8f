using CloudFs.Core.Disks;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Metrics;

/// <summary>The stages of an engine: commits and flushes all, entries and lookups one in 17.</summary>
public sealed class StageLatenciesTests
{
    private const int PageBytes = 4096;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task Every_commit_and_flush_is_measured_and_one_entry_and_lookup_in_many()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes));
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        var stages = engine.Stages;
        var before = Counts(stages);

        // One thread of its own, whose count begins anew, and on which nothing is awaited.
        var worker = new Thread(() =>
        {
            var data = new byte[PageBytes];
            data[0] = 1;
            for (var i = 0; i < 10 * StageLatencies.Every; i++)
            {
                AssertDone(disk.WriteAsync(0, data, false, None));
            }
        });
        worker.Start();
        worker.Join();
        var written = Counts(stages);
        Assert.Equal((10, 10), (written.Seal - before.Seal, written.Index - before.Index));

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));

        // The log may write a mark at any time: what is counted in between lies between.
        var (from, flushed, to) = (engine.GetCounters(), Counts(stages), engine.GetCounters());
        Assert.True(from.Commits > 0);
        Assert.InRange((ulong)flushed.Queue, from.Commits, to.Commits + 1);
        Assert.InRange((ulong)flushed.DeviceWrite, from.Commits, to.Commits + 1);
        Assert.InRange((ulong)flushed.Flush, from.DeviceFlushes, to.DeviceFlushes + 1);
        Assert.True(stages.Seal.Read().Nanos > 0);

        var reader = new Thread(() =>
        {
            for (var i = 0; i < StageLatencies.Every; i++)
            {
                AssertDone(disk.ReadAsync(0, new byte[PageBytes], None));
            }
        });
        reader.Start();
        reader.Join();
        Assert.InRange(Counts(stages).Index - flushed.Index, 1, 2);
    }

    [Fact]
    public async Task Writes_that_share_an_entry_are_measured_as_one()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes));
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        var before = engine.Stages.Seal.Read().Count;
        var writer = new Thread(() =>
        {
            var batch = new WriteBatch();
            var data = new byte[PageBytes];
            data[0] = 1;
            for (var round = 0; round <= StageLatencies.Every; round++)
            {
                for (ulong page = 0; page < 3; page++)
                {
                    Assert.True(batch.TryAdd(data, page * PageBytes, 0, PageBytes));
                }

                AssertDone(disk.WriteAsync(batch, false, None));
                batch.Clear();
            }
        });
        writer.Start();
        writer.Join();

        // The first round is on no disk yet; the second is this thread's first.
        Assert.Equal(1, engine.Stages.Seal.Read().Count - before);
    }

    [Fact]
    public async Task What_the_device_has_not_yet_is_told()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes));
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        Assert.Equal(IoStatus.Ok, await engine.FlushAsync(None));
        Assert.Equal((0, 0L), (engine.GetLogDepth().Commits, engine.GetLogDepth().Bytes));
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));

        var log = engine.Services.Log;
        lock (log.Gate)
        {
            // Held, so that the loop can't take it in between.
            var data = new byte[PageBytes];
            data[0] = 1;
            AssertDone(disk.WriteAsync(0, data, false, None));
            Assert.InRange(engine.GetLogDepth().Bytes, PageBytes, 2 * PageBytes);
            Assert.Equal(0, engine.GetLogDepth().Commits);
            log.Cut();
            Assert.Equal(1, engine.GetLogDepth().Commits);
        }
    }

    [Fact]
    public void A_watch_adds_up_sealing_and_counts_only_what_was_appended()
    {
        var clock = new SteppingClock();
        var stages = new StageLatencies(clock);
        var watch = new EntryWatch();
        Measure(stages, watch, clock, isAppended: true);
        Assert.Equal((1, 12_000), (stages.Seal.Read().Count, stages.Seal.Read().Nanos));
        Assert.Equal((1, 5_000), (stages.Index.Read().Count, stages.Index.Read().Nanos));

        Measure(stages, watch, clock, isAppended: false);
        watch.Begin(null);
        watch.Sealed();
        watch.End(isAppended: true);
        Assert.Equal(1, stages.Seal.Read().Count);
    }

    private static void AssertDone(ValueTask<IoStatus> task)
    {
        Assert.True(task.IsCompletedSuccessfully);
        Assert.Equal(IoStatus.Ok, task.Result);
    }

    private static void Measure(StageLatencies stages, EntryWatch watch, SteppingClock clock, bool isAppended)
    {
        // On a thread of its own the first entry is measured.
        var thread = new Thread(() =>
        {
            watch.Begin(stages);
            clock.Micros += 10;
            watch.Pause();
            clock.Micros += 1_000;
            watch.Resume();
            clock.Micros += 2;
            watch.Sealed();
            clock.Micros += 5;
            watch.Applied();
            clock.Micros += 1_000;
            watch.End(isAppended);
        });
        thread.Start();
        thread.Join();
    }

    private static (long Seal, long Queue, long DeviceWrite, long Flush, long Index) Counts(StageLatencies stages) => (
        stages.Seal.Read().Count, stages.Queue.Read().Count, stages.DeviceWrite.Read().Count, stages.Flush.Read().Count,
        stages.Index.Read().Count);

    /// <summary>Ten ticks a microsecond, as on systems whose ticks are no nanoseconds.</summary>
    private sealed class SteppingClock : TimeProvider
    {
        public long Micros { get; set; } = 1;

        public override long TimestampFrequency => 10_000_000;

        public override long GetTimestamp() => Micros * 10;
    }
}
