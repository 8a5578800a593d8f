using CloudFs.Core.Format;

namespace CloudFs.Micro;

/// <summary>An update as clients' writes make them: whole pages in sequence, of bytes that look like chance, hashed and sealed.</summary>
internal sealed class SampleEntry
{
    private readonly ExtentRecord[] _extents;
    private readonly PageRecord[] _pages;

    public SampleEntry(int pages)
    {
        Body = Samples.Bytes(pages * EntryLayout.PageSize);
        _extents = [new ExtentRecord(4096, (uint)(pages * EntryLayout.PageSectors), ExtentKind.Data)];
        _pages = [.. Enumerable.Range(0, pages).Select(i => PageRecord.Of(PageAt(i)))];
        Header = new byte[EntrySealer.HeaderLength(_extents.Length, pages)];
        SealInto(Header);
    }

    public byte[] Header { get; }

    public byte[] Body { get; }

    public ReadOnlySpan<byte> PageAt(int index) => Body.AsSpan(index * EntryLayout.PageSize, EntryLayout.PageSize);

    /// <summary>Seals it once more.</summary>
    public SealedEntry SealInto(Span<byte> header) => EntrySealer.Seal(
        new EntryDraft
        {
            Kind = EntryKind.Update,
            Lsn = 77,
            Disk = Samples.Disk,
            Previous = Samples.Disk,
            Parent = Samples.Disk,
            Secret = Samples.Disk,
            TimeMicros = 1_700_000_000_000_000,
            Extents = _extents,
            Pages = _pages,
        },
        header);
}
