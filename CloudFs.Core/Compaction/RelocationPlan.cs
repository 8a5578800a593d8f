using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>An entry of kind view, branch or attributes that was copied.</summary>
/// <param name="Disk">Whose it is.</param>
/// <param name="Lsn">Its LSN.</param>
/// <param name="From">Where its header lay.</param>
/// <param name="To">Where the copy's header lies.</param>
public sealed record RelocatedEntry(Id160 Disk, ulong Lsn, LogPosition From, LogPosition To);

/// <summary>
/// What was copied, for the checkpoint to apply: until one has, nothing refers to the copies, and forgetting the plan
/// undoes everything.
/// </summary>
public sealed class RelocationPlan
{
    private readonly Dictionary<Id160, List<ExtentMove>> _moves = [];
    private readonly List<RelocatedEntry> _metas = [];
    private readonly List<ulong> _victims = [];

    /// <summary>Of each disk the moves, ascending and disjoint. Their sectors are exactly those that were live.</summary>
    public IReadOnlyDictionary<Id160, List<ExtentMove>> Moves => _moves;

    /// <summary>The new places of views, branches and attributes.</summary>
    public IReadOnlyList<RelocatedEntry> Metas => _metas;

    /// <summary>The uses that were emptied, as far as this plan goes.</summary>
    public IReadOnlyList<ulong> Victims => _victims;

    /// <summary>Moves in all.</summary>
    public int MoveCount { get; private set; }

    /// <summary>Bytes read from victims, their catalogs included, also from those that were given up.</summary>
    public long BytesRead { get; internal set; }

    /// <summary>Bytes written, footers included.</summary>
    public long BytesWritten { get; internal set; }

    /// <summary>Entries copied, whole or in part.</summary>
    public long EntriesKept { get; private set; }

    /// <summary>Entries of which nothing is left.</summary>
    public long EntriesDropped { get; private set; }

    /// <summary>Pages left out because nothing reads them.</summary>
    public long PagesDropped { get; private set; }

    /// <summary>Live pages left out because their bytes are damaged: their sectors are lost.</summary>
    public long PagesLost { get; private set; }

    internal void Take(VictimHaul haul)
    {
        foreach (var (disk, move) in haul.Moves)
        {
            if (!_moves.TryGetValue(disk, out var moves))
            {
                _moves.Add(disk, moves = []);
            }

            moves.Add(move);
        }

        MoveCount += haul.Moves.Count;
        _metas.AddRange(haul.Metas);
        _victims.Add(haul.Victim);
        EntriesKept += haul.EntriesKept;
        EntriesDropped += haul.EntriesDropped;
        PagesDropped += haul.PagesDropped;
        PagesLost += haul.PagesLost;
    }

    /// <summary>Brings the moves into order.</summary>
    internal void Sort()
    {
        foreach (var moves in _moves.Values)
        {
            moves.Sort((left, right) => left.Lba.CompareTo(right.Lba));
            for (var i = 1; i < moves.Count; i++)
            {
                Invariant.That(moves[i - 1].End <= moves[i].Lba, "a tree maps a sector once");
            }
        }
    }
}

/// <summary>What one victim adds to a plan: kept apart until all of the victim is copied, so that a plan has it whole or not.</summary>
internal sealed class VictimHaul
{
    /// <summary>What the memory is cut back to: a victim seldom has more.</summary>
    private const int KeptMoves = 1 << 15;

    public ulong Victim { get; private set; }

    public List<(Id160 Disk, ExtentMove Move)> Moves { get; } = [];

    public List<RelocatedEntry> Metas { get; } = [];

    public long EntriesKept { get; set; }

    public long EntriesDropped { get; set; }

    public long PagesDropped { get; set; }

    public long PagesLost { get; set; }

    public void Begin(ulong victim)
    {
        Victim = victim;
        Moves.Clear();
        if (Moves.Capacity > KeptMoves)
        {
            Moves.Capacity = KeptMoves;
        }

        Metas.Clear();
        EntriesKept = EntriesDropped = PagesDropped = PagesLost = 0;
    }

    /// <summary>Adds a run of sectors, joined with the last where it goes on from it.</summary>
    public void Move(Id160 disk, in ExtentMove move)
    {
        if (Moves.Count > 0 && Moves[^1].Disk == disk)
        {
            var last = Moves[^1].Move;
            if (last.End == move.Lba && last.Lsn == move.Lsn && last.From == move.From && last.To == move.To)
            {
                Moves[^1] = (disk, last with { Sectors = last.Sectors + move.Sectors });
                return;
            }
        }

        Moves.Add((disk, move));
    }
}
