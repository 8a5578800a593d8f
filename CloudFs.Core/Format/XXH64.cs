using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CloudFs.Core.Format;

/// <summary>
/// XXH64 with seed 0, as the xxHash specification describes it: the checksum of headers and of single pages.
/// It finds rot and misplaced writes fast; it proves nothing against somebody who wants to deceive (that is SHA-1's
/// part). The shape is that of K4os.Hash.xxHash, so that the package can take this file's place.
/// A <c>default</c> value is ready for use. It is a mutable struct: keep it in a local or a field, and don't copy it.
/// </summary>
public struct XXH64
{
    private const ulong P1 = 0x9E3779B185EBCA87;
    private const ulong P2 = 0xC2B2AE3D27D4EB4F;
    private const ulong P3 = 0x165667B19E3779F9;
    private const ulong P4 = 0x85EBCA77C2B2AE63;
    private const ulong P5 = 0x27D4EB2F165667C5;
    private const int StripeSize = 32;
    private const int WordsPerStripe = StripeSize / sizeof(ulong);

    private Lanes _lanes;
    private Stripe _pending;
    private ulong _length;

    /// <summary>The digest of <paramref name="data"/>, of any length.</summary>
    public static ulong DigestOf(ReadOnlySpan<byte> data)
    {
        var whole = data.Length & ~(StripeSize - 1);
        var lanes = Lanes.Start();
        lanes.Consume(data[..whole]);
        return Finish(lanes, (ulong)data.Length, data[whole..]);
    }

    /// <summary>Forgets what was given so far.</summary>
    public void Reset() => this = default;

    /// <summary>Takes the next bytes in.</summary>
    public void Update(ReadOnlySpan<byte> data)
    {
        if (_length == 0)
        {
            _lanes = Lanes.Start();
        }

        Span<byte> pending = _pending;
        var held = (int)(_length % StripeSize);
        _length += (ulong)data.Length;
        if (held > 0)
        {
            var taken = Math.Min(StripeSize - held, data.Length);
            data[..taken].CopyTo(pending[held..]);
            data = data[taken..];
            if (held + taken < StripeSize)
            {
                return;
            }

            _lanes.Consume(pending);
        }

        var whole = data.Length & ~(StripeSize - 1);
        _lanes.Consume(data[..whole]);
        data[whole..].CopyTo(pending);
    }

    /// <summary>The digest of everything taken in since the start or the last <see cref="Reset"/>; more may
    /// follow.</summary>
    public readonly ulong Digest()
    {
        ReadOnlySpan<byte> pending = _pending;
        return Finish(_lanes, _length, pending[..(int)(_length % StripeSize)]);
    }

    private static ulong Finish(in Lanes lanes, ulong length, ReadOnlySpan<byte> tail)
    {
        unchecked
        {
            var hash = (length >= StripeSize ? lanes.Converge() : P5) + length;
            for (; tail.Length >= 8; tail = tail[8..])
            {
                hash ^= Round(0, BinaryPrimitives.ReadUInt64LittleEndian(tail));
                hash = (BitOperations.RotateLeft(hash, 27) * P1) + P4;
            }

            if (tail.Length >= 4)
            {
                hash ^= BinaryPrimitives.ReadUInt32LittleEndian(tail) * P1;
                hash = (BitOperations.RotateLeft(hash, 23) * P2) + P3;
                tail = tail[4..];
            }

            foreach (var value in tail)
            {
                hash = BitOperations.RotateLeft(hash ^ (value * P5), 11) * P1;
            }

            hash = (hash ^ (hash >> 33)) * P2;
            hash = (hash ^ (hash >> 29)) * P3;
            return hash ^ (hash >> 32);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Round(ulong lane, ulong input) =>
        unchecked(BitOperations.RotateLeft(lane + (input * P2), 31) * P1);

    [InlineArray(StripeSize)]
    private struct Stripe
    {
        private byte _first;
    }

    /// <summary>The four running sums, each fed with every fourth word.</summary>
    private struct Lanes
    {
        private ulong _a;
        private ulong _b;
        private ulong _c;
        private ulong _d;

        public static Lanes Start() => new() { _a = unchecked(P1 + P2), _b = P2, _c = 0, _d = unchecked(0 - P1) };

        /// <summary>Takes in whole stripes. The sums live in locals meanwhile, so that the loop runs in
        /// registers.</summary>
        public void Consume(ReadOnlySpan<byte> stripes)
        {
            var words = MemoryMarshal.Cast<byte, ulong>(stripes);
            var (a, b, c, d) = (_a, _b, _c, _d);
            while (words.Length >= WordsPerStripe)
            {
                a = Round(a, Little(words[0]));
                b = Round(b, Little(words[1]));
                c = Round(c, Little(words[2]));
                d = Round(d, Little(words[3]));
                words = words[WordsPerStripe..];
            }

            (_a, _b, _c, _d) = (a, b, c, d);
        }

        public readonly ulong Converge()
        {
            unchecked
            {
                var hash = BitOperations.RotateLeft(_a, 1) + BitOperations.RotateLeft(_b, 7)
                    + BitOperations.RotateLeft(_c, 12) + BitOperations.RotateLeft(_d, 18);
                hash = Merge(hash, _a);
                hash = Merge(hash, _b);
                hash = Merge(hash, _c);
                return Merge(hash, _d);
            }
        }

        private static ulong Merge(ulong hash, ulong lane) => unchecked(((hash ^ Round(0, lane)) * P1) + P4);

        private static ulong Little(ulong word) =>
            BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
    }
}
