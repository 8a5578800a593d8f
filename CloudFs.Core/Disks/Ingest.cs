using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What became of an entry from outside.</summary>
public enum IngestOutcome
{
    /// <summary>It was appended.</summary>
    Appended,

    /// <summary>It is here already: same LSN, same id.</summary>
    AlreadyHeld,

    /// <summary>The bytes are no valid entry (400).</summary>
    Malformed,

    /// <summary>It does not fit what is here: a fork, a gap, a wrong token, a disk that is not a mirror here (409).</summary>
    DoesNotFit,

    /// <summary>No room (507).</summary>
    NoSpace,

    /// <summary>The device failed or the engine is stopping (503).</summary>
    Unavailable,
}

/// <summary>The outcome, and for a refusal one line that names the disk, the LSN and the reason.</summary>
public readonly record struct IngestResult(IngestOutcome Outcome, string Reason);

/// <summary>
/// Takes entries of mirrors from outside, by the rules of FORMAT.md and PROTOCOL.md, 13: each is proved by itself, then as
/// the next of its disk; one that is held already is passed over. Entries are judged one at a time.
/// </summary>
internal sealed class Ingest(DiskServices services) : IDisposable
{
    /// <summary>So many entries of a view are held against its secret when it is revealed: a pass that is bounded.</summary>
    private const ulong EntriesProved = 65_536;

    private readonly SemaphoreSlim _one = new(1);
    private readonly Dictionary<Id160, HeaderCursor> _cursors = [];

    public void Dispose() => _one.Dispose();

    public async ValueTask<IngestResult> TakeAsync(ReadOnlyMemory<byte> entry, CancellationToken cancellation)
    {
        if (!TryProve(entry.Span, out var fields, out var body, out var reason))
        {
            return new IngestResult(IngestOutcome.Malformed, reason);
        }

        await _one.WaitAsync(cancellation);
        try
        {
            return await TakeProvedAsync(entry, fields, body, cancellation);
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>What an entry can prove by itself: form, hashes of its pages, id, body.</summary>
    internal static bool TryProve(
        ReadOnlySpan<byte> entry, out EntryHeader fields, out EntryBodyParsed? body, out string reason)
    {
        fields = default;
        body = null;
        if (!EntryHeaderCodec.TryReadLengths(entry, out var headerLength, out var bodyLength, out var error)
            || entry.Length != headerLength + bodyLength)
        {
            reason = $"not an entry: {(error == FormatError.None ? "cut short" : error.Text())}";
            return false;
        }

        if (!EntryHeaderCodec.TryRead(entry[..headerLength], out fields, out error))
        {
            reason = $"the entry that claims LSN {EntryAddress.ClaimedLsn(entry)}: {error.Text()}";
            return false;
        }

        var where = $"disk {fields.Disk}, LSN {fields.Lsn}";
        if (!EntryBody.VerifyPages(entry[..headerLength], fields, entry[headerLength..], out error, out var page))
        {
            reason = $"{where}: {(page < 0 ? "" : $"page {page}: ")}{error.Text()}";
            return false;
        }

        var parsed = EntryBodyParsed.TryParse(fields.Kind, entry[headerLength..], out body, out var fault);
        reason = parsed ? "" : $"{where}: {fault}";
        return parsed;
    }

    private async ValueTask<IngestResult> TakeProvedAsync(
        ReadOnlyMemory<byte> entry, EntryHeader fields, EntryBodyParsed? body, CancellationToken cancellation)
    {
        var disk = services.Disks.ById(fields.Disk);
        var head = disk?.Locked(state => state.Head) ?? default;
        if (disk is not null && fields.Lsn <= head.Lsn)
        {
            return await JudgeHeldAsync(disk, fields);
        }

        var error = ChainRules.Check(head, fields, body);
        if (error != ChainError.None)
        {
            return DoesNotFit(fields, error.Text());
        }

        if (ChainRules.IsForced(body))
        {
            return DoesNotFit(fields, $"a forced view, which proves nothing by itself: an operator must admit {fields.Id} first");
        }

        var replicas = body?.View?.Replicas ?? head.View!.Body.Replicas;
        if (replicas.Any(r => r.Host == services.HostId && r.Device == services.DeviceId)
            || disk?.Locked(state => state.IsReplica(services.HostId, services.DeviceId)) == true)
        {
            return DoesNotFit(fields, "this host is a replica of the disk: nothing new is taken this way");
        }

        if (body?.View?.Revoked is { } secret && await FindForeignAsync(disk!, secret) is var foreign and > 0)
        {
            return DoesNotFit(fields, $"the secret that it reveals did not make LSN {foreign} of its view");
        }

        var target = disk ?? new Disk(
            services, new DiskState(services.Segments) { Promised = services.Remembered.Of(fields.Disk).Promised });
        var outcome = await target.AppendWhenRoomAsync(
            () => target.Appender.TryAppendRaw(entry.Span, fields, body, head.Id, source: body?.View?.Ballot ?? head.Ballot), cancellation);
        return outcome.Status switch
        {
            IoStatus.Ok => new IngestResult(IngestOutcome.Appended, ""),
            IoStatus.NoSpace => new IngestResult(
                IngestOutcome.NoSpace, $"disk {fields.Disk}, LSN {fields.Lsn}: the device is full"),
            IoStatus.Fenced => DoesNotFit(fields, "this host has promised a higher ballot"),
            IoStatus.VersionMismatch => DoesNotFit(fields, "another entry was appended meanwhile"),
            _ => new IngestResult(IngestOutcome.Unavailable, $"the device takes nothing more ({outcome.Status})"),
        };
    }

    private async ValueTask<IngestResult> JudgeHeldAsync(Disk disk, EntryHeader fields)
    {
        if (!_cursors.TryGetValue(fields.Disk, out var cursor))
        {
            // A cursor keeps a segment's headers: few streams come at once, and a cursor is cheap to begin again.
            if (_cursors.Count >= 8)
            {
                _cursors.Clear();
            }

            _cursors.Add(fields.Disk, cursor = disk.NewCursor());
        }

        var (use, oldest) = disk.Locate(fields.Lsn);
        if (fields.Lsn < oldest)
        {
            return DoesNotFit(fields, $"older than the history here, which begins at LSN {oldest}");
        }

        return use is { } known && await cursor.FindAsync(known, fields.Lsn)
            ? cursor.Fields.Id == fields.Id
                ? new IngestResult(IngestOutcome.AlreadyHeld, "")
                : DoesNotFit(fields, $"a fork: version {cursor.Fields.Id} is held there")
            : DoesNotFit(fields, "the entry held there can't be read");
    }

    /// <summary>
    /// The first entry of the view in force that this secret did not make; 0 for none. Of a long view the newest are looked at.
    /// </summary>
    internal static async ValueTask<ulong> FindForeignAsync(Disk disk, Id160 secret)
    {
        var cursor = disk.NewCursor();
        var (from, to) = disk.Locked(state => (state.Head.View!.Lsn, state.Head.Lsn));
        for (var lsn = Math.Max(from, to > EntriesProved ? to - EntriesProved : 0); lsn <= to; lsn++)
        {
            if (disk.Locate(lsn).Use is { } use && await cursor.FindAsync(use, lsn)
                && EntryHashes.Lock(EntryHashes.Token(secret, cursor.Fields.Entropy)) != cursor.Fields.Lock)
            {
                return lsn;
            }
        }

        return 0;
    }

    private static IngestResult DoesNotFit(in EntryHeader fields, string reason) =>
        new(IngestOutcome.DoesNotFit, $"disk {fields.Disk}, LSN {fields.Lsn}: {reason}");
}
