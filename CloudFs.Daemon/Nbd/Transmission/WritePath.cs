using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>WRITE; the connection's own thread.</summary>
internal sealed class WritePath(
    GuardedTarget target,
    InputBuffer input,
    BufferPool pool,
    InFlightWindow window,
    OperationRunner runner,
    RequestWatch watch,
    Action settle,
    Func<int, long, bool> enter)
{
    /// <summary>Hashing that much takes longer than having another thread do it while this one receives what follows.</summary>
    private const int LongPiece = 64 << 10;

    /// <summary>Longer payloads get memory of their own, into which the socket is read directly.</summary>
    private readonly int _maxInPlace = Math.Min((input.Capacity / 2) - NbdRequest.Size, WriteBatch.LongestWrite);

    private WriteBundle _bundle = runner.TakeBundle();

    /// <summary>
    /// Has the disk carry out what was collected. To be called before anything else changes the disk, before anything is received, and
    /// before this thread waits.
    /// </summary>
    public void Submit()
    {
        if (!_bundle.IsEmpty)
        {
            _bundle = runner.RunBundle(target.WriteAsync(_bundle.Batch, _bundle.IsFua), _bundle, input);
        }
    }

    /// <summary>
    /// Carries out a write that passed the rules and whose header is still in the input, or collects it for <see cref="Submit"/>;
    /// false at the connection's end.
    /// </summary>
    public bool Write(in NbdRequest request)
    {
        if (request.Length > _maxInPlace)
        {
            return enter(1, 0) && WritePieces(watch.Parsed(request));
        }

        var length = (int)request.Length;
        if (input.Count < NbdRequest.Size + length)
        {
            settle();
            if (!input.Fill(NbdRequest.Size + length))
            {
                return false;
            }

            watch.BeginAgain();
        }

        if (!enter(1, 0))
        {
            return false;
        }

        var parsed = watch.Parsed(request);
        if (!TryCollect(parsed))
        {
            Submit();
            var isTaken = TryCollect(parsed);
            Invariant.That(isTaken, "a write that passed the rules goes into an empty batch");
        }

        input.Skip(NbdRequest.Size + length);
        return true;
    }

    private bool TryCollect(in NbdRequest request) => _bundle.TryAdd(request, input.Whole, input.PlaceOf(NbdRequest.Size));

    // Each piece is on its way into the log while the next one is received, and a slow sender holds one piece of
    // memory rather than the whole. Up to a piece a write stays one atomic entry.
    private bool WritePieces(in NbdRequest request)
    {
        input.Skip(NbdRequest.Size);
        settle();
        var group = runner.BeginGroup(request);
        var isOpen = true;
        for (ulong done = 0; isOpen && done < request.Length;)
        {
            var length = (int)Math.Min(request.Length - done, NbdLimits.Piece);
            isOpen = enter(0, length) && WritePiece(request, group, request.Offset + done, length);
            done += (uint)length;
        }

        if (!isOpen)
        {
            group.Note(IoStatus.Stopped);
        }

        runner.EndGroup(group);
        return isOpen;
    }

    private bool WritePiece(in NbdRequest request, RequestGroup group, ulong offset, int length)
    {
        var buffer = pool.Rent(length);
        buffer.Charge(window, length);
        var data = buffer.Payload(length);
        if (!input.TakeAll(data.Span))
        {
            buffer.Release();
            return false;
        }

        if (group.Status != IoStatus.Ok)
        {
            // The write has failed already: the rest is received only to stay in step.
            buffer.Release();
            return true;
        }

        if (length >= LongPiece)
        {
            runner.RunPartElsewhere(group, buffer, offset, data, request.IsFua);
        }
        else
        {
            runner.RunPart(target.WriteAsync(offset, data, request.IsFua), group, buffer, offset, length);
        }

        return true;
    }
}
