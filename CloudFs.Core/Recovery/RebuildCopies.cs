using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Looks at copies of entries before a rebuild prefers them. A segment of copies that a crash kept from being completed is
/// nobody's: the log may have taken it, and what it wrote there may have been cut off by another crash, so that some of the
/// copies are gone while what they were made of is whole.
/// </summary>
internal sealed class RebuildCopies(IBlockDevice device, PagedTree tree)
{
    /// <summary>True when some of the entry's sectors are mapped already, to the same entry elsewhere.</summary>
    public async ValueTask<bool> IsTwiceAsync(DiskMap map, ReadOnlyMemory<byte> header, EntryHeader fields, LogPosition position)
    {
        var some = new MappedExtent[16];
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(header.Span, i);
            foreach (var piece in map.View(extent.Lba, extent.End).Pieces)
            {
                if (piece.Content != MappedContent.Below)
                {
                    if (IsSame(piece))
                    {
                        return true;
                    }

                    continue;
                }

                for (var lba = piece.Lba; lba < piece.End;)
                {
                    var (status, count) = await tree.FindAsync(map.Tree, lba, piece.End, some);
                    if (status != TreeRead.Ok)
                    {
                        throw new DeviceException("a page of the index that was just written can't be read back");
                    }

                    if (some.Take(count).Any(found => IsSame(found)))
                    {
                        return true;
                    }

                    lba = count == some.Length ? some[^1].End : piece.End;
                }
            }
        }

        return false;

        bool IsSame(in MappedExtent found) =>
            found.Lsn == fields.Lsn && found.Content == MappedContent.Data && found.Position != position;
    }

    /// <summary>The indexes of the entry's pages whose bytes are not there.</summary>
    public async ValueTask<IReadOnlySet<int>> FindBadPagesAsync(
        ReadOnlyMemory<byte> header, EntryHeader fields, LogPosition position, int segment)
    {
        var body = new byte[fields.BodyLength];
        try
        {
            await device.ReadAsync(
                DeviceGeometry.SegmentOffset(segment) + position.Offset + (ulong)fields.HeaderLength, body);
        }
        catch (DeviceException)
        {
            // None of them can be had from here.
            Array.Clear(body);
        }

        var bad = new HashSet<int>();
        foreach (var page in EntryPages.Of(header.Span, fields))
        {
            if (page.IsPresent && (page.BodyOffset + page.Record.Length > body.Length
                || XXH64.DigestOf(body.AsSpan(page.BodyOffset, page.Record.Length)) != page.Record.Xxh64))
            {
                bad.Add(page.Index);
            }
        }

        return bad;
    }
}
