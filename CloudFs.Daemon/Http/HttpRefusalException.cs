namespace CloudFs.Daemon.Http;

/// <summary>A request that is answered with a status and one line; the dispatcher turns it into that answer.</summary>
internal sealed class HttpRefusalException(int status, string line) : Exception(line)
{
    public int Status { get; } = status;
}
