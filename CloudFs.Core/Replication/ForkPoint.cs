using CloudFs.Core.Disks;

namespace CloudFs.Core.Replication;

/// <summary>Where two copies of a disk part (PROTOCOL.md, 12), from the marks of their views alone: pure.</summary>
internal static class ForkPoint
{
    /// <summary>
    /// The newest LSN that both have in common: within one view there is one chain, so it is the lesser of the copy's last LSN in the
    /// last view that both have, and the LSN before the next view here.
    /// </summary>
    /// <param name="here">The views here, oldest first.</param>
    /// <param name="newestHere">The newest LSN here.</param>
    /// <param name="there">The newest views of the copy, oldest first.</param>
    /// <param name="lsnThere">Its newest LSN; 0 where it has nothing.</param>
    /// <returns>Null where no view is shared.</returns>
    public static ulong? Common(
        IReadOnlyList<ViewMark> here, ulong newestHere, IReadOnlyList<ViewMark> there, ulong lsnThere)
    {
        if (lsnThere == 0)
        {
            return 0;
        }

        for (var i = there.Count - 1; i >= 0; i--)
        {
            for (var j = here.Count - 1; j >= 0; j--)
            {
                if (here[j].Id == there[i].Id && here[j].Lsn == there[i].Lsn)
                {
                    var endThere = i + 1 < there.Count ? there[i + 1].Lsn - 1 : lsnThere;
                    var endHere = j + 1 < here.Count ? here[j + 1].Lsn - 1 : newestHere;
                    return Math.Min(endThere, endHere);
                }
            }
        }

        return null;
    }
}
