using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// The replica's side of one disk: it asks the primary for what it lacks, proves every entry before it takes it, and says how far it
/// is. Entries come on its
/// link's reading loop; what it says leaves on the writing loop.
/// </summary>
internal sealed class Following(ReplicationHub hub, Group group, PeerLink link, DiskServices services) : LinkSource
{
    private StateReceiver? _state;
    private ulong _received;
    private DiskVersion _durable;
    private ulong _told;
    private ulong _toldDurable;

    public PeerLink Link { get; } = link;

    /// <summary>True once the primary has agreed.</summary>
    public bool IsAgreed { get; set; }

    /// <summary>True once this end has given up.</summary>
    public bool IsEnded { get; private set; }

    /// <summary>Asks for what this host lacks.</summary>
    public void Ask()
    {
        var ask = Now();
        (_received, _durable) = (ask.Lsn, new DiskVersion(ask.Lsn, ask.Version));
        Link.Say(FrameType.Follow, frame =>
        {
            frame.Put(ask.Disk);
            frame.Put(ask.Promised);
            frame.Put(ask.Lsn);
            frame.Put(ask.Version);
            frame.Put(ask.IsCopying);
            frame.Put((uint)ask.Views.Count);
            foreach (var view in ask.Views)
            {
                frame.Put(view.Ballot);
                frame.Put(view.Lsn);
                frame.Put(view.Id);
                frame.Put(view.Previous);
            }
        });
    }

    public static FollowAsk ReadAsk(ReadOnlySpan<byte> payload)
    {
        var reader = new FrameReader(payload);
        var (disk, promised, lsn, version, isCopying) = (reader.Id(), reader.Ballot(), reader.UInt64(), reader.Id(), reader.Bool());
        var count = reader.UInt32();
        var views = new List<ViewMark>();
        while (count-- > 0)
        {
            views.Add(new ViewMark(reader.Ballot(), reader.UInt64(), reader.Id(), reader.Id()));
        }

        return new FollowAsk(disk, promised, lsn, version, isCopying, views);
    }

    /// <summary>Takes a frame of entries; what does not fit ends the following, and nothing else.</summary>
    public async ValueTask TakeAsync(ReadOnlyMemory<byte> payload, Memory<byte> scratch)
    {
        var (committed, ballot, count, flags) = ReadPrefix(payload.Span);
        if (ballot < group.Promised)
        {
            End($"the primary of ballot {ballot} is not followed: this host has promised {group.Promised}");
            return;
        }

        var wire = payload[FrameLayout.EntriesPrefix..];
        for (; count > 0; count--)
        {
            var entry = WireEntry.Take(ref wire, scratch);
            var refusal = flags.HasFlag(EntriesFlags.Views) ? await TakeViewAsync(entry)
                : flags.HasFlag(EntriesFlags.State) ? await TakeStateAsync(entry, ballot)
                : await TakeEntryAsync(entry, ballot);
            if (refusal is not null)
            {
                End(refusal);
                return;
            }
        }

        group.NoteCommitted(committed);
        NoteProgress();
        if (flags.HasFlag(EntriesFlags.Sync) && group.Disk is { } disk)
        {
            // Where nothing else has arrived, this loop has nothing else to do than to wait for the device.
            var flushed = await disk.FlushLogHereAsync();
            if (flushed != IoStatus.Ok)
            {
                End($"this host's device takes nothing more ({flushed})");
                return;
            }
        }

        NoteProgress();
    }

    /// <summary>Takes entries that a candidate asked for. Null when all of them are here, else why not.</summary>
    public async ValueTask<string?> TakeCopiedAsync(ReadOnlyMemory<byte> wire, Ballot ballot, Memory<byte> scratch)
    {
        while (!wire.IsEmpty)
        {
            if (await TakeEntryAsync(WireEntry.Take(ref wire, scratch), ballot) is { } refused)
            {
                return refused;
            }
        }

        return null;
    }

    /// <summary>More is here, or durable: it is told as soon as the link can take it.</summary>
    public void NoteProgress()
    {
        if (!IsEnded && IsAgreed)
        {
            Link.Ready(this, isSentSoon: true);
            Link.SendNow();
        }
    }

    public override bool Fill(FrameWriter into)
    {
        if (IsEnded)
        {
            return false;
        }

        (_received, _durable) = group.Progress();
        if (_received == _told && _durable.Lsn == _toldDurable)
        {
            return false;
        }

        (_told, _toldDurable) = (_received, _durable.Lsn);
        into.Begin(FrameType.Ack);
        into.Put(group.Id);
        into.Put(group.Ballot);
        into.Put(_received);
        into.Put(_durable.Lsn);
        into.Put(_durable.Id);
        into.End();
        return false;
    }

    /// <summary>Gives up, and says why; the hub tries again later.</summary>
    public void End(string reason)
    {
        if (IsEnded)
        {
            return;
        }

        IsEnded = true;
        group.Reason = reason;
        group.FollowState = GroupState.Refused;
        Link.Say(FrameType.Unfollow, frame =>
        {
            frame.Put(group.Id);
            frame.Put(reason);
        });
        hub.OnFollowingEnded(group, this, reason);
    }

    /// <summary>What is left of a long history, item by item. Null when it was taken, else why not.</summary>
    private async ValueTask<string?> TakeStateAsync(ReadOnlyMemory<byte> item, Ballot ballot)
    {
        if (_state is { IsWhole: true })
        {
            return await TakeEntryAsync(item, ballot);
        }

        try
        {
            _state ??= await StateReceiver.OpenAsync(services, group.Id, ballot, hub.Stopping);
            await _state.TakeAsync(item, hub.Stopping);
            hub.Adopt(group, _state.IsWhole);
            return null;
        }
        catch (RefusalException refused)
        {
            return refused.Message;
        }
    }

    /// <summary>The link is gone.</summary>
    public void Close() => IsEnded = true;

    private FollowAsk Now() => group.AskNow();

    private static (ulong Committed, Ballot Ballot, uint Count, EntriesFlags Flags) ReadPrefix(ReadOnlySpan<byte> payload)
    {
        var reader = new FrameReader(payload);
        reader.Id();
        return (reader.UInt64(), reader.Ballot(), reader.UInt32(), (EntriesFlags)reader.UInt32());
    }

    private async ValueTask<string?> TakeViewAsync(ReadOnlyMemory<byte> entry)
    {
        if (!Ingest.TryProve(entry.Span, out var fields, out var body, out var reason))
        {
            return reason;
        }

        return body?.View is not { } view || fields.Disk != group.Id ? "a witness takes views of its disk, and nothing else"
            : await group.TakeViewAsync(view, new ViewMark(view.Ballot, fields.Lsn, fields.Id, fields.Previous));
    }

    /// <summary>The next entry of the chain, or one that is here already. Null when it was taken, else why not.</summary>
    private async ValueTask<string?> TakeEntryAsync(ReadOnlyMemory<byte> entry, Ballot ballot)
    {
        if (!Ingest.TryProve(entry.Span, out var fields, out var body, out var reason))
        {
            return reason;
        }

        if (fields.Disk != group.Id)
        {
            return $"an entry of disk {fields.Disk} came as one of disk {group.Id}";
        }

        var disk = group.DiskOrNew(services);
        var head = disk.Head;
        if (fields.Lsn <= head.Lsn)
        {
            return null;
        }

        var error = ChainRules.Check(head, fields, body);
        if (error != ChainError.None)
        {
            return $"LSN {fields.Lsn} does not extend what is here: {error.Text()}";
        }

        if (ChainRules.IsForced(body))
        {
            return $"LSN {fields.Lsn} is a forced view: an operator must admit {fields.Id} first";
        }

        if (body?.View?.Revoked is { } secret && await Ingest.FindForeignAsync(disk, secret) is var foreign and > 0)
        {
            return $"the secret that LSN {fields.Lsn} reveals did not make LSN {foreign} of its view";
        }

        while (true)
        {
            var changed = services.Log.RoomChanged;
            var outcome = disk.TakeFollowed(entry.Span, fields, body, head.Id, ballot);
            if (outcome.Wait)
            {
                // The hub changes it when it stops.
                hub.Stopping.ThrowIfCancellationRequested();
                await changed;
                continue;
            }

            return outcome.Status switch
            {
                IoStatus.Ok => null,
                IoStatus.NoSpace => "this host's device is full",
                IoStatus.VersionMismatch => "something else was appended meanwhile",
                _ => $"this host takes nothing of ballot {ballot} ({outcome.Status})",
            };
        }
    }
}
