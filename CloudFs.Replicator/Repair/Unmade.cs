namespace CloudFs.Replicator.Repair;

/// <summary>What becomes of a disk whose coordinator was not heard of again.</summary>
internal enum UnmadeStep
{
    /// <summary>It can't be told yet: too many hosts are silent.</summary>
    Wait,

    /// <summary>A majority has it: it exists, and the others get it.</summary>
    Complete,

    /// <summary>No majority has it or can have had it.</summary>
    Drop,
}

/// <summary>PROTOCOL.md, 23, as a decision.</summary>
internal static class Unmade
{
    /// <param name="named">Hosts that the first entry names.</param>
    /// <param name="have">Those that have it, this one included.</param>
    /// <param name="lack">Those that said that they don't.</param>
    public static UnmadeStep Decide(int named, int have, int lack)
    {
        var majority = (named / 2) + 1;
        return have >= majority ? UnmadeStep.Complete : named - lack < majority ? UnmadeStep.Drop : UnmadeStep.Wait;
    }
}
