using System.Security.Cryptography;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Format;

/// <summary>The first sectors of a disk as a plain array: what any index must agree with.</summary>
internal sealed class ReplayModel(int sectors)
{
    private readonly byte[] _bytes = new byte[sectors * EntryLayout.SectorSize];

    public void Apply(StoredEntry entry)
    {
        var fields = entry.Fields;
        if (fields.Kind != EntryKind.Update)
        {
            return;
        }

        // Extents take effect in order, so each is applied whole before the next.
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(entry.Header, i);
            if (extent.Kind == ExtentKind.Zero)
            {
                Within(extent.Lba, extent.Sectors).Clear();
            }

            foreach (var page in EntryPages.Of(entry.Header, fields))
            {
                if (page.Extent == i && page.IsPresent)
                {
                    var target = Within(page.Lba, page.Record.Sectors);
                    entry.Body.AsSpan(page.BodyOffset, target.Length).CopyTo(target);
                }
            }
        }
    }

    public Id160 Sha1() => new(SHA1.HashData(_bytes));

    private Span<byte> Within(ulong lba, uint count)
    {
        var from = Math.Min(lba, (ulong)sectors);
        var to = Math.Min(lba + count, (ulong)sectors);
        return _bytes.AsSpan((int)from * EntryLayout.SectorSize, (int)(to - from) * EntryLayout.SectorSize);
    }
}
