using System.Diagnostics;
using System.Globalization;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Core.Tests.Trees;

/// <summary>What a tree costs. The figures are told; those that don't depend on the machine are held.</summary>
public sealed class TreeFiguresTests(ITestOutputHelper output)
{
    private const int Disk = 2 << 20;
    private const int PerMerge = 50_000;

    [Fact]
    public async Task A_million_random_extents_take_ten_bytes_each_and_a_merge_writes_what_it_touches()
    {
        var rig = new TreeRig(segments: 20, cacheBytes: 64 << 20);
        var random = new Random(1);
        var entry = 0UL;
        while (rig.Root.Extents < 1_000_000)
        {
            await MergeAsync(rig, random, PerMerge * 8, ref entry);
        }

        var all = await rig.AssertSoundAsync();
        var (perPage, bytes) = (rig.Root.Extents / (double)rig.Root.Pages, rig.Root.Pages * 4096);
        var (written, watch, merges) = (rig.Space.BytesWritten, Stopwatch.StartNew(), 5);
        for (var i = 0; i < merges; i++)
        {
            await MergeAsync(rig, random, PerMerge, ref entry);
        }

        var merged = watch.Elapsed;
        written = rig.Space.BytesWritten - written;
        Tell($"{all.Count} extents: {perPage:F0} a page, {bytes} bytes, {rig.Root.Height} levels");
        Tell($"a merge of {PerMerge} writes {written / merges} bytes in {merged.TotalMilliseconds / merges:F0} ms (Settle included)");
        var small = rig.Space.BytesWritten;
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 100).Select(i => Write(random, ++entry))));
        small = rig.Space.BytesWritten - small;
        Tell($"a merge of 100 writes {small} bytes");
        await LookAsync(rig, random);

        // Leaves of eight to ten bytes an extent hold some 450; merges that touch every leaf keep them full.
        Assert.InRange(perPage, 350, 500);
        Assert.InRange(written / merges, (long)bytes / 2, (long)bytes * 6 / 5);
        Assert.InRange(small, 100 * 2048, 250 * 4096);
    }

    private static MappedExtent Write(Random random, ulong entry) => new(
        (ulong)random.Next(Disk) * 8, 8, MappedContent.Data, 0, entry, new LogPosition(1 + (entry / 3600), (uint)(entry % 3600) * 4608));

    private static Task MergeAsync(TreeRig rig, Random random, int count, ref ulong entry)
    {
        var map = new ExtentMap(null);
        for (var i = 0; i < count; i++)
        {
            map.Apply(Write(random, ++entry));
        }

        return MergeAndSettleAsync(rig, map.Runs());
    }

    private static async Task MergeAndSettleAsync(TreeRig rig, ExtentRuns layer)
    {
        await rig.MergeAsync(layer);
        rig.Space.Settle();
    }

    private async Task LookAsync(TreeRig rig, Random random)
    {
        const int Times = 200_000;
        var into = new MappedExtent[64];
        await rig.AssertSoundAsync();
        for (var lba = 0UL; lba < Disk * 8UL; lba += 1000)
        {
            await rig.Tree.FindAsync(rig.Root, lba, lba + 1, into);
        }

        foreach (var sectors in new ulong[] { 8, 256 })
        {
            var (watch, misses, found) = (Stopwatch.StartNew(), rig.Cache.Misses, 0L);
            for (var i = 0; i < Times; i++)
            {
                var lba = (ulong)random.Next(Disk) * 8;
                found += (await rig.Tree.FindAsync(rig.Root, lba, lba + sectors, into)).Count;
            }

            Assert.Equal(0, rig.Cache.Misses - misses);
            Tell($"{watch.Elapsed.TotalMicroseconds / Times:F2} us a cached look-up of {sectors} sectors, {(double)found / Times:F1} extents");
        }
    }

    private void Tell(FormattableString text) => output.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
