namespace CloudFs.Core.Format;

/// <summary>What an entry does. Zero is no kind.</summary>
public enum EntryKind : byte
{
    None = 0,

    /// <summary>Writes, discards and zeroes: the only kind with extents.</summary>
    Update = 1,

    /// <summary>Who may extend the disk from here on; also the first entry of a new disk.</summary>
    View = 2,

    /// <summary>The first entry of a disk that springs from a version of another.</summary>
    Branch = 3,

    /// <summary>A change of size, name, snapshots or horizon; also deletion.</summary>
    Attributes = 4,
}
