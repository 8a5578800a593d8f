using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>READ and BLOCK_STATUS; the connection's own thread.</summary>
internal sealed class ReadPath(
    GuardedTarget target,
    NbdSession session,
    BufferPool pool,
    InFlightWindow window,
    Replies replies,
    OperationRunner runner,
    Outbox outbox,
    Func<int, long, bool> enter)
{
    private readonly List<DiskRange> _ranges = new(ReadPlan.MaxRanges);
    private readonly List<ReadPart> _parts = [];

    /// <summary>Carries out a read whose request has been entered; false at the connection's end.</summary>
    public bool Read(in NbdRequest request)
    {
        var mayCut = session.Structured && (request.Flags & CommandFlags.DontFragment) == 0;
        if (mayCut && request.Length >= ReadPlan.LeastLength)
        {
            Plan(request);
            if (_parts.Count > 1 || _parts[0].IsHole)
            {
                return ReadParts(request);
            }
        }

        // In one piece of memory, up to 32 MiB of it: a simple reply can't tell an error after its header has left.
        var length = (int)request.Length;
        if (!enter(0, length))
        {
            replies.Finish(request, IoStatus.Stopped);
            return false;
        }

        var buffer = pool.Rent(length);
        buffer.Charge(window, length);
        runner.Run(target.ReadAsync(request.Offset, buffer.Payload(length)), request, buffer);
        outbox.FlushIfLong();
        return true;
    }

    /// <summary>Answers a BLOCK_STATUS request that has been entered; false at the connection's end.</summary>
    public bool BlockStatus(in NbdRequest request)
    {
        _ranges.Clear();
        var most = (request.Flags & CommandFlags.ReqOne) != 0 ? 1 : NbdLimits.MaxExtents;
        var status = target.Describe(request.Offset, request.Length, most, _ranges);
        if (status != IoStatus.Ok)
        {
            replies.Finish(request, status);
            return true;
        }

        var size = ReplyWriter.BlockStatusHeaderSize + (Math.Max(1, _ranges.Count) * ReplyWriter.DescriptorSize);
        if (!enter(0, size))
        {
            replies.Finish(request, IoStatus.Stopped);
            return false;
        }

        var buffer = pool.Rent(size);
        buffer.Charge(window, size);
        var count = WriteDescriptors(request, buffer);
        ReplyWriter.WriteBlockStatusHeader(
            buffer.Payload(ReplyWriter.BlockStatusHeaderSize).Span,
            request.Cookie,
            NbdSession.AllocationContextId,
            count);
        replies.FinishBlockStatus(
            buffer, ReplyWriter.BlockStatusHeaderSize + (count * ReplyWriter.DescriptorSize));
        return true;
    }

    private void Plan(in NbdRequest request)
    {
        _ranges.Clear();
        _parts.Clear();
        if (target.Describe(request.Offset, request.Length, ReadPlan.MaxRanges, _ranges) != IoStatus.Ok)
        {
            // The read itself will say why.
            _ranges.Clear();
        }

        ReadPlan.Cut(request.Offset, request.Length, _ranges, _parts);
    }

    private bool ReadParts(in NbdRequest request)
    {
        var group = runner.BeginGroup(request);
        var isOpen = true;
        foreach (var part in _parts)
        {
            if (group.Status != IoStatus.Ok)
            {
                break;
            }

            if (part.IsHole)
            {
                runner.AddHole(group, part.Offset, part.Length);
                continue;
            }

            isOpen = enter(0, part.Length);
            if (!isOpen)
            {
                group.Note(IoStatus.Stopped);
                break;
            }

            var buffer = pool.Rent(part.Length);
            buffer.Charge(window, part.Length);
            runner.RunPart(
                target.ReadAsync(part.Offset, buffer.Payload(part.Length)), group, buffer, part.Offset, part.Length);
            outbox.FlushIfLong();
        }

        runner.EndGroup(group);
        return isOpen;
    }

    private int WriteDescriptors(in NbdRequest request, PooledBuffer buffer)
    {
        var to = buffer.Payload(buffer.Capacity).Span[ReplyWriter.BlockStatusHeaderSize..];
        var left = request.Length;
        var count = 0;
        uint run = 0;
        var runState = AllocationState.Data;
        foreach (var range in _ranges)
        {
            var length = (uint)Math.Min(range.Length, left);
            var state = StateOf(range.Content);
            left -= length;
            if (run > 0 && state != runState)
            {
                ReplyWriter.WriteDescriptor(to[(count++ * ReplyWriter.DescriptorSize)..], run, runState);
                run = 0;
            }

            run += length;
            runState = state;
        }

        // "Data" for all of it is always a true answer, should the disk have described nothing.
        ReplyWriter.WriteDescriptor(
            to[(count * ReplyWriter.DescriptorSize)..], run == 0 ? request.Length : run, runState);
        return count + 1;
    }

    // What is damaged is no hole and does not read as zeroes: a client that copies must run into the error.
    private static AllocationState StateOf(RangeContent content) =>
        content == RangeContent.Hole ? AllocationState.Hole | AllocationState.Zero : AllocationState.Data;
}
