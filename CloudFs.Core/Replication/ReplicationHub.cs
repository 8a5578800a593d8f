using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// All that this host has to do with others: the links to them, and a group for each disk that lies on several. Any thread.
/// Refusals are <see cref="RefusalException"/>, one line each.
/// </summary>
public sealed class ReplicationHub
{
    /// <summary>Changes whenever <see cref="GetGroups"/> would show other views, roles or states; not with each entry.</summary>
    public ulong Revision => 0;

    /// <summary>Replaces what is known of other hosts: whom this one may dial, and where.</summary>
    public void SetPeers(IReadOnlyList<PeerAddress> peers) => throw new InvalidOperationException();

    /// <summary>Serves a link that another host dialled, until it ends. It owns the channel.</summary>
    public Task ServeAsync(IPeerChannel channel, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>
    /// Takes the first entry of a disk that this host is to hold, durable when it returns; with the view's secret where this host is its
    /// primary. Taken already: nothing happens. Refused: Invalid, Conflict (the entry does not name this host and device, name taken, another entry),
    /// NoSpace, Unavailable.
    /// </summary>
    public ValueTask CreateAsync(ReadOnlyMemory<byte> firstEntry, Id160? secret, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>This host is to hold a disk, and has it from that host: from nothing, or from where it is.</summary>
    public ValueTask FollowAsync(Id160 disk, Id160 primary, bool asWitness, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>On the primary: a host may copy the disk, and is named in a new view once it has caught up. Returns at once.</summary>
    public ValueTask AddReplicaAsync(Id160 disk, Replica replica, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>On the primary: a view without that host, committed when it returns; or it stops joining.</summary>
    public ValueTask RemoveReplicaAsync(Id160 disk, Id160 host, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>On the primary: hands the right to write over (PROTOCOL.md, 20); the new view is committed when it returns.</summary>
    public ValueTask MoveAsync(Id160 disk, Id160 to, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>Drops this host's copy. Refused (Conflict) while the view names this host.</summary>
    public ValueTask DropAsync(Id160 disk, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>Every group, in the order of ids.</summary>
    public IReadOnlyList<GroupStatus> GetGroups() => throw new InvalidOperationException();

    /// <summary>One group; null for a disk on one host, a mirror, or one that is not here.</summary>
    public GroupStatus? GetGroup(Id160 disk) => throw new InvalidOperationException();

    /// <summary>A disk whose primary is another host, for reads and writes through it (PROTOCOL.md, 15).</summary>
    /// <param name="disk">Which.</param>
    /// <param name="findPrimary">Asks where its primary is now; called again whenever the link broke or that host says it is not.</param>
    /// <param name="cancellation">Gives up.</param>
    public ValueTask<RemoteDisk> OpenRemoteAsync(
        Id160 disk, Func<CancellationToken, ValueTask<PeerAddress>> findPrimary, CancellationToken cancellation) => throw new InvalidOperationException();
}
