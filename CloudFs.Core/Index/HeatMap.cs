namespace CloudFs.Core.Index;

/// <summary>
/// Which pages are written more often than the average one: what tells pages that die young from pages that live long, when
/// compaction has to put either somewhere. A page's age can't tell: all that was written into one segment has the same.
/// <para>
/// Counters of four bits, two for each page of which the lower counts (a count-min sketch with conservative update: Estan and
/// Varghese, SIGCOMM 2002), all halved once in a window of <see cref="WindowTurns"/> writes for each live page (as in TinyLFU:
/// Einziger et al., ACM ToS 2017). A page is hot when <see cref="HotCount"/> writes of it are counted; the average page's count
/// goes from 2 to 4. That the past of a page says when its present will die is SepBIT's finding (Wang et al., FAST 2022).
/// </para>
/// Memory is bounded: on devices above 16 GiB one page stands for its neighbours. Nothing of it is kept over a restart.
/// Threads may race in it; then a count gets lost, and nothing else.
/// </summary>
public sealed class HeatMap
{
    /// <summary>The most counters; two take a byte.</summary>
    public const int MaxCounters = 1 << 24;

    /// <summary>Writes for each live page until all counters are halved.</summary>
    public const int WindowTurns = 2;

    /// <summary>From this count on a page is hot.</summary>
    public const int HotCount = 4;

    /// <summary>However little lives on the device, the window is not shorter than this many writes.</summary>
    public const int MinWindow = 1 << 16;

    /// <summary>Enough that a cold page seldom shares both of its counters with hot ones.</summary>
    private const int CountersPerPage = 4;

    private const int SectorsPerPage = 8;
    private const int MaxCount = 15;
    private const int CountersPerWord = 16;
    private const ulong HalvedBits = 0x7777_7777_7777_7777;

    private readonly ulong[] _words;
    private readonly int _unitShift;
    private readonly ulong _mask;
    private long _window = MinWindow;
    private long _counted;
    private long _due;
    private int _hand;

    /// <param name="deviceBytes">The length of the device, which bounds how many pages can be live.</param>
    public HeatMap(ulong deviceBytes)
    {
        var pages = Math.Max(1, deviceBytes / (SectorsPerPage * 512));
        while (pages > MaxCounters / CountersPerPage)
        {
            pages >>= 1;
            _unitShift++;
        }

        var counters = Math.Max(CountersPerWord, System.Numerics.BitOperations.RoundUpToPowerOf2(pages * CountersPerPage));
        _mask = counters - 1;
        _words = new ulong[counters / CountersPerWord];
    }

    /// <summary>Bytes of memory that it takes.</summary>
    public long Bytes => (long)_words.Length * sizeof(ulong);

    /// <summary>True when a window has passed since the beginning: before that, nothing being hot means nothing.</summary>
    public bool IsWarm => _counted >= _window;

    /// <summary>Says how much lives on the device: a window is that many writes, times <see cref="WindowTurns"/>.</summary>
    public void Live(ulong sectors) =>
        _window = Math.Max(MinWindow, WindowTurns * (long)(sectors / SectorsPerPage >> _unitShift));

    /// <summary>Counts a write of data.</summary>
    /// <param name="disk">A number for the disk, the same as long as this lives.</param>
    /// <param name="sector">Its first sector.</param>
    /// <param name="sectors">How many.</param>
    public void Wrote(ulong disk, ulong sector, uint sectors)
    {
        // Of a unit of several pages only writes of its first page count: so a run over all of it counts once, too.
        var unitSectors = (ulong)SectorsPerPage << _unitShift;
        var first = sector / unitSectors;
        first += sector % unitSectors >= SectorsPerPage ? 1UL : 0;
        var end = (sector + sectors + unitSectors - 1) / unitSectors;
        for (var unit = first; unit < end; unit++)
        {
            Count(disk, unit);
        }
    }

    /// <summary>True when the page with this sector is written more often than most.</summary>
    public bool IsHot(ulong disk, ulong sector)
    {
        var (one, other) = Places(disk, (sector / SectorsPerPage) >> _unitShift);
        return Math.Min(Get(one), Get(other)) >= HotCount;
    }

    private void Count(ulong disk, ulong unit)
    {
        var (one, other) = Places(disk, unit);
        var (a, b) = (Get(one), Get(other));
        var count = Math.Min(a, b);
        if (count < MaxCount)
        {
            if (a == count)
            {
                Increment(one);
            }

            if (b == count && other != one)
            {
                Increment(other);
            }
        }

        _counted++;
        for (_due += _words.Length; _due >= _window; _due -= _window)
        {
            _words[_hand] = (_words[_hand] >> 1) & HalvedBits;
            _hand = (_hand + 1) % _words.Length;
        }
    }

    private int Get(ulong counter) =>
        (int)(_words[counter / CountersPerWord] >> (int)(counter % CountersPerWord * 4)) & MaxCount;

    private void Increment(ulong counter) =>
        _words[counter / CountersPerWord] += 1UL << (int)(counter % CountersPerWord * 4);

    private (ulong One, ulong Other) Places(ulong disk, ulong unit)
    {
        // The finalizer of SplitMix64 (Steele et al., OOPSLA 2014).
        var hash = (unit * 0x9E37_79B9_7F4A_7C15) ^ (disk * 0xC2B2_AE3D_27D4_EB4F);
        hash = (hash ^ (hash >> 30)) * 0xBF58_476D_1CE4_E5B9;
        hash = (hash ^ (hash >> 27)) * 0x94D0_49BB_1331_11EB;
        hash ^= hash >> 31;
        return (hash & _mask, (hash >> 32) & _mask);
    }
}
