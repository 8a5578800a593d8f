namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>
/// The peer broke the protocol in a way after which its bytes can't be understood: the connection is closed. What can
/// be answered with an error code never throws this.
/// </summary>
internal sealed class NbdProtocolException(string message) : Exception(message);
