using System.Buffers.Binary;
using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Finds the use of a segment whose first commit and footer tell none, though something stands at its beginning: all of it is looked
/// through for the first commit that does.
/// </summary>
internal sealed class UseSearch(IBlockDevice device, SegmentWalker walker, Id160 deviceId)
{
    private const int IndexPageBytes = 4096;

    /// <summary>A segment began in a part that can't be read, and nothing else told what was in it.</summary>
    public bool HasUnknown { get; private set; }

    /// <summary>The use by the first commit that is found; null for none, and for pages of the index or a checkpoint.</summary>
    public async ValueTask<ulong?> FindUseAsync(int segment)
    {
        var first = await TryReadRecordAsync(segment);
        var isUnreadable = first.Length == 0;
        if (!isUnreadable && (SegmentUses.AreOfPages(first) || first.AsSpan().IndexOfAnyExcept((byte)0) < 0))
        {
            return null;
        }

        using var bytes = await walker.ReadSegmentAsync(segment);
        var use = FirstUse(bytes.Memory.Span);
        HasUnknown |= isUnreadable && use is null;
        return use;
    }

    /// <summary>A segment's first bytes; none where they can't be read.</summary>
    public async Task<byte[]> TryReadRecordAsync(int segment)
    {
        var bytes = new byte[CommitFrameLayout.RecordBytes];
        for (var attempt = 0; attempt < 2; attempt++)
        {
            try
            {
                await device.ReadAsync(DeviceGeometry.SegmentOffset(segment), bytes);
                return bytes;
            }
            catch (DeviceException)
            {
                // Perhaps the next attempt can.
            }
        }

        return [];
    }

    /// <summary>
    /// The use that the first commit of a segment states, at either end of it. What lies behind it may be of an earlier use;
    /// before it there is no page of a checkpoint or of the index.
    /// </summary>
    private ulong? FirstUse(ReadOnlySpan<byte> bytes)
    {
        for (uint at = 0; at + CommitFrameLayout.RecordBytes <= bytes.Length; at += CommitFrameLayout.RecordBytes)
        {
            var here = bytes[(int)at..];
            if (at % IndexPageBytes == 0 && SegmentUses.AreOfPages(here))
            {
                return null;
            }

            var fault = CommitFrame.TryReadRecord(here, deviceId, LogPosition.None, out var frame);
            if (fault is LayoutFault.OtherPlace && frame.Position.Offset == at && frame.Position.Use > 0)
            {
                return frame.Position.Use;
            }

            var use = BinaryPrimitives.ReadUInt64LittleEndian(here[CommitFrameLayout.Use..]);
            if (CommitFrame.MayBeTrailer(here, deviceId, use, at)
                && CommitFrame.TryReadTrailer(here, deviceId, out frame) == LayoutFault.None)
            {
                return frame.Position.Use;
            }
        }

        return null;
    }
}
