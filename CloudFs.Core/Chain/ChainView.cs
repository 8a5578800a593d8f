using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>A view of a disk with its place in the chain: what is kept of every view for ever. Immutable.</summary>
/// <param name="Body">Ballot, replicas and H(secret).</param>
/// <param name="Lsn">LSN of the view's own entry.</param>
/// <param name="Id">Its id.</param>
/// <param name="Previous">The version that it extends.</param>
public sealed record ChainView(ViewBody Body, ulong Lsn, Id160 Id, Id160 Previous)
{
    /// <summary>Epoch and primary.</summary>
    public Ballot Ballot => Body.Ballot;

    /// <summary>H(the view's secret).</summary>
    public Id160 Hash => Body.View;
}
