using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>
/// Writes copies into segments of the log's own format, one segment at a time for each stream. A segment stays open
/// over many cycles, so that no cycle leaves a half-empty one behind; when it is full it gets its footer. Until then a
/// checkpoint calls it open: a start after a crash scans it and gives it its footer.
/// <para>
/// Crash order of a cycle: (1) commits, each behind what was flushed; (2) a flush; (3) of full segments the copies, a flush, the
/// records; (4) the caller's flush and its checkpoint. What a cut before that leaves behind, nothing refers to.
/// </para>
/// </summary>
internal sealed class RelocationWriter(IBlockDevice device, IRelocationSpace space, Id160 deviceId, int physicalBlock)
{
    /// <summary>A commit is closed before it grows beyond this, unless a single entry does.</summary>
    public const int CommitBytes = 1 << 20;

    private readonly Dictionary<int, Stream> _streams = [];
    private readonly List<(ulong Use, HeaderTally Headers)> _full = [];
    private readonly byte[] _record = new byte[physicalBlock];
    private byte[] _copies = [];
    private bool _failed;

    /// <summary>Bytes written so far.</summary>
    public long BytesWritten { get; private set; }

    /// <summary>Bytes that still fit the segment that a stream fills; 0 when it has none.</summary>
    public int RoomLeft(int stream) => _streams.TryGetValue(stream, out var found) && found.Catalog is { } catalog
        ? found.Top - (int)(found.Commit is { } open ? open.Position.Offset + (uint)open.Filled : found.End.Offset)
            - catalog.FooterBytes(0, found.PendingItems, physicalBlock)
        : 0;

    /// <summary>
    /// Finds room for items that stand together, in the open commit of a stream; null when there is no segment for them.
    /// The caller fills the commit's room and calls <see cref="Take"/>, or leaves it.
    /// </summary>
    public async ValueTask<OpenCommit?> ReserveAsync(int stream, AppendSize size, Func<int, ValueTask> pace)
    {
        Invariant.That(!_failed, "a cycle whose write failed is abandoned");
        if (!_streams.TryGetValue(stream, out var found))
        {
            _streams.Add(stream, found = new Stream(physicalBlock));
        }

        if (found.Commit is { } open && (open.Length > 0 || !found.Fits(open, size, CommitBytes, physicalBlock)))
        {
            await WriteCommitAsync(found, pace);
        }

        if (found.Commit is null && found.Catalog is not null
            && !found.Fits(found.NewCommit(), size, WriteBuffer.SlotBytes, physicalBlock))
        {
            await SealAsync(found, pace);
        }

        if (found.Catalog is null)
        {
            if (!space.TryBegin(stream, out var use, out var segment))
            {
                return null;
            }

            found.Begin(use, segment);
        }

        return found.Commit ??= found.NewCommit();
    }

    /// <summary>Takes in items that now stand in the room of the stream's commit.</summary>
    public void Take(int stream, in AppendSize size)
    {
        var taking = _streams[stream];
        taking.Commit!.Take(size);
        taking.PendingItems += size.Items;
    }

    /// <summary>
    /// Writes what is open and flushes it. Segments that the next cycle goes on with get no footer yet: it would take the room
    /// of entries each time. A start after a crash gives them theirs.
    /// </summary>
    /// <param name="seal">True to go on with none of the segments: each gets its footer.</param>
    /// <param name="pace">Told bytes written.</param>
    public async ValueTask FinishAsync(bool seal, Func<int, ValueTask> pace)
    {
        Invariant.That(!_failed, "a cycle whose write failed is abandoned");
        foreach (var stream in _streams.Values.Where(stream => stream.Commit is { IsEmpty: false }))
        {
            await WriteCommitAsync(stream, pace);
        }

        await FlushAsync();
        foreach (var stream in _streams.Values.Where(stream => seal && stream.Catalog is not null))
        {
            await SealAsync(stream, pace);
        }

        TellFull();
    }

    /// <summary>Forgets what was not written; what was is left behind as dead bytes of its segment.</summary>
    public void Abandon()
    {
        foreach (var stream in _streams.Values)
        {
            stream.Forget();
            if (_failed && stream.Catalog is not null)
            {
                // What the device has of it can't be known: nothing more goes there.
                Retire(stream);
            }
        }

        _failed = false;
        TellFull();
    }

    private async ValueTask SealAsync(Stream stream, Func<int, ValueTask> pace)
    {
        if (stream.NeedsFooter)
        {
            await WriteFootersAsync([stream], pace);
        }

        Retire(stream);
    }

    private void Retire(Stream stream)
    {
        _full.Add((stream.Catalog!.Use, stream.Catalog.Tally));
        stream.Retire();
    }

    private void TellFull()
    {
        foreach (var (use, headers) in _full)
        {
            space.Sealed(use, headers);
        }

        _full.Clear();
    }

    private async ValueTask WriteCommitAsync(Stream stream, Func<int, ValueTask> pace)
    {
        var commit = stream.Commit!;
        if (commit.Length == 0)
        {
            commit.Close(deviceId, stream.Flushed, -1, physicalBlock, CommitContent.Relocated);
        }

        // Interrupted by its pace it is written again, whole, by whoever comes next; by its last piece it is done.
        await WriteAsync(stream, commit.Position.Offset, commit.Bytes, pace);
        stream.Written();
        await pace(LastPiece(commit.Length));
    }

    private async ValueTask WriteFootersAsync(IReadOnlyList<Stream> streams, Func<int, ValueTask> pace)
    {
        if (streams.Count == 0)
        {
            return;
        }

        await FlushAsync();
        var records = new List<(Stream Stream, SegmentFooter Record)>();
        foreach (var stream in streams)
        {
            var catalog = stream.Catalog!;
            var length = catalog.FooterBytes(0, 0, physicalBlock);
            if (_copies.Length < length)
            {
                _copies = GC.AllocateUninitializedArray<byte>(length);
            }

            var start = stream.Top - length;
            var record = catalog.WriteCopies(
                _copies.AsSpan(0, length), start, deviceId, (int)stream.End.Offset, -1, stream.Sequence - 1);
            await WriteAsync(stream, (uint)start, _copies.AsMemory(0, length), pace);
            await pace(LastPiece(length));
            records.Add((stream, record));
        }

        await FlushAsync();
        foreach (var (stream, record) in records)
        {
            _record.AsSpan().Clear();
            record.Write(_record.AsSpan()[^SegmentFooterLayout.Size..]);
            await WriteAsync(stream, (uint)(DeviceGeometry.SegmentBytes - physicalBlock), _record, pace, record.CopiesStart);
            stream.Top = record.CopiesStart;
            stream.NeedsFooter = false;
        }

        await pace(records.Count * physicalBlock);
    }

    /// <summary>
    /// Writes in pieces; the last piece is the caller's to pace, after it has noted what is done. Where the device refuses the
    /// place, the segment's commits, and its end from <paramref name="tailStart"/> on, move, and all of it is written there.
    /// </summary>
    private async ValueTask WriteAsync(
        Stream stream, uint offset, ReadOnlyMemory<byte> bytes, Func<int, ValueTask> pace, int tailStart = DeviceGeometry.SegmentBytes)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                await WritePiecesAsync(stream, offset, bytes, pace);
                return;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                stream.Segment = await space.MoveAsync(
                    tries, new MovedPart(stream.End.Use, stream.End.Offset, (uint)tailStart, stream.Flushed), e);
            }
        }
    }

    private async ValueTask WritePiecesAsync(Stream stream, uint offset, ReadOnlyMemory<byte> bytes, Func<int, ValueTask> pace)
    {
        var at = DeviceGeometry.SegmentOffset(stream.Segment) + offset;
        while (!bytes.IsEmpty)
        {
            var piece = bytes[..Math.Min(bytes.Length, VictimReader.ChunkBytes)];
            _failed = true;
            await device.WriteAsync(at, piece);
            _failed = false;
            BytesWritten += piece.Length;
            at += (ulong)piece.Length;
            bytes = bytes[piece.Length..];
            if (!bytes.IsEmpty)
            {
                await pace(piece.Length);
            }
        }
    }

    private async ValueTask FlushAsync()
    {
        _failed = true;
        await device.FlushAsync();
        _failed = false;
        foreach (var stream in _streams.Values)
        {
            stream.Flushed = stream.End;
        }
    }

    private static int LastPiece(int length) => ((length - 1) % VictimReader.ChunkBytes) + 1;

    /// <summary>One stream, and the segment that it fills.</summary>
    private sealed class Stream(int recordBytes)
    {
        // A buffer has two slots at least; only what is used of the first is ever touched.
        private readonly WriteBuffer _buffer = WriteBuffer.InMemory(2);
        private SegmentCatalog? _spare;

        public SegmentCatalog? Catalog { get; private set; }

        public int Segment { get; set; }

        /// <summary>Where the newest footer's copies begin, or, without one, the block of its record: the next ends here.</summary>
        public int Top { get; set; }

        /// <summary>The end of what was written.</summary>
        public LogPosition End { get; private set; }

        /// <summary>The end of what was flushed.</summary>
        public LogPosition Flushed { get; set; }

        /// <summary>The next commit's; they are counted within the segment.</summary>
        public ulong Sequence { get; private set; }

        public OpenCommit? Commit { get; set; }

        public int PendingItems { get; set; }

        /// <summary>True when the segment has commits that its footer, if any, does not know of.</summary>
        public bool NeedsFooter { get; set; }

        public OpenCommit NewCommit() => new(_buffer, 0, End, Sequence);

        public bool Fits(OpenCommit commit, in AppendSize size, int most, int physicalBlock)
        {
            var length = commit.LengthWith(size, physicalBlock);
            return (commit.IsEmpty || length <= most) && commit.Position.Offset + (long)length + Catalog!.FooterBytes(
                0, PendingItems + size.Items, physicalBlock) <= Top;
        }

        public void Begin(ulong use, int segment)
        {
            Invariant.That(LogPosition.IsRelocation(use), "copies have uses of their own");
            Top = DeviceGeometry.SegmentBytes - recordBytes;
            Catalog = _spare?.ReuseFor(use) ?? new SegmentCatalog(use);
            _spare = null;
            Segment = segment;
            End = Flushed = new LogPosition(use, 0);
            Sequence = 1;
        }

        /// <summary>The commit is on the device: its headers belong to the segment now.</summary>
        public void Written()
        {
            Commit!.AddTo(Catalog!);
            Catalog!.TakeCopies(Commit);
            End = Commit.Position.Plus(Commit.Length);
            Sequence++;
            NeedsFooter = true;
            Forget();
        }

        public void Forget()
        {
            Commit = null;
            PendingItems = 0;
        }

        public void Retire()
        {
            _spare = Catalog;
            Catalog = null;
            NeedsFooter = false;
        }
    }
}
