using System.Runtime.CompilerServices;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Something that a disk did not finish at the call, and what is owed when it does. Reused, so that waiting costs no
/// garbage either.
/// </summary>
internal sealed class PendingOperation : IThreadPoolWorkItem
{
    private readonly OperationRunner _runner;
    private readonly Action _onCompleted;
    private ValueTaskAwaiter<IoStatus> _awaiter;

    public PendingOperation(OperationRunner runner)
    {
        _runner = runner;
        _onCompleted = OnCompleted;
    }

    /// <summary>The request, when it is answered by this operation alone.</summary>
    public NbdRequest Request { get; set; }

    /// <summary>The group that it is a part of, or null.</summary>
    public RequestGroup? Group { get; set; }

    /// <summary>The writes that it answers, or null.</summary>
    public WriteBundle? Bundle { get; set; }

    /// <summary>The buffer that a read fills or a write comes from.</summary>
    public PooledBuffer? Buffer { get; set; }

    /// <summary>Where a part begins.</summary>
    public ulong Offset { get; set; }

    /// <summary>Bytes of a part.</summary>
    public int Length { get; set; }

    /// <summary>What a write that a thread of the pool is to begin writes, and whether durably.</summary>
    public (ReadOnlyMemory<byte> Data, bool IsFua) Write { get; set; }

    /// <inheritdoc/>
    void IThreadPoolWorkItem.Execute()
    {
        var (data, isFua) = Write;
        Write = default;
        _runner.Begin(this, data, isFua);
    }

    public void Start(in ValueTaskAwaiter<IoStatus> awaiter)
    {
        _awaiter = awaiter;
        _awaiter.UnsafeOnCompleted(_onCompleted);
    }

    private void OnCompleted()
    {
        var awaiter = _awaiter;
        _awaiter = default;
        _runner.Complete(this, awaiter);
    }
}
