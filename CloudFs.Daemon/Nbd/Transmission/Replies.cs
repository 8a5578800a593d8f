using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Answers requests in the form that was agreed on. Successes without data are simple replies even where structured
/// ones were agreed on: they are shorter, and the protocol allows it. Any thread.
/// </summary>
internal sealed class Replies(Outbox outbox, in NbdSession session, NbdCounters counters, NbdLatencies latencies)
{
    private readonly bool _structured = session.Structured;

    /// <summary>Answers a request that was refused by its header.</summary>
    public void Refuse(in NbdRequest request, RequestFault fault) =>
        Fail(request, NbdErrorMap.Of(fault, _structured));

    /// <summary>Answers a request without data in its reply.</summary>
    public void Finish(in NbdRequest request, IoStatus status)
    {
        if (status == IoStatus.Ok)
        {
            outbox.AddSimple(NbdError.None, request.Cookie, latencies.Known(request));
            return;
        }

        Fail(request, NbdErrorMap.Of(status, request.Command));
    }

    /// <summary>Answers a read whose data lie in one buffer, which is given up to the reply.</summary>
    public void FinishRead(in NbdRequest request, IoStatus status, PooledBuffer buffer)
    {
        if (status != IoStatus.Ok)
        {
            buffer.Release();
            Fail(request, NbdErrorMap.Of(status, request.Command));
            return;
        }

        var mark = latencies.Known(request);
        counters.AddRead(request.Length);
        if (_structured)
        {
            AddData(request.Cookie, request.Offset, (int)request.Length, buffer, ChunkFlags.Done, mark);
            return;
        }

        const int Start = PooledBuffer.Headroom - ReplyWriter.SimpleSize;
        ReplyWriter.WriteSimple(buffer.Span(Start, ReplyWriter.SimpleSize), NbdError.None, request.Cookie);
        outbox.Add(buffer, Start, ReplyWriter.SimpleSize + (int)request.Length, endsRequest: true, mark);
    }

    /// <summary>A part of a read whose end comes by <see cref="FinishParts"/>.</summary>
    public void AddDataPart(in NbdRequest request, ulong offset, int length, PooledBuffer buffer)
    {
        counters.AddRead((uint)length);
        AddData(request.Cookie, offset, length, buffer, ChunkFlags.None, default);
    }

    /// <summary>A part of a read that is nothing but zeroes.</summary>
    public void AddHolePart(in NbdRequest request, ulong offset, int length) =>
        outbox.AddHole(request.Cookie, offset, (uint)length);

    /// <summary>Ends a request that was carried out in parts.</summary>
    public void FinishParts(in NbdRequest request, IoStatus status)
    {
        if (request.Command == NbdCommand.Read && status == IoStatus.Ok)
        {
            outbox.AddEnd(request.Cookie, latencies.Known(request));
            return;
        }

        Finish(request, status);
    }

    /// <summary>A whole BLOCK_STATUS reply.</summary>
    public void FinishBlockStatus(PooledBuffer buffer, int length) =>
        outbox.Add(buffer, PooledBuffer.Headroom, length, endsRequest: true, default);

    private void AddData(ulong cookie, ulong offset, int length, PooledBuffer buffer, ChunkFlags flags, in ReplyMark mark)
    {
        const int Start = PooledBuffer.Headroom - ReplyWriter.DataHeaderSize;
        ReplyWriter.WriteDataHeader(
            buffer.Span(Start, ReplyWriter.DataHeaderSize), flags, cookie, offset, (uint)length);
        outbox.Add(
            buffer, Start, ReplyWriter.DataHeaderSize + length, endsRequest: (flags & ChunkFlags.Done) != 0, mark);
    }

    private void Fail(in NbdRequest request, NbdFailure failure)
    {
        counters.AddError();
        if (_structured)
        {
            outbox.AddError(failure, request.Cookie, latencies.Known(request));
        }
        else
        {
            outbox.AddSimple(failure.Error, request.Cookie, latencies.Known(request));
        }
    }
}
