using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>Where a branch springs from.</summary>
/// <param name="Disk">Base id of the origin.</param>
/// <param name="Version">Its version; what the branch's first entry has as <c>previous</c>.</param>
/// <param name="Lsn">That version's LSN in the origin.</param>
public sealed record BranchOrigin(Id160 Disk, Id160 Version, ulong Lsn);
