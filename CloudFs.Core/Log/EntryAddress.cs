using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>Looks at a header without judging it: cheap enough to pass over thousands that are not meant.</summary>
internal static class EntryAddress
{
    /// <summary>True when these are the bytes of an entry's header with that disk and LSN.</summary>
    public static bool Matches(ReadOnlySpan<byte> header, Id160 disk, ulong lsn) =>
        header.Length >= EntryLayout.FixedSize
        && !DeviceRecord.IsAt(header)
        && BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]) == lsn
        && new Id160(header.Slice(EntryLayout.DiskOffset, Id160.Size)) == disk;

    /// <summary>The LSN that the bytes of a header state, for messages about headers that can't be trusted; 0 for too few bytes.</summary>
    public static ulong ClaimedLsn(ReadOnlySpan<byte> header) => header.Length < EntryLayout.FixedSize
        ? 0
        : BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]);
}
