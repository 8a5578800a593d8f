using System.Net;
using System.Net.Sockets;
using System.Text;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary><c>PUT /log</c>: what <c>/stream</c> sends makes a mirror, and what does not fit is named.</summary>
public sealed class LogUploadTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private TestDaemon _primary = null!;
    private TestDaemon _mirror = null!;
    private string _disk = null!;

    public async Task InitializeAsync()
    {
        _primary = await TestDaemon.StartAsync();
        _mirror = await TestDaemon.StartAsync();
        _disk = await _primary.NewDiskAsync(name: "demo");
    }

    public async Task DisposeAsync()
    {
        await _mirror.DisposeAsync();
        await _primary.DisposeAsync();
    }

    [Fact]
    public async Task A_stream_makes_a_mirror_that_goes_on_where_it_was()
    {
        await _primary.PutAsync(_disk, 12345, [.. Enumerable.Repeat((byte)5, 1_500_000)]);
        var (status, text) = await _mirror.PutLogAsync(await StreamAsync());
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.StartsWith("3 appended, 0 held already\n" + _disk, text, StringComparison.Ordinal);
        Assert.Equal(await _primary.TextAsync("/heads"), await _mirror.TextAsync("/heads"));

        await _primary.PutAsync(_disk, 0, [9]);
        (_, text) = await _mirror.PutLogAsync(await StreamAsync());
        Assert.StartsWith("1 appended, 3 held already\n", text, StringComparison.Ordinal);
        Assert.Equal(await _primary.TextAsync("/heads"), await _mirror.TextAsync("/heads"));
        Assert.Equal(await _primary.ReadAsync(_disk, 0, 2 << 20), await _mirror.ReadAsync(_disk, 0, 2 << 20));
        await _mirror.RestartAsync();
        Assert.Equal(await _primary.TextAsync("/heads"), await _mirror.TextAsync("/heads"));
        Assert.Equal(await _primary.ReadAsync(_disk, 0, 2 << 20), await _mirror.ReadAsync(_disk, 0, 2 << 20));
    }

    [Fact]
    public async Task A_mirror_is_read_only_and_names_its_primary()
    {
        await _mirror.PutLogAsync(await StreamAsync());
        var primary = (await _primary.DiskAsync(_disk)).View.Primary;
        var line = await TestDaemon.LineAsync(await _mirror.SendPutAsync(_disk, 0, [1]), HttpStatusCode.Forbidden);
        Assert.Contains(primary, line, StringComparison.Ordinal);
        var disk = await _mirror.DiskAsync(_disk);
        Assert.Equal("mirror", disk.Role);
        Assert.False(disk.Writable);
    }

    [Fact]
    public async Task A_live_pipe_mirrors_while_the_disk_is_written()
    {
        using var gone = new CancellationTokenSource();
        var pipe = Task.Run(async () =>
        {
            await using var live = await _primary.Http.GetStreamAsync(_primary.At("/stream?" + _disk), gone.Token);
            using var content = new Unbuffered(live);
            using var answer = await _mirror.Http.PutAsync(_mirror.At("/log"), content, gone.Token);
        });
        for (var i = 0; i < 30; i++)
        {
            await _primary.PutAsync(_disk, (ulong)i * 5000, [.. Enumerable.Repeat((byte)i, 7000)]);
        }

        var head = await _primary.TextAsync("/heads");
        for (var waited = 0; await _mirror.TextAsync("/heads") != head && waited < 200; waited++)
        {
            await Task.Delay(50);
        }

        Assert.Equal(head, await _mirror.TextAsync("/heads"));
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => pipe.WaitAsync(Patience));
    }

    [Fact]
    public async Task A_flipped_bit_is_named_and_what_came_before_stands()
    {
        await _primary.PutAsync(_disk, 0, [1]);
        await _primary.PutAsync(_disk, 0, [2]);
        var stream = await StreamAsync();
        stream[^100] ^= 1;
        var (status, text) = await _mirror.PutLogAsync(stream);
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.StartsWith("entry 3: ", text, StringComparison.Ordinal);
        Assert.EndsWith("; the 2 before it stand\n", text, StringComparison.Ordinal);
        Assert.Equal("2\n", await _mirror.TextAsync("/lsn?" + _disk));
    }

    [Fact]
    public async Task What_ends_within_an_entry_or_is_none_is_400()
    {
        await _primary.PutAsync(_disk, 0, [1]);
        var stream = await StreamAsync();
        var (status, text) = await _mirror.PutLogAsync(stream[..^1]);
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal("entry 2: the body ends within it; the one before it stands\n", text);

        (status, text) = await _mirror.PutLogAsync(Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\n\r\n"));
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.StartsWith("entry 1: no entry begins at byte 0: ", text, StringComparison.Ordinal);

        (status, text) = await _mirror.PutLogAsync([]);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal("0 appended, 0 held already\n", text);
    }

    [Fact]
    public async Task A_gap_is_409()
    {
        await _primary.PutAsync(_disk, 0, [1]);
        await _mirror.PutLogAsync(await StreamAsync());
        await _primary.PutAsync(_disk, 0, [2]);
        await _primary.PutAsync(_disk, 0, [3]);
        var late = await _primary.Http.GetByteArrayAsync(_primary.At($"/stream?{_disk}&3&once"));
        var (status, text) = await _mirror.PutLogAsync(late);
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.StartsWith("entry 1: ", text, StringComparison.Ordinal);
        Assert.Contains(_disk, text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task On_the_primary_its_own_entries_are_held_already()
    {
        await _primary.PutAsync(_disk, 0, [1]);
        var (status, text) = await _primary.PutLogAsync(await StreamAsync());
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.StartsWith("0 appended, 2 held already\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refusal_reaches_a_client_that_is_still_sending()
    {
        using var client = new TcpClient();
        await client.ConnectAsync(_mirror.Process.HttpEndPoint);
        await using var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            "PUT /log HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
        var chunk = Encoding.ASCII.GetBytes("10000\r\n" + new string('x', 0x10000) + "\r\n");
        var sending = Task.Run(async () =>
        {
            try
            {
                while (true)
                {
                    await stream.WriteAsync(chunk);
                }
            }
            catch (IOException)
            {
                // Cut off at last, as a client that does not listen must be.
            }
        });
        var answer = new byte[512];
        var read = await stream.ReadAtLeastAsync(answer, 100).AsTask().WaitAsync(Patience);
        Assert.StartsWith("HTTP/1.1 400 ", Encoding.ASCII.GetString(answer, 0, read), StringComparison.Ordinal);
        await sending.WaitAsync(Patience);
    }

    [Fact]
    public async Task An_entry_that_comes_in_drops_is_put_together()
    {
        await _primary.PutAsync(_disk, 0, [.. Enumerable.Repeat((byte)3, 900_000)]);
        var (status, text) = await PutSlowlyAsync(await StreamAsync(), 40_961);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.StartsWith("2 appended", text, StringComparison.Ordinal);
        Assert.Equal(await _primary.TextAsync("/heads"), await _mirror.TextAsync("/heads"));
    }

    private async Task<(HttpStatusCode Status, string Text)> PutSlowlyAsync(byte[] bytes, int step)
    {
        using var content = new StreamContent(new Drops(bytes, step));
        using var answer = await _mirror.Http.PutAsync(_mirror.At("/log"), content);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    private Task<byte[]> StreamAsync() => _primary.Http.GetByteArrayAsync(_primary.At($"/stream?{_disk}&once"));

    /// <summary>
    /// Sends on what came in at once, as curl does; the framework's own content keeps the last bytes back.
    /// </summary>
    private sealed class Unbuffered(Stream source) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            var buffer = new byte[64 << 10];
            while (await source.ReadAsync(buffer, cancellationToken) is > 0 and var read)
            {
                await stream.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
                await stream.FlushAsync(cancellationToken);
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    /// <summary>Gives its bytes a few at a time, with pauses.</summary>
    private sealed class Drops(byte[] bytes, int step) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Task.Delay(1, cancellationToken);
            return Read(buffer.Span[..Math.Min(buffer.Length, step)]);
        }
    }
}
