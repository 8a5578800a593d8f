using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// Pages on their way to the device: those that adjoin go in one write, of up to 1 MiB. One serves merge after
/// merge: large arrays thrown away after each would stay in the heap as holes.
/// </summary>
internal sealed class PageBatch(IndexSpace space)
{
    private const int WritePages = (1 << 20) / IndexPageLayout.Size;

    /// <summary>Most merges are small: it grows as it is needed.</summary>
    private const int FirstPages = 8;

    private readonly List<ulong> _numbers = [];
    private byte[] _bytes = new byte[FirstPages * IndexPageLayout.Size];

    /// <summary>True when it is time to write. One may still add to it: nobody awaits in the middle of a leaf's row.</summary>
    public bool IsFull => _numbers.Count >= WritePages;

    /// <summary>The bytes of one more page.</summary>
    public Span<byte> Add(ulong page)
    {
        var start = _numbers.Count * IndexPageLayout.Size;
        if (start == _bytes.Length)
        {
            Array.Resize(ref _bytes, _bytes.Length * 2);
        }

        _numbers.Add(page);
        return _bytes.AsSpan(start, IndexPageLayout.Size);
    }

    /// <summary>Writes what is here.</summary>
    public async ValueTask WriteAsync()
    {
        for (int first = 0, next; first < _numbers.Count; first = next)
        {
            next = first + 1;
            while (next < _numbers.Count && next - first < WritePages && Adjoin(_numbers[next - 1], _numbers[next]))
            {
                next++;
            }

            await space.WriteAsync(
                _numbers[first], _bytes.AsMemory(first * IndexPageLayout.Size, (next - first) * IndexPageLayout.Size));
        }

        _numbers.Clear();
    }

    private static bool Adjoin(ulong page, ulong next) =>
        next == page + 1 && IndexPageNumber.PlaceOf(next).Segment == IndexPageNumber.PlaceOf(page).Segment;
}
