using System.Globalization;
using System.Net;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Where to listen: an IP address and a port, written <c>127.0.0.1:8090</c>, <c>[::1]:8090</c> or
/// <c>localhost:8090</c>. Names are not looked up: what a name means may change, what one listens on must not.
/// </summary>
internal sealed record ListenAddress(IPAddress Address, int Port)
{
    /// <summary>True when nobody outside this machine can reach it.</summary>
    public bool IsLoopback => IPAddress.IsLoopback(Address);

    public IPEndPoint EndPoint => new(Address, Port);

    public static bool TryParse(string text, out ListenAddress address)
    {
        address = new ListenAddress(IPAddress.Loopback, 0);
        var colon = text.LastIndexOf(':');
        if (colon <= 0
            || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port))
        {
            return false;
        }

        var host = text.AsSpan(0, colon);
        var bracketed = host.Length > 2 && host[0] == '[' && host[^1] == ']';
        if (bracketed)
        {
            host = host[1..^1];
        }

        IPAddress? parsed;
        if (host is "localhost")
        {
            parsed = IPAddress.Loopback;
        }
        else if (!IPAddress.TryParse(host, out parsed) || bracketed != host.Contains(':'))
        {
            return false;
        }
        else if (!bracketed && host.Count('.') != 3)
        {
            // "1:80" would be 0.0.0.1 by the old rules for addresses; nobody means that.
            return false;
        }

        address = new ListenAddress(parsed, port);
        return true;
    }

    public override string ToString() => EndPoint.ToString();
}
