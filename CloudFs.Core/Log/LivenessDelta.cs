using CloudFs.Core.Index;

namespace CloudFs.Core.Log;

/// <summary>
/// What merges change in what the trees refer to, by segment use: collected while they run, applied when their trees take
/// the place of the old ones. One writer.
/// </summary>
public sealed class LivenessDelta : ITreeLiveness
{
    private readonly Dictionary<ulong, (int References, int Sectors)> _changes = [];

    /// <summary>The changes, by use.</summary>
    public IReadOnlyDictionary<ulong, (int References, int Sectors)> Changes => _changes;

    public void Added(in MappedExtent extent) => Change(extent, 1);

    public void Removed(in MappedExtent extent, ulong byLsn) => Change(extent, -1);

    private void Change(in MappedExtent extent, int sign)
    {
        if (!extent.Position.IsNone)
        {
            var sectors = extent.Content == MappedContent.Data ? checked((int)extent.Sectors) : 0;
            ref var change = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(
                _changes, extent.Position.Use, out _);
            change = (change.References + sign, change.Sectors + (sign * sectors));
        }
    }
}
