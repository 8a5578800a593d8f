using CloudFs.Core.Index;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Index;

public sealed class ExtentMapTests
{
    private const int Sectors = 3000;

    [Fact]
    public void The_map_agrees_with_an_array_and_counts_what_it_refers_to() => Seeds.Run(0, 40, 10, seed =>
    {
        var random = new Random(seed);
        var liveness = new CountingLiveness();
        var map = new ExtentMap(liveness);
        var model = new MappedExtent?[Sectors];
        for (var step = 1; step <= 800; step++)
        {
            switch (random.Next(40))
            {
                case 0 when random.Next(5) == 0:
                    map.Clear();
                    Array.Clear(model);
                    break;
                case < 8:
                    AssertFinds(map, model, random);
                    break;
                default:
                    Apply(map, model, RandomExtent(random, step));
                    break;
            }
        }

        var now = Flat(map.Runs());
        AssertSame(now, model);
        Assert.Equal(now.Count, map.Count);
        Assert.Equal((ulong)now.Where(e => e.Content == MappedContent.Data).Sum(e => (long)e.Sectors), map.DataSectors);
        Assert.Equal((ulong)now.Where(e => e.Content == MappedContent.Lost).Sum(e => (long)e.Sectors), map.LostSectors);
        Assert.Equal(CountingLiveness.Recount(now), liveness.References);
    });

    private static MappedExtent RandomExtent(Random random, int step)
    {
        var lba = random.Next(Sectors);
        var sectors = Math.Min(random.Next(4) == 0 ? random.Next(1, 800) : random.Next(1, 12), Sectors - lba);
        var content = (MappedContent)(random.Next(10) switch { 0 => 2, < 4 => 1, _ => 0 });
        var position = content == MappedContent.Lost ? LogPosition.None : new LogPosition(1 + (ulong)random.Next(4), (uint)(step / 3 * 512));

        // Now and then an extent of the entry before, which may join it.
        return new MappedExtent((ulong)lba, (ulong)sectors, content, (ushort)random.Next(2), (ulong)(step / 3) + 1, position);
    }

    private static void Apply(ExtentMap map, MappedExtent?[] model, MappedExtent extent)
    {
        map.Apply(extent);
        for (var lba = extent.Lba; lba < extent.End; lba++)
        {
            model[lba] = extent with { Lba = lba, Sectors = 1 };
        }
    }

    private static void AssertFinds(ExtentMap map, MappedExtent?[] model, Random random)
    {
        var from = random.Next(Sectors);
        var to = random.Next(from, Sectors + 1);
        var found = new List<MappedExtent>();
        var buffer = new MappedExtent[random.Next(1, 20)];
        for (var next = (ulong)from; next < (ulong)to;)
        {
            var count = map.Find(next, (ulong)to, buffer);
            found.AddRange(buffer.AsSpan(0, count));
            next = count < buffer.Length ? (ulong)to : buffer[count - 1].End;
        }

        AssertSame(found, model, from, to);
    }

    private static void AssertSame(List<MappedExtent> extents, MappedExtent?[] model, int from = 0, int to = Sectors)
    {
        var expanded = new MappedExtent?[Sectors];
        var end = (ulong)from;
        foreach (var extent in extents)
        {
            Assert.True(extent.Lba >= end && extent.Sectors > 0 && extent.End <= (ulong)to, "extents ascend and don't overlap");
            end = extent.End;
            for (var lba = extent.Lba; lba < extent.End; lba++)
            {
                expanded[lba] = extent with { Lba = lba, Sectors = 1 };
            }
        }

        for (var lba = from; lba < to; lba++)
        {
            // Which extent of an entry it was matters for data alone.
            var (one, other) = (expanded[lba], model[lba]);
            Assert.True(one is { } a ? other is { } b && a.SameSource(b) : other is null, $"sector {lba}: {one} is not {other}");
        }
    }

    private static List<MappedExtent> Flat(ExtentRuns runs) => [.. runs.Leaves.SelectMany(leaf => leaf)];

    private sealed class CountingLiveness : ILiveness
    {
        public SortedDictionary<ulong, (long Extents, long Sectors)> References { get; } = [];

        public static SortedDictionary<ulong, (long Extents, long Sectors)> Recount(IEnumerable<MappedExtent> extents)
        {
            var counted = new CountingLiveness();
            foreach (var extent in extents)
            {
                counted.Added(extent);
            }

            return counted.References;
        }

        public void Added(in MappedExtent extent) => Change(extent, 1);

        public void Removed(in MappedExtent extent) => Change(extent, -1);

        private void Change(in MappedExtent extent, int sign)
        {
            var (extents, sectors) = References.GetValueOrDefault(extent.Position.Value);
            References[extent.Position.Value] = (extents + sign, sectors + (sign * (long)extent.Sectors));
            if (References[extent.Position.Value] == default)
            {
                References.Remove(extent.Position.Value);
            }
        }
    }
}
