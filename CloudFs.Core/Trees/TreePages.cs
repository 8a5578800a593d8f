using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>Reads index pages, each of which is proved before a byte of it is used.</summary>
internal sealed class TreePages(PageCache cache, IBlockDevice device)
{
    public PageCache Cache => cache;

    /// <summary>Fills <paramref name="into"/> from the device; null, or why it is not the page that is meant.</summary>
    public async ValueTask<string?> TryReadAsync(ulong page, ulong check, int level, Memory<byte> into)
    {
        if (!IndexPageNumber.TryOffset(page, device.Length, out var offset))
        {
            return "there is no such page";
        }

        if (!await TryReadAsync(offset, into) && !await TryReadAsync(offset, into))
        {
            return "the device can't read it";
        }

        if (XXH64.DigestOf(into.Span) != check)
        {
            return "its bytes are not those that its parent means";
        }

        return IndexPage.IsSound(into.Span, level) ? null : "its contents make no sense";
    }

    private async ValueTask<bool> TryReadAsync(ulong offset, Memory<byte> into)
    {
        try
        {
            await device.ReadAsync(offset, into);
            return true;
        }
        catch (DeviceException)
        {
            // Perhaps for this once; else the page is as damaged as one that rotted: all of it can be made again from the log.
            return false;
        }
    }

    /// <summary>Fills <paramref name="into"/>; true when the page came from the cache. Does not put it there.</summary>
    /// <exception cref="TreeDamagedException">It is not the page that is meant.</exception>
    public async ValueTask<bool> ReadAsync(ulong page, ulong check, int level, Memory<byte> into)
    {
        if (cache.TryCopy(page, check, into))
        {
            return new IndexPage(into.Span).Level == level
                ? true : throw new TreeDamagedException(page, "it is of another level than its parent means");
        }

        return await TryReadAsync(page, check, level, into) is { } fault
            ? throw new TreeDamagedException(page, fault) : false;
    }
}
