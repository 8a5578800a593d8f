using System.Buffers;
using System.Globalization;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>PUT /blocks?DISK</c> with <c>Content-Range</c>: writes bytes at any alignment, durable when it is answered.
/// <c>DELETE /blocks?DISK</c> makes a range of sectors read as zeroes. A body is taken in whole before anything of it
/// is written, so that a client that goes away in the middle has written nothing.
/// </summary>
internal static class BlockWrites
{
    public static async Task PutAsync(Exchange exchange)
    {
        if (Redirects.TryRedirect(exchange, exchange.ReadQuery().Disk))
        {
            return;
        }

        var disk = Target(exchange);
        var range = ReadRange(exchange, disk);
        if (range.Length > HttpLimits.MaxWriteBytes)
        {
            throw new HttpRefusalException(
                413, $"the range has {range.Length} bytes: write at most {HttpLimits.MaxWriteBytes} at a time");
        }

        var condition = ReadCondition(exchange, disk);
        var stated = exchange.Request.ContentLength;
        if (stated is not null && (ulong)stated.Value != range.Length)
        {
            throw new HttpRefusalException(
                400, $"Content-Range names {range.Length} bytes, Content-Length says {stated}: they must agree");
        }

        using var memory = await exchange.Services.Uploads.TryTakeAsync(
            (long)range.Length, HttpLimits.MemoryPatience, exchange.Ended) ?? throw BlockReads.Busy(exchange);
        var buffer = ArrayPool<byte>.Shared.Rent((int)range.Length);
        try
        {
            var data = buffer.AsMemory(0, (int)range.Length);
            await ReadBodyAsync(exchange, data);

            // Not cancelled with the client: the engine may go on with the write, and needs the memory until then.
            var (status, version) = await disk.PutAsync(range.Offset, data, condition, CancellationToken.None);
            await AnswerAsync(exchange, disk, range, status, version.Id);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public static async Task DeleteAsync(Exchange exchange)
    {
        if (Redirects.TryRedirect(exchange, exchange.ReadQuery().Disk))
        {
            return;
        }

        var disk = Target(exchange);
        var range = ReadRange(exchange, disk);
        if (range.Offset % EntryLayout.SectorSize != 0 || range.Length % EntryLayout.SectorSize != 0)
        {
            throw new HttpRefusalException(
                400,
                $"bytes {range} are no whole sectors of {EntryLayout.SectorSize}: write zeroes at the edges with PUT");
        }

        if (exchange.Request.Headers.IfMatch.Count > 0)
        {
            throw new HttpRefusalException(400, "DELETE takes no condition; PUT does");
        }

        var status = await disk.ZeroAsync(range.Offset, range.Length, fua: true, exchange.Ended);
        await AnswerAsync(exchange, disk, range, status, null);
    }

    /// <summary>The disk, if it can be written here.</summary>
    private static Disk Target(Exchange exchange)
    {
        var query = exchange.ReadQuery();
        if (query.Lsn is not null || query.Version is not null || query.Once)
        {
            throw new HttpRefusalException(400, "expected ?<disk>: only the head of a disk can be written");
        }

        var disk = exchange.FindDisk(query);
        return disk.IsReadOnly ? throw ReadOnly(disk) : disk;
    }

    private static HttpRefusalException ReadOnly(Disk disk)
    {
        var status = disk.GetStatus();
        return new HttpRefusalException(403, status.Role == DiskRole.Mirror
            ? $"disk {disk.Id} is a mirror here: it is written on its primary, host {status.Primary}"
            : $"disk {disk.Id} can't be written: {status.Reason}");
    }

    private static ByteRange ReadRange(Exchange exchange, Disk disk)
    {
        var size = disk.SizeBytes;
        var header = exchange.Request.Headers.ContentRange.ToString();
        switch (RangeHeaders.ParseContentRange(header, size, out var range))
        {
            case RangeVerdict.Good:
                return range;
            case RangeVerdict.Outside:
                exchange.Response.Headers.ContentRange = string.Create(
                    CultureInfo.InvariantCulture, $"bytes */{size}");
                throw new HttpRefusalException(416, $"the range ends behind the disk, which has {size} bytes");
            case RangeVerdict.OtherSize:
                throw new HttpRefusalException(400, $"Content-Range states another size; the disk has {size} bytes");
            default:
                throw new HttpRefusalException(400, "expected Content-Range: bytes <first>-<last>/*");
        }
    }

    /// <summary>The version that If-Match allows, or null where anything is allowed.</summary>
    private static Id160? ReadCondition(Exchange exchange, Disk disk)
    {
        var headers = exchange.Request.Headers;
        if (headers.IfNoneMatch.Count > 0)
        {
            throw new HttpRefusalException(400, "a write takes If-Match: \"<version id>\", not If-None-Match");
        }

        if (headers.IfMatch.Count == 0)
        {
            return null;
        }

        if (!EntityTags.TryParse(headers.IfMatch.ToString(), out var any, out var versions))
        {
            throw new HttpRefusalException(400, "expected If-Match: \"<version id>\" or *");
        }

        if (any)
        {
            return null;
        }

        // Where several are allowed, the newest version is one of them or none will do; the engine looks again, at the
        // moment of the write.
        var newest = disk.Newest.Id;
        return versions.Contains(newest) ? newest : throw Mismatch(exchange, newest);
    }

    private static async Task ReadBodyAsync(Exchange exchange, Memory<byte> data)
    {
        exchange.Http.Features.Get<IHttpMinRequestBodyDataRateFeature>()?.MinDataRate = HttpLimits.BlockRate;
        var body = exchange.Request.Body;
        var filled = await body.ReadAtLeastAsync(data, data.Length, throwOnEndOfStream: false, exchange.Ended);
        if (filled < data.Length)
        {
            throw new HttpRefusalException(
                400, $"the body ends after {filled} bytes, Content-Range names {data.Length}: nothing was written");
        }

        if (exchange.Request.ContentLength is null && await body.ReadAsync(new byte[1], exchange.Ended) != 0)
        {
            throw new HttpRefusalException(
                400, $"the body goes on after the {data.Length} bytes of Content-Range: nothing was written");
        }

        exchange.BodyIsTaken = true;
    }

    private static async Task AnswerAsync(Exchange exchange, Disk disk, ByteRange range, IoStatus status, Id160? version)
    {
        switch (status)
        {
            case IoStatus.Ok:
                exchange.Services.Counters.Written((long)range.Length);
                if (version is { } made)
                {
                    exchange.Response.Headers.ETag = EntityTags.Format(made);
                }

                exchange.NoContent();
                return;
            case IoStatus.VersionMismatch when version is { } newest:
                throw Mismatch(exchange, newest);
            case IoStatus.ReadOnly:
                throw ReadOnly(disk);
            default:
                throw await BlockReads.RefusedAsync(disk, range, status);
        }
    }

    private static HttpRefusalException Mismatch(Exchange exchange, Id160 newest)
    {
        exchange.Response.Headers.ETag = EntityTags.Format(newest);
        return new HttpRefusalException(412, $"the disk has a newer version, {newest}: nothing was written");
    }
}
