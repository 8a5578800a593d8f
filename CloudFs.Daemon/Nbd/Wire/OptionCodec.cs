using System.Buffers.Binary;
using System.Text;

namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>An option's header: magic, option, length of its data.</summary>
internal readonly record struct OptionHeader(NbdOption Option, uint Length)
{
    public const int Size = 16;

    /// <exception cref="NbdProtocolException">The magic is wrong, or the length is absurd.</exception>
    public static OptionHeader Read(ReadOnlySpan<byte> bytes)
    {
        var magic = BinaryPrimitives.ReadUInt64BigEndian(bytes);
        if (magic != NbdMagic.Option)
        {
            throw new NbdProtocolException($"expected an option (0x{NbdMagic.Option:x16}), found 0x{magic:x16}");
        }

        var option = BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]);
        if (length > NbdLimits.MaxOptionData)
        {
            throw new NbdProtocolException(
                $"option {option} announces {length} bytes of data, more than {NbdLimits.MaxOptionData}");
        }

        return new OptionHeader((NbdOption)option, length);
    }
}

/// <summary>What INFO and GO ask for.</summary>
internal readonly record struct ExportQuery(string Name, bool WantsName, bool WantsDescription, bool WantsBlockSize);

/// <summary>What LIST_META_CONTEXT and SET_META_CONTEXT ask for.</summary>
/// <param name="Name">The export.</param>
/// <param name="Queries">How many queries there were.</param>
/// <param name="NamesAllocation">One of them is "base:allocation".</param>
/// <param name="NamesBase">One of them is "base:", which stands for all of that namespace in a LIST.</param>
internal readonly record struct MetaQuery(string Name, uint Queries, bool NamesAllocation, bool NamesBase);

/// <summary>
/// Reads the data of options. False means ERR_INVALID: the lengths inside do not add up to the data, or a string is no
/// string by the protocol's rule.
/// </summary>
internal static class OptionCodec
{
    /// <summary>The one metadata context there is.</summary>
    public const string AllocationContext = "base:allocation";

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads a string as the protocol defines it: UTF-8, no NUL, at most 4096 bytes.</summary>
    public static bool TryReadString(ReadOnlySpan<byte> bytes, out string text)
    {
        text = "";
        if (bytes.Length > NbdLimits.MaxString || bytes.Contains((byte)0))
        {
            return false;
        }

        try
        {
            text = StrictUtf8.GetString(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }

    /// <summary>Reads the data of INFO and GO: name, then a list of 16-bit requests that fills the rest.</summary>
    public static bool TryReadExportQuery(ReadOnlySpan<byte> data, out ExportQuery query)
    {
        query = default;
        if (!TryTakeString(ref data, out var name) || data.Length < 2)
        {
            return false;
        }

        int count = BinaryPrimitives.ReadUInt16BigEndian(data);
        data = data[2..];
        if (data.Length != count * 2)
        {
            return false;
        }

        query = new ExportQuery(name, false, false, false);
        for (; data.Length > 0; data = data[2..])
        {
            query = (NbdInfo)BinaryPrimitives.ReadUInt16BigEndian(data) switch
            {
                NbdInfo.Name => query with { WantsName = true },
                NbdInfo.Description => query with { WantsDescription = true },
                NbdInfo.BlockSize => query with { WantsBlockSize = true },
                _ => query,
            };
        }

        return true;
    }

    /// <summary>
    /// Reads the data of the two META_CONTEXT options: name, then counted queries that fill the rest.
    /// </summary>
    public static bool TryReadMetaQuery(ReadOnlySpan<byte> data, out MetaQuery query)
    {
        query = default;
        if (!TryTakeString(ref data, out var name) || data.Length < 4)
        {
            return false;
        }

        var count = BinaryPrimitives.ReadUInt32BigEndian(data);
        data = data[4..];
        var result = new MetaQuery(name, count, false, false);
        for (uint i = 0; i < count; i++)
        {
            if (!TryTakeBytes(ref data, out var text))
            {
                return false;
            }

            // What is neither of the two can't be known here, and the protocol wants it ignored.
            result = result with
            {
                NamesAllocation = result.NamesAllocation || text.SequenceEqual("base:allocation"u8),
                NamesBase = result.NamesBase || text.SequenceEqual("base:"u8),
            };
        }

        query = result;
        return data.IsEmpty;
    }

    private static bool TryTakeString(ref ReadOnlySpan<byte> data, out string text)
    {
        text = "";
        return TryTakeBytes(ref data, out var bytes) && TryReadString(bytes, out text);
    }

    private static bool TryTakeBytes(ref ReadOnlySpan<byte> data, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (data.Length < 4)
        {
            return false;
        }

        var length = BinaryPrimitives.ReadUInt32BigEndian(data);
        if (length > (uint)data.Length - 4)
        {
            return false;
        }

        bytes = data.Slice(4, (int)length);
        data = data[(4 + (int)length)..];
        return true;
    }
}
