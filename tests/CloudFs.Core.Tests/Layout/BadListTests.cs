using CloudFs.Core.Layout;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>The list of bad places proves itself, and is of this device, this block, and sense.</summary>
public sealed class BadListTests
{
    private const int Segments = 300;

    private static readonly BadList Sample = new(7, [new BadPlace(3, 9, 12), new BadPlace(9, 4, 12), new BadPlace(BadList.IndexArea, -1, 0)]);

    [Fact]
    public void What_was_written_is_read_and_a_full_list_fits()
    {
        var full = new BadList(ulong.MaxValue, [.. Enumerable.Range(0, BadList.MaxPlaces).Select(i => new BadPlace(i, -1, 0))]);
        foreach (var list in (BadList[])[Sample, full, new BadList(1, [])])
        {
            Assert.Equal(LayoutFault.None, BadList.TryRead(Written(list), LayoutSamples.Device, 2, Segments, out var read));
            Assert.Equal(list.Generation, read!.Generation);
            Assert.Equal(list.Places, read.Places);
        }
    }

    [Fact]
    public void What_is_of_another_device_or_block_or_beyond_the_device_is_refused()
    {
        var bytes = Written(Sample);

        Assert.Equal(LayoutFault.OtherDevice, BadList.TryRead(bytes, LayoutSamples.Id(0x55), 2, Segments, out _));
        Assert.Equal(LayoutFault.OtherPlace, BadList.TryRead(bytes, LayoutSamples.Device, 1, Segments, out _));
        Assert.Equal(LayoutFault.Inconsistent, BadList.TryRead(bytes, LayoutSamples.Device, 2, 9, out _));
        Assert.Equal(LayoutFault.Absent, BadList.TryRead(new byte[4096], LayoutSamples.Device, 2, Segments, out _));
        Assert.Equal(LayoutFault.Absent, BadList.TryRead(bytes.AsSpan(0, 4095), LayoutSamples.Device, 2, Segments, out _));
    }

    [Fact]
    public void Every_flipped_bit_is_found()
    {
        var bytes = Written(Sample);
        for (var bit = 0; bit < bytes.Length * 8; bit += 7)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.NotEqual(LayoutFault.None, BadList.TryRead(bytes, LayoutSamples.Device, 2, Segments, out var read));
            Assert.Null(read);
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void Lists_that_prove_themselves_and_make_no_sense_are_refused()
    {
        foreach (var places in (BadPlace[][])[
            [new BadPlace(3, -1, 0), new BadPlace(3, -1, 0)], [new BadPlace(3, 3, 5)], [new BadPlace(3, 4, 0)], [new BadPlace(3, -1, 5)],
            [new BadPlace(-2, -1, 0)], [new BadPlace(3, Segments, 1)]])
        {
            Assert.Equal(
                LayoutFault.Inconsistent, BadList.TryRead(Written(new BadList(1, places)), LayoutSamples.Device, 2, Segments, out _));
        }
    }

    private static byte[] Written(BadList list)
    {
        var bytes = new byte[BadListLayout.Size];
        list.Write(bytes, LayoutSamples.Device, 2);
        return bytes;
    }
}
