using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>Reads a footer's copies from their bytes alone, with no originals to stand in.</summary>
internal static class Catalogs
{
    public static bool TryRead(in SegmentFooter footer, ReadOnlySpan<byte> copiesAndPlaces, out SegmentCatalog catalog)
    {
        var bytes = copiesAndPlaces.ToArray();
        var start = (uint)footer.CopiesStart;
        var loading = new CatalogLoader(footer, (place, into) =>
        {
            if (place != start || into.Length > bytes.Length)
            {
                return ValueTask.FromResult(false);
            }

            bytes.AsSpan(0, into.Length).CopyTo(into.Span);
            return ValueTask.FromResult(true);
        }).LoadAsync().AsTask();
        Assert.True(loading.IsCompletedSuccessfully, "nothing here waits");
        var loaded = loading.GetAwaiter().GetResult();
        catalog = loaded ?? new SegmentCatalog(footer.Use);
        return loaded is not null;
    }
}
