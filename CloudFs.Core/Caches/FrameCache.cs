namespace CloudFs.Core.Caches;

/// <summary>What a frame is found by: two numbers that together are never given to other bytes.</summary>
/// <param name="First">The one.</param>
/// <param name="Second">The other.</param>
internal readonly record struct FrameKey(ulong First, ulong Second)
{
    /// <summary>Bits of both, of which the upper ones depend on all.</summary>
    public ulong Mix()
    {
        var mixed = unchecked((First * 0x9E3779B97F4A7C15) + Second);
        return unchecked((mixed ^ (mixed >> 32)) * 0xC2B2AE3D27D4EB4F);
    }
}

/// <summary>
/// Pages in memory, bounded in bytes. A page lies in a frame, and need not fill it: nothing is given out but what was put
/// in. Frames are never freed, only used again: a full cache costs the garbage collector nothing; and those that were never
/// used take no memory. The page to go is found by second chance, and one that nobody asked for since it came has none, so
/// that those who pass by once don't drive out what is wanted again and again. Safe from any thread.
/// </summary>
internal sealed class FrameCache
{
    /// <summary>Bytes of the longest page.</summary>
    public const int PageBytes = 4096;

    /// <summary>What a page takes: itself, its row in the tables, and two heads of chains.</summary>
    public const int FrameBytes =
        PageBytes + (2 * sizeof(ulong)) + (2 * sizeof(ushort)) + sizeof(int) + 1 + (2 * sizeof(int));

    private const int StripesMax = 16;
    private const int FramesMin = 16;

    private readonly Stripe[] _stripes;

    /// <param name="capacityBytes">What it may take, its own tables included; at least sixteen pages are held.</param>
    public FrameCache(long capacityBytes)
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
    public bool TryVisit<T>(in FrameKey key, ref T visitor)
        where T : struct, IVisitor
    {
        var mix = key.Mix();
        return StripeOf(mix).TryVisit(key, mix, ref visitor);
    }

    /// <summary>
    /// Copies bytes that stand in the frame from <paramref name="offset"/> on; false when they are not all here. With
    /// <paramref name="isWanted"/> that counts, and gives the page a second chance; without, somebody passes by once, which
    /// says nothing about what will be wanted again.
    /// </summary>
    public bool TryCopy(in FrameKey key, int offset, Span<byte> into, bool isWanted)
    {
        var mix = key.Mix();
        return StripeOf(mix).TryCopy(key, mix, offset, into, isWanted);
    }

    /// <summary>
    /// Takes in a page that was found sound, whose bytes stand in the frame from <paramref name="offset"/> on. A page that is
    /// here already stays as it is: under one key there is only one.
    /// </summary>
    public void Add(in FrameKey key, int offset, ReadOnlySpan<byte> bytes)
    {
        var mix = key.Mix();
        StripeOf(mix).Add(key, mix, offset, bytes);
    }

    private Stripe StripeOf(ulong mix) => _stripes[(int)(mix >> 60) & (_stripes.Length - 1)];

    /// <summary>A part of the frames, with a lock of its own.</summary>
    private sealed class Stripe
    {
        public long Hits;
        public long Misses;
        public int Used;

        private const int None = -1;
        private const int FramesInSlab = 8;

        private readonly Lock _lock = new();
        private readonly FrameKey[] _keys;
        private readonly (ushort From, ushort To)[] _held;
        private readonly int[] _next;
        private readonly bool[] _isWanted;
        private readonly int[] _heads;
        private readonly byte[]?[] _slabs;
        private int _hand;

        public Stripe(int frames)
        {
            _keys = new FrameKey[frames];
            _held = new (ushort, ushort)[frames];
            _next = new int[frames];
            _isWanted = new bool[frames];
            _heads = new int[System.Numerics.BitOperations.RoundUpToPowerOf2((uint)frames)];
            _heads.AsSpan().Fill(None);
            _slabs = new byte[]?[(frames + FramesInSlab - 1) / FramesInSlab];
        }

        public bool TryVisit<T>(in FrameKey key, ulong mix, ref T visitor)
            where T : struct, IVisitor
        {
            lock (_lock)
            {
                var frame = Find(key, mix);
                if (!Count(frame))
                {
                    return false;
                }

                visitor.Visit(BytesOf(frame));
                return true;
            }
        }

        public bool TryCopy(in FrameKey key, ulong mix, int offset, Span<byte> into, bool isWanted)
        {
            lock (_lock)
            {
                var frame = Find(key, mix);
                if (frame != None && (offset < _held[frame].From || offset + into.Length > _held[frame].To))
                {
                    frame = None;
                }

                if (isWanted ? !Count(frame) : frame == None)
                {
                    return false;
                }

                BytesOf(frame).Slice(offset - _held[frame].From, into.Length).CopyTo(into);
                return true;
            }
        }

        public void Add(in FrameKey key, ulong mix, int offset, ReadOnlySpan<byte> bytes)
        {
            lock (_lock)
            {
                if (Find(key, mix) != None)
                {
                    return;
                }

                var frame = Used < _keys.Length ? Used++ : Evict();
                // Pinned: so they lie apart, and the rest of the heap is small enough to be compacted when it has holes.
                _slabs[frame / FramesInSlab] ??= GC.AllocateUninitializedArray<byte>(
                    Math.Min(FramesInSlab, _keys.Length - (frame / FramesInSlab * FramesInSlab)) * PageBytes, pinned: true);
                _held[frame] = ((ushort)offset, (ushort)(offset + bytes.Length));
                bytes.CopyTo(BytesOf(frame));
                ref var head = ref HeadOf(mix);
                (_keys[frame], _next[frame], _isWanted[frame]) = (key, head, false);
                head = frame;
            }
        }

        private bool Count(int frame)
        {
            if (frame == None)
            {
                Misses++;
                return false;
            }

            Hits++;
            return _isWanted[frame] = true;
        }

        private ref int HeadOf(ulong mix) => ref _heads[(int)(mix >> 28) & (_heads.Length - 1)];

        /// <summary>The bytes that a frame holds.</summary>
        private Span<byte> BytesOf(int frame)
        {
            var (from, to) = _held[frame];
            return _slabs[frame / FramesInSlab].AsSpan((frame % FramesInSlab * PageBytes) + from, to - from);
        }

        private int Find(in FrameKey key, ulong mix)
        {
            var frame = HeadOf(mix);
            while (frame != None && _keys[frame] != key)
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
                _hand = (_hand + 1) % _keys.Length;
            }

            var frame = _hand;
            _hand = (_hand + 1) % _keys.Length;
            ref var link = ref HeadOf(_keys[frame].Mix());
            while (link != frame)
            {
                link = ref _next[link];
            }

            link = _next[frame];
            return frame;
        }
    }
}
