using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>What happens for every entry allocates nothing.</summary>
public sealed class AllocationTests
{
    [Fact]
    public void Reading_verifying_and_chaining_an_update_allocates_nothing()
    {
        var entries = EntryStream.Entries("golden-1.stream");
        Assert.True(EntryBodyParsed.TryParse(EntryKind.View, entries[0].Body, out var view, out _));
        var first = default(ChainHead).Next(entries[0].Fields, view);

        AssertNoAllocation(() =>
        {
            var head = first;
            for (var i = 1; i < 8; i++)
            {
                var entry = entries[i];
                _ = EntryHeaderCodec.TryReadLengths(entry.Header, out _, out _, out _)
                    & EntryHeaderCodec.TryRead(entry.Header, out var fields, out _)
                    & EntryBody.VerifyPages(entry.Header, fields, entry.Body, out _, out _);
                Assert.True(ChainRules.Check(head, fields, null) == ChainError.None);
                head = head.Next(fields, null);
            }
        });
    }

    [Fact]
    public void Hashing_and_sealing_an_update_allocates_nothing_however_many_pages_it_has()
    {
        // Short pages at whole-page boundaries: as many records as a body can have, beyond the scratch on the stack.
        var sector = new byte[EntryLayout.SectorSize];
        sector[0] = 1;
        var extents = Enumerable.Range(0, 1300)
            .Select(i => new ExtentRecord((ulong)i * 8, 1, ExtentKind.Data)).ToArray();
        var pages = new PageRecord[extents.Length];
        var header = new byte[EntryLayout.MaxHeaderLength];

        AssertNoAllocation(() =>
        {
            pages.AsSpan().Fill(PageRecord.Of(sector));
            EntrySealer.Seal(
                new EntryDraft
                {
                    Kind = EntryKind.Update,
                    Lsn = 2,
                    Secret = default,
                    TimeMicros = 1,
                    Extents = extents,
                    Pages = pages,
                },
                header);
        });
    }

    private static void AssertNoAllocation(Action action)
    {
        // The first rounds pay for compilation and for filling pools.
        for (var i = 0; i < 50; i++)
        {
            action();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 200; i++)
        {
            action();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
