namespace CloudFs.Core.Layout;

/// <summary>Why a structure of the device layout was not accepted.</summary>
public enum LayoutFault
{
    None = 0,

    /// <summary>No such structure here: another magic (or zeroes).</summary>
    Absent,

    /// <summary>Its checksum does not match: torn or rotted.</summary>
    Damaged,

    /// <summary>It needs a newer reader.</summary>
    NewerVersion,

    /// <summary>It belongs to another device.</summary>
    OtherDevice,

    /// <summary>It is whole, but was written for another place or an earlier use of this one.</summary>
    OtherPlace,

    /// <summary>Its fields contradict each other.</summary>
    Inconsistent,
}
