namespace CloudFs.Core.Tests.Cluster;

/// <summary>A host's own clocks over the simulation's time: the one that runs from the boot on is too fast or too slow, the wall clock is off.</summary>
/// <param name="time">The true time.</param>
/// <param name="rate">How fast it runs: 1 is right. Two hosts may differ by a hundredth (PROTOCOL.md, 18).</param>
/// <param name="skew">What the wall clock is ahead by.</param>
internal sealed class HostClock(TimeProvider time, double rate, TimeSpan skew) : TimeProvider
{
    public override long TimestampFrequency => time.TimestampFrequency;

    public override long GetTimestamp() => (long)(time.GetTimestamp() * rate);

    public override DateTimeOffset GetUtcNow() => time.GetUtcNow() + skew;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new Scaled(time.CreateTimer(callback, state, Scale(dueTime), Scale(period)), this);

    private TimeSpan Scale(TimeSpan span) => span <= TimeSpan.Zero ? span : span / rate;

    private sealed class Scaled(ITimer timer, HostClock clock) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(clock.Scale(dueTime), clock.Scale(period));

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();
    }
}
