using CloudFs.Core.Checkpoints;

namespace CloudFs.Core.Engine;

/// <summary>Those who keep an engine going besides the log.</summary>
internal sealed record EngineUpkeep(
    Housekeeper Housekeeper, Checkpointer Checkpointer, Compactor Compactor, CheckpointStore Checkpoints) : IDisposable
{
    public void Dispose()
    {
        Housekeeper.Dispose();
        Checkpointer.Dispose();
    }
}
