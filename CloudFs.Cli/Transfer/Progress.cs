using System.Globalization;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Transfer;

/// <summary>
/// Says on a terminal how far a copy is, at what rate, and when it will be over; from two seconds on, four times a
/// second, on one line that it wipes out in the end. Thread-safe.
/// </summary>
internal sealed class Progress : IDisposable
{
    private static readonly TimeSpan FirstAfter = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(250);

    private readonly CommandIo _io;
    private readonly TimeProvider _time;
    private readonly long _started;
    private readonly ITimer? _timer;
    private ulong? _total;
    private ulong _done;
    private ulong _moved;
    private int _shown;

    /// <param name="io">Where it is told.</param>
    /// <param name="total">Bytes in all, or null when nobody knows.</param>
    /// <param name="time">The clock.</param>
    public Progress(CommandIo io, ulong? total, TimeProvider time)
    {
        _io = io;
        _total = total;
        _time = time;
        _started = time.GetTimestamp();
        _timer = io.ShowsProgress ? time.CreateTimer(_ => Show(), null, FirstAfter, Every) : null;
    }

    /// <summary>Bytes that were really moved, without the holes.</summary>
    public ulong Moved => Volatile.Read(ref _moved);

    public TimeSpan Elapsed => _time.GetElapsedTime(_started);

    /// <summary>Bytes that were moved.</summary>
    public void Add(ulong bytes)
    {
        Interlocked.Add(ref _moved, bytes);
        Interlocked.Add(ref _done, bytes);
    }

    /// <summary>So many bytes are done of so many in all.</summary>
    public void Reach(ulong bytes, ulong total)
    {
        _total = total;
        Volatile.Write(ref _moved, bytes);
        Volatile.Write(ref _done, bytes);
    }

    /// <summary>Bytes that needn't be moved.</summary>
    public void Skip(ulong bytes) => Interlocked.Add(ref _done, bytes);

    public void Dispose()
    {
        _timer?.Dispose();
        if (Interlocked.Exchange(ref _shown, 0) != 0)
        {
            _io.Error.Write("\r\x1b[K");
        }
    }

    /// <summary>The line, without the carriage return: <c>1.2 GiB of 8 GiB, 310 MiB/s, 0:22 left</c>.</summary>
    internal static string Line(ulong done, ulong moved, ulong? total, TimeSpan elapsed)
    {
        var seconds = Math.Max(elapsed.TotalSeconds, 0.001);
        var rate = SizeText.Format((ulong)(moved / seconds));
        if (total is not { } all)
        {
            return $"{SizeText.Format(done)}, {rate}/s";
        }

        var left = done == 0 ? "" : ", " + Clock(TimeSpan.FromSeconds((all - Math.Min(done, all)) / (done / seconds)));
        return $"{SizeText.Format(done)} of {SizeText.Format(all)}, {rate}/s{left}";
    }

    private static string Clock(TimeSpan left)
    {
        var hours = (long)left.TotalHours;
        return hours > 0
            ? string.Create(CultureInfo.InvariantCulture, $"{hours}:{left.Minutes:00}:{left.Seconds:00} left")
            : string.Create(CultureInfo.InvariantCulture, $"{left.Minutes}:{left.Seconds:00} left");
    }

    private void Show()
    {
        Volatile.Write(ref _shown, 1);
        _io.Error.Write("\r\x1b[K" + Line(Volatile.Read(ref _done), Moved, _total, Elapsed));
    }
}
