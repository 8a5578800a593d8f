using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// What stands between a disk here and the other hosts that hold it: a disk on one host has none. Its methods never call back into the
/// disk while
/// they hold a lock of their own.
/// </summary>
internal interface IDiskGroup
{
    /// <summary>
    /// True while clients may be answered: this host is the primary, its view is committed, and it has the lease (PROTOCOL.md, 18).
    /// </summary>
    bool MayServe { get; }

    /// <summary>True while this host may extend the disk; asked under the disk's lock and the log's gate.</summary>
    bool MayAppend { get; }

    /// <summary>
    /// Waits until clients may be answered. Ok; or ReadOnly where this host is not the primary, Unreachable when it took longer than the
    /// disk is patient, Stopped.
    /// </summary>
    ValueTask<IoStatus> ReadyAsync(CancellationToken cancellation);

    /// <summary>
    /// A view takes its place in the chain: told before its entry, as <see cref="OnAppended"/> is. <paramref name="isOwn"/>: this host
    /// has its secret.
    /// </summary>
    void OnView(ViewBody view, ulong lsn, Id160 id, Id160 previous, bool isOwn);

    /// <summary>An entry took its place in the chain; called in LSN order, under the disk's lock and the log's gate.</summary>
    void OnAppended(ulong lsn, Id160 id, ReadOnlySpan<byte> entry);

    /// <summary>Durable here up to this entry.</summary>
    void OnDurable(ulong lsn, Id160 id);

    /// <summary>Waits until what a plain write must survive holds for all up to an LSN (PROTOCOL.md, 14).</summary>
    ValueTask<IoStatus> ReceivedAsync(ulong lsn);

    /// <summary>Asks the replicas to make all up to an LSN durable now.</summary>
    void WantDurable(ulong lsn);

    /// <summary>Waits until all up to an LSN is durable as the disk's durability says, here included.</summary>
    ValueTask<IoStatus> DurableAsync(ulong lsn);

    /// <summary>Waits until all up to an LSN is committed: what a read under durability "write" may show.</summary>
    ValueTask<IoStatus> CommittedAsync(ulong lsn);

    /// <summary>The newest LSN that /heads and /stream may show: a view entry only once it is committed (PROTOCOL.md, 16).</summary>
    ulong ShownUpTo { get; }
}
