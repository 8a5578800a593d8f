using System.Text;

namespace CloudFs.Daemon.Links;

/// <summary>
/// The heads of HTTP/1.1 with which a link begins, written and read by hand: <c>GET /cluster/link</c> with an upgrade, and 101. Pure.
/// </summary>
internal static class LinkHeads
{
    public const string Path = "/cluster/link";

    public const string Protocol = "cloudfs-link/1";

    /// <summary>A head is not longer than this.</summary>
    public const int MaxBytes = 4 << 10;

    private static readonly byte[] Switching = Encoding.ASCII.GetBytes(
        $"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {Protocol}\r\n\r\n");

    /// <summary>What the one who dialled is answered when the link begins.</summary>
    public static ReadOnlySpan<byte> Accepted => Switching;

    /// <summary>What the one who dials sends.</summary>
    public static byte[] Request(string address) => Encoding.ASCII.GetBytes(
        $"GET {Path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: {Protocol}\r\n\r\n");

    /// <summary>
    /// The length of the head that a connection begins with, where all of it is here and asks for a link; 0 for anything else, which is the
    /// HTTP server's affair, a wrong request for a link included.
    /// </summary>
    public static int LengthOfRequest(ReadOnlySpan<byte> bytes)
    {
        var length = LengthOf(bytes);
        if (length == 0 || !bytes.StartsWith("GET /cluster/link HTTP/1.1\r\n"u8))
        {
            return 0;
        }

        var head = Encoding.Latin1.GetString(bytes[..length]);
        return Asks(head, "Connection", "Upgrade") && Asks(head, "Upgrade", Protocol) && ValueOf(head, "Content-Length") is null
            && ValueOf(head, "Transfer-Encoding") is null && ValueOf(head, "Host") is not null ? length : 0;
    }

    /// <summary>
    /// Reads the answer's head: its length once it is here, 0 until then. <paramref name="refusal"/> says why the answer is no link.
    /// </summary>
    public static int LengthOfAnswer(ReadOnlySpan<byte> bytes, out string? refusal)
    {
        var length = LengthOf(bytes);
        refusal = length == 0 && bytes.Length >= MaxBytes ? $"its answer has no end within {MaxBytes} bytes"
            : !Begins(bytes, "HTTP/1.1 "u8) ? "what it answers is no HTTP/1.1" : null;
        if (length == 0 || refusal is not null)
        {
            return length;
        }

        var head = Encoding.Latin1.GetString(bytes[..length]);
        var line = head[..head.IndexOf('\r', StringComparison.Ordinal)];
        refusal = !line.StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal) ? $"it answers '{Shorten(line["HTTP/1.1 ".Length..])}'"
            : !Asks(head, "Upgrade", Protocol) ? $"it switches to another protocol than {Protocol}" : null;
        return length;
    }

    private static bool Begins(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> with)
    {
        var common = Math.Min(bytes.Length, with.Length);
        return bytes[..common].SequenceEqual(with[..common]);
    }

    private static int LengthOf(ReadOnlySpan<byte> bytes)
    {
        var end = bytes[..Math.Min(bytes.Length, MaxBytes)].IndexOf("\r\n\r\n"u8);
        return end < 0 ? 0 : end + 4;
    }

    private static bool Asks(string head, string name, string token) => ValueOf(head, name) is { } value
        && value.Split(',').Any(part => part.Trim().Equals(token, StringComparison.OrdinalIgnoreCase));

    private static string? ValueOf(string head, string name)
    {
        foreach (var line in head.Split("\r\n").Skip(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0 && line.AsSpan(0, colon).Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                return line[(colon + 1)..].Trim();
            }
        }

        return null;
    }

    private static string Shorten(string line)
    {
        var shown = line.Length <= 64 ? line : line[..64] + "…";
        return string.Concat(shown.Select(c => char.IsControl(c) ? '?' : c));
    }
}
