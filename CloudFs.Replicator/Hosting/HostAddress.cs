using System.Globalization;
using System.Net;

namespace CloudFs.Replicator.Hosting;

/// <summary>
/// A host's address and port: <c>10.0.0.1:8091</c>, <c>[::1]:8091</c>, <c>db1.example:8091</c>. Others connect to it, so a name is
/// as good as a number.
/// </summary>
internal static class HostAddress
{
    private const int MaxLength = 300;

    /// <summary>Reads it; a port that is not given is <paramref name="defaultPort"/>, and 0 stands for none.</summary>
    public static bool TryParse(string? text, int defaultPort, out string address)
    {
        address = string.Empty;
        if (string.IsNullOrEmpty(text) || text.Length > MaxLength)
        {
            return false;
        }

        var (host, port) = Split(text);
        var number = defaultPort;
        if (port is not null
            && (!int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out number) || number is 0 or > ushort.MaxValue))
        {
            return false;
        }

        if (number == 0)
        {
            return false;
        }

        var isBracketed = host.Length > 2 && host[0] == '[' && host[^1] == ']';
        var isGood = isBracketed ? IPAddress.TryParse(host[1..^1], out _)
            : Uri.CheckHostName(host) is UriHostNameType.Dns or UriHostNameType.IPv4;
        address = string.Create(CultureInfo.InvariantCulture, $"{host}:{number}");
        return isGood;
    }

    /// <summary>True for an address with its port.</summary>
    public static bool IsValid(string? text) => TryParse(text, 0, out _);

    private static (string Host, string? Port) Split(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon < 0 || text[^1] == ']' ? (text, null) : (text[..colon], text[(colon + 1)..]);
    }
}
