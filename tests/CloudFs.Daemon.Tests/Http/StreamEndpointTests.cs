using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Core.Streams;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>
/// <c>/stream</c> over the real engine: whole, from a point, live, and broken off where it can't be proved.
/// </summary>
public sealed class StreamEndpointTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private TestDaemon _daemon = null!;
    private string _disk = null!;

    public async Task InitializeAsync()
    {
        _daemon = await TestDaemon.StartAsync();
        _disk = await _daemon.NewDiskAsync(name: "demo");
    }

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task Once_is_the_whole_chain_up_to_the_head()
    {
        var random = new Random(20108);
        for (var i = 0; i < 40; i++)
        {
            var data = new byte[random.Next(1, 300_000)];
            random.NextBytes(data);
            await _daemon.PutAsync(_disk, (ulong)random.Next(8 << 20), data);
        }

        var head = await HeadAsync();
        var chain = await VerifyAsync(await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&once")));
        Assert.Equal(head, chain.ToString());
        chain = await VerifyAsync(await _daemon.Http.GetByteArrayAsync(_daemon.At("/stream?demo&once")));
        Assert.Equal(head, chain.ToString());
    }

    [Fact]
    public async Task A_point_begins_behind_its_entry()
    {
        var second = await _daemon.PutAsync(_disk, 0, [1]);
        await _daemon.PutAsync(_disk, 0, [2]);
        var whole = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&once"));
        var lengths = await LengthsAsync(whole);
        Assert.Equal(3, lengths.Count);
        await ExpectAsync($"{_disk}&0&once", whole);
        await ExpectAsync($"{_disk}&once&1", whole[lengths[0]..]);
        await ExpectAsync($"{_disk}&{_disk}&once", whole[lengths[0]..]);
        await ExpectAsync($"{_disk}&{second}&once", whole[(lengths[0] + lengths[1])..]);
        await ExpectAsync($"{_disk}&3&once", []);

        async Task ExpectAsync(string query, byte[] bytes) =>
            Assert.Equal(bytes, await _daemon.Http.GetByteArrayAsync(_daemon.At("/stream?" + query)));
    }

    [Theory]
    [InlineData("", 400)]
    [InlineData("demo&x", 400)]
    [InlineData("demo&1&2", 400)]
    [InlineData("demo&da39a3ee5e6b4b0d3255bfef95601890afd80709", 409)]
    [InlineData("demo&2", 416)]
    [InlineData("demo&18446744073709551615", 416)]
    public async Task A_point_that_is_none_is_one_line(string query, int status) => await TestDaemon.LineAsync(
        await _daemon.Http.GetAsync(_daemon.At("/stream?" + query)), (HttpStatusCode)status);

    [Fact]
    public async Task A_live_stream_gets_each_entry_when_it_is_durable_and_ends_with_the_disk()
    {
        await using var live = await _daemon.Http.GetStreamAsync(_daemon.At("/stream?" + _disk));
        using var framer = new EntryFramer(PipeReader.Create(live));
        var chain = new ChainVerifier();
        await NextAsync(framer, chain);
        for (var i = 0; i < 5; i++)
        {
            var version = await _daemon.PutAsync(_disk, 0, [(byte)i]);
            await NextAsync(framer, chain);
            Assert.Equal(version, chain.HeadOf(Id160.Parse(_disk)).Id.ToString());
        }

        using var gone = await _daemon.Http.DeleteAsync(_daemon.At("/disks/" + _disk));
        Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        await NextAsync(framer, chain);
        Assert.True(chain.HeadOf(Id160.Parse(_disk)).Deleted);
        var last = await framer.NextAsync(CancellationToken.None).AsTask().WaitAsync(Patience);
        Assert.Equal(FramingOutcome.End, last.Outcome);
    }

    [Fact]
    public async Task A_live_stream_is_broken_off_when_the_daemon_stops()
    {
        await using var live = await _daemon.Http.GetStreamAsync(_daemon.At("/stream?" + _disk));
        var buffer = new byte[512];
        await live.ReadExactlyAsync(buffer);
        var stopping = _daemon.StopAsync();
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (await live.ReadAsync(buffer).AsTask().WaitAsync(Patience) > 0)
            {
            }
        });
        await stopping.WaitAsync(Patience);
    }

    [Fact]
    public async Task A_reader_that_stops_reading_holds_nobody_back()
    {
        using var stalled = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await stalled.ConnectAsync(_daemon.Process.HttpEndPoint);
        await stalled.SendAsync(Encoding.ASCII.GetBytes($"GET /stream?{_disk} HTTP/1.1\r\nHost: x\r\n\r\n"));
        var data = new byte[1 << 20];
        new Random(1).NextBytes(data);
        for (var i = 0; i < 24; i++)
        {
            await _daemon.PutAsync(_disk, (ulong)(i % 8) << 20, data).WaitAsync(Patience);
        }

        var chain = await VerifyAsync(await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&once")));
        Assert.Equal(await HeadAsync(), chain.ToString());
        await _daemon.StopAsync().WaitAsync(Patience);
    }

    [Fact]
    public async Task Behind_what_can_be_proved_the_connection_is_broken_off_and_a_later_point_streams_on()
    {
        // A pattern that can be found again on the device, in the body of the third of four entries.
        var marked = new byte[4096];
        new Random(20109).NextBytes(marked);
        await _daemon.PutAsync(_disk, 0, [1]);
        await _daemon.PutAsync(_disk, 4096, marked);
        await _daemon.PutAsync(_disk, 8192, [3]);
        var whole = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&once"));
        var lengths = await LengthsAsync(whole);
        await _daemon.RestartAsync(() => _daemon.FlipBitOf(marked));

        using var answer = await _daemon.Http.GetAsync(
            _daemon.At($"/stream?{_disk}&once"), HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        using var got = new MemoryStream();
        await using (var body = await answer.Content.ReadAsStreamAsync())
        {
            await Assert.ThrowsAnyAsync<IOException>(() => body.CopyToAsync(got));
        }

        Assert.Equal(whole[..(lengths[0] + lengths[1])], got.ToArray());
        var later = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&3&once"));
        Assert.Equal(whole[(lengths[0] + lengths[1] + lengths[2])..], later[..lengths[3]]);
        await SayDamageAsync();
    }

    [Fact]
    public async Task A_state_is_what_is_left_then_its_item_then_the_stream()
    {
        var version = await _daemon.PutAsync(_disk, 0, [1]);
        await _daemon.PutAsync(_disk, 0, [2]);
        var whole = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&once"));
        var lengths = await LengthsAsync(whole);
        using var answer = await _daemon.Http.GetAsync(_daemon.At("/state?demo&once"));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("inline", Assert.Single(answer.Headers.GetValues("CloudFS-State")));

        // The history is whole, so nothing comes before the one item.
        var state = await answer.Content.ReadAsByteArrayAsync();
        var items = await LengthsAsync(state);
        Assert.Equal(lengths, items[1..]);
        Assert.Equal(whole, state[(state.Length - whole.Length)..]);
        Assert.True(StateItem.Is(state));
        Assert.Contains("\"from\":1", Encoding.UTF8.GetString(state[..items[0]]), StringComparison.Ordinal);

        // Nobody takes the item for an entry: a mirror refuses it.
        var (status, _) = await _daemon.PutLogAsync(state);
        Assert.Equal(HttpStatusCode.BadRequest, status);

        var late = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/state?{_disk}&2&{version}&once"));
        var lateItems = await LengthsAsync(late);
        Assert.Equal(3, lateItems.Count);
        Assert.Contains("\"more\":true,\"views\":[{", Encoding.UTF8.GetString(late[..lateItems[0]]), StringComparison.Ordinal);
        Assert.Equal(whole[(lengths[0] + lengths[1])..], late[(lateItems[0] + lateItems[1])..]);
    }

    [Theory]
    [InlineData("demo&1", 400)]
    [InlineData("demo&da39a3ee5e6b4b0d3255bfef95601890afd80709", 400)]
    [InlineData("demo&1&1&da39a3ee5e6b4b0d3255bfef95601890afd80709", 400)]
    [InlineData("nobody", 404)]
    [InlineData("demo&1&da39a3ee5e6b4b0d3255bfef95601890afd80709", 409)]
    [InlineData("demo&2&da39a3ee5e6b4b0d3255bfef95601890afd80709", 416)]
    public async Task A_state_from_a_point_that_is_none_is_one_line(string query, int status) =>
        await TestDaemon.LineAsync(
            await _daemon.Http.GetAsync(_daemon.At("/state?" + query)), (HttpStatusCode)status);

    [Fact]
    public async Task A_live_state_goes_on_as_the_stream_does_and_ends_with_the_disk()
    {
        await using var live = await _daemon.Http.GetStreamAsync(_daemon.At("/state?" + _disk));
        using var framer = new EntryFramer(PipeReader.Create(live));
        var item = await framer.NextAsync(CancellationToken.None).AsTask().WaitAsync(Patience);
        Assert.True(StateItem.Is(item.Header.Span));
        var chain = new ChainVerifier();
        await NextAsync(framer, chain);
        var version = await _daemon.PutAsync(_disk, 0, [1]);
        await NextAsync(framer, chain);
        Assert.Equal(version, chain.HeadOf(Id160.Parse(_disk)).Id.ToString());
        (await _daemon.Http.DeleteAsync(_daemon.At("/disks/" + _disk))).Dispose();
        await NextAsync(framer, chain);
        var last = await framer.NextAsync(CancellationToken.None).AsTask().WaitAsync(Patience);
        Assert.Equal(FramingOutcome.End, last.Outcome);
    }

    [Fact]
    public async Task A_stream_from_before_the_history_names_the_oldest_LSN_and_a_state_goes_on_there()
    {
        // Entries that nobody reads, in a segment of their own, which is needed again.
        var data = new byte[1 << 20];
        var busy = await _daemon.NewDiskAsync();
        for (var round = 0; round < 40; round++)
        {
            for (var at = 0; at < 17; at++)
            {
                new Random(at).NextBytes(data);
                await _daemon.PutAsync(busy, (ulong)(at % 8) << 20, data);
            }

            await _daemon.PutAsync(_disk, 0, [(byte)round]);
            if ((await _daemon.DiskAsync(_disk)).OldestLsn > 1)
            {
                break;
            }
        }

        var oldest = (await _daemon.DiskAsync(_disk)).OldestLsn;
        using var gone = await _daemon.Http.GetAsync(_daemon.At($"/stream?{_disk}&1"));
        var line = await TestDaemon.LineAsync(gone, HttpStatusCode.Gone);
        var header = Assert.Single(gone.Headers.GetValues("CloudFS-Oldest-Lsn"));
        Assert.Equal(oldest.ToString(CultureInfo.InvariantCulture), header);
        Assert.Contains(header, line, StringComparison.Ordinal);
        var state = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/state?{_disk}&1&{_disk}&once"));
        var stream = await _daemon.Http.GetByteArrayAsync(_daemon.At($"/stream?{_disk}&{oldest - 1}&once"));
        Assert.Equal(stream, state[(state.Length - stream.Length)..]);
    }

    /// <summary>The same damage as everybody else is told of it.</summary>
    private async Task SayDamageAsync()
    {
        using var read = await _daemon.SendGetAsync(_disk, "bytes=0-16383");
        var line = await TestDaemon.LineAsync(read, HttpStatusCode.InternalServerError);
        Assert.Contains("4096-8191", line, StringComparison.Ordinal);
        using var health = await _daemon.Http.GetAsync(_daemon.At("/healthz"));
        Assert.Equal(HttpStatusCode.OK, health.StatusCode);
        Assert.Contains("\"degraded\"", await health.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        var metrics = await _daemon.TextAsync("/metrics");
        Assert.Contains($"cloudfs_disk_damaged_bytes{{disk=\"{_disk}\"}} 4096\n", metrics, StringComparison.Ordinal);
        var extents = await _daemon.TextAsync("/extents?demo");
        Assert.Contains("\n4096 4096 damaged\n8192 512 data\n", extents, StringComparison.Ordinal);

        await _daemon.PutAsync(_disk, 4096, new byte[4096]);
        Assert.Contains("\"ok\"", await _daemon.TextAsync("/healthz"), StringComparison.Ordinal);
        Assert.Equal(16384, (await _daemon.ReadAsync(_disk, 0, 16384)).Length);
    }

    private async Task<string> HeadAsync() => (await _daemon.TextAsync("/heads")).TrimEnd('\n');

    private static async Task NextAsync(EntryFramer framer, ChainVerifier chain)
    {
        var framed = await framer.NextAsync(CancellationToken.None).AsTask().WaitAsync(Patience);
        Assert.Equal(FramingOutcome.Entry, framed.Outcome);
        var verdict = chain.Add(framed.Header.Span, framed.Body.Span);
        Assert.True(verdict.Accepted, verdict.ToString());
    }

    private async Task<HeadText> VerifyAsync(byte[] stream)
    {
        using var framer = new EntryFramer(PipeReader.Create(new MemoryStream(stream)));
        var chain = new ChainVerifier();
        foreach (var _ in await LengthsAsync(stream))
        {
            await NextAsync(framer, chain);
        }

        var head = chain.HeadOf(Id160.Parse(_disk));
        return new HeadText(head.Disk, head.Id);
    }

    private static async Task<List<int>> LengthsAsync(byte[] stream)
    {
        using var framer = new EntryFramer(PipeReader.Create(new MemoryStream(stream)));
        List<int> lengths = [];
        while (await framer.NextAsync(CancellationToken.None) is { Outcome: not FramingOutcome.End } framed)
        {
            Assert.Equal(FramingOutcome.Entry, framed.Outcome);
            lengths.Add(framed.Bytes.Length);
        }

        return lengths;
    }

    private sealed record HeadText(Id160 Disk, Id160 Id)
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Disk}:{Id}");
    }
}
