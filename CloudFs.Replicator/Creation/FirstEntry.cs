using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Replicator.Creation;

/// <summary>A disk's first entry as it goes over the wire, and what only its primary may know.</summary>
/// <param name="Id">The disk's id: the hash of the entry.</param>
/// <param name="Bytes">Header and body.</param>
/// <param name="Secret">The view's secret.</param>
/// <param name="View">What the entry says.</param>
internal sealed record FirstEntry(Id160 Id, byte[] Bytes, Id160 Secret, ViewBody View)
{
    /// <summary>The most that a first entry may have: a view of a hundred hosts is far below.</summary>
    public const int MaxBytes = 256 << 10;

    /// <summary>Seals the first view of a disk.</summary>
    /// <param name="secret">Fresh, from outside.</param>
    /// <param name="primary">Who may extend it.</param>
    /// <param name="replicas">All hosts with their devices, the primary among them.</param>
    /// <param name="attributes">Size, name, durability.</param>
    /// <param name="timeMicros">Microseconds since 1970.</param>
    public static FirstEntry Seal(
        Id160 secret, Id160 primary, IReadOnlyList<Replica> replicas, AttributesBody attributes, ulong timeMicros)
    {
        var view = new ViewBody
        {
            View = EntryHashes.ViewOf(secret), Epoch = 1, Primary = primary, Replicas = replicas, Attributes = attributes,
        };
        var body = view.ToBytes();
        var sectors = (uint)(body.Length / EntryLayout.SectorSize);
        var pages = new PageRecord[PageCutter.Count(0, sectors)];
        for (var i = 0; i < pages.Length; i++)
        {
            var start = (int)PageCutter.LbaOf(0, i) * EntryLayout.SectorSize;
            pages[i] = PageRecord.Of(body.AsSpan(start, PageCutter.SectorsOf(0, sectors, i) * EntryLayout.SectorSize));
        }

        var draft = new EntryDraft { Kind = EntryKind.View, Lsn = 1, Secret = secret, TimeMicros = timeMicros, Pages = pages };
        var length = EntrySealer.HeaderLength(0, pages.Length);
        var bytes = new byte[length + body.Length];
        var sealedEntry = EntrySealer.Seal(draft, bytes);
        body.CopyTo(bytes.AsSpan(length));
        return new FirstEntry(sealedEntry.Id, bytes, secret, view);
    }

    /// <summary>
    /// Reads one that came from elsewhere, with every hash. Null, and one line that says what is wrong, for anything else than
    /// exactly one first view with all its pages.
    /// </summary>
    public static (Id160 Id, ViewBody View)? Read(ReadOnlySpan<byte> bytes, out string fault)
    {
        fault = "expected the first entry of a disk, whole";
        if (!EntryHeaderCodec.TryReadLengths(bytes, out var headerLength, out var bodyLength, out _)
            || headerLength + bodyLength != bytes.Length
            || !EntryHeaderCodec.TryRead(bytes[..headerLength], out var header, out _)
            || header.Kind != EntryKind.View || header.Lsn != 1 || header.Disk != header.Id || !header.Previous.IsZero
            || !header.Parent.IsZero)
        {
            return null;
        }

        var body = bytes[headerLength..];
        var offset = 0;
        for (var i = 0; i < header.PageCount; i++)
        {
            var page = EntryHeaderCodec.ReadPage(bytes[..headerLength], header, i);
            if (page.Length > body.Length - offset
                || EntryBody.VerifyPage(page, body.Slice(offset, page.Length), header.Kind) != FormatError.None)
            {
                fault = "the first entry's body is not what its header says";
                return null;
            }

            offset += page.Length;
        }

        if (!ViewBody.TryParse(header.Kind, body, out var view, out var wrong) || view!.Revoked is not null || view.Forced)
        {
            fault = $"the first entry's view can't be used: {wrong}";
            return null;
        }

        return (header.Id, view);
    }
}
