using System.Runtime.CompilerServices;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Takes what the disk gives back for an operation. What is finished is answered at once, on the connection's thread
/// and without garbage; what is not is answered by the thread that finishes it.
/// </summary>
internal sealed class OperationRunner(GuardedTarget target, Replies replies, Outbox outbox, NbdCounters counters)
{
    private readonly Lock _gate = new();
    private readonly Stack<PendingOperation> _idleOperations = new();
    private readonly Stack<RequestGroup> _idleGroups = new();
    private readonly Stack<WriteBundle> _idleBundles = new();

    /// <summary>
    /// An operation that answers its request alone; <paramref name="buffer"/> is what it uses, if any.
    /// </summary>
    public void Run(ValueTask<IoStatus> task, in NbdRequest request, PooledBuffer? buffer)
    {
        var awaiter = task.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            Answer(request, target.Result(awaiter), buffer);
            return;
        }

        var operation = TakeOperation();
        operation.Request = request;
        operation.Buffer = buffer;
        operation.Start(awaiter);
    }

    /// <summary>
    /// Writes from memory that is not the caller's to give: the input buffer is only held if they need it for longer than the call.
    /// </summary>
    /// <returns>The bundle to collect the next ones in.</returns>
    public WriteBundle RunBundle(ValueTask<IoStatus> task, WriteBundle bundle, InputBuffer input)
    {
        var awaiter = task.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            Answer(bundle, target.Result(awaiter));
            return bundle;
        }

        var operation = TakeOperation();
        operation.Bundle = bundle;
        operation.Buffer = input.Hold();
        operation.Start(awaiter);
        return TakeBundle();
    }

    /// <summary>Requests that one flush answers.</summary>
    public void RunFlushes(ValueTask<IoStatus> flush, List<NbdRequest> requests)
    {
        var awaiter = flush.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            var status = target.Result(awaiter);
            foreach (var request in requests)
            {
                Answer(request, status, null);
            }

            return;
        }

        var operation = TakeOperation();
        operation.Request = requests[0];
        operation.Start(awaiter);
        for (var i = 1; i < requests.Count; i++)
        {
            // They join the one that is pending.
            Run(target.FlushAsync(), requests[i], null);
        }
    }

    /// <summary>A part of a request, over a buffer of its own.</summary>
    public void RunPart(ValueTask<IoStatus> task, RequestGroup group, PooledBuffer buffer, ulong offset, int length)
    {
        group.AddPart();
        var awaiter = task.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            EndPart(group, target.Result(awaiter), buffer, offset, length);
            return;
        }

        var operation = TakeOperation();
        operation.Group = group;
        operation.Buffer = buffer;
        operation.Offset = offset;
        operation.Length = length;
        operation.Start(awaiter);
    }

    /// <summary>A part that is written by a thread of the pool, which hashes it while the connection's receives the next.</summary>
    public void RunPartElsewhere(RequestGroup group, PooledBuffer buffer, ulong offset, ReadOnlyMemory<byte> data, bool isFua)
    {
        group.AddPart();
        var operation = TakeOperation();
        operation.Group = group;
        operation.Buffer = buffer;
        operation.Offset = offset;
        operation.Length = data.Length;
        operation.Write = (data, isFua);
        ThreadPool.UnsafeQueueUserWorkItem(operation, preferLocal: false);
    }

    public RequestGroup BeginGroup(in NbdRequest request)
    {
        RequestGroup? group;
        lock (_gate)
        {
            _idleGroups.TryPop(out group);
        }

        group ??= new RequestGroup();
        group.Begin(request);
        return group;
    }

    /// <summary>No more parts come; answers the request when all have ended.</summary>
    public void EndGroup(RequestGroup group)
    {
        if (!group.EndPart())
        {
            return;
        }

        var request = group.Request;
        if (request.Command == NbdCommand.Write && group.Status == IoStatus.Ok)
        {
            counters.AddWritten(request.Length);
        }

        replies.FinishParts(request, group.Status);
        lock (_gate)
        {
            _idleGroups.Push(group);
        }
    }

    /// <summary>A part of a read that needs no operation.</summary>
    public void AddHole(RequestGroup group, ulong offset, int length) =>
        replies.AddHolePart(group.Request, offset, length);

    internal void Begin(PendingOperation operation, ReadOnlyMemory<byte> data, bool isFua) =>
        Begin(operation, target.WriteAsync(operation.Offset, data, isFua));

    internal void Complete(PendingOperation operation, in ValueTaskAwaiter<IoStatus> awaiter)
    {
        var status = target.Result(awaiter);
        if (operation.Group is { } group)
        {
            EndPart(group, status, operation.Buffer!, operation.Offset, operation.Length);
        }
        else if (operation.Bundle is { } bundle)
        {
            operation.Buffer!.Release();
            Answer(bundle, status);
            GiveBack(bundle);
        }
        else
        {
            Answer(operation.Request, status, operation.Buffer);
        }

        operation.Buffer = null;
        operation.Group = null;
        operation.Bundle = null;
        lock (_gate)
        {
            _idleOperations.Push(operation);
        }

        outbox.FlushSoon();
    }

    private void Answer(in NbdRequest request, IoStatus status, PooledBuffer? buffer)
    {
        if (request.Command == NbdCommand.Read)
        {
            replies.FinishRead(request, status, buffer!);
            return;
        }

        buffer?.Release();
        if (request.Command == NbdCommand.Write && status == IoStatus.Ok)
        {
            counters.AddWritten(request.Length);
        }

        replies.Finish(request, status);
    }

    private void Answer(WriteBundle bundle, IoStatus status)
    {
        foreach (var request in bundle.Requests)
        {
            Answer(request, status, null);
        }

        bundle.Clear();
    }

    private void EndPart(RequestGroup group, IoStatus status, PooledBuffer buffer, ulong offset, int length)
    {
        group.Note(status);
        if (group.Request.Command == NbdCommand.Read && status == IoStatus.Ok)
        {
            replies.AddDataPart(group.Request, offset, length, buffer);
        }
        else
        {
            buffer.Release();
        }

        EndGroup(group);
    }

    private void Begin(PendingOperation operation, ValueTask<IoStatus> task)
    {
        var awaiter = task.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            Complete(operation, awaiter);
        }
        else
        {
            operation.Start(awaiter);
        }
    }

    /// <summary>An empty bundle.</summary>
    public WriteBundle TakeBundle()
    {
        lock (_gate)
        {
            return _idleBundles.TryPop(out var bundle) ? bundle : new WriteBundle();
        }
    }

    private void GiveBack(WriteBundle bundle)
    {
        lock (_gate)
        {
            _idleBundles.Push(bundle);
        }
    }

    private PendingOperation TakeOperation()
    {
        lock (_gate)
        {
            return _idleOperations.TryPop(out var operation) ? operation : new PendingOperation(this);
        }
    }
}
