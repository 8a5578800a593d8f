using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>
/// Reads one victim: its headers, and then of its bodies what is wanted, from front to back, in pieces of up to 256 KiB,
/// small gaps included.
/// </summary>
internal sealed class VictimReader(IBlockDevice device, Id160 deviceId, SegmentWalker walker)
{
    /// <summary>The most that is read at once.</summary>
    public const int ChunkBytes = 256 << 10;

    /// <summary>Reading so much too much is cheaper than another read.</summary>
    private const int GapBytes = 64 << 10;

    private readonly byte[] _window = GC.AllocateUninitializedArray<byte>(ChunkBytes);
    private readonly List<(int Start, int End)> _runs = [];
    private SegmentCatalog? _spare;
    private ulong _segmentOffset;
    private int _run;
    private int _start;
    private int _end;

    /// <summary>Bytes that were read to begin with the victim.</summary>
    public int OpenedBytes { get; private set; }

    /// <summary>
    /// Begins with a victim, and ends with the one before, whose catalog's memory is used again: gives its headers, all of them,
    /// or null when one may be missing. The footer's record must hold: without it nothing says where the commits end,
    /// and so what the last of them was.
    /// </summary>
    public async ValueTask<SegmentCatalog?> OpenAsync(int segment, ulong use)
    {
        _segmentOffset = DeviceGeometry.SegmentOffset(segment);
        _runs.Clear();
        _run = _start = _end = 0;
        OpenedBytes = SegmentFooterLayout.Size;
        if (await walker.ReadFooterAsync(segment, use) is not { } footer)
        {
            return null;
        }

        var catalog = await TryReadCatalogAsync(segment, footer) ?? await ScanAsync(segment, footer);
        return catalog is not null && IsWithin(catalog, footer.CommitsEnd) ? catalog : null;
    }

    /// <summary>Says that these bytes of the segment will be wanted. Ascending.</summary>
    public void Want(int start, int length)
    {
        if (_runs.Count > 0 && start - _runs[^1].End < GapBytes)
        {
            _runs[^1] = (_runs[^1].Start, start + length);
            return;
        }

        _runs.Add((start, start + length));
    }

    /// <summary>The bytes, when they are at hand.</summary>
    public bool TryGet(int start, int length, out ReadOnlySpan<byte> bytes)
    {
        var holds = start >= _start && start + length <= _end;
        bytes = holds ? _window.AsSpan(start - _start, length) : default;
        return holds;
    }

    /// <summary>Reads on from a place that was wanted.</summary>
    /// <exception cref="DeviceException">The device can't read it.</exception>
    /// <returns>Bytes read.</returns>
    public async ValueTask<int> ReadAsync(int start)
    {
        while (_runs[_run].End <= start)
        {
            _run++;
        }

        var length = Math.Min(ChunkBytes, _runs[_run].End - start);
        _start = _end = start;
        await device.ReadAsync(_segmentOffset + (ulong)start, _window.AsMemory(0, length));
        _end = start + length;
        return length;
    }

    private async ValueTask<SegmentCatalog?> TryReadCatalogAsync(int segment, SegmentFooter footer)
    {
        var loader = walker.CatalogLoader(segment, footer);
        var catalog = await loader.LoadAsync(_spare);
        OpenedBytes += loader.BytesRead;
        _spare = catalog ?? _spare;
        return catalog is { IsIncomplete: false } ? catalog : null;
    }

    private async ValueTask<SegmentCatalog?> ScanAsync(int segment, SegmentFooter footer)
    {
        using var bytes = await walker.ReadSegmentAsync(segment);
        OpenedBytes += bytes.Memory.Length;
        var scan = SegmentScan.Scan(
            bytes.Memory, deviceId, footer.Use, LogPosition.None, LogPosition.None, footer.CommitsEnd);
        var catalog = new SegmentCatalog(footer.Use);
        foreach (var item in scan.Items)
        {
            if (item.Kind != ScannedKind.Whole)
            {
                return null;
            }

            catalog.Add(item.Header.Span, item.Place, item.Copy);
        }

        return scan.Holes.Count == 0 && scan.End == footer.CommitsEnd ? catalog : null;
    }

    /// <summary>A header states how long its body is: it must end within the commits, and before the next item.</summary>
    private static bool IsWithin(SegmentCatalog catalog, int commitsEnd)
    {
        for (var i = 0; i < catalog.Count; i++)
        {
            var end = i + 1 < catalog.Count ? catalog.Position(i + 1).Offset : (uint)commitsEnd;
            if (!LogItem.TryMeasure(catalog.Copy(i), out _, out var total) || catalog.Position(i).Offset + (long)total > end)
            {
                return false;
            }
        }

        return true;
    }
}
