using CloudFs.Daemon.Nbd.Exports;

namespace CloudFs.Daemon.Nbd.Handshake;

/// <summary>Finds the export that a client means, or the line that tells it why there is none.</summary>
internal static class ExportNames
{
    // Enough to recognise a mistyped name, too little to fill a log with.
    private const int MaxShown = 64;

    /// <summary>
    /// By id or name. The empty name is the default export: the only disk there is. With several it would be a guess,
    /// and a client that writes to the wrong disk destroys it.
    /// </summary>
    public static IBlockTarget? Find(IExportCatalog catalog, string name, out string reason)
    {
        reason = "";
        if (name.Length > 0)
        {
            var found = catalog.Find(name);
            if (found is null)
            {
                reason = $"there is no disk '{Show(name)}'; an export is a disk's whole name or its 40-digit id";
            }

            return found;
        }

        var all = catalog.List();
        if (all.Count == 1)
        {
            return all[0];
        }

        reason = all.Count == 0
            ? "there is no disk yet; make one with: cloudfs newdisk"
            : $"there are {all.Count} disks; name one of them as the export";
        return null;
    }

    private static string Show(string name)
    {
        var shown = name.Length > MaxShown ? name[..MaxShown] + "…" : name;
        return string.Create(shown.Length, shown, static (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
            {
                to[i] = char.IsControl(from[i]) || char.IsSurrogate(from[i]) ? '?' : from[i];
            }
        });
    }
}
