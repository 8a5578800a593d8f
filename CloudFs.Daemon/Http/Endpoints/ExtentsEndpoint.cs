using System.Globalization;
using System.Text;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>GET /extents?DISK</c>: what each part of a disk holds, a line <c>offset length data|hole|damaged</c> for each
/// run, in order, without gaps, to the disk's end. What a sparse copy asks before it reads.
/// </summary>
internal static class ExtentsEndpoint
{
    public static async Task GetAsync(Exchange exchange)
    {
        var disk = exchange.FindDisk(exchange.ReadQuery());
        var size = disk.SizeBytes;
        exchange.Response.ContentType = "text/plain; charset=utf-8";
        ulong offset = 0;
        List<DiskRange> ranges = [];
        DiskRange? open = null;
        while (offset < size)
        {
            ranges.Clear();
            var status = await disk.DescribeAsync(offset, size - offset, HttpLimits.RangesAtOnce, ranges);
            if (status != IoStatus.Ok || ranges.Count == 0)
            {
                throw new HttpRefusalException(StatusMap.For(status), StatusMap.Line(status, $"disk {disk.Id}"));
            }

            offset = ranges[^1].Offset + ranges[^1].Length;
            open = await WriteAsync(exchange, open, ranges);
        }

        if (open is { } last)
        {
            await exchange.Response.WriteAsync(Line(last), exchange.Ended);
        }
    }

    /// <summary>Writes all runs but the last, which the next batch may go on with; gives that one back.</summary>
    private static async Task<DiskRange?> WriteAsync(Exchange exchange, DiskRange? open, List<DiskRange> ranges)
    {
        var text = new StringBuilder();
        foreach (var range in ranges)
        {
            if (open is { } before)
            {
                if (before.Content == range.Content)
                {
                    open = before with { Length = before.Length + range.Length };
                    continue;
                }

                text.Append(Line(before));
            }

            open = range;
        }

        await exchange.Response.WriteAsync(text.ToString(), exchange.Ended);
        return open;
    }

    private static string Line(in DiskRange range) => string.Create(
        CultureInfo.InvariantCulture, $"{range.Offset} {range.Length} {Word(range.Content)}\n");

    private static string Word(RangeContent content) => content switch
    {
        RangeContent.Data => "data",
        RangeContent.Hole => "hole",
        RangeContent.Damaged => "damaged",
        _ => throw new ArgumentOutOfRangeException(nameof(content), content, "a content without a word"),
    };
}
