using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>One host of a view's replica set.</summary>
/// <param name="Host">Host id.</param>
/// <param name="Device">Device id: only with that device does the host count.</param>
/// <param name="Share">The host's slice of the view's secret, encrypted for it, in base64; empty where there is
/// none.</param>
/// <param name="Witness">True if it holds views and promises but no data.</param>
public sealed record Replica(Id160 Host, Id160 Device, string Share = "", bool Witness = false);
