using CloudFs.Core.Devices;
using CloudFs.Core.Index;
using CloudFs.Core.Trees;
using Xunit;

namespace CloudFs.Core.Tests.Trees;

/// <summary>Pages that rotted, devices that fail, room that runs out: nothing wrong is read, nothing is lost.</summary>
public sealed class TreeDamageTests
{
    [Fact]
    public async Task A_flipped_bit_in_any_page_is_found_and_no_wrong_extent_is_ever_given()
    {
        var rig = new TreeRig();
        var random = new Random(3);
        await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 10_000).Select(i => TreeRig.Data((ulong)i * 16, 8, (ulong)i + 1))));
        rig.Space.Settle();
        var all = await rig.AssertSoundAsync();

        foreach (var page in rig.InUse().ToList())
        {
            var (at, bit) = (rig.OffsetOf(page) + (ulong)random.Next(4096), random.Next(8));
            rig.Device.FlipBit(at, bit);
            rig.Forget();
            var walked = new List<MappedExtent>();
            Assert.Equal(TreeRead.Mismatch, await rig.Tree.WalkAsync(rig.Root, 0, extents =>
            {
                walked.AddRange(extents.Span);
                return true;
            }));
            Assert.Equal(all.Take(walked.Count), walked);
            await AssertFindsNothingWrongAsync(rig, all);

            var told = new List<string>();
            await rig.Tree.VerifyAsync(rig.Root, told.Add);
            Assert.Contains($"index page {page}:", Assert.Single(told), StringComparison.Ordinal);
            var damaged = await Assert.ThrowsAsync<TreeDamagedException>(async () =>
                await rig.MergeAsync(TreeRig.Layer([TreeRig.Data(0, 1 << 20, 99_999)])));
            Assert.Equal(page, damaged.Page);
            rig.Space.Abandon();
            rig.Device.FlipBit(at, bit);
        }

        rig.References = new TreeReferences();
        all.ForEach(extent => rig.References.Added(extent));
        Assert.Equal(all, await rig.AssertSoundAsync());
    }

    [Fact]
    public async Task A_page_of_an_older_tree_in_its_place_is_a_mismatch()
    {
        var rig = new TreeRig(cacheBytes: 0);
        await rig.MergeAsync(TreeRig.Layer([TreeRig.Data(0, 8, 1)]));
        var wrong = rig.Root with { Check = rig.Root.Check + 1 };
        var elsewhere = rig.Root with { Page = 600 };
        var higher = rig.Root with { Height = 2 };
        var endless = rig.Root with { Height = int.MaxValue };

        foreach (var root in new[] { wrong, elsewhere, higher, endless, rig.Root with { Page = ulong.MaxValue }, rig.Root with { Height = 0 } })
        {
            var into = new MappedExtent[4];
            Assert.Equal((TreeRead.Mismatch, 0), await rig.Tree.FindAsync(root, 0, 100, into));
            Assert.Equal(TreeRead.Mismatch, await rig.Tree.WalkAsync(root, 0, _ => true));
            await Assert.ThrowsAsync<TreeDamagedException>(async () => await rig.Tree.DropAsync(root, 1, new TreeReferences()));
            await Assert.ThrowsAsync<TreeDamagedException>(async () =>
                await rig.Tree.MergeAsync(root, TreeRig.Layer([TreeRig.Data(4, 8, 2)]), [], new TreeReferences()));
            var told = new List<string>();
            Assert.Equal(0, await rig.Tree.VerifyAsync(root, told.Add));
            Assert.Single(told);
        }
    }

    [Fact]
    public async Task A_root_with_sums_that_are_not_its_leaves_is_told()
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Layer([TreeRig.Data(0, 8, 1)]));
        var told = new List<string>();

        await rig.Tree.VerifyAsync(rig.Root with { DataSectors = 9 }, told.Add);

        Assert.Contains("sums", Assert.Single(told), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_merge_that_finds_no_room_leaves_everything_as_it_was()
    {
        var rig = new TreeRig(segments: 0);
        await rig.MergeAsync(TreeRig.Wide(50_000));
        rig.Space.Settle();
        var (root, references, used) = (rig.Root, rig.References.Copy(), rig.InUse().ToList());
        var all = await rig.AssertSoundAsync();

        await Assert.ThrowsAsync<IndexSpaceException>(async () =>
            await rig.MergeAsync(TreeRig.Layer(Enumerable.Range(0, 50_000).Select(i => TreeRig.Data((ulong)i * 16, 4, 900_000)))));
        rig.Space.Abandon();

        rig.References = references;
        Assert.Equal((root, used.Count), (rig.Root, rig.Space.PagesInUse));
        Assert.Equal(used, rig.InUse());
        rig.Forget();
        Assert.Equal(all, await rig.AssertSoundAsync());
        await rig.MergeAsync(TreeRig.Layer([TreeRig.Data(0, 1 << 30, 900_001)]));
        await rig.AssertSoundAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_merge_whose_device_fails_leaves_everything_as_it_was(bool isWrite)
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Wide(50_000));
        rig.Space.Settle();
        var (root, references, used) = (rig.Root, rig.References.Copy(), rig.InUse().ToList());
        var all = await rig.AssertSoundAsync();
        var layer = TreeRig.Layer(Enumerable.Range(0, 50_000).Select(i => TreeRig.Data((ulong)i * 16, 4, 900_000)));

        rig.Forget(cacheBytes: 0);
        (rig.Device.FailWrites, rig.Device.FailReads) = (isWrite, !isWrite);
        var failed = await Assert.ThrowsAnyAsync<Exception>(async () => await rig.MergeAsync(layer));
        Assert.IsType(isWrite ? typeof(DeviceException) : typeof(TreeDamagedException), failed);
        (rig.Device.FailWrites, rig.Device.FailReads) = (false, false);
        rig.Space.Abandon();

        rig.References = references;
        Assert.Equal(root, rig.Root);
        Assert.Equal(used, rig.InUse());
        Assert.Equal(6, rig.Segments.Free);
        Assert.Equal(all, await rig.AssertSoundAsync());
    }

    [Fact]
    public async Task Whatever_the_power_takes_the_tree_that_was_settled_is_whole()
    {
        for (var seed = 0; seed < 10; seed++)
        {
            var random = new Random(seed);
            var rig = new TreeRig();
            await rig.MergeAsync(TreeRig.Wide(20_000));
            await rig.Device.FlushAsync();
            rig.Space.Settle();
            var (root, used) = (rig.Root, rig.Space.Snapshot());
            var all = await rig.AllAsync();

            for (var merge = 0UL; merge < 3; merge++)
            {
                await rig.MergeAsync(TreeRig.Layer(
                    Enumerable.Range(0, 1000).Select(i => TreeRig.Data((ulong)random.Next(20_000) * 16, 8, 30_000 + merge))));
            }

            // The checkpoint was not written: after the cut, the one before leads to its tree.
            var found = rig.Device.PowerCut(random);
            var space = new IndexSpace(found, new FakeSegments(6));
            space.Restore(used);
            var tree = new PagedTree(space, new PageCache(0), found);
            var again = new List<MappedExtent>();
            Assert.Equal(TreeRead.Ok, await tree.WalkAsync(root, 0, extents =>
            {
                again.AddRange(extents.Span);
                return true;
            }));
            Assert.Equal(all, again);
            Assert.Equal((long)root.Pages, space.PagesInUse);
        }
    }

    private static async Task AssertFindsNothingWrongAsync(TreeRig rig, List<MappedExtent> all)
    {
        var into = new MappedExtent[10];
        for (var i = 0; i < all.Count; i += 97)
        {
            var (status, count) = await rig.Tree.FindAsync(rig.Root, all[i].Lba, all[i].Lba + 100, into);
            Assert.Equal(status == TreeRead.Ok ? all.Skip(i).TakeWhile(extent => extent.Lba < all[i].Lba + 100).Select(
                extent => extent.Clip(all[i].Lba, all[i].Lba + 100)) : [], into.Take(count));
        }
    }
}
