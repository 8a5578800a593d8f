using CloudFs.Core.Primitives;

namespace CloudFs.Replicator.Placement;

/// <summary>A host as placement sees it: three things, all of which another program can know.</summary>
/// <param name="Id">The host's id.</param>
/// <param name="Zone">Hosts of one zone fail together: a disk's replicas lie in different ones where there are enough.</param>
/// <param name="Weight">Its share of the disks in proportion to others; positive.</param>
internal sealed record PlacementHost(Id160 Id, string Zone, double Weight);
