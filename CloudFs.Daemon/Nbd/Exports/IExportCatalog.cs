namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>The exports there are, as of now.</summary>
internal interface IExportCatalog
{
    /// <summary>Every disk once, in the order of ids.</summary>
    IReadOnlyList<IBlockTarget> List();

    /// <summary>Finds a disk by its whole id or its whole name.</summary>
    IBlockTarget? Find(string idOrName);
}
