using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// Finds the headers of one disk by LSN, cheaply when they are asked for in order: it keeps the catalog of the segment that
/// it is in, and its place there. One user at a time.
/// </summary>
public sealed class HeaderCursor(LogWriter writer, LogReader reader, SegmentWalker walker, Id160 disk)
{
    private readonly byte[] _header = new byte[EntryLayout.MaxHeaderLength];
    private SegmentCatalog? _catalog;
    private ulong _use;
    private int _index;
    private int _length;
    private EntryHeader _fields;

    /// <summary>The header that was found; valid until the next call.</summary>
    public ReadOnlyMemory<byte> Header => _header.AsMemory(0, _length);

    /// <summary>Its fields, entropy included.</summary>
    public ref readonly EntryHeader Fields => ref _fields;

    /// <summary>Where it lies.</summary>
    public LogPosition Position { get; private set; }

    /// <summary>Finds an entry in the segment use that should hold it; false when its header can't be had there.</summary>
    public async ValueTask<bool> FindAsync(ulong use, ulong lsn)
    {
        if (use != _use)
        {
            _use = use;
            _index = 0;
            _catalog = null;
        }

        while (true)
        {
            var found = FindHere(use, lsn);
            if (found is { } answer)
            {
                return answer;
            }

            var copies = await reader.LoadCatalogAsync(use);
            _catalog = copies is { IsIncomplete: false } ? copies : await walker.RebuildCatalogAsync(use) ?? copies;
            if (_catalog is null)
            {
                return false;
            }
        }
    }

    /// <summary>Null when the segment is not open any more and its catalog must be loaded.</summary>
    private bool? FindHere(ulong use, ulong lsn)
    {
        if (_catalog is not null)
        {
            return Seek(_catalog, lsn);
        }

        lock (writer.Gate)
        {
            return writer.OpenCatalog(use) is { } open ? Seek(open, lsn) : null;
        }
    }

    private bool Seek(SegmentCatalog catalog, ulong lsn)
    {
        // Mostly the next one is wanted; a step back begins again.
        if (_length > 0 && _index > 0 && _fields.Lsn >= lsn)
        {
            _index = 0;
        }

        for (; _index < catalog.Count; _index++)
        {
            var copy = catalog.Copy(_index);
            if (EntryAddress.Matches(copy, disk, lsn) && EntryHeaderCodec.TryRead(copy, out _fields, out _))
            {
                copy.CopyTo(_header);
                _length = copy.Length;
                Position = catalog.Position(_index++);
                return true;
            }
        }

        _index = 0;
        return false;
    }
}
