using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Layout;

/// <summary>Fixed inputs, from which everything in tests/golden/device-layout is made.</summary>
internal static class LayoutSamples
{
    public static Id160 Device { get; } = Id(0xD1);

    public static Id160 Host { get; } = Id(0x05);

    public static Id160 OtherDevice { get; } = Id(0xD2);

    public static Id160 Secret { get; } = Id(0x5E);

    public static DeviceLabel Label { get; } = new()
    {
        DeviceId = Device,
        HostId = Host,
        DeviceBytes = 64UL << 30,
        PhysicalBlock = 4096,
        CreatedMicros = 1_700_000_000_000_000,
        Generation = 3,
    };

    public static ViewBody View { get; } = new()
    {
        View = EntryHashes.ViewOf(Secret),
        Epoch = 1,
        Primary = Host,
        Replicas = [new Replica(Host, Device)],
        Attributes = AttributesBody.Empty.WithSize(1 << 30).WithDurability(Durability.Flush).WithName("golden"),
    };

    public static Id160 Id(byte seed) => new(Enumerable.Range(0, Id160.Size).Select(i => (byte)(seed + i)).ToArray());

    /// <summary>Bytes that differ from sector to sector and are never all zeroes.</summary>
    public static byte[] Data(int seed, int sectors)
    {
        var data = new byte[sectors * EntryLayout.SectorSize];
        new Random(seed).NextBytes(data);
        return data;
    }
}

/// <summary>One disk's chain, sealed from fixed inputs: a view, then updates.</summary>
internal sealed class SampleDisk
{
    private readonly Id160 _secret;
    private Id160 _token;

    public SampleDisk(Id160? secret = null)
    {
        _secret = secret ?? LayoutSamples.Secret;
        var view = LayoutSamples.View with { View = EntryHashes.ViewOf(_secret) };
        First = Seal(EntryKind.View, [], view.ToBytes(), EntryBodyParsed.Of(view));
        Record = new DeviceRecord(DeviceRecordType.ViewSecret, Head.Disk, view.View, _secret);
    }

    /// <summary>The disk's first entry, header and body.</summary>
    public byte[] First { get; }

    /// <summary>The record of its view's secret.</summary>
    public DeviceRecord Record { get; }

    public ChainHead Head { get; private set; }

    public byte[] RecordBytes
    {
        get
        {
            var bytes = new byte[DeviceRecordLayout.Size];
            Record.Write(bytes);
            return bytes;
        }
    }

    /// <summary>The next update: data of so many sectors from a sector on.</summary>
    public byte[] Update(ulong lba, int sectors) => Seal(
        EntryKind.Update, [new ExtentRecord(lba, (uint)sectors, ExtentKind.Data)],
        LayoutSamples.Data((int)Head.Lsn + 1, sectors), null);

    /// <summary>The next update: zeroes.</summary>
    public byte[] Trim(ulong lba, uint sectors) =>
        Seal(EntryKind.Update, [new ExtentRecord(lba, sectors, ExtentKind.Zero)], [], null);

    /// <summary>The next update: extents of any kind, in this order.</summary>
    public byte[] Write(params ExtentRecord[] extents) => Seal(
        EntryKind.Update, extents,
        LayoutSamples.Data((int)Head.Lsn + 1, extents.Sum(extent => extent.Kind == ExtentKind.Data ? (int)extent.Sectors : 0)), null);

    private byte[] Seal(EntryKind kind, ExtentRecord[] extents, byte[] body, EntryBodyParsed? parsed)
    {
        var sizes = kind == EntryKind.Update
            ? extents.SelectMany(extent => Enumerable.Range(0, extent.Pages)
                .Select(page => PageCutter.SectorsOf(extent.Lba, extent.Sectors, page)))
            : body.Chunk(EntryLayout.PageSize).Select(page => page.Length / EntryLayout.SectorSize);
        var pages = new List<PageRecord>();
        var offset = 0;
        foreach (var sectors in sizes)
        {
            pages.Add(PageRecord.Of(body.AsSpan(offset, sectors * EntryLayout.SectorSize)));
            offset += sectors * EntryLayout.SectorSize;
        }

        var draft = new EntryDraft
        {
            Kind = kind,
            Lsn = Head.Lsn + 1,
            Disk = Head.Disk,
            Previous = Head.Id,
            Parent = _token,
            Secret = _secret,
            TimeMicros = LayoutSamples.Label.CreatedMicros + Head.Lsn,
            Extents = extents,
            Pages = pages.ToArray(),
        };
        var header = new byte[EntrySealer.HeaderLength(extents.Length, pages.Count)];
        var done = EntrySealer.Seal(draft, header);
        _token = done.Token;
        Head = Head.Next(draft, done, parsed);
        return [.. header, .. body];
    }
}

/// <summary>Puts commits into the bytes of one segment as the log's writer would.</summary>
internal sealed class SampleSegment(ulong use, Id160? device = null, int physicalBlock = 4096)
{
    private readonly Dictionary<uint, byte[]> _headers = [];

    public byte[] Bytes { get; } = new byte[DeviceGeometry.SegmentBytes];

    public ulong Use { get; } = use;

    public Id160 Device { get; } = device ?? LayoutSamples.Device;

    public SegmentCatalog Catalog { get; } = new(use);

    public List<CommitFrame> Frames { get; } = [];

    public LogPosition End { get; private set; } = new(use, 0);

    public ulong Sequence { get; set; } = 1;

    /// <summary>The header (or device record) at each place where one was put.</summary>
    public IReadOnlyDictionary<uint, byte[]> Headers => _headers;

    public Memory<byte> Of(CommitFrame frame) => Bytes.AsMemory((int)frame.Position.Offset, frame.Length);

    /// <summary>Adds a commit with these items behind the others.</summary>
    /// <param name="durable">What it says was durable; null for all before it.</param>
    /// <param name="items">Entries and device records.</param>
    public CommitFrame Commit(LogPosition? durable, params byte[][] items) =>
        Commit(items.Length == 0 ? CommitContent.Mark : CommitContent.New, durable, items);

    public CommitFrame Commit(CommitContent content, LogPosition? durable, params byte[][] items)
    {
        var commit = new OpenCommit(WriteBuffer.InMemory(2), 0, End, Sequence++);
        foreach (var item in items)
        {
            Assert(LogItem.TryMeasure(item, out var header, out _));
            var size = DeviceRecord.IsAt(item)
                ? AppendSize.OfRecord
                : AppendSize.OfEntry(
                    EntryHeaderCodec.ReadCounts(item).Extents, EntryHeaderCodec.ReadCounts(item).Pages, item.Length - header);
            item.CopyTo(commit.Room(size.Bytes));
            var place = End.Offset + (uint)commit.Filled;
            _headers[place] = item[..header];
            Catalog.Add(item.AsSpan(0, header), place);
            commit.Take(size);
        }

        commit.Close(Device, durable ?? End, -1, physicalBlock, content);
        Catalog.TakeCopies(commit);
        commit.Bytes.CopyTo(Bytes.AsMemory((int)End.Offset));
        Assert(CommitFrame.TryReadRecord(commit.Bytes.Span, Device, End, out var frame) == LayoutFault.None);
        Frames.Add(frame);
        End = End.Plus(commit.Length);
        return frame;
    }

    /// <summary>Writes the footer at the segment's end.</summary>
    public SegmentFooter Seal(int nextSegment)
    {
        var length = Catalog.FooterBytes(0, 0, physicalBlock);
        Catalog.WriteFooter(Bytes.AsSpan(^length), Device, (int)End.Offset, nextSegment, Sequence - 1);
        Assert(SegmentFooter.TryRead(Bytes.AsSpan(SegmentFooter.RecordOffset), Device, out var footer) == LayoutFault.None);
        return footer;
    }

    public SegmentScan Scan(LogPosition durable = default, LogPosition written = default, int commitsEnd = -1) =>
        SegmentScan.Scan(Bytes, Device, Use, durable, written, commitsEnd);

    private static void Assert(bool holds)
    {
        if (!holds)
        {
            throw new InvalidOperationException("the sample is not what it should be");
        }
    }
}
