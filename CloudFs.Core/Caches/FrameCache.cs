using System.Runtime.InteropServices;

namespace CloudFs.Core.Caches;

/// <summary>What a frame is found by: two numbers that together are never given to other bytes.</summary>
/// <param name="First">The one.</param>
/// <param name="Second">The other.</param>
internal readonly record struct FrameKey(ulong First, ulong Second)
{
    /// <summary>
    /// Pages of a run: their keys differ in four bits of <see cref="Second"/> alone, from <see cref="RunShift"/> on, and they are kept
    /// where one is found soon after the other.
    /// </summary>
    public const int RunPages = 16;

    /// <summary>Where those bits stand.</summary>
    public const int RunShift = 16;

    private const ulong RunMask = (RunPages - 1UL) << RunShift;

    /// <summary>The place in the run.</summary>
    public int Run => (int)(Second >> RunShift) & (RunPages - 1);

    /// <summary>The key of the next page of the run.</summary>
    public FrameKey Next => new(First, Second + (1UL << RunShift));

    /// <summary>Bits of both, the same for all of a run, of which the upper ones depend on all.</summary>
    public ulong Mix()
    {
        var mixed = unchecked((First * 0x9E3779B97F4A7C15) + (Second & ~RunMask));
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

    /// <summary>What a page takes: itself, what is known of it, and two heads of chains.</summary>
    public const int FrameBytes = PageBytes + Frame.Size + (2 * sizeof(int));

    private const int StripesMax = 16;
    private const int FramesMin = 16;

    /// <summary>A stripe has room for a good many runs.</summary>
    private const int StripeFramesMin = 16 * FrameKey.RunPages;

    private readonly Stripe[] _stripes;

    /// <param name="capacityBytes">What it may take, its own tables included; at least sixteen pages are held.</param>
    public FrameCache(long capacityBytes)
    {
        var frames = (int)Math.Clamp(capacityBytes / FrameBytes, FramesMin, int.MaxValue / 2);
        var stripes = 1;
        while (stripes < StripesMax && frames / (stripes * 2) >= StripeFramesMin)
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
    /// Copies bytes that stand in the frame from <paramref name="offset"/> on; false when they are not all here. It does not count,
    /// nor give the page a second chance: somebody passes by once, which says nothing about what will be wanted again.
    /// </summary>
    public bool TryCopy(in FrameKey key, int offset, Span<byte> into)
    {
        var mix = key.Mix();
        return StripeOf(mix).TryCopy(key, mix, offset, into);
    }

    /// <summary>
    /// Copies bytes that stand in the frame from <paramref name="offset"/> on, and those of the pages that follow in the run from
    /// their start on, until a page is not here, the run ends, or <paramref name="into"/> is full. Counts, and gives each page a second
    /// chance.
    /// </summary>
    /// <returns>How many bytes: whole pages, but where the range begins or ends within one.</returns>
    public int CopyRun(in FrameKey key, int offset, Span<byte> into)
    {
        var mix = key.Mix();
        return StripeOf(mix).CopyRun(key, mix, offset, into);
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

    /// <summary>What is known of a frame: kept together, so that to look at it is to touch one line of memory.</summary>
    [StructLayout(LayoutKind.Sequential, Size = Size)]
    private struct Frame
    {
        public const int Size = 32;

        public FrameKey Key;
        public int Next;
        public ushort From;
        public ushort To;
        public bool IsWanted;
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
        private readonly Frame[] _frames;
        private readonly int[] _heads;
        private readonly byte[]?[] _slabs;
        private int _hand;

        public Stripe(int frames)
        {
            _frames = new Frame[frames];
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

        public bool TryCopy(in FrameKey key, ulong mix, int offset, Span<byte> into)
        {
            lock (_lock)
            {
                var frame = Find(key, mix);
                return frame != None && TryCopy(frame, offset, into);
            }
        }

        public int CopyRun(FrameKey key, ulong mix, int offset, Span<byte> into)
        {
            var copied = 0;
            lock (_lock)
            {
                while (true)
                {
                    var frame = Find(key, mix);
                    var part = into.Slice(copied, Math.Min(into.Length - copied, PageBytes - offset));
                    if (!Count(frame != None && TryCopy(frame, offset, part) ? frame : None))
                    {
                        return copied;
                    }

                    copied += part.Length;
                    offset = 0;
                    if (copied == into.Length || key.Run == FrameKey.RunPages - 1)
                    {
                        return copied;
                    }

                    key = key.Next;
                }
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

                var frame = Used < _frames.Length ? Used++ : Evict();
                // Pinned: so they lie apart, and the rest of the heap is small enough to be compacted when it has holes.
                _slabs[frame / FramesInSlab] ??= GC.AllocateUninitializedArray<byte>(
                    Math.Min(FramesInSlab, _frames.Length - (frame / FramesInSlab * FramesInSlab)) * PageBytes, pinned: true);
                ref var head = ref HeadOf(key, mix);
                _frames[frame] = new Frame
                {
                    Key = key,
                    Next = head,
                    From = (ushort)offset,
                    To = (ushort)(offset + bytes.Length),
                };
                head = frame;
                bytes.CopyTo(BytesOf(frame));
            }
        }

        private bool TryCopy(int frame, int offset, Span<byte> into)
        {
            ref readonly var found = ref _frames[frame];
            if (offset < found.From || offset + into.Length > found.To)
            {
                return false;
            }

            BytesOf(frame).Slice(offset - found.From, into.Length).CopyTo(into);
            return true;
        }

        private bool Count(int frame)
        {
            if (frame == None)
            {
                Misses++;
                return false;
            }

            Hits++;
            return _frames[frame].IsWanted = true;
        }

        /// <summary>Heads of a run lie side by side.</summary>
        private ref int HeadOf(in FrameKey key, ulong mix) => ref _heads[((int)(mix >> 28) + key.Run) & (_heads.Length - 1)];

        /// <summary>The bytes that a frame holds.</summary>
        private Span<byte> BytesOf(int frame)
        {
            ref readonly var held = ref _frames[frame];
            return _slabs[frame / FramesInSlab].AsSpan((frame % FramesInSlab * PageBytes) + held.From, held.To - held.From);
        }

        private int Find(in FrameKey key, ulong mix)
        {
            var frame = HeadOf(key, mix);
            while (frame != None && _frames[frame].Key != key)
            {
                frame = _frames[frame].Next;
            }

            return frame;
        }

        private int Evict()
        {
            while (_frames[_hand].IsWanted)
            {
                _frames[_hand].IsWanted = false;
                _hand = (_hand + 1) % _frames.Length;
            }

            var frame = _hand;
            _hand = (_hand + 1) % _frames.Length;
            ref readonly var gone = ref _frames[frame];
            ref var link = ref HeadOf(gone.Key, gone.Key.Mix());
            while (link != frame)
            {
                link = ref _frames[link].Next;
            }

            link = gone.Next;
            return frame;
        }
    }
}
