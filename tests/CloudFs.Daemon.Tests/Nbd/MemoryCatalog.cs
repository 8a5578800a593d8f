using CloudFs.Daemon.Nbd.Exports;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>A fixed set of exports.</summary>
internal sealed class MemoryCatalog(params IBlockTarget[] targets) : IExportCatalog
{
    public IReadOnlyList<IBlockTarget> List() => targets;

    public IBlockTarget? Find(string idOrName) =>
        Array.Find(targets, t => t.Id == idOrName || t.Name == idOrName);
}
