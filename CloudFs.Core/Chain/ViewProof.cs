using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>
/// Entropy and lock of a view's entries, kept until the next view reveals the secret and they can be held against it:
/// H(H(s ‖ entropy)) = lock. Memory is bounded: entries beyond the limit are counted, not kept.
/// </summary>
public sealed class ViewProof
{
    /// <summary>Entries kept unless told otherwise: 48 MiB for the longest view.</summary>
    public const int DefaultEntriesMax = 1 << 20;

    private readonly int _entriesMax;
    private readonly List<(Id160 Entropy, Id160 Lock)> _entries = [];

    /// <param name="firstLsn">LSN of the first entry that is added.</param>
    /// <param name="entriesMax">How many entries are kept.</param>
    public ViewProof(ulong firstLsn, int entriesMax = DefaultEntriesMax)
    {
        FirstLsn = firstLsn;
        _entriesMax = entriesMax;
    }

    /// <summary>LSN of the first entry.</summary>
    public ulong FirstLsn { get; }

    /// <summary>Entries that were added.</summary>
    public ulong Count { get; private set; }

    /// <summary>Entries that were not kept, and so will not be checked.</summary>
    public ulong Skipped => Count - (ulong)_entries.Count;

    /// <summary>Adds the next entry of the view, in LSN order.</summary>
    public void Add(Id160 entropy, Id160 @lock)
    {
        Count++;
        if (_entries.Count < _entriesMax)
        {
            _entries.Add((entropy, @lock));
        }
    }

    /// <summary>Holds all kept entries against the secret. Takes two short hashes for each.</summary>
    /// <param name="secret">What the next view revealed.</param>
    /// <returns>LSN of the first entry that was locked with another secret; 0 if there is none.</returns>
    public ulong FindForeign(Id160 secret)
    {
        for (var i = 0; i < _entries.Count; i++)
        {
            var (entropy, @lock) = _entries[i];
            if (EntryHashes.Lock(EntryHashes.Token(secret, entropy)) != @lock)
            {
                return FirstLsn + (ulong)i;
            }
        }

        return 0;
    }
}
