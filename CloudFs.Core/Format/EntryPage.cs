namespace CloudFs.Core.Format;

/// <summary>One page of an entry: where it lies on the disk and in the body.</summary>
/// <param name="Index">Its record's index, from 0.</param>
/// <param name="Extent">Index of the extent that it belongs to; -1 in JSON bodies.</param>
/// <param name="Lba">Its first sector on the disk; in JSON bodies counted from the body's start.</param>
/// <param name="BodyOffset">Where its bytes begin in the body; where they would, if dropped.</param>
/// <param name="Record">Hashes, length and state.</param>
public readonly record struct EntryPage(int Index, int Extent, ulong Lba, int BodyOffset, PageRecord Record)
{
    /// <summary>True if its bytes are in the body.</summary>
    public bool IsPresent => Record.State == PageState.Present;
}
