using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>Majorities (PROTOCOL.md, "Words"), by counting: pure.</summary>
internal static class Quorum
{
    /// <summary>More than half.</summary>
    public static int MajorityOf(int members) => (members / 2) + 1;

    /// <summary>The largest value that a majority of the members have reached; of no members, none.</summary>
    /// <param name="values">What each has reached; it is sorted.</param>
    public static ulong ReachedByMajority(Span<ulong> values)
    {
        if (values.IsEmpty)
        {
            return 0;
        }

        values.Sort();
        return values[values.Length - MajorityOf(values.Length)];
    }

    /// <summary>What a majority of a view's replicas have reached.</summary>
    /// <param name="replicas">The view's.</param>
    /// <param name="withWitnesses">Whether witnesses count: for leases, promises and views, never for data.</param>
    /// <param name="reached">What one has reached; 0 for nothing.</param>
    public static ulong ReachedBy(IReadOnlyList<Replica> replicas, bool withWitnesses, Func<Replica, ulong> reached)
    {
        Span<ulong> values = stackalloc ulong[64];
        var count = 0;
        for (var i = 0; i < replicas.Count && count < values.Length; i++)
        {
            if (withWitnesses || !replicas[i].Witness)
            {
                values[count++] = reached(replicas[i]);
            }
        }

        return ReachedByMajority(values[..count]);
    }

    /// <summary>True when a host holds a place in the set with that device.</summary>
    public static bool Names(IReadOnlyList<Replica> replicas, Id160 host, Id160 device)
    {
        for (var i = 0; i < replicas.Count; i++)
        {
            if (replicas[i].Host == host && replicas[i].Device == device)
            {
                return true;
            }
        }

        return false;
    }
}
