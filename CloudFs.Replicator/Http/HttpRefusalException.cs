namespace CloudFs.Replicator.Http;

/// <summary>A request that is answered with a status of 400 or above, and one line that says what to do.</summary>
internal sealed class HttpRefusalException(int status, string line) : Exception(line)
{
    public int Status => status;
}
