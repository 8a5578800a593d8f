using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>A forced view that was met: it proves nothing, so an operator must know of it.</summary>
/// <param name="Disk">The disk's base id.</param>
/// <param name="Lsn">LSN of the view's entry.</param>
/// <param name="Id">Its id: what an operator admits.</param>
/// <param name="Ballot">Its ballot.</param>
public readonly record struct ForcedView(Id160 Disk, ulong Lsn, Id160 Id, Ballot Ballot);
