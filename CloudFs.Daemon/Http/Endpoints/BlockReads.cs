using System.Buffers;
using System.Globalization;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>GET /blocks?DISK</c> with <c>Range</c>: bytes of one version, which the ETag names and which is durable before
/// the first byte leaves. The first piece is read before the status is sent, so that damage within it is told as a 500;
/// where damage comes later the answer is broken off, and never filled up with anything.
/// </summary>
internal static class BlockReads
{
    public static async Task GetAsync(Exchange exchange)
    {
        var query = exchange.ReadQuery();
        if (query.Lsn is not null || query.Once)
        {
            throw new HttpRefusalException(400, "expected ?<disk>[&<version id of 40 digits>]");
        }

        if (Redirects.TryRedirect(exchange, query.Disk))
        {
            return;
        }

        var disk = exchange.FindDisk(query);
        var size = disk.SizeBytes;
        exchange.Response.Headers.AcceptRanges = "bytes";
        var header = exchange.Request.Headers.Range.ToString();
        var range = header.Length == 0 ? Whole(size) : Parse(exchange, header, size);
        var read = await disk.BeginConsistentReadAsync(range.Offset, range.Length, exchange.Ended);
        var what = Name(disk, range);
        if (read.Status != IoStatus.Ok)
        {
            throw await RefusedAsync(disk, range, read.Status);
        }

        if (query.Version is { } wanted && wanted != read.Version.Id)
        {
            throw new HttpRefusalException(
                501, $"{what}: only the head, {read.Version.Id}, can be read; the past can be once branches exist");
        }

        if (!MeetsConditions(exchange, read.Version.Id, header.Length > 0))
        {
            return;
        }

        await SendAsync(exchange, disk, read, range, partial: header.Length > 0 ? size : null);
    }

    private static ByteRange Whole(ulong size) => size <= HttpLimits.MaxReadBytes
        ? new ByteRange(0, size)
        : throw new HttpRefusalException(413, $"the disk has {size} bytes: {AskLess}");

    private static string AskLess { get; } =
        $"ask for at most {HttpLimits.MaxReadBytes} at a time, with Range: bytes=<first>-<last>";

    private static ByteRange Parse(Exchange exchange, string header, ulong size)
    {
        switch (RangeHeaders.ParseRange(header, size, out var range))
        {
            case RangeVerdict.Good when range.Length <= HttpLimits.MaxReadBytes:
                return range;
            case RangeVerdict.Good:
                throw new HttpRefusalException(413, $"the range has {range.Length} bytes: {AskLess}");
            case RangeVerdict.Several:
                throw new HttpRefusalException(400, "expected one range at a time, such as Range: bytes=0-511");
            case RangeVerdict.Outside:
                exchange.Response.Headers.ContentRange = string.Create(
                    CultureInfo.InvariantCulture, $"bytes */{size}");
                throw new HttpRefusalException(416, $"the range lies behind the disk, which has {size} bytes");
            default:
                throw new HttpRefusalException(400, "expected Range: bytes=<first>-<last>, <first>- or -<count>");
        }
    }

    /// <summary>If-Match, If-None-Match and If-Range; false when the answer is complete already.</summary>
    private static bool MeetsConditions(Exchange exchange, Id160 version, bool ranged)
    {
        exchange.Response.Headers.ETag = EntityTags.Format(version);
        var headers = exchange.Request.Headers;
        if (headers.IfMatch.Count > 0 && !Matches(headers.IfMatch.ToString(), version))
        {
            throw new HttpRefusalException(412, $"the disk has another version, {version}");
        }

        if (headers.IfNoneMatch.Count > 0 && Matches(headers.IfNoneMatch.ToString(), version))
        {
            exchange.Response.StatusCode = 304;
            return false;
        }

        if (ranged && headers.IfRange.Count > 0 && headers.IfRange.ToString() != EntityTags.Format(version))
        {
            // The RFC would have the whole disk sent; what the client can do with is the news.
            throw new HttpRefusalException(412, $"the disk has another version, {version}");
        }

        return true;
    }

    private static bool Matches(string header, Id160 version)
    {
        if (!EntityTags.TryParse(header, out var any, out var versions))
        {
            throw new HttpRefusalException(400, "expected If-Match or If-None-Match: \"<version id>\" or *");
        }

        return any || versions.Contains(version);
    }

    private static async Task SendAsync(
        Exchange exchange, Disk disk, ConsistentRead read, ByteRange range, ulong? partial)
    {
        var response = exchange.Response;
        var pieceLength = (int)Math.Min(range.Length, HttpLimits.PieceBytes);
        exchange.Http.Features.Get<IHttpMinResponseDataRateFeature>()?.MinDataRate = HttpLimits.BlockRate;
        using var memory = await exchange.Services.Downloads.TryTakeAsync(
            pieceLength, HttpLimits.MemoryPatience, exchange.Ended) ?? throw Busy(exchange);
        var buffer = ArrayPool<byte>.Shared.Rent(pieceLength);
        try
        {
            var piece = buffer.AsMemory(0, pieceLength);

            // Reads are not cancelled with the client: the memory must not go back while the engine fills it.
            var status = await read.ReadAsync(range.Offset, piece, CancellationToken.None);
            if (status != IoStatus.Ok)
            {
                throw await RefusedAsync(disk, range, status);
            }

            response.StatusCode = partial is null ? 200 : 206;
            response.ContentType = "application/octet-stream";
            response.ContentLength = (long)range.Length;
            if (partial is { } size)
            {
                response.Headers.ContentRange = string.Create(CultureInfo.InvariantCulture, $"bytes {range}/{size}");
            }

            if (!exchange.IsHead)
            {
                await SendPiecesAsync(exchange, read, range, piece);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Sends the piece that was read already, then the others through the same memory.</summary>
    private static async Task SendPiecesAsync(
        Exchange exchange, ConsistentRead read, ByteRange range, Memory<byte> piece)
    {
        var offset = range.Offset;
        while (true)
        {
            await exchange.Response.BodyWriter.WriteAsync(piece, exchange.Ended);
            exchange.Services.Counters.Read(piece.Length);
            offset += (ulong)piece.Length;
            if (offset == range.End)
            {
                return;
            }

            piece = piece[..(int)Math.Min((ulong)piece.Length, range.End - offset)];
            if (await read.ReadAsync(offset, piece, CancellationToken.None) != IoStatus.Ok)
            {
                exchange.Services.Counters.BrokeOff();
                exchange.Http.Abort();
                return;
            }
        }
    }

    internal static HttpRefusalException Busy(Exchange exchange)
    {
        exchange.Response.Headers.RetryAfter = "5";
        return new HttpRefusalException(503, "too many bytes are under way already; try again in a few seconds");
    }

    internal static string Name(Disk disk, ByteRange range) => $"disk {disk.Id}, bytes {range}";

    /// <summary>The refusal for a status; for damage the line names what is damaged within the range.</summary>
    internal static async ValueTask<HttpRefusalException> RefusedAsync(Disk disk, ByteRange range, IoStatus status)
    {
        if (status == IoStatus.Damaged)
        {
            List<DiskRange> runs = [];
            var start = range.Offset / EntryLayout.SectorSize * EntryLayout.SectorSize;
            var end = (range.End + EntryLayout.SectorSize - 1) / EntryLayout.SectorSize * EntryLayout.SectorSize;
            await disk.DescribeAsync(start, end - start, HttpLimits.RangesAtOnce, runs);
            var bad = runs.FindIndex(run => run.Content == RangeContent.Damaged);
            range = bad < 0 ? range : new ByteRange(runs[bad].Offset, runs[bad].Length);
        }

        return new HttpRefusalException(StatusMap.For(status), StatusMap.Line(status, Name(disk, range)));
    }
}
