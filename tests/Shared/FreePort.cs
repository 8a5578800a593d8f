using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace CloudFs.Tests.Shared;

/// <summary>
/// Ports of the loopback address for daemons that tests start. They lie below those that a system gives to connections by
/// itself (32768 and above on Linux), since such a connection, even one's own attempt to reach the daemon, would keep the
/// daemon from listening there; and no port is given twice in a process.
/// </summary>
internal static class FreePort
{
    private const int First = 20000;
    private const int Count = 12000;

    private static int _next = Random.Shared.Next(Count);

    /// <summary>A port that nobody listens on. Any thread may call it.</summary>
    public static int Next()
    {
        for (var tried = 0; tried < Count; tried++)
        {
            var port = First + (int)((uint)Interlocked.Increment(ref _next) % Count);
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Someone else's: the next.
            }
        }

        throw new InvalidOperationException(string.Create(
            CultureInfo.InvariantCulture, $"no port from {First} to {First + Count - 1} is free"));
    }
}
