using System.Globalization;

namespace CloudFs.Core.Contracts;

/// <summary>
/// Lengths of time as people write and read them: <c>90s</c>, <c>30m</c>, <c>1h</c>, <c>2d</c>, and <c>0</c>. One whole number
/// with one unit; a bare number other than 0 is refused, since nobody can tell what it counts.
/// </summary>
public static class DurationText
{
    /// <summary>The most that is understood: a hundred years of 365 days. More is a slip of the finger.</summary>
    public static readonly TimeSpan Max = TimeSpan.FromDays(36_500);

    /// <summary>Parses a length of time; false for anything that is not exactly one number with one known unit.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan duration)
    {
        duration = default;
        text = text.Trim();
        var digits = 0;
        while (digits < text.Length && char.IsAsciiDigit(text[digits]))
        {
            digits++;
        }

        if (!ulong.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return false;
        }

        var unit = text[digits..] switch
        {
            "s" => TimeSpan.TicksPerSecond,
            "m" => TimeSpan.TicksPerMinute,
            "h" => TimeSpan.TicksPerHour,
            "d" => TimeSpan.TicksPerDay,
            "" when number == 0 => TimeSpan.TicksPerSecond,
            _ => 0L,
        };
        if (unit == 0 || (UInt128)number * (ulong)unit > (ulong)Max.Ticks)
        {
            return false;
        }

        duration = TimeSpan.FromTicks((long)number * unit);
        return true;
    }

    /// <summary>For people, in the two largest units that matter: <c>45 s</c>, <c>3 min</c>, <c>2 h 5 min</c>, <c>3 d 4 h</c>.</summary>
    public static string Format(TimeSpan duration)
    {
        var seconds = (long)Math.Round(Math.Max(0, duration.TotalSeconds));
        var (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        return seconds switch
        {
            < 60 => Join(seconds, "s", 0, ""),
            < 3_600 => Join(minutes, "min", seconds < 600 ? seconds % 60 : 0, "s"),
            < 86_400 => Join(hours, "h", minutes, "min"),
            _ => Join(days, "d", hours, "h"),
        };
    }

    private static string Join(long large, string largeUnit, long small, string smallUnit) =>
        string.Create(CultureInfo.InvariantCulture, $"{large} {largeUnit}")
        + (small == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" {small} {smallUnit}"));
}
