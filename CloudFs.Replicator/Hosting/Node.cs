using System.Collections.Concurrent;
using System.Security.Cryptography;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;
using CloudFs.Replicator.Repair;
using CloudFs.Replicator.Store;

namespace CloudFs.Replicator.Hosting;

/// <summary>What the parts of one replicator share. Each member is safe from any thread.</summary>
internal sealed class Node
{
    private const int MaxCallers = 64;

    private readonly ConcurrentDictionary<string, byte> _callers = new();
    private volatile LocalDisks _local = new(null);
    private volatile string? _daemonTrouble = "the daemon was not asked yet";

    public required ReplicatorOptions Options { get; init; }

    public required HostTable Table { get; init; }

    public required PeerStore Store { get; init; }

    public required EventLog Log { get; init; }

    public required DaemonClient Daemon { get; init; }

    public required PeerClient Peers { get; init; }

    public required IntentBook Intents { get; init; }

    public required VoteBook Votes { get; init; }

    public TimeProvider Time { get; init; } = TimeProvider.System;

    public NodeCounters Counters { get; } = new();

    /// <summary>Ends when the process is told to stop.</summary>
    public required CancellationToken Stopping { get; init; }

    public string Self => Table.Self;

    public LocalDisks Local
    {
        get => _local;
        set => _local = value;
    }

    /// <summary>Why the daemon can't be used; null while it can.</summary>
    public string? DaemonTrouble
    {
        get => _daemonTrouble;
        set => _daemonTrouble = value;
    }

    /// <summary>Wakes the loop that asks the daemon, so that what was just done is seen at once.</summary>
    public SemaphoreSlim Wake { get; } = new(0, 1);

    public void AskDaemonSoon()
    {
        try
        {
            Wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is to wake already.
            return;
        }
    }

    /// <summary>Addresses to try, from the command line and from callers of <c>/peers</c>; of the latter a few are kept.</summary>
    public IReadOnlyList<string> Seeds => [.. Options.Seeds, .. _callers.Keys];

    public void AddSeed(string address)
    {
        if (_callers.Count < MaxCallers)
        {
            _callers.TryAdd(address, 0);
        }
    }

    public static Id160 NewSecret()
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        RandomNumberGenerator.Fill(bytes);
        return new Id160(bytes);
    }
}

/// <summary>What <c>/metrics</c> counts. Incremented with <see cref="Interlocked"/>.</summary>
internal sealed class NodeCounters
{
    public long GossipSent;
    public long GossipFailed;
    public long GossipTaken;
    public long GossipRefused;
    public long DisksMade;
    public long DisksRefused;
    public long RepairSteps;
    public long RepairFailures;
}
