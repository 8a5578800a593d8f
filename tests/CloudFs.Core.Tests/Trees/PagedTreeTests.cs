using CloudFs.Core.Index;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Trees;

/// <summary>The paged tree against an array of sectors.</summary>
public sealed class PagedTreeTests
{
    private const ulong Far = (1UL << 39) << LogPosition.OffsetBits;

    [Fact]
    public void Trees_agree_with_an_array_through_merges_of_all_sorts() => Seeds.Run(0, 24, 6, seed => RunAsync(seed).GetAwaiter().GetResult());

    [Fact]
    public async Task An_extent_over_everything_leaves_one_leaf_and_tells_of_all_that_went()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Wide(150_000));
        Assert.Equal(3, rig.Root.Height);
        rig.Space.Settle();

        const ulong Disk = 1UL << 55;
        rig.References.SupersededBy.Clear();
        await rig.MergeAsync(TreeRig.Layer([new MappedExtent(0, Disk, MappedContent.Zero, 0, 300_000, new LogPosition(99, 512))]));

        var all = await rig.AssertSoundAsync();
        Assert.Equal((0UL, Disk), (Assert.Single(all).Lba, all[0].Sectors));
        Assert.Equal((1, 1UL), (rig.Root.Height, rig.Root.Pages));
        Assert.Equal([300_000UL], rig.References.SupersededBy);
        rig.Space.Settle();

        // The leaf that is left lies where there was room while the old tree still stood.
        Assert.Equal(5, rig.Segments.Free);
    }

    [Fact]
    public async Task A_root_with_one_child_is_replaced_by_it()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Wide(150_000));
        rig.Space.Settle();
        Assert.Equal(3, rig.Root.Height);

        await rig.MergeAsync(TreeRig.Layer([new MappedExtent(1600, 1UL << 40, MappedContent.Zero, 0, 300_000, new LogPosition(99, 512))]));

        Assert.Equal((1, 101UL), (rig.Root.Height, rig.Root.Extents));
        await rig.AssertSoundAsync();
    }

    [Fact]
    public async Task Appended_extents_fill_their_leaves()
    {
        var rig = new TreeRig();
        for (var merge = 0; merge < 50; merge++)
        {
            // Every other page of the disk, from an entry each.
            await rig.MergeAsync(TreeRig.Layer(
                Enumerable.Range(merge * 400, 400).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
            rig.Space.Settle();
        }

        await rig.AssertSoundAsync();
        Assert.InRange(rig.Root.Extents / (double)rig.Root.Pages, 450, 1000);
    }

    [Fact]
    public async Task Leaves_that_were_nearly_emptied_share_pages_again()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 50_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        rig.Space.Settle();
        var before = rig.Root.Pages;

        // Of each 1000 extents, 990 go.
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 50).Select(i => new MappedExtent(
            (ulong)i * 16_000, 990 * 16, MappedContent.Zero, 0, 60_000, new LogPosition(50, 512)))));

        await rig.AssertSoundAsync();
        Assert.True(rig.Root.Pages < before / 15, $"{rig.Root.Pages} of {before}");
    }

    [Fact]
    public async Task A_move_that_finds_nothing_rewrites_no_leaf()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 5_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        rig.Space.Settle();
        var (written, before) = (rig.Space.BytesWritten, rig.Root);

        await rig.MergeAsync(TreeRig.NoLayer, new ExtentMove(8000, 8, 7, new LogPosition(5, 512), new LogPosition(Far + 512)));

        await rig.AssertSoundAsync();
        Assert.Equal(4096, rig.Space.BytesWritten - written);
        Assert.Equal(before.Extents, rig.Root.Extents);
        Assert.Equal(rig.Root, await rig.Tree.MergeAsync(rig.Root, TreeRig.NoLayer, [], rig.References));
    }

    [Fact]
    public async Task A_dropped_tree_leaves_nothing()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Wide(150_000));
        rig.Space.Settle();
        rig.References.SupersededBy.Clear();

        rig.Root = await rig.Tree.DropAsync(rig.Root, 77, rig.References);

        Assert.True(rig.Root.IsEmpty);
        await rig.AssertSoundAsync();
        Assert.Equal([77UL], rig.References.SupersededBy);
        rig.Space.Settle();
        Assert.Equal((6, 0), (rig.Segments.Free, rig.Space.PagesInUse));
    }

    [Fact]
    public async Task An_old_tree_can_be_read_until_its_space_is_settled()
    {
        var rig = new TreeRig(cacheBytes: 0);
        var random = new Random(5);
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 20_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        rig.Space.Settle();
        var (old, contents) = (rig.Root, await rig.AllAsync());

        for (var merge = 0UL; merge < 5; merge++)
        {
            await rig.MergeAsync(TreeRig.Layer(
                Enumerable.Range(0, 200).Select(i => TreeRig.Data((ulong)random.Next(20_000) * 16, 8, 30_000 + merge))));
            Assert.Equal(contents, await rig.AllAsync(old));
        }

        // Afterwards its pages are used again: then it is told that it is no more, and nothing wrong is ever read.
        rig.Space.Settle();
        await rig.MergeAsync(TreeRig.Layer(
            Enumerable.Range(0, 4000).Select(i => TreeRig.Data((ulong)random.Next(20_000) * 16, 8, 40_000))));
        rig.Forget(cacheBytes: 0);
        Assert.Equal(TreeRead.Mismatch, await rig.Tree.WalkAsync(old, 0, _ => true));
        await rig.AssertSoundAsync();
    }

    [Fact]
    public async Task A_walk_ends_where_the_visitor_says()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 5_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        var seen = new List<MappedExtent>();

        Assert.Equal(TreeRead.Ok, await rig.Tree.WalkAsync(rig.Root, 1604, extents =>
        {
            seen.AddRange(extents.Span);
            return false;
        }));

        Assert.Equal((1604UL, 4UL), (seen[0].Lba, seen[0].Sectors));
        Assert.InRange(seen.Count, 1, 1000);
    }

    [Fact]
    public async Task A_cached_look_up_completes_at_once_and_allocates_nothing()
    {
        var rig = new TreeRig(cacheBytes: 64 << 20);
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 100_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        await rig.AssertSoundAsync();
        var into = new MappedExtent[64];
        Assert.Equal(64, Look(rig, into, 1000));

        var before = GC.GetAllocatedBytesForCurrentThread();
        var found = Look(rig, into, 1000);
        Assert.Equal((64, 0), (found, GC.GetAllocatedBytesForCurrentThread() - before));

        static int Look(TreeRig rig, Memory<MappedExtent> into, int times)
        {
            var least = int.MaxValue;
            for (var i = 0; i < times; i++)
            {
                var find = rig.Tree.FindAsync(rig.Root, (ulong)i * 1500, ulong.MaxValue, into);
                least = find.IsCompletedSuccessfully ? Math.Min(least, find.Result.Count) : -1;
            }

            return least;
        }
    }

    private static async Task RunAsync(int seed)
    {
        var random = new Random(seed);
        var sectors = seed % 6 == 0 ? 300_000 : random.Next(200, 40_000);
        var rig = new TreeRig(cacheBytes: random.Next(3) == 0 ? 0 : 4 << 20);
        var model = new SectorModel(sectors);
        for (var merge = 1; merge <= 12; merge++)
        {
            var layer = TreeRig.Layer(RandomWrites(random, sectors, merge, isWide: seed % 3 == 0));
            var moves = random.Next(3) == 0 ? [] : RandomMoves(random, model, sectors);
            rig.Root = await rig.Tree.MergeAsync(rig.Root, random.Next(8) == 0 ? layer = TreeRig.NoLayer : layer, moves, rig.References);
            model.Apply(layer, moves);

            var all = await rig.AssertSoundAsync();
            model.AssertIs(all);
            AssertJoined(all);
            for (var i = 0; i < 20; i++)
            {
                var from = random.Next(sectors);
                var to = random.Next(2) == 0 ? random.Next(from, sectors + 1) : Math.Min(sectors, from + random.Next(64));
                model.AssertIs(await rig.FindAsync((ulong)from, (ulong)to, random.Next(1, 90)), from, to);
            }

            if (random.Next(2) == 0)
            {
                rig.Space.Settle();
            }
        }
    }

    /// <summary>Joining is within a leaf: so nearly all that could be one, are.</summary>
    private static void AssertJoined(List<MappedExtent> all)
    {
        var split = all.Skip(1).Where((extent, i) => all[i].End == extent.Lba && all[i].SameSource(extent)).Count();
        Assert.True(split <= 3 + (all.Count / 20), $"{split} of {all.Count} extents go on in the next");
    }

    private static IEnumerable<MappedExtent> RandomWrites(Random random, int sectors, int merge, bool isWide)
    {
        var count = random.Next(4) switch { 0 => random.Next(1, 20), 1 => sectors / 8, _ => random.Next(1, Math.Max(2, sectors / 40)) };
        var start = random.Next(3) == 0 ? random.Next(sectors) : 0;
        var span = random.Next(2) == 0 ? sectors - start : random.Next(1, sectors - start + 1);
        for (var i = 0; i < count; i++)
        {
            var lba = start + random.Next(span);
            var length = random.Next(300) switch { 0 => sectors, < 6 => random.Next(1, 1 + (sectors / 10)), _ => random.Next(1, 10) };
            var content = (MappedContent)(random.Next(20) switch { 0 => 2, < 5 => 1, _ => 0 });
            var entry = (ulong)((merge * 100_000) + (i / 2)) * (isWide ? 0x9E3779B97F4A7UL : 1);
            yield return new MappedExtent(
                (ulong)lba, (ulong)Math.Min(length, sectors - lba), content, (ushort)random.Next(2), entry,
                content == MappedContent.Lost ? LogPosition.None : new LogPosition(1 + (entry / 500 % LogPosition.MaxUse), (uint)(entry % 500) * 4096));
        }
    }

    /// <summary>Moves of what is there, of parts of it and more than it, of what is there no more, and to nowhere.</summary>
    private static List<ExtentMove> RandomMoves(Random random, SectorModel model, int sectors)
    {
        var moves = new List<ExtentMove>();
        for (var lba = random.Next(50); lba < sectors; lba += random.Next(1, 1 + (sectors / random.Next(2, 60))))
        {
            var source = model[lba];
            var from = source?.Position ?? new LogPosition(3, 512);
            var isStale = random.Next(4) == 0;
            var move = new ExtentMove(
                (ulong)lba, (ulong)Math.Min(sectors - lba, random.Next(1, 30)), (source?.Lsn ?? 5) + (isStale ? 1UL : 0), from,
                random.Next(6) == 0 ? LogPosition.None : new LogPosition(Far + (ulong)(random.Next(1, 1000) << 12)));
            if (!from.IsNone)
            {
                moves.Add(move);
                lba = (int)move.End;
            }
        }

        return moves;
    }
}
