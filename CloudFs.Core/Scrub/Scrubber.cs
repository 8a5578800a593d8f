using System.Globalization;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Scrub;

/// <summary>
/// Reads everything on the device that is in use, slowly, again and again: what rots is found before somebody needs it, and
/// healed where another copy is at hand. One pass at a time: on request, and an interval after the last one began. Any thread.
/// </summary>
public sealed class Scrubber(ScrubSources sources, ulong rate, TimeSpan interval) : IDisposable
{
    /// <summary>8 MiB a second, unless told otherwise: a terabyte in a day and a half.</summary>
    public const ulong DefaultRate = 8 << 20;

    /// <summary>Below this a pass over a small device would take days.</summary>
    public const ulong MinRate = 64 << 10;

    /// <summary>Findings of one pass that become lines of the log; the others are only listed.</summary>
    private const ulong ToldMax = 20;

    /// <summary>Timers end somewhere: longer waits are made of several.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(1);

    private readonly Lock _lock = new();
    private readonly AsyncSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly TimeProvider _time = sources.Services.Runtime.Time;
    private ScrubTally? _running;
    private ScrubTally? _newest;
    private ScrubTally? _completed;
    private PacedDevice? _device;
    private bool _isStopped;
    private ulong _passes;
    private ulong _completedMicros;
    private ulong _bytes;
    private long _begun = sources.Services.Runtime.Time.GetTimestamp();

    /// <summary>Why no pass will be run any more; null while all is well.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Begins a pass.</summary>
    /// <exception cref="RefusalException">Conflict: one is under way, or scrubbing is off.</exception>
    public void Begin()
    {
        if (rate == 0)
        {
            throw new RefusalException(Refusal.Conflict, "scrubbing is off: start the daemon with a --scrub-rate above 0");
        }

        lock (_lock)
        {
            if (_isStopped || Trouble is not null)
            {
                throw new RefusalException(Refusal.Unavailable, Trouble ?? "the engine is stopping");
            }

            if (_running is not null)
            {
                throw new RefusalException(Refusal.Conflict, "a scrub is under way already: GET /scrub tells how far it is");
            }

            _running = _newest = new ScrubTally(++_passes, NowMicros, Tell);
            _running.Begin(ScrubPass.BytesOf(ScrubPass.UsesOf(sources.Services.Segments).Count));
            _begun = _time.GetTimestamp();
        }

        _wake.Set();
    }

    /// <summary>How it stands now.</summary>
    public ScrubStatus GetStatus()
    {
        lock (_lock)
        {
            var (done, total) = _newest?.Bytes ?? default;
            return new ScrubStatus
            {
                Running = _running is not null,
                Pass = _passes,
                StartedMicros = _newest?.StartedMicros ?? 0,
                BytesTotal = total,
                BytesDone = done,
                Rate = rate,
                Interval = interval,
                FindingCount = _newest?.Count ?? 0,
                Findings = _newest?.List() ?? [],
                LastCompletedMicros = _completedMicros,
                LastFindings = _completed?.Count ?? 0,
                BytesReadInAll = _bytes + (_device?.BytesRead ?? 0),
            };
        }
    }

    /// <summary>
    /// What of the findings matters to health: those of which nobody knows what they cost. What is lost the disks tell
    /// themselves, until it is overwritten.
    /// </summary>
    public string? Concern()
    {
        if (Trouble is not null)
        {
            return Trouble;
        }

        lock (_lock)
        {
            var (count, first) = _newest?.Unknown is { Count: > 0 } now ? now : _completed?.Unknown ?? default;
            return first is null
                ? null
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"scrubbing found {count} places where something that is needed may be damaged, the first: {first.Place}: "
                    + $"{first.Message}; "
                    + $"'cloudfs scrub' lists them and looks again; copy off what matters, and watch the device");
        }
    }

    /// <summary>The loop; ends after <see cref="Stop"/>. It never throws.</summary>
    public async Task RunAsync()
    {
        try
        {
            while (!_stop.IsCancellationRequested)
            {
                if (Volatile.Read(ref _running) is { } pass)
                {
                    await RunPassAsync(pass);
                }
                else
                {
                    await WaitAsync();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped.
        }
        catch (Exception e)
        {
            // Disks are served on; but that nothing is looked after any more must be told.
            Trouble = $"scrubbing ended by an error and will not go on: {e.Message}; start the daemon again";
            sources.Services.Runtime.Report(new EngineEvent(EventLevel.Error, "scrub-died", Trouble));
        }
        finally
        {
            End(null);
        }
    }

    /// <summary>Ends the loop, and the pass that is under way.</summary>
    public void Stop()
    {
        lock (_lock)
        {
            _isStopped = true;
        }

        _stop.Cancel();
    }

    public void Dispose() => _stop.Dispose();

    private ulong NowMicros => sources.Services.Clock.NowMicros;

    private async Task RunPassAsync(ScrubTally tally)
    {
        var device = new PacedDevice(sources.Device, _time, rate, _stop.Token);
        lock (_lock)
        {
            _device = device;
        }

        await new ScrubPass(sources, tally, device).RunAsync();
        End(tally);
        var count = tally.Count;
        sources.Services.Runtime.Report(new EngineEvent(
            count > 0 ? EventLevel.Warning : EventLevel.Info,
            "scrubbed",
            string.Create(
                CultureInfo.InvariantCulture,
                $"scrubbed: {device.BytesRead} bytes read, {count} findings{(count > 0 ? ": GET /scrub lists them" : "")}")));
    }

    private void End(ScrubTally? completed)
    {
        lock (_lock)
        {
            _bytes += _device?.BytesRead ?? 0;
            _device = null;
            _running = null;
            if (completed is not null)
            {
                _completed = completed;
                _completedMicros = NowMicros;
            }
        }
    }

    /// <summary>Waits until somebody asks for a pass, or one is due.</summary>
    private async Task WaitAsync()
    {
        var isTimed = rate > 0 && interval > TimeSpan.Zero;
        var left = isTimed ? interval - _time.GetElapsedTime(Volatile.Read(ref _begun)) : TimeSpan.MaxValue;
        if (left <= TimeSpan.Zero)
        {
            TryBegin();
            return;
        }

        using var timeout = isTimed ? new CancellationTokenSource(left < LongestWait ? left : LongestWait, _time) : null;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, timeout?.Token ?? CancellationToken.None);
        try
        {
            await _wake.WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            // Time to look whether one is due.
        }
    }

    private void TryBegin()
    {
        try
        {
            Begin();
        }
        catch (RefusalException e) when (e.Reason is Refusal.Conflict or Refusal.Unavailable)
        {
            // Somebody asked for one in this very moment, or it is the end.
        }
    }

    private void Tell(ScrubFinding finding)
    {
        if (_newest?.Count <= ToldMax)
        {
            var level = finding.Verdict is ScrubVerdict.Lost or ScrubVerdict.Unknown ? EventLevel.Error : EventLevel.Warning;
            sources.Services.Runtime.Report(new EngineEvent(level, "scrub-finding", $"{finding.Place}: {finding.Message}"));
        }
    }
}
