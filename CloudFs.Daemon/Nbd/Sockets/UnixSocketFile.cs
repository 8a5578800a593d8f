using System.Net.Sockets;

namespace CloudFs.Daemon.Nbd.Sockets;

/// <summary>
/// Listens on a Unix socket that only its owner can connect to. The file gets its mode between bind and listen: until
/// listen nobody can connect at all.
/// </summary>
internal static class UnixSocketFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <exception cref="IOException">The path is taken, or can't be used; says what to do.</exception>
    public static Socket Listen(string path, int backlog)
    {
        UnixDomainSocketEndPoint endpoint;
        try
        {
            endpoint = new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw new IOException($"the path of the NBD socket is too long ({path}); 107 bytes are possible");
        }

        RemoveStale(path, endpoint);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(endpoint);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, OwnerOnly);
            }

            socket.Listen(backlog);
            return socket;
        }
        catch (Exception e)
        {
            socket.Dispose();
            throw e is SocketException ? new IOException($"can't listen on {path}: {e.Message}", e) : e;
        }
    }

    private static void RemoveStale(string path, UnixDomainSocketEndPoint endpoint)
    {
        if (!File.Exists(path) && !Directory.Exists(path))
        {
            return;
        }

        // Nothing but a socket may be removed: the path could be a mistyped one of somebody's data.
        if (!SocketCalls.IsSocketFile(path))
        {
            throw new IOException($"{path} exists and is no socket; remove it, or choose another path for NBD");
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(endpoint);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
            return;
        }
        catch (SocketException e)
        {
            throw new IOException($"can't tell whether {path} is in use: {e.Message}", e);
        }

        throw new IOException($"another process listens on {path}; stop it, or choose another path for NBD");
    }
}
