using System.Globalization;
using CloudFs.Core.Devices;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>Reads a whole tree from the device, and holds every page against its parent, and all against the root.</summary>
internal sealed class TreeVerifier(TreePages pages, TreeRoot root, Action<string> tellDamage, Action<ulong>? visitPage)
{
    private ulong _named;
    private long _read;
    private bool _isDamaged;
    private ulong _extents;
    private ulong _dataSectors;
    private ulong _lostSectors;

    public async ValueTask<long> RunAsync()
    {
        if (root.IsEmpty)
        {
            return 0;
        }

        if (root.Height is < 1 or > IndexPageLayout.HeightMax)
        {
            Tell(root.Page, string.Create(CultureInfo.InvariantCulture, $"a tree can't have {root.Height} levels"));
            return 0;
        }

        await VisitAsync(new PagePointer(0, root.Page, root.Check), root.Height - 1, ulong.MaxValue, isRoot: true);
        var found = (_extents, _dataSectors, _lostSectors, _named);
        if (!_isDamaged && found != (root.Extents, root.DataSectors, root.LostSectors, root.Pages))
        {
            Tell(root.Page, "the root states other sums than its leaves add up to");
        }

        return _read;
    }

    private async ValueTask VisitAsync(PagePointer child, int level, ulong limit, bool isRoot)
    {
        _named++;
        visitPage?.Invoke(child.Page);
        var bytes = new byte[IndexPageLayout.Size];
        if (await TryReadAsync(child, level, bytes) is { } fault)
        {
            Tell(child.Page, fault);
            return;
        }

        _read++;
        var count = new IndexPage(bytes).Count;
        if (!isRoot && new IndexPage(bytes).Key(0) != child.Key)
        {
            Tell(child.Page, "it begins elsewhere than its parent says");
        }

        if (level == 0)
        {
            CountExtents(child.Page, bytes, limit);
            return;
        }

        for (var row = 0; row < count; row++)
        {
            var next = new IndexPage(bytes).Child(row);
            var nextLimit = row + 1 < count ? new IndexPage(bytes).Key(row + 1) : limit;
            await VisitAsync(next, level - 1, nextLimit, isRoot: false);
        }
    }

    private async ValueTask<string?> TryReadAsync(PagePointer child, int level, byte[] bytes)
    {
        try
        {
            return await pages.TryReadAsync(child.Page, child.Check, level, bytes);
        }
        catch (DeviceException e)
        {
            return $"it can't be read: {e.Message}";
        }
    }

    private void CountExtents(ulong number, byte[] bytes, ulong limit)
    {
        var page = new IndexPage(bytes);
        var extents = page.Extents();
        for (var row = 0; row < page.Count; row++)
        {
            var extent = extents[row];
            _extents++;
            _dataSectors += extent.Content == MappedContent.Data ? extent.Sectors : 0;
            _lostSectors += extent.Content == MappedContent.Lost ? extent.Sectors : 0;
            if (row == page.Count - 1 && extent.End > limit)
            {
                Tell(number, "it reaches into its neighbour");
            }
        }
    }

    private void Tell(ulong page, string what)
    {
        _isDamaged = true;
        tellDamage(string.Create(CultureInfo.InvariantCulture, $"index page {page}: {what}"));
    }
}
