using System.Net;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>
/// <c>/blocks</c> and <c>/extents</c> over the real engine: alignment, conditions, and everything refused.
/// </summary>
public sealed class BlocksEndpointTests : IAsyncLifetime
{
    private const int Size = 1 << 20;

    private TestDaemon _daemon = null!;
    private string _disk = null!;

    public async Task InitializeAsync()
    {
        _daemon = await TestDaemon.StartAsync();
        _disk = await _daemon.NewDiskAsync(Size);
    }

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task Writes_at_any_alignment_leave_the_other_bytes_alone()
    {
        var model = new byte[Size];
        var random = new Random(20107);
        for (var round = 0; round < 60; round++)
        {
            var offset = random.Next(Size);
            var data = new byte[random.Next(1, Math.Min(Size - offset, random.Next(4) == 0 ? 200_000 : 3000) + 1)];
            random.NextBytes(data);
            data.CopyTo(model, offset);
            await _daemon.PutAsync(_disk, (ulong)offset, data);

            var from = random.Next(Size);
            var length = random.Next(1, Size - from + 1);
            Assert.Equal(model[from..(from + length)], await _daemon.ReadAsync(_disk, (ulong)from, length));
        }

        Assert.Equal(model, await _daemon.Http.GetByteArrayAsync(_daemon.At("/blocks?" + _disk)));
        await _daemon.RestartAsync();
        Assert.Equal(model, await _daemon.Http.GetByteArrayAsync(_daemon.At("/blocks?" + _disk)));
    }

    [Fact]
    public async Task Concurrent_writes_to_one_sector_lose_nothing()
    {
        await Task.WhenAll(Enumerable.Range(0, 32).Select(i =>
            _daemon.PutAsync(_disk, (ulong)(4096 + (i * 16)), [.. Enumerable.Repeat((byte)(i + 1), 16)])));
        var sector = await _daemon.ReadAsync(_disk, 4096, 512);
        Assert.Equal(Enumerable.Range(0, 512).Select(i => (byte)((i / 16) + 1)), sector);
    }

    [Fact]
    public async Task A_range_is_206_with_the_heads_version()
    {
        var version = await _daemon.PutAsync(_disk, 0, [1, 2, 3]);
        using var answer = await _daemon.SendGetAsync(_disk, "bytes=1-4");
        Assert.Equal(HttpStatusCode.PartialContent, answer.StatusCode);
        Assert.Equal($"\"{version}\"", answer.Headers.ETag!.ToString());
        Assert.Equal($"bytes 1-4/{Size}", answer.Content.Headers.ContentRange!.ToString());
        Assert.Equal("bytes", answer.Headers.AcceptRanges.ToString());
        Assert.Equal([2, 3, 0, 0], await answer.Content.ReadAsByteArrayAsync());
        Assert.Equal($"{_disk}:{version}\n", await _daemon.TextAsync("/heads"));
        Assert.Equal("2\n", await _daemon.TextAsync("/lsn?" + _disk));
    }

    [Fact]
    public async Task Head_tells_the_same_without_the_bytes()
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, _daemon.At("/blocks?" + _disk));
        using var answer = await _daemon.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal(Size, answer.Content.Headers.ContentLength);
        Assert.Equal($"\"{_disk}\"", answer.Headers.ETag!.ToString());
        Assert.Empty(await answer.Content.ReadAsByteArrayAsync());
    }

    [Theory]
    [InlineData("bytes=-16", 206)]
    [InlineData("bytes=1048575-", 206)]
    [InlineData("bytes=0-99999999", 206)]
    [InlineData("bytes=1048576-", 416)]
    [InlineData("bytes=-0", 416)]
    [InlineData("bytes=5-4", 400)]
    [InlineData("bytes=0-1,4-5", 400)]
    [InlineData("sectors=0-1", 400)]
    public async Task Ranges_are_answered_cut_or_refused(string range, int status)
    {
        using var answer = await _daemon.SendGetAsync(_disk, range);
        if (status == 206)
        {
            Assert.Equal(HttpStatusCode.PartialContent, answer.StatusCode);
            return;
        }

        await TestDaemon.LineAsync(answer, (HttpStatusCode)status);
        Assert.Equal(status == 416, answer.Content.Headers.ContentRange?.ToString() == $"bytes */{Size}");
    }

    [Fact]
    public async Task What_is_too_long_is_413()
    {
        var large = await _daemon.NewDiskAsync(1UL << 40);
        await TestDaemon.LineAsync(await _daemon.SendGetAsync(large, null), HttpStatusCode.RequestEntityTooLarge);
        await TestDaemon.LineAsync(
            await _daemon.SendGetAsync(large, $"bytes=0-{64 << 20}"), HttpStatusCode.RequestEntityTooLarge);
        await TestDaemon.LineAsync(
            await _daemon.SendPutAsync(large, 0, [1], contentRange: $"bytes 0-{32 << 20}/*"),
            HttpStatusCode.RequestEntityTooLarge);
        using var most = await _daemon.SendGetAsync(large, $"bytes=0-{(64 << 20) - 1}");
        Assert.Equal(64 << 20, (await most.Content.ReadAsByteArrayAsync()).Length);
        Assert.Equal([9], await WriteAndReadAsync(large, (1UL << 40) - 1, [9]));
    }

    [Fact]
    public async Task Conditions_hold_a_write_to_the_version_it_was_made_for()
    {
        var first = await _daemon.PutAsync(_disk, 0, [1]);
        using var good = await _daemon.SendPutAsync(_disk, 0, [2], ifMatch: $"\"{first}\"");
        Assert.Equal(HttpStatusCode.NoContent, good.StatusCode);
        var second = good.Headers.ETag!.Tag;

        using var late = await _daemon.SendPutAsync(_disk, 0, [3], ifMatch: $"\"{first}\"");
        await TestDaemon.LineAsync(late, HttpStatusCode.PreconditionFailed);
        Assert.Equal(second, late.Headers.ETag!.Tag);
        Assert.Equal([2], await _daemon.ReadAsync(_disk, 0, 1));

        using var any = await _daemon.SendPutAsync(_disk, 0, [4], ifMatch: "*");
        Assert.Equal(HttpStatusCode.NoContent, any.StatusCode);
        await TestDaemon.LineAsync(
            await _daemon.SendPutAsync(_disk, 0, [5], ifMatch: "nonsense"), HttpStatusCode.BadRequest);
    }

    [Fact]
    public async Task Of_many_conditional_writes_from_one_version_one_wins()
    {
        var version = await _daemon.PutAsync(_disk, 0, [1]);
        var answers = await Task.WhenAll(Enumerable.Range(0, 16).Select(i =>
            _daemon.SendPutAsync(_disk, (ulong)i * 4096, [(byte)i], ifMatch: $"\"{version}\"")));
        Assert.Single(answers, answer => answer.StatusCode == HttpStatusCode.NoContent);
        Assert.Equal(15, answers.Count(answer => answer.StatusCode == HttpStatusCode.PreconditionFailed));
    }

    [Fact]
    public async Task Conditions_on_reads_are_understood()
    {
        var version = await _daemon.PutAsync(_disk, 0, [1]);
        using var same = await _daemon.SendGetAsync(_disk, "bytes=0-0", ("If-None-Match", $"\"{version}\""));
        Assert.Equal(HttpStatusCode.NotModified, same.StatusCode);
        using var good = await _daemon.SendGetAsync(_disk, "bytes=0-0", ("If-Match", $"\"{version}\""));
        Assert.Equal(HttpStatusCode.PartialContent, good.StatusCode);
        await TestDaemon.LineAsync(
            await _daemon.SendGetAsync(_disk, "bytes=0-0", ("If-Match", $"\"{_disk}\"")),
            HttpStatusCode.PreconditionFailed);
        await TestDaemon.LineAsync(
            await _daemon.SendGetAsync(_disk, "bytes=0-0", ("If-Range", $"\"{_disk}\"")),
            HttpStatusCode.PreconditionFailed);
    }

    [Fact]
    public async Task The_head_can_be_named_and_the_past_is_501()
    {
        var version = await _daemon.PutAsync(_disk, 0, [1]);
        using var head = await _daemon.SendGetAsync($"{_disk}&{version}", "bytes=0-0");
        Assert.Equal(HttpStatusCode.PartialContent, head.StatusCode);
        await TestDaemon.LineAsync(
            await _daemon.SendGetAsync($"{_disk}&{_disk}", "bytes=0-0"), HttpStatusCode.NotImplemented);
        await TestDaemon.LineAsync(await _daemon.SendGetAsync($"{_disk}&7", "bytes=0-0"), HttpStatusCode.BadRequest);
    }

    [Theory]
    [InlineData(null, 400)]
    [InlineData("bytes 0-1/*", 400)]
    [InlineData("bytes 0-3/*", 400)]
    [InlineData("bytes 0-2/7", 400)]
    [InlineData("bytes 0-2/1048576", 204)]
    [InlineData("bytes 1048574-1048576/*", 416)]
    public async Task A_write_must_say_what_it_is(string? contentRange, int status)
    {
        var content = new ByteArrayContent([1, 2, 3]);
        if (contentRange is not null)
        {
            content.Headers.TryAddWithoutValidation("Content-Range", contentRange);
        }

        using var answer = await _daemon.Http.PutAsync(_daemon.At("/blocks?" + _disk), content);
        Assert.Equal(status, (int)answer.StatusCode);
        Assert.Equal(status == 204 ? "2\n" : "1\n", await _daemon.TextAsync("/lsn?" + _disk));
    }

    [Theory]
    [InlineData(2, 400)]
    [InlineData(3, 204)]
    [InlineData(4, 400)]
    public async Task A_chunked_write_must_be_as_long_as_it_says(int length, int status)
    {
        var content = new StreamContent(new UnknownLength(new byte[length]));
        content.Headers.TryAddWithoutValidation("Content-Range", "bytes 0-2/*");
        using var answer = await _daemon.Http.PutAsync(_daemon.At("/blocks?" + _disk), content);
        Assert.Equal(status, (int)answer.StatusCode);
        Assert.Null(content.Headers.ContentLength);
    }

    [Fact]
    public async Task Trimmed_sectors_are_holes_and_read_as_zeroes()
    {
        await _daemon.PutAsync(_disk, 0, [.. Enumerable.Repeat((byte)7, 64 << 10)]);
        Assert.Equal($"0 65536 data\n65536 {Size - 65536} hole\n", await _daemon.TextAsync("/extents?" + _disk));
        Assert.Equal(HttpStatusCode.NoContent, await DeleteAsync("bytes 4096-8191/*"));
        Assert.Equal(
            $"0 4096 data\n4096 4096 hole\n8192 57344 data\n65536 {Size - 65536} hole\n",
            await _daemon.TextAsync("/extents?" + _disk));
        Assert.All(await _daemon.ReadAsync(_disk, 4096, 4096), b => Assert.Equal(0, b));
        Assert.Equal(HttpStatusCode.BadRequest, await DeleteAsync("bytes 4097-8191/*"));
        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, await DeleteAsync($"bytes 0-{Size + 511}/*"));
        Assert.Equal(HttpStatusCode.NoContent, await DeleteAsync($"bytes 0-{Size - 1}/*"));
        Assert.Equal($"0 {Size} hole\n", await _daemon.TextAsync("/extents?" + _disk));
    }

    [Fact]
    public async Task Damage_behind_the_first_piece_breaks_the_answer_off()
    {
        var disk = await _daemon.NewDiskAsync(8 << 20);
        var data = new byte[4 << 20];
        new Random(20110).NextBytes(data);
        await _daemon.PutAsync(disk, 0, data);
        const int Bad = 3 << 20;
        await _daemon.RestartAsync(() => _daemon.FlipBitOf(data[Bad..(Bad + 4096)]));

        using var answer = await _daemon.Http.GetAsync(
            _daemon.At("/blocks?" + disk), HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => answer.Content.ReadAsByteArrayAsync());
        using var page = await _daemon.SendGetAsync(disk, $"bytes={Bad + 100}-{Bad + 5000}");
        var line = await TestDaemon.LineAsync(page, HttpStatusCode.InternalServerError);
        Assert.Contains($"{Bad}-{Bad + 4095}", line, StringComparison.Ordinal);
        Assert.Equal(data[..Bad], await _daemon.ReadAsync(disk, 0, Bad));

        // Neither half a sector of it can be replaced, nor is anything else held up.
        using var half = await _daemon.SendPutAsync(disk, Bad + 10, [1]);
        await TestDaemon.LineAsync(half, HttpStatusCode.InternalServerError);
        await _daemon.PutAsync(disk, Bad, new byte[4096]);
        Assert.Equal(data[..Bad], (await _daemon.Http.GetByteArrayAsync(_daemon.At("/blocks?" + disk)))[..Bad]);
        await _daemon.StopAsync();
        Assert.DoesNotContain("Microsoft", _daemon.Log.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("Content-Length mismatch", _daemon.Log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_is_not_there_is_404()
    {
        foreach (var path in (string[])["/blocks?nobody", "/lsn?nobody", "/extents?nobody", "/stream?nobody"])
        {
            await TestDaemon.LineAsync(await _daemon.Http.GetAsync(_daemon.At(path)), HttpStatusCode.NotFound);
        }

        await TestDaemon.LineAsync(await _daemon.SendPutAsync("nobody", 0, [1]), HttpStatusCode.NotFound);
    }

    private async Task<byte[]> WriteAndReadAsync(string disk, ulong offset, byte[] data)
    {
        await _daemon.PutAsync(disk, offset, data);
        return await _daemon.ReadAsync(disk, offset, data.Length);
    }

    private async Task<HttpStatusCode> DeleteAsync(string contentRange)
    {
        var content = new ByteArrayContent([]);
        content.Headers.TryAddWithoutValidation("Content-Range", contentRange);
        using var answer = await _daemon.Http.SendAsync(
            new HttpRequestMessage(HttpMethod.Delete, _daemon.At("/blocks?" + _disk)) { Content = content });
        return answer.StatusCode;
    }

    /// <summary>A stream that does not say how long it is, so that it is sent in chunks.</summary>
    private sealed class UnknownLength(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }
}
