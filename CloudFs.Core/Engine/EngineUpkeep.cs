using CloudFs.Core.Checkpoints;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Engine;

/// <summary>Those who keep an engine going besides the log.</summary>
internal sealed record EngineUpkeep(
    Housekeeper Housekeeper, Checkpointer Checkpointer, Compactor Compactor, CheckpointStore Checkpoints,
    IndexSpace Index, PageCache Pages) : IDisposable
{
    public void Dispose()
    {
        Housekeeper.Dispose();
        Checkpointer.Dispose();
    }
}
