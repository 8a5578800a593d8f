using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>A request that the disk finishes at the call makes no garbage.</summary>
public sealed class AllocationTests
{
    private const int Requests = 10_000;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Ten_thousand_requests_allocate_nothing(bool structured)
    {
        var disk = new WatchedTarget();
        await using var server = await TestServer.StartAsync(disk);
        using var client = server.Attach("", structured);
        Exchange(client, 2000);
        var before = disk.AllocatedByConnection;
        Exchange(client, Requests);
        var after = disk.AllocatedByConnection;

        // It is 0 as a rule. The room is for a buffer that was not pooled yet; an object for each request would need
        // four times as much.
        Assert.InRange(after - before, 0, 64 << 10);

        // Those that were measured are among them.
        Assert.All(server.Server.GetMetrics().Latencies, latency => Assert.True(latency.Latency.Count > 50, latency.Command));
    }

    private static void Exchange(NbdTestClient client, int count)
    {
        var commands = new[]
        {
            (NbdCommand.Write, 4096U), (NbdCommand.Read, 4096U), (NbdCommand.Flush, 0U), (NbdCommand.Trim, 4096U),
            (NbdCommand.WriteZeroes, 4096U), (NbdCommand.Read, 65536U), (NbdCommand.Write, 200_704U),
            (NbdCommand.Cache, 512U),
        };
        var data = new byte[200_704];
        for (var i = 0; i < count; i++)
        {
            var (command, length) = commands[i % commands.Length];
            var payload = data.AsSpan(0, command == NbdCommand.Write ? (int)length : 0);
            Assert.Equal(NbdError.None, client.Do(command, 0, length, 0, payload));
        }
    }

    /// <summary>Answers everything at once, and knows what the thread that calls it has allocated.</summary>
    private sealed class WatchedTarget : IBlockTarget
    {
        private long _allocated;

        public long AllocatedByConnection => Interlocked.Read(ref _allocated);

        public string Id => MemoryTarget.SomeId;

        public string? Name => null;

        public ulong SizeBytes => 1 << 20;

        public bool IsReadOnly => false;

        public string Description => "";

        public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination) => Done();

        public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua) => Done();

        public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua) => Done();

        public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua) => Done();

        public ValueTask<IoStatus> FlushAsync() => Done();

        public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
        {
            into.Add(new DiskRange(offset, length, RangeContent.Data));
            return IoStatus.Ok;
        }

        private ValueTask<IoStatus> Done()
        {
            // Long writes come by threads of the pool, of which each has a count of its own.
            if (!Thread.CurrentThread.IsThreadPoolThread)
            {
                Interlocked.Exchange(ref _allocated, GC.GetAllocatedBytesForCurrentThread());
            }

            return new ValueTask<IoStatus>(IoStatus.Ok);
        }
    }
}
