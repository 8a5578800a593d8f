using System.Buffers;
using System.IO.Pipelines;
using CloudFs.Core.Format;

namespace CloudFs.Core.Streams;

/// <summary>
/// Cuts a stream of bytes into entries. Only the first sixteen bytes of an entry are believed, and only as to its
/// length, which has a limit: so at most one entry (1.1 MiB) is held, whatever comes in. An entry that lies in one
/// piece in the pipe is handed on where it lies, one that doesn't is copied together once. One caller at a time.
/// </summary>
public sealed class EntryFramer(PipeReader reader) : IDisposable
{
    private ulong _position;
    private SequencePosition? _consumed;
    private byte[]? _copy;

    /// <summary>
    /// The next entry, or why there is none. After anything but an entry there is nothing more to be had.
    /// </summary>
    public async ValueTask<FramedEntry> NextAsync(CancellationToken cancellation)
    {
        Release();
        while (true)
        {
            var read = await reader.ReadAsync(cancellation);
            var buffer = read.Buffer;
            if (TryFrame(buffer, out var framed))
            {
                return framed;
            }

            if (read.IsCompleted)
            {
                reader.AdvanceTo(buffer.End);
                var outcome = buffer.IsEmpty ? FramingOutcome.End : FramingOutcome.Cut;
                return new FramedEntry(outcome, _position, default, 0, FormatError.None);
            }

            // Having looked at everything lets the pipe take in more than its usual bound: up to one entry.
            reader.AdvanceTo(buffer.Start, buffer.End);
        }
    }

    /// <summary>Gives the entry that was handed on last back to the pipe, which others may then read on from.</summary>
    public void Dispose()
    {
        Release();
        ReturnCopy();
    }

    private bool TryFrame(in ReadOnlySequence<byte> buffer, out FramedEntry framed)
    {
        framed = default;
        if (buffer.Length < EntryLayout.FramingSize)
        {
            return false;
        }

        Span<byte> first = stackalloc byte[EntryLayout.FramingSize];
        buffer.Slice(0, EntryLayout.FramingSize).CopyTo(first);
        if (!EntryHeaderCodec.TryReadLengths(first, out var headerLength, out var bodyLength, out var error))
        {
            reader.AdvanceTo(buffer.Start);
            framed = new FramedEntry(FramingOutcome.Malformed, _position, default, 0, error);
            return true;
        }

        var length = headerLength + bodyLength;
        if (buffer.Length < length)
        {
            return false;
        }

        var entry = buffer.Slice(0, length);
        framed = new FramedEntry(FramingOutcome.Entry, _position, InOnePiece(entry), headerLength, FormatError.None);
        _consumed = entry.End;
        _position += (ulong)length;
        return true;
    }

    private ReadOnlyMemory<byte> InOnePiece(in ReadOnlySequence<byte> entry)
    {
        if (entry.IsSingleSegment)
        {
            return entry.First;
        }

        var length = (int)entry.Length;
        if (_copy is null || _copy.Length < length)
        {
            ReturnCopy();
            _copy = ArrayPool<byte>.Shared.Rent(length);
        }

        entry.CopyTo(_copy);
        return _copy.AsMemory(0, length);
    }

    private void Release()
    {
        if (_consumed is { } consumed)
        {
            reader.AdvanceTo(consumed);
            _consumed = null;
        }
    }

    private void ReturnCopy()
    {
        if (_copy is not null)
        {
            ArrayPool<byte>.Shared.Return(_copy);
            _copy = null;
        }
    }
}
