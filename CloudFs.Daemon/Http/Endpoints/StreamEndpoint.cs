using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>GET /stream</c>: a disk's entries as they lie in the log, then each new one as it becomes durable; <c>GET /state</c>:
/// before them what is left of a history that is no longer whole. The reader sets the pace, and one that stops reading holds
/// nobody back: an entry is fetched when there is room for it on the way out. Whatever can't be proved is never sent: the
/// connection is broken off behind the last entry that can.
/// </summary>
internal static class StreamEndpoint
{
    private const string WholeAtHeader = "CloudFS-Whole-At";

    private const string OldestHeader = "CloudFS-Oldest-Lsn";

    private const string StateHeader = "CloudFS-State";

    public static async Task GetAsync(Exchange exchange)
    {
        var query = exchange.ReadQuery();
        var disk = exchange.FindDisk(query);
        using var pass = Enter(exchange);
        var stream = await OpenAsync(exchange, disk, query.Point);
        if (stream.WholeAt is { } whole)
        {
            exchange.Response.Headers[WholeAtHeader] = whole.ToString(CultureInfo.InvariantCulture);
        }

        await SendAsync(exchange, stream, query.Once);
    }

    public static async Task GetStateAsync(Exchange exchange)
    {
        var query = exchange.ReadStateQuery();
        var disk = exchange.FindDisk(query);
        using var pass = Enter(exchange);
        DiskVersion? point = query.Lsn is { } lsn ? new DiskVersion(lsn, query.Version!.Value) : null;
        var state = await disk.OpenStateAsync(point, exchange.Ended);
        exchange.Response.Headers[StateHeader] = "inline";
        await SendAsync(exchange, state, query.Once);
    }

    private static IDisposable Enter(Exchange exchange) =>
        exchange.Services.Streams.TryEnter() ?? throw new HttpRefusalException(
            503, $"{HttpLimits.MaxStreams} streams are being read already; try again when one has ended");

    private static async Task<EntryStream> OpenAsync(Exchange exchange, Disk disk, StreamPoint point)
    {
        try
        {
            return await disk.OpenStreamAsync(point, exchange.Ended);
        }
        catch (RefusalException gone) when (gone.Reason == Refusal.Gone)
        {
            // For a reader that goes on by itself: with this, or with /state.
            var oldest = disk.GetStatus().OldestLsn;
            exchange.Response.Headers[OldestHeader] = oldest.ToString(CultureInfo.InvariantCulture);
            throw;
        }
    }

    private static async Task SendAsync(Exchange exchange, IEntrySource source, bool once)
    {
        exchange.Response.ContentType = "application/octet-stream";
        exchange.Response.Headers.CacheControl = "no-store";
        if (exchange.IsHead)
        {
            return;
        }

        // A follower may pause for as long as it likes; that is what a live stream is for.
        exchange.Http.Features.Get<IHttpMinResponseDataRateFeature>()?.MinDataRate = null;
        await exchange.Response.StartAsync(exchange.Ended);
        try
        {
            await CopyAsync(exchange, source, wait: !once);
        }
        catch (Exception ended) when (ended is UnprovableEntryException or RefusalException)
        {
            await BreakOffAsync(exchange);
        }
    }

    private static async Task CopyAsync(Exchange exchange, IEntrySource stream, bool wait)
    {
        var writer = exchange.Response.BodyWriter;
        var unflushed = 0;
        while (await MoveNextAsync(exchange, stream, wait, writer, unflushed > 0))
        {
            var entry = stream.Current;
            writer.Write(entry.Span);
            unflushed += entry.Length;
            exchange.Services.Counters.Streamed(entry.Length);
            if (unflushed >= HttpLimits.StreamFlushBytes)
            {
                await FlushAsync(exchange, writer);
                unflushed = 0;
            }
        }
    }

    /// <summary>
    /// Moves on. When that has to wait for the device or for a new entry, what is unflushed goes out in the meantime.
    /// </summary>
    private static async ValueTask<bool> MoveNextAsync(
        Exchange exchange, IEntrySource stream, bool wait, PipeWriter writer, bool unflushed)
    {
        var next = stream.MoveNextAsync(wait, exchange.Ended);
        if (next.IsCompleted || !unflushed)
        {
            return await next;
        }

        var moving = next.AsTask();
        try
        {
            await FlushAsync(exchange, writer);
        }
        catch
        {
            // The stream must be at rest before it is disposed of.
            exchange.End();
            await Task.WhenAny(moving);
            throw;
        }

        return await moving;
    }

    private static async ValueTask FlushAsync(Exchange exchange, PipeWriter writer)
    {
        var flushed = await writer.FlushAsync(exchange.Ended);
        if (flushed.IsCompleted || flushed.IsCanceled)
        {
            throw new OperationCanceledException(exchange.Http.RequestAborted);
        }
    }

    private static async Task BreakOffAsync(Exchange exchange)
    {
        exchange.Services.Counters.BrokeOff();
        await exchange.Response.BodyWriter.FlushAsync(exchange.Ended);

        // Aborting drops what still waits in the sockets: give the client a moment to take what is proven.
        await Task.Delay(HttpLimits.LastWords, exchange.Ended);
        exchange.Http.Abort();
    }
}
