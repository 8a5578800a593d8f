using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>Bytes that belong at a place in the log.</summary>
public readonly record struct LogBytes(LogPosition Position, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>The place behind the last.</summary>
    public LogPosition End => Position.Plus(Bytes.Length);
}

/// <summary>
/// Writes pages again, in place, whose bytes on the device are damaged. What lies beside a page in its physical blocks is
/// written as it is, so that a power cut leaves each block as it was or healed. Only blocks below what is durable are touched:
/// the log and relocation append behind these, and never write them again. Any thread; one entry's pages at a time.
/// <para>
/// The segment is held meanwhile, so that it can't be freed and used for something else. Where its use moves to another segment
/// while it is written, what was written went to a segment that nobody uses any more, and does not count.
/// </para>
/// </summary>
/// <param name="device">The device.</param>
/// <param name="segments">Where uses lie.</param>
/// <param name="log">Tells what is durable.</param>
/// <param name="physicalBlock">The unit to which commits are padded, of the label: bytes.</param>
public sealed class PageRewriter(IBlockDevice device, SegmentTable segments, LogWriter log, int physicalBlock) : IDisposable
{
    private readonly SemaphoreSlim _one = new(1);

    /// <summary>Writes pages of one entry, which the caller has proved; they are durable when it returns.</summary>
    /// <returns>Null when they are there again; else one line: why not.</returns>
    public async ValueTask<string?> WriteAsync(IReadOnlyList<LogBytes> pages)
    {
        if (log.Failure is { } failure)
        {
            return $"the device takes nothing more: {failure.Message}";
        }

        if (pages.Any(page => !IsDurable(page)))
        {
            return "what lies there is not durable yet";
        }

        await _one.WaitAsync();
        try
        {
            return await WriteHeldAsync(pages[0].Position.Use, pages);
        }
        catch (DeviceException e)
        {
            return e.Message;
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();

    private async ValueTask<string?> WriteHeldAsync(ulong use, IReadOnlyList<LogBytes> pages)
    {
        const string Gone = "its segment went elsewhere meanwhile";
        if (!segments.TryLocate(use, out var segment) || !segments.TryHold(use, segment, orOpen: true))
        {
            return Gone;
        }

        try
        {
            var start = DeviceGeometry.SegmentOffset(segment);
            foreach (var page in pages)
            {
                await WritePageAsync(start + page.Position.Offset, page.Bytes);
            }

            await device.FlushAsync();
            foreach (var page in pages)
            {
                if (!await HoldsAsync(start + page.Position.Offset, page.Bytes))
                {
                    return "the device gives other bytes than were written to it";
                }
            }

            return segments.TryLocate(use, out var now) && now == segment ? null : Gone;
        }
        finally
        {
            segments.EndHold(use);
        }
    }

    private async ValueTask WritePageAsync(ulong offset, ReadOnlyMemory<byte> page)
    {
        var before = (int)(offset % (ulong)physicalBlock);
        var blocks = new byte[(before + page.Length + physicalBlock - 1) / physicalBlock * physicalBlock];
        var after = blocks.AsMemory(before + page.Length);
        page.CopyTo(blocks.AsMemory(before));

        // The page itself is not read: it may be what the device can't read.
        if (before > 0)
        {
            await device.ReadAsync(offset - (ulong)before, blocks.AsMemory(0, before));
        }

        if (!after.IsEmpty)
        {
            await device.ReadAsync(offset + (ulong)page.Length, after);
        }

        await device.WriteAsync(offset - (ulong)before, blocks);
    }

    private async ValueTask<bool> HoldsAsync(ulong offset, ReadOnlyMemory<byte> page)
    {
        var found = new byte[page.Length];
        await device.ReadAsync(offset, found);
        return found.AsSpan().SequenceEqual(page.Span);
    }

    /// <summary>True where all of its blocks are: copies are referred to only once they are durable, and padded as the log is.</summary>
    private bool IsDurable(in LogBytes page)
    {
        var end = page.End.Plus(physicalBlock - 1).Value;
        return LogPosition.IsRelocation(page.Position.Use) || new LogPosition(end - (end % (ulong)physicalBlock)) <= log.Durable;
    }
}
