namespace CloudFs.Daemon.Nbd;

/// <summary>Every line that the NBD server logs.</summary>
internal static partial class NbdLog
{
    [LoggerMessage(1, LogLevel.Information, "NBD listens on {Address}")]
    public static partial void Listening(this ILogger log, string address);

    [LoggerMessage(2, LogLevel.Debug, "{Peer} is attached to disk {Disk}")]
    public static partial void Attached(this ILogger log, string peer, string disk);

    [LoggerMessage(3, LogLevel.Debug, "{Peer} left disk {Disk} after {Requests} requests")]
    public static partial void Left(this ILogger log, string peer, string disk, long requests);

    [LoggerMessage(4, LogLevel.Information, "refused {Peer}: {Reason}{Untold}")]
    public static partial void Refused(this ILogger log, string peer, string reason, string untold);

    [LoggerMessage(5, LogLevel.Information, "closed {Peer}: {Reason}{Untold}")]
    public static partial void ProtocolError(this ILogger log, string peer, string reason, string untold);

    [LoggerMessage(
        6, LogLevel.Warning, "closed {Peer}: it has read nothing for {Seconds:F0} s and holds {Bytes} bytes")]
    public static partial void PeerStalled(this ILogger log, string peer, double seconds, long bytes);

    [LoggerMessage(7, LogLevel.Warning, "can't accept on {Address}, trying again: {Reason}{Untold}")]
    public static partial void AcceptFailed(this ILogger log, string address, string reason, string untold);

    [LoggerMessage(8, LogLevel.Error, "a defect ended the connection of {Peer}; others go on")]
    public static partial void ConnectionFailed(this ILogger log, Exception e, string peer);

    [LoggerMessage(9, LogLevel.Error, "a defect failed a request on disk {Disk}; it was answered with EIO{Untold}")]
    public static partial void RequestFailed(this ILogger log, Exception e, string disk, string untold);

    [LoggerMessage(
        11,
        LogLevel.Warning,
        "a limit of {Limit} open files is room for {Connections} NBD connections and {Handshakes} handshakes; raise it "
        + "(LimitNOFILE, ulimit -n) for more")]
    public static partial void FewDescriptors(this ILogger log, ulong limit, int connections, int handshakes);

    [LoggerMessage(10, LogLevel.Information, "NBD stopped; {Broken} connections were broken off")]
    public static partial void Stopped(this ILogger log, int broken);
}
