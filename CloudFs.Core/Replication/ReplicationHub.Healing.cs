using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>Pages that are damaged here, asked of the other hosts that hold the disk, one after the other.</content>
public sealed partial class ReplicationHub : IPageHealer
{
    /// <summary>How long a turn, and then each host, is waited for.</summary>
    private static readonly TimeSpan FetchPatience = TimeSpan.FromSeconds(2);

    /// <summary>Pages that are asked for at a time: a device that rots all over must not take the links from everything else.</summary>
    private const int FetchesMax = 4;

    private readonly PlaceQueue _fetching = new(FetchesMax);
    private readonly CancellationToken _stop;

    async ValueTask<byte[]?> IPageHealer.FetchAsync(
        Id160 disk, ulong lsn, ulong lba, PageRecord wanted, CancellationToken cancellation)
    {
        if (_stop.IsCancellationRequested || FindGroup(disk) is not { } group || !await TakeTurnAsync(cancellation))
        {
            return null;
        }

        try
        {
            foreach (var host in HoldersOf(group))
            {
                if (await AskPageAsync(host, disk, lsn, lba, wanted, cancellation) is { } page)
                {
                    return page;
                }
            }

            return null;
        }
        finally
        {
            _fetching.Leave(1);
        }
    }

    bool IPageHealer.MayHave(Id160 disk) => FindGroup(disk) is not null;

    void IPageHealer.NoteHealed(int pages) => Counters.AddHealed(pages);

    private async ValueTask<bool> TakeTurnAsync(CancellationToken cancellation)
    {
        using var patience = new CancellationTokenSource(FetchPatience, _services.Runtime.Time);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellation, _stop);
        try
        {
            await _fetching.EnterAsync(1, any.Token);
            return true;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            // Too many before it, or the end: the page is not to be had now.
            return false;
        }
    }

    /// <summary>The other hosts that have the disk's data: those first to which a link is open.</summary>
    private List<Id160> HoldersOf(Group group) =>
    [
        .. group.Sets.SelectMany(set => set).Where(replica => !replica.Witness).Select(replica => replica.Host)
            .Prepend(group.PrimaryHost).Where(host => host != HostId && !host.IsZero).Distinct()
            .OrderBy(host => OpenLinkTo(host) is null ? 1 : 0),
    ];

    /// <summary>A link to a host that is open now, whoever dialled it.</summary>
    private PeerLink? OpenLinkTo(Id160 host)
    {
        lock (_lock)
        {
            return _peers.GetValueOrDefault(host)?.Link ?? _dialled.GetValueOrDefault(host);
        }
    }

    /// <summary>One host's page, if it is the one that is wanted; null where it has none, can't be reached, or is too slow.</summary>
    private async ValueTask<byte[]?> AskPageAsync(
        Id160 host, Id160 disk, ulong lsn, ulong lba, PageRecord wanted, CancellationToken cancellation)
    {
        using var patience = new CancellationTokenSource(FetchPatience, _services.Runtime.Time);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellation, _stop);
        try
        {
            var link = OpenLinkTo(host) ?? await LinkToAsync(host, null, any.Token);
            var answer = await link.AskAsync(
                LinkRequest.Page,
                frame =>
                {
                    frame.Put(disk);
                    frame.Put(lsn);
                    frame.Put(lba);
                    frame.Put((uint)wanted.Sectors);
                },
                any.Token);

            // The link's reading loop has other things to do than what follows.
            await Task.Yield();
            if (answer.Length == 0 || answer[0] != (byte)LinkAnswer.Ok)
            {
                return null;
            }

            if (PageMender.Proves(wanted, answer.AsSpan(1)))
            {
                return answer[1..];
            }

            TellOnce(
                $"{host} page {disk}", "page-refused",
                $"disk {disk}: what host {host} sends as sectors {lba} to {lba + wanted.Sectors} of LSN {lsn} is not that: not taken");
            return null;
        }
        catch (Exception e) when (e is IOException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            // The next host is asked; the disk tells of the page if none has it.
            return null;
        }
    }

    /// <summary>Waits until nobody asks any more, which is soon once the hub stops.</summary>
    private async ValueTask EndFetchesAsync()
    {
        _services.Healer = null;
        await _fetching.EnterAsync(FetchesMax, CancellationToken.None);
    }
}
