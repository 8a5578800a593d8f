using System.Globalization;
using System.Text;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Streams;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>PUT /log</c>: takes entries as <c>GET /stream</c> sends them, for as long as they come. Each is checked and
/// appended, or skipped if it is here already; the first that does not fit ends the request, and those before it stand.
/// What came in is durable within 100 ms by the engine's own rule, and at the latest when the request is answered.
/// </summary>
internal static class LogUpload
{
    public static async Task PutAsync(Exchange exchange)
    {
        using var pass = exchange.Services.LogUploads.TryEnter() ?? throw new HttpRefusalException(
            503, $"{HttpLimits.MaxLogUploads} logs are being taken in already; try again when one has ended");
        exchange.Http.Features.Get<IHttpMinRequestBodyDataRateFeature>()?.MinDataRate = null;
        var tally = new Tally();
        using var framer = new EntryFramer(exchange.Request.BodyReader);
        var refusal = await TakeAsync(exchange, framer, tally);
        var flushed = await exchange.Engine.FlushAsync(CancellationToken.None);
        if (refusal is not null)
        {
            throw refusal;
        }

        if (flushed != IoStatus.Ok)
        {
            throw new HttpRefusalException(StatusMap.For(flushed), StatusMap.Line(flushed, "the log"));
        }

        await exchange.TextAsync(tally.Report(exchange.Engine));
    }

    /// <summary>Takes entries until the body ends, or gives the refusal of the first that can't be taken.</summary>
    private static async Task<HttpRefusalException?> TakeAsync(Exchange exchange, EntryFramer framer, Tally tally)
    {
        while (true)
        {
            var framed = await framer.NextAsync(exchange.Ended);
            switch (framed.Outcome)
            {
                case FramingOutcome.End:
                    return null;
                case FramingOutcome.Cut:
                    return tally.Refusal(400, "the body ends within it");
                case FramingOutcome.Malformed:
                    return tally.Refusal(400, $"no entry begins at byte {framed.Position}: {framed.Error.Text()}");
            }

            // Not cancelled with the client: the entry lies in the pipe's memory until the engine is done with it.
            var result = await exchange.Engine.IngestAsync(framed.Bytes, CancellationToken.None);
            var status = StatusMap.For(result.Outcome);
            if (status != 200)
            {
                return tally.Refusal(status, result.Reason);
            }

            tally.Add(framed, result.Outcome);
            exchange.Services.Counters.Ingested(framed.Bytes.Length);
        }
    }

    /// <summary>What one upload brought.</summary>
    private sealed class Tally
    {
        // Disks whose heads the answer names; an upload of more says so by leaving the rest to /heads.
        private const int MaxDisks = 64;

        private readonly HashSet<Id160> _disks = [];
        private long _appended;
        private long _held;

        public void Add(in FramedEntry entry, IngestOutcome outcome)
        {
            _appended += outcome == IngestOutcome.Appended ? 1 : 0;
            _held += outcome == IngestOutcome.AlreadyHeld ? 1 : 0;
            if (_disks.Count < MaxDisks)
            {
                _disks.Add(new Id160(entry.Header.Span.Slice(EntryLayout.DiskOffset, EntryLayout.DiskSize)));
            }
        }

        public HttpRefusalException Refusal(int status, string reason)
        {
            var before = _appended + _held;
            var stand = before switch
            {
                0 => string.Empty,
                1 => "; the one before it stands",
                _ => string.Create(CultureInfo.InvariantCulture, $"; the {before} before it stand"),
            };
            return new HttpRefusalException(
                status, string.Create(CultureInfo.InvariantCulture, $"entry {before + 1}: {reason}{stand}"));
        }

        public string Report(StorageEngine engine)
        {
            var report = new StringBuilder();
            report.Append(CultureInfo.InvariantCulture, $"{_appended} appended, {_held} held already\n");
            foreach (var id in _disks.Order())
            {
                if (engine.TryGetDisk(id.ToString(), out var disk))
                {
                    report.Append(HeadsEndpoint.HeadLine(disk));
                }
            }

            return report.ToString();
        }
    }
}
