using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// Index pages in memory, shared by all disks, bounded in bytes. Pages are held under number and check together, so that
/// a page whose place was used again is never taken for what stood there before. Frames are never freed, only used again:
/// a full cache costs the garbage collector nothing. The page to go is found by second chance. Safe from any thread.
/// </summary>
public sealed class PageCache
{
    /// <summary>What a page takes: itself, its row in the tables, and two heads of chains.</summary>
    internal const int FrameBytes = IndexPageLayout.Size + (2 * sizeof(ulong)) + sizeof(int) + 1 + (2 * sizeof(int));

    private const int StripesMax = 16;
    private const int FramesMin = 16;

    private readonly Stripe[] _stripes;

    /// <param name="capacityBytes">What it may take, its own tables included; at least sixteen pages are held.</param>
    public PageCache(long capacityBytes)
    {
        var frames = (int)Math.Clamp(capacityBytes / FrameBytes, FramesMin, int.MaxValue / 2);
        var stripes = 1;
        while (stripes < StripesMax && frames / (stripes * 2) >= FramesMin)
        {
            stripes *= 2;
        }

        _stripes = new Stripe[stripes];
        for (var i = 0; i < stripes; i++)
        {
            _stripes[i] = new Stripe(frames / stripes);
        }
    }

    /// <summary>A page is given to this, under the lock of its stripe: it must be brief.</summary>
    internal interface IVisitor
    {
        void Visit(ReadOnlySpan<byte> page);
    }

    /// <summary>Look-ups that found their page.</summary>
    public long Hits => _stripes.Sum(stripe => Volatile.Read(ref stripe.Hits));

    /// <summary>Look-ups that did not.</summary>
    public long Misses => _stripes.Sum(stripe => Volatile.Read(ref stripe.Misses));

    /// <summary>What the pages held take.</summary>
    public long Bytes => _stripes.Sum(stripe => (long)Volatile.Read(ref stripe.Used) * FrameBytes);

    /// <summary>Shows a page to the visitor; false when it is not here. Counts, and gives the page a second chance.</summary>
    internal bool TryVisit<T>(ulong page, ulong check, ref T visitor)
        where T : struct, IVisitor => StripeOf(page).TryVisit(page, check, ref visitor, isWanted: true);

    /// <summary>Copies a page for somebody who passes by once: that says nothing about what will be wanted again.</summary>
    internal bool TryCopy(ulong page, ulong check, Memory<byte> into)
    {
        var copy = new Copy(into);
        return StripeOf(page).TryVisit(page, check, ref copy, isWanted: false);
    }

    /// <summary>Takes in a page that was found sound.</summary>
    internal void Add(ulong page, ulong check, ReadOnlySpan<byte> bytes) => StripeOf(page).Add(page, check, bytes);

    private static ulong Mix(ulong page) => unchecked(page * 0x9E3779B97F4A7C15);

    private Stripe StripeOf(ulong page) => _stripes[(int)(Mix(page) >> 32) & (_stripes.Length - 1)];

    private readonly struct Copy(Memory<byte> into) : IVisitor
    {
        public void Visit(ReadOnlySpan<byte> page) => page.CopyTo(into.Span);
    }

    /// <summary>A part of the frames, with a lock of its own.</summary>
    private sealed class Stripe
    {
        public long Hits;
        public long Misses;
        public int Used;

        private const int None = -1;
        private const int FramesInSlab = 8;

        private readonly Lock _lock = new();
        private readonly ulong[] _pages;
        private readonly ulong[] _checks;
        private readonly int[] _next;
        private readonly bool[] _isWanted;
        private readonly int[] _heads;
        private readonly byte[]?[] _slabs;
        private int _hand;

        public Stripe(int frames)
        {
            _pages = new ulong[frames];
            _checks = new ulong[frames];
            _next = new int[frames];
            _isWanted = new bool[frames];
            _heads = new int[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)frames)];
            _heads.AsSpan().Fill(None);
            _slabs = new byte[]?[(frames + FramesInSlab - 1) / FramesInSlab];
        }

        public bool TryVisit<T>(ulong page, ulong check, ref T visitor, bool isWanted)
            where T : struct, IVisitor
        {
            lock (_lock)
            {
                var frame = Find(page, check);
                if (isWanted)
                {
                    (frame == None ? ref Misses : ref Hits)++;
                }

                if (frame == None)
                {
                    return false;
                }

                _isWanted[frame] |= isWanted;
                visitor.Visit(BytesOf(frame));
                return true;
            }
        }

        public void Add(ulong page, ulong check, ReadOnlySpan<byte> bytes)
        {
            lock (_lock)
            {
                if (Find(page, check) != None)
                {
                    return;
                }

                var frame = Used < _pages.Length ? Used++ : Evict();
                // Pinned: so they lie apart, and the rest of the heap is small enough to be compacted when it has holes.
                _slabs[frame / FramesInSlab] ??= GC.AllocateUninitializedArray<byte>(
                    Math.Min(FramesInSlab, _pages.Length - (frame / FramesInSlab * FramesInSlab)) * IndexPageLayout.Size,
                    pinned: true);
                bytes[..IndexPageLayout.Size].CopyTo(BytesOf(frame));
                ref var head = ref HeadOf(page);
                (_pages[frame], _checks[frame], _next[frame], _isWanted[frame]) = (page, check, head, false);
                head = frame;
            }
        }

        private ref int HeadOf(ulong page) => ref _heads[(int)(Mix(page) >> 36) & (_heads.Length - 1)];

        private Span<byte> BytesOf(int frame) =>
            _slabs[frame / FramesInSlab].AsSpan(frame % FramesInSlab * IndexPageLayout.Size, IndexPageLayout.Size);

        private int Find(ulong page, ulong check)
        {
            var frame = HeadOf(page);
            while (frame != None && (_pages[frame] != page || _checks[frame] != check))
            {
                frame = _next[frame];
            }

            return frame;
        }

        private int Evict()
        {
            while (_isWanted[_hand])
            {
                _isWanted[_hand] = false;
                _hand = (_hand + 1) % _pages.Length;
            }

            var frame = _hand;
            _hand = (_hand + 1) % _pages.Length;
            ref var link = ref HeadOf(_pages[frame]);
            while (link != frame)
            {
                link = ref _next[link];
            }

            link = _next[frame];
            return frame;
        }
    }
}
