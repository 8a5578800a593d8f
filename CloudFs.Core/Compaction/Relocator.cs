using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>
/// Copies what is live out of victims into relocation segments, and says what moved. A cycle is any number of
/// <see cref="RelocateAsync"/>, then <see cref="FinishAsync"/>, the caller's flush, and a checkpoint that applies the plan.
/// At any point before that the cycle can be given up with <see cref="Abandon"/>: victims are only read. Used by whoever
/// keeps house alone, who neither frees a victim nor writes a checkpoint while it is under way.
/// </summary>
/// <param name="device">The device; victims are read and copies written past the log.</param>
/// <param name="segments">Where victims lie.</param>
/// <param name="space">Gives segments for copies.</param>
/// <param name="deviceId">Of the label.</param>
/// <param name="physicalBlock">Of the label.</param>
/// <param name="lookup">Tells what is live: the trees as of the last checkpoint, the same ones throughout a cycle.</param>
/// <param name="isNeeded">True for a device record that nothing newer has made superfluous: the secret of a view in force, a
/// promise.</param>
public sealed class Relocator(
    IBlockDevice device, SegmentTable segments, IRelocationSpace space, Id160 deviceId, int physicalBlock,
    TreeLookup lookup, Func<DeviceRecord, bool> isNeeded)
{
    /// <summary>The most moves that a plan may have: 12 MiB, and twice that while they are put together.</summary>
    public const int DefaultMoveLimit = 1 << 18;

    private readonly VictimReader _reader = new(device, deviceId, new SegmentWalker(device, segments, deviceId));
    private readonly RelocationWriter _writer = new(device, space, deviceId, physicalBlock);
    private readonly LiveFragments _live = new(lookup);
    private readonly LivePages _pages = new();
    private readonly VictimHaul _haul = new();
    private RelocationPlan _plan = new();
    private long _writtenBefore;

    // Of the victim under way.
    private SegmentCatalog? _catalog;
    private Func<EntryHeader, ulong, int> _streamOf = (_, _) => 0;
    private Func<int, ValueTask> _pace = _ => ValueTask.CompletedTask;
    private CancellationToken _cancellation;
    private int _secret = -1;
    private bool _isAsked;

    /// <summary>
    /// Has a page from elsewhere that is damaged here, by disk, LSN, first sector and record, in bounded time; null where it can't be
    /// had. Without one, and once it had nothing for a page of a victim, damaged pages of it are given up.
    /// </summary>
    public Func<Id160, ulong, ulong, PageRecord, ValueTask<byte[]?>>? Elsewhere { get; init; }

    /// <summary>The most moves that a plan may have.</summary>
    public int MoveLimit { get; init; } = DefaultMoveLimit;

    /// <summary>The plan so far.</summary>
    public RelocationPlan Plan => _plan;

    /// <summary>
    /// Bytes that still fit the segment that a stream fills; 0 when it has none. What is copied of a victim that ends in
    /// <see cref="RelocationOutcome.NoRoom"/> is wasted: who is short of segments had better look before.
    /// </summary>
    public int RoomLeft(int stream) => _writer.RoomLeft(stream);

    /// <summary>Copies what is live out of one victim: a segment to which nothing is appended any more.</summary>
    /// <param name="victim">Its use.</param>
    /// <param name="streamOf">Which stream of relocation segments an entry goes to; a few, from 0.</param>
    /// <param name="pace">Told bytes after each piece of at most 256 KiB that was read or written; it may wait, or throw.</param>
    /// <param name="cancellation">Gives the victim up: the plan stays as it was before.</param>
    /// <returns>The plan has the victim only when this is <see cref="RelocationOutcome.Done"/>.</returns>
    /// <exception cref="DeviceException">A write failed: the cycle can only be abandoned.</exception>
    public async ValueTask<RelocationOutcome> RelocateAsync(
        ulong victim, Func<EntryHeader, ulong, int> streamOf, Func<int, ValueTask> pace, CancellationToken cancellation)
    {
        _streamOf = streamOf;
        _pace = pace;
        _cancellation = cancellation;
        _haul.Begin(victim);
        _live.Clear();
        _secret = -1;
        _isAsked = Elsewhere is not null;
        if (!segments.TryLocate(victim, out var segment))
        {
            return RelocationOutcome.Gone;
        }

        _catalog = await OpenAsync(segment, victim);
        if (_catalog is null)
        {
            return RelocationOutcome.Unreadable;
        }

        var outcome = await _live.FindAsync(_catalog, MoveLimit - _plan.MoveCount, cancellation);
        if (outcome == RelocationOutcome.Done)
        {
            WantBodies(_catalog);
            outcome = await CopyAsync(_catalog);
        }

        // A damaged page may have cut a fragment in pieces.
        outcome = outcome == RelocationOutcome.Done && _plan.MoveCount + _haul.Moves.Count > MoveLimit
            ? RelocationOutcome.TooMuch
            : outcome;
        if (outcome == RelocationOutcome.Done)
        {
            _plan.Take(_haul);
        }

        _catalog = null;
        return outcome;
    }

    /// <summary>
    /// Writes all that was copied, and the footers of segments that are full. Then the caller flushes the device, and a
    /// checkpoint applies the plan; the next cycle has begun.
    /// </summary>
    /// <param name="seal">
    /// True to go on with none of the segments in the next cycle: when there is no next, or they are to become victims.
    /// </param>
    /// <param name="pace">As for <see cref="RelocateAsync"/>. If it throws, this can be called again.</param>
    /// <exception cref="DeviceException">A write failed: the cycle can only be abandoned.</exception>
    public async ValueTask<RelocationPlan> FinishAsync(bool seal, Func<int, ValueTask> pace)
    {
        await _writer.FinishAsync(seal, pace);
        var plan = _plan;
        plan.Sort();
        BeginPlan();
        return plan;
    }

    /// <summary>Gives the cycle up: what was copied is nobody's.</summary>
    public void Abandon()
    {
        _writer.Abandon();
        BeginPlan();
    }

    private void BeginPlan()
    {
        _plan.BytesWritten = _writer.BytesWritten - _writtenBefore;
        _writtenBefore = _writer.BytesWritten;
        _plan = new RelocationPlan();
    }

    private async ValueTask<SegmentCatalog?> OpenAsync(int segment, ulong victim)
    {
        var catalog = await _reader.OpenAsync(segment, victim);
        for (var bytes = _reader.OpenedBytes; bytes > 0; bytes -= VictimReader.ChunkBytes)
        {
            await PaceReadAsync(Math.Min(bytes, VictimReader.ChunkBytes));
        }

        return catalog;
    }

    private async ValueTask PaceReadAsync(int bytes)
    {
        _plan.BytesRead += bytes;
        await PaceAsync(bytes);
    }

    private ValueTask PaceAsync(int bytes)
    {
        _cancellation.ThrowIfCancellationRequested();
        return _pace(bytes);
    }

    /// <summary>Tells the reader which bytes are going to be read, so that it reads them in large pieces.</summary>
    private void WantBodies(SegmentCatalog catalog)
    {
        for (var item = 0; item < catalog.Count; item++)
        {
            var header = catalog.Copy(item);
            if (DeviceRecord.IsAt(header))
            {
                continue;
            }

            var fields = EntryHeaderCodec.ReadFields(header, default);
            _pages.Judge(header, fields, _live.Of(item));
            var body = (int)catalog.Position(item).Offset + fields.HeaderLength;
            for (var i = 0; i < _pages.Count; i++)
            {
                _reader.Want(body + _pages[i].BodyOffset, _pages[i].Record.Length);
            }
        }

        _live.Rewind();
    }

    private async ValueTask<RelocationOutcome> CopyAsync(SegmentCatalog catalog)
    {
        for (var item = 0; item < catalog.Count; item++)
        {
            if (DeviceRecord.IsAt(catalog.Copy(item)))
            {
                var stranded = await CopyStrandedSecretAsync(catalog);
                if (stranded != RelocationOutcome.Done)
                {
                    return stranded;
                }

                _secret = IsSecretNeeded(catalog.Copy(item)) ? item : -1;
                continue;
            }

            var fields = EntryHeaderCodec.ReadFields(catalog.Copy(item), default);
            var outcome = await CopyAsync(catalog, item, fields);
            if (outcome != RelocationOutcome.Done)
            {
                return outcome;
            }
        }

        return await CopyStrandedSecretAsync(catalog);
    }

    private bool IsSecretNeeded(ReadOnlySpan<byte> bytes) =>
        DeviceRecord.TryRead(bytes, out var record) == LayoutFault.None && isNeeded(record);

    /// <summary>A secret stands right before its view; one that does not is kept all the same.</summary>
    private async ValueTask<RelocationOutcome> CopyStrandedSecretAsync(SegmentCatalog catalog)
    {
        if (_secret < 0)
        {
            return RelocationOutcome.Done;
        }

        if (await _writer.ReserveAsync(0, AppendSize.OfRecord, PaceAsync) is not { } commit)
        {
            return RelocationOutcome.NoRoom;
        }

        catalog.Copy(_secret).CopyTo(commit.Room(DeviceRecordLayout.Size));
        _writer.Take(0, AppendSize.OfRecord);
        _secret = -1;
        return RelocationOutcome.Done;
    }

    private async ValueTask<RelocationOutcome> CopyAsync(SegmentCatalog catalog, int item, EntryHeader fields)
    {
        _pages.Judge(catalog.Copy(item), fields, _live.Of(item));
        if (!fields.HasJsonBody && _live.Of(item).IsEmpty)
        {
            _haul.PagesDropped += _pages.Dead;
            _haul.EntriesDropped++;
            return RelocationOutcome.Done;
        }

        var size = AppendSize.OfEntry(fields.ExtentCount, fields.PageCount, _pages.Bytes);
        var secret = fields.HasJsonBody && _secret >= 0 ? AppendSize.OfRecord : default;
        var live = _live.Of(item);
        var stream = _streamOf(fields, live.IsEmpty ? 0 : live[0].Lba);
        if (await _writer.ReserveAsync(stream, secret + size, PaceAsync) is not { } commit)
        {
            return RelocationOutcome.NoRoom;
        }

        var to = commit.Position.Plus(commit.Filled + secret.Bytes);
        var place = catalog.Position(item);
        if (!await CopyPagesAsync((int)place.Offset + fields.HeaderLength, fields, commit, secret.Bytes + fields.HeaderLength)
            || (fields.HasJsonBody && _pages.Lost > 0))
        {
            return RelocationOutcome.Unreadable;
        }

        var isKept = FillIn(catalog, item, fields, commit, stream, secret);
        foreach (ref readonly var fragment in _live.Of(item))
        {
            _pages.Move(fragment, fields, place, isKept ? to : LogPosition.None, _haul);
        }

        if (fields.HasJsonBody)
        {
            _haul.Metas.Add(new RelocatedEntry(fields.Disk, fields.Lsn, place, to));
        }

        return RelocationOutcome.Done;
    }

    /// <summary>Completes the entry whose pages stand in the commit's room; false when nothing of it is left to be kept.</summary>
    private bool FillIn(
        SegmentCatalog catalog, int item, in EntryHeader fields, OpenCommit commit, int stream, in AppendSize secret)
    {
        _haul.PagesDropped += _pages.Dead;
        _haul.PagesLost += _pages.Lost;
        var header = catalog.Copy(item);
        var room = commit.Room(secret.Bytes + fields.HeaderLength);
        var bodyLength = fields.BodyLength;
        if (fields.HasJsonBody)
        {
            header.CopyTo(room[secret.Bytes..]);
        }
        else
        {
            bodyLength = _pages.WriteHeader(header, fields, room[secret.Bytes..]);
            if (bodyLength == 0 && _pages.Lost == 0 && !HasZeroes(_live.Of(item)))
            {
                _haul.EntriesDropped++;
                return false;
            }
        }

        if (secret.Items > 0)
        {
            catalog.Copy(_secret).CopyTo(room);
            _secret = -1;
        }

        _writer.Take(stream, secret + AppendSize.OfEntry(fields.ExtentCount, fields.PageCount, bodyLength));
        _haul.EntriesKept++;
        return true;
    }

    /// <summary>Copies the live pages one behind the other. False when the device can't read one: that proves no damage.</summary>
    private async ValueTask<bool> CopyPagesAsync(int body, EntryHeader fields, OpenCommit commit, int offset)
    {
        for (var i = 0; i < _pages.Count; i++)
        {
            var page = _pages[i];
            var start = body + page.BodyOffset;
            if (!_reader.TryGet(start, page.Record.Length, out _) && !await ReadAsync(start))
            {
                return false;
            }

            // Once more, before sectors are given up: what came may have been of another place.
            if (!Proves(start, page.Record) && !await ReadAsync(start))
            {
                return false;
            }

            if (!Proves(start, page.Record))
            {
                if (!fields.HasJsonBody && await FromElsewhereAsync(fields, page) is { } had)
                {
                    had.CopyTo(commit.Room(offset + had.Length)[offset..]);
                    offset += had.Length;
                    continue;
                }

                _pages.Lose(i);
                continue;
            }

            _reader.TryGet(start, page.Record.Length, out var bytes);
            bytes.CopyTo(commit.Room(offset + bytes.Length)[offset..]);
            offset += bytes.Length;
        }

        return true;
    }

    /// <summary>What is had from elsewhere is copied as though it had been here: so it is whole again at its new place.</summary>
    private async ValueTask<byte[]?> FromElsewhereAsync(EntryHeader fields, LivePages.Page page)
    {
        var had = _isAsked ? await Elsewhere!(fields.Disk, fields.Lsn, page.Lba, page.Record) : null;
        _isAsked = had is not null && had.Length == page.Record.Length
            && EntryBody.VerifyPage(page.Record, had, fields.Kind) == FormatError.None;
        return _isAsked ? had : null;
    }

    private bool Proves(int start, in PageRecord record)
    {
        var read = _reader.TryGet(start, record.Length, out var bytes);
        Invariant.That(read, "a page is shorter than what is read at once");
        return XXH64.DigestOf(bytes) == record.Xxh64;
    }

    private async ValueTask<bool> ReadAsync(int start)
    {
        int bytes;
        try
        {
            bytes = await _reader.ReadAsync(start);
        }
        catch (DeviceException)
        {
            return false;
        }

        await PaceReadAsync(bytes);
        return true;
    }

    private static bool HasZeroes(ReadOnlySpan<LiveFragment> fragments)
    {
        foreach (ref readonly var fragment in fragments)
        {
            if (fragment.IsZero)
            {
                return true;
            }
        }

        return false;
    }
}
