using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>Writes that arrive together are handed over together; each gets its own reply, and their order is kept.</summary>
public sealed class BundleTests
{
    /// <summary>Short, so that all of a burst lies in one buffer of the socket's, and is received at once.</summary>
    private const int Page = 512;

    private readonly MemoryTarget _disk = new(MemoryTarget.SomeId, "demo", 64 << 20);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Writes_that_arrive_together_are_carried_out_together(bool isLate)
    {
        _disk.Delay = isLate ? _ => Task.Delay(1) : null;
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendBytes([.. Enumerable.Range(0, 20).SelectMany(i => Write(i, 2 * i * Page, (byte)(i + 1)))]);
        AssertAnswers(client, 20, NbdError.None);
        Assert.Equal([7, 7, 6], _disk.Batches.Select(batch => batch.Writes));
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal((byte)(i + 1), _disk.Peek((ulong)(2 * i * Page), Page)[17]);
        }
    }

    [Fact]
    public async Task Writes_to_one_place_are_carried_out_in_their_order()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendBytes([.. Enumerable.Range(0, 30).SelectMany(i => Write(i, i % 3 * Page, (byte)i))]);
        AssertAnswers(client, 30, NbdError.None);
        Assert.Equal(Enumerable.Repeat(3, 10), _disk.Batches.Select(batch => batch.Writes));
        Assert.Equal((27, 28, 29), (_disk.Peek(0, Page)[0], _disk.Peek(Page, Page)[0], _disk.Peek(2 * Page, Page)[0]));
    }

    [Fact]
    public async Task What_comes_between_ends_a_bundle_where_order_counts()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendBytes(
        [
            .. Write(0, 0, 1), .. Write(1, 2 * Page, 2), .. Write(2, 4 * Page, 3, CommandFlags.Fua), .. Write(3, 6 * Page, 4),
            .. Request(NbdCommand.Trim, 4, 0, 8 * Page), .. Write(5, 0, 5), .. Request(NbdCommand.Read, 6, 6 * Page, 512),
            .. Write(7, 2 * Page, 6), .. Request(NbdCommand.Flush, 8, 0, 0),
        ]);
        AssertAnswers(client, 9, NbdError.None);
        Assert.Equal([(2, false), (1, true), (1, false), (2, false)], _disk.Batches);
        Assert.Equal((5, 6, 0), (_disk.Peek(0, Page)[0], _disk.Peek(2 * Page, Page)[0], _disk.Peek(4 * Page, Page)[0]));
    }

    [Fact]
    public async Task A_bundle_that_fails_answers_each_of_its_writes()
    {
        _disk.Fault = (call, _, _) => call == "write" ? IoStatus.NoSpace : IoStatus.Ok;
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendBytes([.. Enumerable.Range(0, 5).SelectMany(i => Write(i, 2 * i * Page, 1))]);
        AssertAnswers(client, 5, NbdError.NoSpace);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public async Task The_flush_of_a_client_that_always_flushes_after_so_many_writes_is_prepared(int writes)
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        for (var round = 0; round < 10; round++)
        {
            WriteSome(client, writes);
            Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        }

        // The first flush tells the number, four more that it is always the same. What is prepared comes after the reply.
        Assert.True(await TestServer.BecomesAsync(() => _disk.Prepared == 5));
        WriteSome(client, writes + 1);
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        WriteSome(client, writes);
        Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        Assert.Equal(6, _disk.Prepared);
    }

    private static void WriteSome(NbdTestClient client, int writes)
    {
        for (var i = 0; i < writes; i++)
        {
            Assert.Equal(NbdError.None, client.Write((ulong)(i * Page), new byte[Page]));
        }
    }

    private static void AssertAnswers(NbdTestClient client, int count, NbdError error)
    {
        var answered = new SortedSet<ulong>();
        while (answered.Count < count)
        {
            var message = client.ReceiveMessage();
            Assert.Equal(error, message.Error);
            Assert.True(!message.IsDone || answered.Add(message.Cookie), "one request was answered twice");
        }

        Assert.Equal(Enumerable.Range(0, count).Select(i => (ulong)i), answered);
    }

    private static byte[] Write(int cookie, int offset, byte value, CommandFlags flags = 0) =>
    [
        .. Request(NbdCommand.Write, cookie, offset, Page, flags), .. Enumerable.Repeat(value, Page),
    ];

    private static byte[] Request(NbdCommand command, int cookie, int offset, int length, CommandFlags flags = 0) =>
        NbdTestClient.Bytes(0x25609513U, (ushort)flags, (ushort)command, (ulong)cookie, (ulong)offset, (uint)length);
}
