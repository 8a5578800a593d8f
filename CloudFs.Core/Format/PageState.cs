namespace CloudFs.Core.Format;

/// <summary>Whether a page's bytes are in the body.</summary>
public enum PageState : byte
{
    /// <summary>They are.</summary>
    Present = 0,

    /// <summary>Compaction took them out: no version within reach reads them. The hashes stay.</summary>
    Dropped = 1,
}
