using System.Buffers.Binary;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>What comes back is what was written, in whatever form it was asked for.</summary>
public sealed class DataTests
{
    private const ulong Size = 64 << 20;

    private readonly MemoryTarget _disk = new(MemoryTarget.SomeId, "demo", Size);

    [Theory]
    [InlineData(true, 512)]
    [InlineData(false, 512)]
    [InlineData(true, 4096)]
    [InlineData(true, 65536)]
    [InlineData(true, 131072)]
    [InlineData(false, 262144)]
    [InlineData(true, 1 << 20)]
    [InlineData(true, (1 << 20) + 512)]
    [InlineData(false, 3 << 20)]
    [InlineData(true, 32 << 20)]
    [InlineData(false, 32 << 20)]
    public async Task What_is_written_is_read_back(bool structured, int length)
    {
        foreach (var isLate in new[] { false, true })
        {
            _disk.Delay = isLate ? _ => Task.Delay(1) : null;
            await using var server = await TestServer.StartAsync(_disk);
            using var client = server.Attach("demo", structured);
            Assert.Equal(Size, client.Size);
            var data = Pattern(length, seed: length);
            Assert.Equal(NbdError.None, client.Write(1536, data));
            Assert.True(data.AsSpan().SequenceEqual(client.Read(1536, length)));
            Assert.True(data.AsSpan().SequenceEqual(_disk.Peek(1536, length)));
            if (structured)
            {
                Assert.True(data.AsSpan().SequenceEqual(client.Read(1536, length, CommandFlags.DontFragment)));
            }

            Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Pool.Rented == 1));
        }
    }

    [Fact]
    public async Task Holes_inside_a_read_are_told_not_sent()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.Write(1 << 20, Pattern(65536, 1));
        client.Write(2 << 20, Pattern(512, 2));
        var reply = client.ReceiveReply(client.SendRequest(NbdCommand.Read, 0, 4 << 20));
        Assert.Equal(
            [
                (ChunkType.OffsetHole, 0UL, 1 << 20),
                (ChunkType.OffsetData, 1UL << 20, 65536),
                (ChunkType.OffsetHole, (1UL << 20) + 65536, (1 << 20) - 65536),
                (ChunkType.OffsetData, 2UL << 20, 512),
                (ChunkType.OffsetHole, (2UL << 20) + 512, (2 << 20) - 512),
                (ChunkType.None, 0UL, 0),
            ],
            reply.Select(c => (c.Type!.Value, c.Offset, c.Data.Length)));

        var whole = client.ReceiveReply(client.SendRequest(NbdCommand.Read, 0, 4 << 20, CommandFlags.DontFragment));
        Assert.Equal(4 << 20, Assert.Single(whole).Data.Length);
    }

    [Fact]
    public async Task An_error_in_a_part_of_a_read_fails_the_read()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.Write(0, Pattern(4 << 20, 1));
        _disk.Fault = (what, offset, _) =>
            what == "read" && offset == 2 << 20 ? IoStatus.Damaged : IoStatus.Ok;
        Assert.Equal(NbdError.Io, client.Do(NbdCommand.Read, 0, 4 << 20));
        Assert.Equal(NbdError.Io, client.Do(NbdCommand.Read, 2 << 20, 512));
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Read, 0, 2 << 20));
        _disk.Fault = (what, _, _) => what == "read" ? throw new InvalidOperationException("a defect") : IoStatus.Ok;
        Assert.Equal(NbdError.Io, client.Do(NbdCommand.Read, 0, 512));
    }

    [Fact]
    public async Task A_write_that_fails_midway_is_received_to_its_end()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        _disk.Fault = (what, offset, _) =>
            what == "write" && offset >= 1 << 20 ? IoStatus.NoSpace : IoStatus.Ok;
        Assert.Equal(NbdError.NoSpace, client.Write(0, Pattern(8 << 20, 3)));
        Assert.Equal(NbdError.None, client.Write(0, Pattern(512, 4)));
    }

    [Fact]
    public async Task Flushes_that_came_together_are_one_and_only_who_waits_for_nothing_else_does_it_himself()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo", structured: true);
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        Assert.Equal((1, 1), (_disk.Flushes, _disk.FlushesHere));

        // In one segment, so that they arrive together.
        client.SendBytes(
        [
            .. NbdTestClient.Bytes(0x25609513U, (ushort)0, (ushort)NbdCommand.Flush, 101UL, 0UL, 0U),
            .. NbdTestClient.Bytes(0x25609513U, (ushort)0, (ushort)NbdCommand.Flush, 102UL, 0UL, 0U),
        ]);
        Assert.Equal([101UL, 102UL], new[] { client.ReceiveMessage().Cookie, client.ReceiveMessage().Cookie }.Order());
        Assert.InRange(_disk.Flushes, 2, 3);
        Assert.Equal(_disk.Flushes, _disk.FlushesHere);

        var (before, here) = (_disk.Flushes, _disk.FlushesHere);
        var late = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _disk.Delay = what => what == "read" ? late.Task : Task.CompletedTask;
        var read = client.SendRequest(NbdCommand.Read, 0, 512);
        var flush = client.SendRequest(NbdCommand.Flush, 0, 0);
        Assert.Equal(flush, client.ReceiveMessage().Cookie);
        Assert.Equal((before + 1, here), (_disk.Flushes, _disk.FlushesHere));
        late.SetResult();
        Assert.Equal(NbdError.None, client.ReceiveReply(read)[^1].Error);
    }

    [Fact]
    public async Task Fua_and_flush_reach_the_disk_before_their_reply()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.Write(0, Pattern(512, 1));
        Assert.Equal(0, _disk.FuaWrites);
        client.Write(0, Pattern(512, 1), CommandFlags.Fua);
        Assert.Equal(1, _disk.FuaWrites);
        client.Write(0, Pattern(2 << 20, 1), CommandFlags.Fua);
        Assert.Equal(3, _disk.FuaWrites);
        client.Do(NbdCommand.Trim, 0, 4096, CommandFlags.Fua);
        client.Do(NbdCommand.WriteZeroes, 0, 4096, CommandFlags.Fua | CommandFlags.FastZero | CommandFlags.NoHole);
        Assert.Equal(5, _disk.FuaWrites);
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        Assert.Equal(1, _disk.Flushes);
    }

    [Fact]
    public async Task Zeroes_may_be_longer_than_any_payload()
    {
        var large = new MemoryTarget(MemoryTarget.SomeId, null, 1UL << 42);
        await using var server = await TestServer.StartAsync(large);
        using var client = server.Attach();
        client.Write(1UL << 40, Pattern(4096, 5));
        client.Write((1UL << 40) + 0xffff_fe00, Pattern(512, 6));
        Assert.Equal(NbdError.None, client.Do(NbdCommand.WriteZeroes, 1UL << 40, 0xffff_fe00));
        Assert.Equal(new byte[4096], client.Read(1UL << 40, 4096));
        Assert.Equal(Pattern(512, 6), client.Read((1UL << 40) + 0xffff_fe00, 512));
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Trim, 1UL << 40, 0xffff_fe00));
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Cache, 1UL << 40, 0xffff_fe00));
    }

    [Fact]
    public async Task Block_status_tells_holes_and_calls_damage_data()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.Write(4096, Pattern(8192, 1));
        _disk.Fault = (what, offset, _) => what == "damage" && offset == 4096 ? IoStatus.Damaged : IoStatus.Ok;
        Assert.Equal([(4096U, 3U), (8192U, 0U), (20480U, 3U)], BlockStatus(client, 0, 32768, 0));
        Assert.Equal([(4096U, 3U)], BlockStatus(client, 0, 32768, CommandFlags.ReqOne));
        Assert.Equal([(512U, 3U)], BlockStatus(client, 512, 512, CommandFlags.ReqOne));
        _disk.Fault = (_, _, _) => IoStatus.Deleted;
        Assert.Equal(NbdError.Shutdown, client.Do(NbdCommand.BlockStatus, 0, 4096));
    }

    [Fact]
    public async Task A_connection_keeps_the_size_it_was_told()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var before = server.Attach("demo");
        _disk.SizeBytes = Size * 2;
        using var after = server.Attach("demo");
        Assert.Equal(Size * 2, after.Size);
        Assert.Equal(NbdError.NoSpace, before.Write(Size, new byte[512]));
        Assert.Equal(NbdError.None, after.Write(Size, new byte[512]));
        Assert.Equal(NbdError.Invalid, before.Do(NbdCommand.Read, Size, 512));
    }

    [Fact]
    public async Task A_thousand_requests_under_way_are_each_answered_once()
    {
        var chance = new Random(1);
        _disk.Delay = _ => Task.Delay(chance.Next(5));
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        HashSet<ulong> open = [];
        var sending = Task.Run(() =>
        {
            for (var i = 0; i < 1000; i++)
            {
                var cookie = i % 3 == 0
                    ? client.SendRequest(NbdCommand.Read, (ulong)(i * 4096), 4096)
                    : client.SendRequest(NbdCommand.Write, (ulong)(i * 4096), 4096, 0, Pattern(4096, i));
                lock (open)
                {
                    open.Add(cookie);
                }
            }
        });
        for (var i = 0; i < 1000; i++)
        {
            var message = client.ReceiveMessage();
            Assert.True(message.IsDone);
            Assert.Equal(NbdError.None, message.Error);
            Assert.True(await TestServer.BecomesAsync(() =>
            {
                lock (open)
                {
                    return open.Remove(message.Cookie);
                }
            }));
        }

        await sending;
        Assert.Equal(Pattern(4096, 998), client.Read(998 * 4096, 4096));
    }

    internal static byte[] Pattern(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static List<(uint Length, uint State)> BlockStatus(
        NbdTestClient client, ulong offset, uint length, CommandFlags flags)
    {
        var chunk = Assert.Single(
            client.ReceiveReply(client.SendRequest(NbdCommand.BlockStatus, offset, length, flags)));
        Assert.Equal(ChunkType.BlockStatus, chunk.Type);
        Assert.Equal(1U, BinaryPrimitives.ReadUInt32BigEndian(chunk.Data));
        return [.. chunk.Data[4..].Chunk(8).Select(d =>
            (BinaryPrimitives.ReadUInt32BigEndian(d), BinaryPrimitives.ReadUInt32BigEndian(d.AsSpan(4))))];
    }
}
