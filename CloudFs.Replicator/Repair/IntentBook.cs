using System.Collections.Concurrent;
using CloudFs.Replicator.Store;

namespace CloudFs.Replicator.Repair;

/// <summary>What is wanted of disks, and what is being done about each and why. The first outlives the process where it can.</summary>
internal sealed class IntentBook(PeerStore store, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, DiskIntent> _intents = new(store.LoadIntents());
    private readonly ConcurrentDictionary<string, long> _formerSince = new();
    private readonly ConcurrentDictionary<string, string> _reasons = new();

    /// <summary>Disks that lack something, with the reason and the next step.</summary>
    public IReadOnlyDictionary<string, string> Reasons => _reasons;

    public DiskIntent Get(string disk)
    {
        var intent = _intents.GetValueOrDefault(disk) ?? new DiskIntent();
        return intent.Former is null
            ? intent : intent with { FormerAway = time.GetElapsedTime(_formerSince.GetOrAdd(disk, _ => time.GetTimestamp())) };
    }

    public void Change(string disk, Func<DiskIntent, DiskIntent> change)
    {
        var old = _intents.GetValueOrDefault(disk) ?? new DiskIntent();
        var changed = change(old) with { FormerAway = default };
        if (changed == old)
        {
            return;
        }

        if (changed.Former != old.Former)
        {
            _formerSince.TryRemove(disk, out _);
        }

        _intents[disk] = changed;
        store.SaveIntent(disk, changed == new DiskIntent() ? null : changed);
    }

    public void SetReason(string disk, string? reason)
    {
        if (reason is null)
        {
            _reasons.TryRemove(disk, out _);
        }
        else
        {
            _reasons[disk] = reason;
        }
    }

    /// <summary>Forgets the reasons of disks of which this host is not the primary any more.</summary>
    public void KeepReasons(IReadOnlySet<string> disks)
    {
        foreach (var gone in _reasons.Keys.Where(disk => !disks.Contains(disk)))
        {
            _reasons.TryRemove(gone, out _);
        }
    }
}
