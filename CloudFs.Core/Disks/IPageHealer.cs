using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>Has pages from other hosts that are damaged here. Any thread.</summary>
internal interface IPageHealer
{
    /// <summary>True when other hosts hold the disk: only then is it worth asking.</summary>
    bool MayHave(Id160 disk) => true;

    /// <summary>
    /// A page of an entry, whole, from whoever has it; null where nobody within reach does. Takes a bounded time. What it gives is for
    /// the caller to prove.
    /// </summary>
    /// <param name="disk">The disk.</param>
    /// <param name="lsn">The entry that wrote it.</param>
    /// <param name="lba">The page's first sector on the disk.</param>
    /// <param name="wanted">The page's record in the entry's header.</param>
    /// <param name="cancellation">Gives up.</param>
    ValueTask<byte[]?> FetchAsync(Id160 disk, ulong lsn, ulong lba, PageRecord wanted, CancellationToken cancellation);

    /// <summary>So many pages that were fetched are on the device again.</summary>
    void NoteHealed(int pages);
}
