using CloudFs.Core.Engine;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>The disks of an engine as exports.</summary>
internal sealed class EngineCatalog(StorageEngine engine) : IExportCatalog
{
    public IReadOnlyList<IBlockTarget> List()
    {
        var disks = engine.ListDisks();
        var exports = new IBlockTarget[disks.Count];
        for (var i = 0; i < exports.Length; i++)
        {
            exports[i] = new DiskTarget(disks[i]);
        }

        return exports;
    }

    public IBlockTarget? Find(string idOrName) =>
        engine.TryGetDisk(idOrName, out var disk) ? new DiskTarget(disk) : null;
}
