using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using FsCheck;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>What holds for every update, whatever its extents.</summary>
public sealed class EntryPropertyTests
{
    private static readonly Configuration Fixed = new()
    {
        MaxNbOfTest = 300,
        QuietOnSuccess = true,
        Runner = Config.QuickThrowOnFailure.Runner,
        Replay = FsCheck.Random.StdGen.NewStdGen(20, 26),
    };

    private static readonly Gen<ExtentRecord> Extent =
        from lba in Gen.OneOf(Gen.Choose(0, 100), Gen.Choose(0, int.MaxValue))
        from high in Gen.Elements(0UL, 1UL << 40, EntryLayout.MaxSector - (1UL << 32))
        from zero in Arb.Generate<bool>()
        from sectors in zero ? Gen.Choose(1, int.MaxValue) : Gen.Choose(1, 60)
        select new ExtentRecord(high + (ulong)lba, (uint)sectors, zero ? ExtentKind.Zero : ExtentKind.Data);

    private static readonly Gen<ExtentRecord[]> Extents =
        from count in Gen.Choose(1, 30)
        from extents in Gen.ArrayOf(count, Extent)
        select extents;

    [Fact]
    public void What_was_sealed_is_read_again()
    {
        Check(extents =>
        {
            var (header, pages, made) = Seal(extents, out var body);

            Assert.True(EntryHeaderCodec.TryRead(header, out var fields, out _));
            Assert.True(EntryBody.VerifyPages(header, fields, body, out _, out _));
            Assert.Equal((made.Id, made.Lock, made.Entropy), (fields.Id, fields.Lock, fields.Entropy));
            Assert.Equal(extents, extents.Select((_, i) => EntryHeaderCodec.ReadExtent(header, i)));
            Assert.Equal(pages, pages.Select((_, i) => EntryHeaderCodec.ReadPage(header, fields, i)));
            Assert.Equal(made.Lock, EntryHashes.Lock(made.Token));
        });
    }

    [Fact]
    public void Sealing_what_was_read_gives_the_same_bytes()
    {
        Check(extents => Assert.Equal(Seal(extents, out _).Header, Seal(extents, out _).Header));
    }

    [Fact]
    public void Pages_cover_their_extent_without_gap_and_never_cross_a_page_boundary()
    {
        Check(extents =>
        {
            foreach (var extent in extents.Where(extent => extent.Kind == ExtentKind.Data))
            {
                var next = extent.Lba;
                for (var i = 0; i < extent.Pages; i++)
                {
                    var sectors = (ulong)PageCutter.SectorsOf(extent.Lba, extent.Sectors, i);
                    Assert.Equal(next, PageCutter.LbaOf(extent.Lba, i));
                    Assert.InRange(sectors, 1UL, 8UL);
                    Assert.Equal(next / 8, (next + sectors - 1) / 8);
                    next += sectors;
                }

                Assert.Equal(extent.End, next);
            }
        });
    }

    [Fact]
    public void Dropping_any_pages_keeps_the_id_and_filling_them_gives_the_entry_back()
    {
        Check(extents =>
        {
            var (header, pages, _) = Seal(extents, out var body);
            EntryHeaderCodec.TryRead(header, out var fields, out _);
            var chosen = Enumerable.Range(0, pages.Length).Where(i => (i * 7 % 3) != 0).ToArray();
            var dropped = new byte[header.Length];
            var rest = new byte[body.Length];
            rest = rest[..EntryCompaction.Drop(header, fields, body, chosen, dropped, rest)];

            Assert.True(EntryHeaderCodec.TryRead(dropped, out var left, out var error), error.Text());
            Assert.True(EntryBody.VerifyPages(dropped, left, rest, out _, out _));
            Assert.Equal((fields.Id, chosen.Length > 0), (left.Id, left.IsCompacted));

            var again = new byte[header.Length];
            var filled = new byte[body.Length];
            EntryCompaction.Fill(dropped, left, rest, header, fields, body, again, filled);
            Assert.Equal(header, again);
            Assert.Equal(body, filled);
        });
    }

    private static void Check(Action<ExtentRecord[]> body) => Prop.ForAll(Arb.From(Extents), body).Check(Fixed);

    private static (byte[] Header, PageRecord[] Pages, SealedEntry Made) Seal(ExtentRecord[] extents, out byte[] body)
    {
        var chance = new System.Random(extents.Length);
        var sectors = extents.Where(extent => extent.Kind == ExtentKind.Data).Sum(extent => extent.Sectors);
        body = new byte[sectors * EntryLayout.SectorSize];
        chance.NextBytes(body);
        var pages = new List<PageRecord>();
        var at = 0;
        foreach (var extent in extents)
        {
            for (var i = 0; i < extent.Pages; i++)
            {
                var length = PageCutter.SectorsOf(extent.Lba, extent.Sectors, i) * EntryLayout.SectorSize;
                pages.Add(PageRecord.Of(body.AsSpan(at, length)));
                at += length;
            }
        }

        var records = pages.ToArray();
        var header = new byte[EntrySealer.HeaderLength(extents.Length, records.Length)];
        var made = EntrySealer.Seal(
            new EntryDraft
            {
                Kind = EntryKind.Update,
                Lsn = 1 + (ulong)chance.NextInt64(),
                Disk = RandomId(chance),
                Previous = RandomId(chance),
                Parent = RandomId(chance),
                Secret = RandomId(chance),
                TimeMicros = (ulong)chance.NextInt64(),
                Extents = extents,
                Pages = records,
            },
            header);
        return (header, records, made);
    }

    private static Id160 RandomId(System.Random chance)
    {
        var bytes = new byte[Id160.Size];
        chance.NextBytes(bytes);
        return new(bytes);
    }
}
