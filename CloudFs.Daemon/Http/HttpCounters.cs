namespace CloudFs.Daemon.Http;

/// <summary>What the HTTP face counts about itself; monotonic. Thread-safe.</summary>
internal sealed class HttpCounters
{
    private readonly long[] _answers = new long[6];
    private long _streamBytes;
    private long _readBytes;
    private long _writtenBytes;
    private long _ingestedEntries;
    private long _ingestedBytes;
    private long _brokenOff;

    /// <summary>Answers by the first digit of their status.</summary>
    public long Answers(int firstDigit) => Interlocked.Read(ref _answers[firstDigit]);

    public long StreamBytes => Interlocked.Read(ref _streamBytes);

    public long ReadBytes => Interlocked.Read(ref _readBytes);

    public long WrittenBytes => Interlocked.Read(ref _writtenBytes);

    public long IngestedEntries => Interlocked.Read(ref _ingestedEntries);

    public long IngestedBytes => Interlocked.Read(ref _ingestedBytes);

    /// <summary>Answers that were broken off because the rest could not be proved or had an error.</summary>
    public long BrokenOff => Interlocked.Read(ref _brokenOff);

    public void Answered(int status) => Interlocked.Increment(ref _answers[Math.Clamp(status / 100, 0, 5)]);

    public void Streamed(long bytes) => Interlocked.Add(ref _streamBytes, bytes);

    public void Read(long bytes) => Interlocked.Add(ref _readBytes, bytes);

    public void Written(long bytes) => Interlocked.Add(ref _writtenBytes, bytes);

    public void Ingested(long bytes)
    {
        Interlocked.Increment(ref _ingestedEntries);
        Interlocked.Add(ref _ingestedBytes, bytes);
    }

    public void BrokeOff() => Interlocked.Increment(ref _brokenOff);
}
