using System.Buffers.Binary;
using System.Net.Sockets;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>Counts what the whole process allocates, and so runs beside no other test.</summary>
[CollectionDefinition(nameof(CountsAllocations), DisableParallelization = true)]
public sealed class CountsAllocations;

/// <summary>
/// A request makes no garbage, from the socket through the engine to the file and back, whatever threads are at it. What many
/// requests share may: a commit and its flush take some hundred bytes, and who flushes each write has one for each.
/// </summary>
[Collection(nameof(CountsAllocations))]
public sealed class EngineAllocationTests(ITestOutputHelper output)
{
    private const int ReplyBytes = 16;
    private const int Page = 4096;
    private const int Rounds = 5;

    private static readonly byte[] Data = new byte[1 << 20];

    static EngineAllocationTests() => new Random(1).NextBytes(Data);

    [Fact]
    public Task A_read_of_a_page_in_memory() => AssertAsync(400, 0, Page, Header(NbdCommand.Read, Page));

    [Fact]
    public Task A_write_of_4_KiB() => AssertAsync(400, 8, 0, Write(Page));

    [Fact]
    public Task Eight_writes_that_share_an_entry() => AssertAsync(
        100, 32, 0, [.. Enumerable.Range(0, 8).SelectMany(i => Write(Page, offset: i * Page))]);

    [Fact]
    public Task A_write_of_128_KiB() => AssertAsync(100, 128, 0, Write(128 << 10));

    [Fact]
    public Task A_write_of_1_MiB() => AssertAsync(16, 1024, 0, Write(1 << 20));

    [Fact]
    public Task A_trim() => AssertAsync(400, 8, 0, Header(NbdCommand.Trim, Page));

    [Fact]
    public Task A_write_and_a_flush() => AssertAsync(40, 1024, 0, Write(Page), Header(NbdCommand.Flush, 0));

    [Fact]
    public Task A_durable_write() => AssertAsync(40, 1024, 0, Write(Page, CommandFlags.Fua));

    [Fact]
    public Task A_flush_beside_a_long_write() =>
        AssertAsync(20, 2048, 0, Write(Page), Write(128 << 10, offset: 1 << 20), Header(NbdCommand.Flush, 0));

    /// <summary>Sends these requests together, again and again.</summary>
    /// <param name="count">How many times in a round.</param>
    /// <param name="most">Bytes for each time.</param>
    /// <param name="payload">What a reply carries.</param>
    /// <param name="requests">Each with its data.</param>
    private async Task AssertAsync(int count, int most, int payload, params byte[][] requests)
    {
        var folder = Directory.CreateTempSubdirectory("cloudfs-test-");
        try
        {
            // As little memory for pages that are read again as there may be: while it fills, it grows.
            await using var engine = await StorageEngine.OpenAsync(
                new EngineSettings
                {
                    Device = FileBlockDevice.Open(Path.Combine(folder.FullName, "device"), 2UL << 30),
                    ReadCacheBytes = EngineSettings.MinReadCacheBytes,
                },
                new EngineRuntime
                {
                    Time = TimeProvider.System,
                    FillRandom = System.Security.Cryptography.RandomNumberGenerator.Fill,
                    Spawn = work => Task.Run(work),
                    Report = _ => { },
                });
            var disk = await engine.CreateDiskAsync(new DiskSpec(64 << 20, "one"), CancellationToken.None);
            await using var server = await TestServer.StartAsync(new DiskTarget(disk));
            using var client = server.Attach("", structured: false);
            var least = Measure(client.Socket, count, [.. requests.SelectMany(request => request)], payload);
            output.WriteLine($"{(double)least / count:F1} bytes each time");
            Assert.InRange(least, 0, (count * most) + 512);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static long Measure(Socket socket, int count, byte[] request, int payload)
    {
        // The first rounds pay for compilation, pools, and memory that is there to stay.
        Run(socket, 300, Write(Page), new byte[ReplyBytes]);
        var requests = 0;
        for (var at = 0; at < request.Length; requests++)
        {
            var isWrite = request[at + 7] == (byte)NbdCommand.Write;
            at += NbdRequest.Size + (isWrite ? BinaryPrimitives.ReadInt32BigEndian(request.AsSpan(at + 24)) : 0);
        }

        var answer = new byte[requests * (ReplyBytes + payload)];
        Run(socket, 2 * count, request, answer);

        // Something else may happen in a round, such as a catalog that grows, or a checkpoint: not in each.
        var least = long.MaxValue;
        for (var round = 0; round < Rounds; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            Run(socket, count, request, answer);
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }

        return least;
    }

    private static byte[] Write(int length, CommandFlags flags = 0, int offset = 0) =>
        [.. Header(NbdCommand.Write, length, flags, offset), .. Data.AsSpan(0, length)];

    private static byte[] Header(NbdCommand command, int length, CommandFlags flags = 0, int offset = 0)
    {
        var header = new byte[NbdRequest.Size];
        BinaryPrimitives.WriteUInt32BigEndian(header, NbdMagic.Request);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(4), (ushort)flags);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(6), (ushort)command);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(16), (ulong)offset);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(24), length);
        return header;
    }

    /// <summary>A client that allocates nothing itself.</summary>
    private static void Run(Socket socket, int count, ReadOnlySpan<byte> request, Span<byte> answer)
    {
        for (var i = 0; i < count; i++)
        {
            for (var rest = request; !rest.IsEmpty;)
            {
                rest = rest[socket.Send(rest)..];
            }

            for (var rest = answer; !rest.IsEmpty;)
            {
                var got = socket.Receive(rest);
                rest = got > 0 ? rest[got..] : throw new EndOfStreamException();
            }

            // Replies with a payload come alone.
            var step = answer.Length > Page ? answer.Length : ReplyBytes;
            for (var at = 0; at < answer.Length; at += step)
            {
                if (BinaryPrimitives.ReadUInt32BigEndian(answer[(at + 4)..]) != 0)
                {
                    throw new InvalidDataException("a request was refused");
                }
            }
        }
    }
}
