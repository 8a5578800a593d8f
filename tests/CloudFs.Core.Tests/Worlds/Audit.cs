using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Index;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>
/// Counts anew what a running engine keeps count of: what trees and layers refer to in each segment, what stays there for
/// ever, and which pages the trees are made of. On a device that does what it says all of it is exact at any moment.
/// </summary>
internal sealed class Audit(StorageEngine engine)
{
    private readonly Dictionary<ulong, (int References, int Sectors)> _trees = [];
    private readonly Dictionary<ulong, int> _pins = [];
    private readonly HashSet<ulong> _pages = [];
    private readonly List<string> _damage = [];
    private long _references;
    private long _sectors;

    public static Task RunAsync(StorageEngine engine) =>
        engine.Upkeep.Checkpointer.BetweenAsync(() => new Audit(engine).CheckAsync());

    private async Task CheckAsync()
    {
        foreach (var disk in engine.Services.Disks.All())
        {
            await CountTreeAsync(disk);
        }

        Assert.Empty(_damage);
        Assert.Equal(_pages.Count, engine.Upkeep.Checkpointer.Space.PagesInUse);

        // From here on nobody else comes in between.
        foreach (var disk in engine.Services.Disks.All())
        {
            disk.Locked(CountMemory);
        }

        var uses = engine.Services.Segments.Snapshot().Where(use => use.Use != 0).ToDictionary(use => use.Use);
        foreach (var (use, kept) in uses)
        {
            if (_trees.GetValueOrDefault(use) != (kept.References, kept.LiveSectors))
            {
                Assert.Fail(
                    $"use {use} ({kept.State}): the trees have {_trees.GetValueOrDefault(use)}, "
                    + $"and ({kept.References}, {kept.LiveSectors}) is what the segment table says");
            }

            if (_pins.GetValueOrDefault(use) != kept.Pins)
            {
                Assert.Fail(
                    $"use {use} ({kept.State}): {_pins.GetValueOrDefault(use)} entries stay, and {kept.Pins} is what the segment table says");
            }
        }

        Assert.Equal([], _trees.Keys.Concat(_pins.Keys).Where(use => !uses.ContainsKey(use)));
        var tally = engine.Services.Segments.Tally();
        Assert.Equal((_references, _sectors), (tally.References, tally.LiveSectors));
    }

    private async Task CountTreeAsync(Disk disk)
    {
        var root = disk.Locked(state => state.Map.Tree);
        await engine.Services.Tree.VerifyAsync(
            root, _damage.Add, page => Assert.True(_pages.Add(page), $"index page {page} is in two places"));
        var status = await engine.Services.Tree.WalkAsync(root, 0, extents =>
        {
            foreach (var extent in extents.Span)
            {
                if (!extent.Position.IsNone)
                {
                    var (references, sectors) = _trees.GetValueOrDefault(extent.Position.Use);
                    var data = extent.Content == MappedContent.Data ? (int)extent.Sectors : 0;
                    _trees[extent.Position.Use] = (references + 1, sectors + data);
                    _references++;
                    _sectors += data;
                }
            }

            return true;
        });
        Assert.Equal(TreeRead.Ok, status);
    }

    private bool CountMemory(DiskState state)
    {
        foreach (var extent in state.Map.Layers.SelectMany(layer => layer.Runs().Leaves).SelectMany(leaf => leaf))
        {
            if (!extent.Position.IsNone)
            {
                if (!engine.Services.Segments.TryLocate(extent.Position.Use, out _))
                {
                    Assert.Fail($"{extent} is in force, and its segment was used for something else");
                }

                _references++;
                _sectors += extent.Content == MappedContent.Data ? (long)extent.Sectors : 0;
            }
        }

        foreach (var pin in state.Pins)
        {
            _pins[pin.Position.Use] = _pins.GetValueOrDefault(pin.Position.Use) + 1;
            _references++;
        }

        return true;
    }
}
