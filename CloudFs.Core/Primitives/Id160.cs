using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace CloudFs.Core.Primitives;

/// <summary>
/// A 160-bit value: a version id, base id, host id, device id, token, lock, secret or SHA-1 digest (FORMAT.md).
/// In text it is 40 lower-case hex digits. <c>default</c> is all zeroes, which stands for "none".
/// Ordered as bytes, which is the order that ballots use.
/// </summary>
public readonly struct Id160 : IEquatable<Id160>, IComparable<Id160>
{
    /// <summary>Bytes in the binary form.</summary>
    public const int Size = 20;

    /// <summary>Digits in the text form.</summary>
    public const int HexLength = 40;

    // Big-endian words, so that comparing them as numbers compares the bytes.
    private readonly ulong _a;
    private readonly ulong _b;
    private readonly uint _c;

    /// <summary>Reads 20 bytes.</summary>
    /// <exception cref="ArgumentException"><paramref name="bytes"/> is not exactly 20 bytes.</exception>
    public Id160(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Size)
        {
            throw new ArgumentException($"expected {Size} bytes, found {bytes.Length}", nameof(bytes));
        }

        _a = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        _b = BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]);
        _c = BinaryPrimitives.ReadUInt32BigEndian(bytes[16..]);
    }

    /// <summary>True for all zeroes.</summary>
    public bool IsZero => (_a | _b | _c) == 0;

    /// <summary>The first 64 bits: where ids are told apart and nothing hangs on it that all of them are.</summary>
    internal ulong Word => _a;

    /// <summary>Writes the 20 bytes to the start of <paramref name="destination"/>.</summary>
    public void WriteTo(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64BigEndian(destination, _a);
        BinaryPrimitives.WriteUInt64BigEndian(destination[8..], _b);
        BinaryPrimitives.WriteUInt32BigEndian(destination[16..], _c);
    }

    /// <summary>Parses exactly 40 hex digits of either case; anything else is false.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out Id160 value)
    {
        value = default;
        if (text.Length != HexLength)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[Size];
        if (Convert.FromHexString(text, bytes, out _, out var written) != System.Buffers.OperationStatus.Done
            || written != Size)
        {
            return false;
        }

        value = new Id160(bytes);
        return true;
    }

    /// <summary>Parses 40 hex digits.</summary>
    /// <exception cref="FormatException">The text is not 40 hex digits.</exception>
    public static Id160 Parse(string text) =>
        TryParse(text, out var value) ? value : throw new FormatException($"expected 40 hex digits, found '{text}'");

    public bool Equals(Id160 other) => _a == other._a && _b == other._b && _c == other._c;

    public override bool Equals(object? obj) => obj is Id160 other && Equals(other);

    // Ids are digests or random already: any word of them is as good a hash as can be had.
    public override int GetHashCode() => unchecked((int)(_a >> 32) ^ (int)_c);

    public int CompareTo(Id160 other)
    {
        var order = _a.CompareTo(other._a);
        order = order != 0 ? order : _b.CompareTo(other._b);
        return order != 0 ? order : _c.CompareTo(other._c);
    }

    /// <summary>40 lower-case hex digits.</summary>
    [SkipLocalsInit]
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Size];
        WriteTo(bytes);
        return Convert.ToHexStringLower(bytes);
    }

    public static bool operator ==(Id160 left, Id160 right) => left.Equals(right);

    public static bool operator !=(Id160 left, Id160 right) => !left.Equals(right);

    public static bool operator <(Id160 left, Id160 right) => left.CompareTo(right) < 0;

    public static bool operator <=(Id160 left, Id160 right) => left.CompareTo(right) <= 0;

    public static bool operator >(Id160 left, Id160 right) => left.CompareTo(right) > 0;

    public static bool operator >=(Id160 left, Id160 right) => left.CompareTo(right) >= 0;
}
