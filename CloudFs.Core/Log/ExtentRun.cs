using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// What a read of many extents, one after another, knows beyond the one that it is at: which follow, and the last header whose
/// pages lay elsewhere than was thought. Of a long entry that was overwritten here and there many extents are left, which all
/// have that header. One reader at a time.
/// </summary>
public sealed class ExtentRun(ReadOnlyMemory<MappedExtent> extents) : IDisposable
{
    /// <summary>How many extents the device is told of at once: what it can be busy with, and as many pages as a MiB has.</summary>
    private const int Ahead = 256;

    private int _told;
    private int _next;
    private byte[] _header = [];
    private int _length;
    private LogPosition _position;
    private ulong _lsn;

    /// <summary>The extents that will be read next.</summary>
    internal ReadOnlySpan<MappedExtent> Rest => extents.Span[_next..];

    /// <summary>That extent is read now.</summary>
    public void MoveTo(int index) => _next = index + 1;

    /// <summary>The extents behind this one that the device is to be told of; none when it knows them.</summary>
    public ReadOnlySpan<MappedExtent> TakeAhead(int index)
    {
        MoveTo(index);
        if (_told > index)
        {
            return default;
        }

        _told = Math.Min(extents.Length, index + 1 + Ahead);
        return extents.Span[(index + 1).._told];
    }

    public void Dispose()
    {
        if (_header.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_header);
        }

        (_header, _length) = ([], 0);
    }

    /// <summary>The header of an extent's entry, which was proved; empty where it is not here.</summary>
    internal ReadOnlyMemory<byte> HeaderOf(in MappedExtent extent) =>
        extent.Position == _position && extent.Lsn == _lsn ? _header.AsMemory(0, _length) : default;

    /// <summary>Keeps the header of an extent's entry, where others that follow are of it. True when there are such.</summary>
    internal bool TryKeep(in MappedExtent extent, ReadOnlySpan<byte> header)
    {
        if (!IsWantedAgain(extent))
        {
            return false;
        }

        if (_header.Length == 0)
        {
            _header = ArrayPool<byte>.Shared.Rent(EntryLayout.MaxHeaderLength);
        }

        header.CopyTo(_header);
        (_length, _position, _lsn) = (header.Length, extent.Position, extent.Lsn);
        return true;
    }

    private bool IsWantedAgain(in MappedExtent extent)
    {
        foreach (ref readonly var other in Rest)
        {
            if (other.Position == extent.Position && other.Lsn == extent.Lsn)
            {
                return true;
            }
        }

        return false;
    }
}
