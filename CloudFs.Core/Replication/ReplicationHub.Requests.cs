using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>What other hosts ask for over their links. A request that is malformed breaks its link, and nothing else.</content>
public sealed partial class ReplicationHub
{
    private const int PieceMax = 1 << 20;
    private const int RangesMax = 4096;

    /// <summary>A disk whose primary is another host, for reads and writes through it (PROTOCOL.md, 15).</summary>
    /// <param name="disk">Which.</param>
    /// <param name="findPrimary">Asks where its primary is now; called again whenever the link broke or that host says it is not.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="IOException">Its primary can't be reached.</exception>
    public async ValueTask<RemoteDisk> OpenRemoteAsync(
        Id160 disk, Func<CancellationToken, ValueTask<PeerAddress>> findPrimary, CancellationToken cancellation)
    {
        var remote = new RemoteDisk(this, _services.Runtime.Time, disk, findPrimary);
        await remote.OpenAsync(cancellation);
        return remote;
    }

    private readonly ServedSessions _served = new();

    async ValueTask<FrameWriter> ILinkOwner.AnswerAsync(PeerLink link, LinkRequest request, ReadOnlyMemory<byte> body)
    {
        try
        {
            return request.IsOfSession() ? await AnswerClientAsync(link, request, body) : await AnswerHostAsync(link, request, body);
        }
        catch (RefusalException refused)
        {
            return Refuse(refused.Message);
        }
        catch (UnprovableEntryException damaged)
        {
            return Refuse(damaged.Message);
        }
    }

    private async ValueTask<FrameWriter> AnswerClientAsync(PeerLink link, LinkRequest request, ReadOnlyMemory<byte> body)
    {
        var disk = new FrameReader(body.Span).Id();
        await _served.BeginAsync(link, disk);
        try
        {
            return request switch
            {
                LinkRequest.Open => await AnswerOpenAsync(body),
                LinkRequest.Read => await AnswerReadAsync(body, link.Ended),
                LinkRequest.Write => await AnswerWriteAsync(body, link.Ended),
                LinkRequest.Zero => await AnswerZeroAsync(body, link.Ended),
                LinkRequest.Flush => await AnswerFlushAsync(body, link.Ended),
                _ => await AnswerDescribeAsync(body),
            };
        }
        finally
        {
            _served.End(link, disk);
        }
    }

    private async ValueTask<FrameWriter> AnswerHostAsync(PeerLink link, LinkRequest request, ReadOnlyMemory<byte> body) => request switch
    {
        LinkRequest.Promise => await AnswerPromiseAsync(body),
        LinkRequest.HandOver => await AnswerHandOverAsync(link, body),
        LinkRequest.Page => await AnswerPageAsync(body),
        LinkRequest.Entries => await AnswerEntriesAsync(body),
        _ => throw new LinkProtocolException($"host {link.PeerHost} asks for {(int)request}, which is not known here"),
    };

    private async ValueTask<FrameWriter> AnswerPromiseAsync(ReadOnlyMemory<byte> body)
    {
        var (disk, ballot) = Read(body.Span);
        var (answer, reason) = await PromiseAsync(disk, ballot);
        if (answer is not { } promise)
        {
            return Refuse(reason);
        }

        var ok = Ok();
        ok.Put(promise.Granted);
        ok.Put(promise.Promised);
        ok.Put(promise.View);
        ok.Put(promise.Lsn);
        ok.Put(promise.Id);
        return ok;

        static (Id160, Ballot) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.Ballot());
        }
    }

    private async ValueTask<FrameWriter> AnswerHandOverAsync(PeerLink link, ReadOnlyMemory<byte> body)
    {
        var (disk, lsn, version, secret) = Read(body.Span);
        if (FindGroup(disk) is not { } group || group.PrimaryHost != link.PeerHost)
        {
            return Refuse($"host {link.PeerHost} is not the primary of disk {disk} that this host follows");
        }

        return await TakeOverAsync(group, lsn, version, secret) is { } refused ? Refuse(refused) : Ok();

        static (Id160, ulong, Id160, Id160) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.UInt64(), reader.Id(), reader.Id());
        }
    }

    private async ValueTask<FrameWriter> AnswerEntriesAsync(ReadOnlyMemory<byte> body)
    {
        var (id, after) = ReadIdAndNumber(body.Span);
        if (FindGroup(id)?.Disk is not { } disk)
        {
            return Refuse("the disk is not here");
        }

        var stream = disk.FeedAfter(after);
        var answer = Ok();
        while (answer.Count < PieceMax && await stream.MoveNextAsync(wait: false, _stopping.Token))
        {
            var entry = stream.Current;
            WireEntry.Write(entry.Span, answer.Room(WireEntry.LengthOf(entry.Span)));
        }

        return answer;
    }

    private async ValueTask<FrameWriter> AnswerPageAsync(ReadOnlyMemory<byte> body)
    {
        var (id, lsn, lba, sectors) = Read(body.Span);
        if (_services.Disks.ById(id) is not { } disk || sectors > EntryLayout.PageSectors
            || await disk.ReadPageAsync(lsn, lba, sectors) is not { } bytes)
        {
            return Refuse("that page is not here");
        }

        var ok = Ok();
        ok.Put(bytes.AsSpan());
        return ok;

        static (Id160, ulong, ulong, uint) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.UInt64(), reader.UInt64(), reader.UInt32());
        }
    }

    private async ValueTask<FrameWriter> AnswerOpenAsync(ReadOnlyMemory<byte> body)
    {
        var (id, lsn, version) = Read(body.Span);
        if (await PrimaryOfAsync(id) is not { } disk)
        {
            return NotPrimary();
        }

        var isThere = lsn == 0 || await disk.HoldsAsync(new DiskVersion(lsn, version));
        var ok = Ok();
        ok.Put(isThere);
        ok.Put(disk.SizeBytes);
        ok.Put((uint)disk.Patience.TotalSeconds);
        ok.Put(disk.Name ?? "");
        return ok;

        static (Id160, ulong, Id160) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.UInt64(), reader.Id());
        }
    }

    private async ValueTask<FrameWriter> AnswerReadAsync(ReadOnlyMemory<byte> body, CancellationToken ended)
    {
        var (id, offset, length) = ReadRange(body.Span);
        if (length > PieceMax)
        {
            throw new LinkProtocolException($"a read of {length} bytes is asked for, {PieceMax} is the most");
        }

        if (await PrimaryOfAsync(id) is not { } disk)
        {
            return NotPrimary();
        }

        var bytes = new byte[length];
        var status = await disk.ReadAsync(offset, bytes, ended);
        return AnswerOf(status, disk, bytes);
    }

    private async ValueTask<FrameWriter> AnswerWriteAsync(ReadOnlyMemory<byte> body, CancellationToken ended)
    {
        const int Prefix = Id160.Size + 8 + 4 + 1;
        var (id, offset, _) = ReadRange(body.Span);
        if (await PrimaryOfAsync(id) is not { } disk)
        {
            return NotPrimary();
        }

        var isFua = body.Span[Prefix - 1] != 0;
        return AnswerOf(await disk.WriteAsync(offset, body[Prefix..], isFua, ended), disk);
    }

    private async ValueTask<FrameWriter> AnswerZeroAsync(ReadOnlyMemory<byte> body, CancellationToken ended)
    {
        var (id, offset, length, isFua) = Read(body.Span);
        return await PrimaryOfAsync(id) is not { } disk ? NotPrimary()
            : AnswerOf(await disk.ZeroAsync(offset, length, isFua, ended), disk);

        static (Id160, ulong, ulong, bool) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.UInt64(), reader.UInt64(), reader.Bool());
        }
    }

    private async ValueTask<FrameWriter> AnswerFlushAsync(ReadOnlyMemory<byte> body, CancellationToken ended)
    {
        var id = new FrameReader(body.Span).Id();
        return await PrimaryOfAsync(id) is not { } disk ? NotPrimary() : AnswerOf(await disk.FlushAsync(ended), disk);
    }

    private async ValueTask<FrameWriter> AnswerDescribeAsync(ReadOnlyMemory<byte> body)
    {
        var (id, offset, length, most) = Read(body.Span);
        if (await PrimaryOfAsync(id) is not { } disk)
        {
            return NotPrimary();
        }

        var ranges = new List<DiskRange>();
        var status = await disk.DescribeAsync(offset, length, Math.Min(most, RangesMax), ranges);
        var answer = AnswerOf(status, disk);
        foreach (var range in ranges)
        {
            answer.Put(range.Offset);
            answer.Put(range.Length);
            answer.Put((byte)range.Content);
        }

        return answer;

        static (Id160, ulong, ulong, int) Read(ReadOnlySpan<byte> body)
        {
            var reader = new FrameReader(body);
            return (reader.Id(), reader.UInt64(), reader.UInt64(), (int)Math.Min(reader.UInt32(), RangesMax));
        }
    }

    /// <summary>The disk, where this host is its primary; requests that it can't answer yet wait within the disk.</summary>
    private ValueTask<Disk?> PrimaryOfAsync(Id160 id)
    {
        var disk = _services.Disks.ById(id);
        var isPrimary = disk is { IsDeleted: false } && (disk.Group is Group group ? group.Role == GroupRole.Primary : !disk.IsReadOnly);
        return ValueTask.FromResult(isPrimary ? disk : null);
    }

    private static (Id160 Disk, ulong Offset, int Length) ReadRange(ReadOnlySpan<byte> body)
    {
        var reader = new FrameReader(body);
        return (reader.Id(), reader.UInt64(), (int)Math.Min(reader.UInt32(), int.MaxValue));
    }

    private static (Id160 Disk, ulong Number) ReadIdAndNumber(ReadOnlySpan<byte> body)
    {
        var reader = new FrameReader(body);
        return (reader.Id(), reader.UInt64());
    }

    private static FrameWriter Ok()
    {
        var answer = new FrameWriter();
        answer.Put((byte)LinkAnswer.Ok);
        return answer;
    }

    private static FrameWriter NotPrimary()
    {
        var answer = new FrameWriter();
        answer.Put((byte)LinkAnswer.NotPrimary);
        return answer;
    }

    private static FrameWriter Refuse(string reason)
    {
        var answer = new FrameWriter();
        answer.Put((byte)LinkAnswer.Refused);
        answer.Put(reason);
        return answer;
    }

    /// <summary>A status and, where it is Ok, the version after it and what was read.</summary>
    private static FrameWriter AnswerOf(IoStatus status, Disk disk, ReadOnlySpan<byte> bytes = default)
    {
        if (status == IoStatus.ReadOnly)
        {
            return NotPrimary();
        }

        var answer = new FrameWriter();
        answer.Put((byte)(status == IoStatus.Ok ? LinkAnswer.Ok : LinkAnswer.Status));
        answer.Put((byte)status);
        if (status == IoStatus.Ok)
        {
            var newest = disk.Newest;
            answer.Put(newest.Lsn);
            answer.Put(newest.Id);
            answer.Put(bytes);
        }

        return answer;
    }
}
