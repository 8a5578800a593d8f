using System.Text.Json;
using CloudFs.Daemon.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace CloudFs.Daemon.Tests.Hosting;

/// <summary>One event is one line, whatever stands in it.</summary>
public sealed class LogLinesTests
{
    private static readonly KeyValuePair<string, object?>[] Properties =
    [
        new("deviceId", "da39"), new("name", "two words"), new("peer", "seen"), new("{OriginalFormat}", "{Peer} left"),
    ];

    [Fact]
    public void Text_has_time_level_message_and_what_the_message_does_not_say()
    {
        var lines = Lines(LogFormat.Text, journal: false);
        var line = lines.Format(LogLevel.Information, "x", "seen left", Properties, null);
        Assert.Equal("2026-11-20T12:00:00.000Z info seen left device_id=da39 name=\"two words\"\n", line);
    }

    [Fact]
    public void Under_systemd_the_journal_keeps_the_time()
    {
        var line = Lines(LogFormat.Text, journal: true).Format(LogLevel.Error, "x", "broken", null, null);
        Assert.Equal("<3>broken\n", line);
    }

    [Fact]
    public void What_comes_from_outside_can_not_forge_a_line()
    {
        var line = Lines(LogFormat.Text, journal: false).Format(
            LogLevel.Warning, "x", "a\nb", [new("name", "c\nd\r\"e\\")], new InvalidOperationException("f\ng"));
        Assert.Equal(1, line.Count(c => c == '\n'));
        Assert.EndsWith("\n", line, StringComparison.Ordinal);
        Assert.Contains("a\\nb name=\"c\\nd?\\\"e\\\\\"", line, StringComparison.Ordinal);
    }

    [Fact]
    public void Json_has_every_property()
    {
        var lines = Lines(LogFormat.Json, journal: false);
        var line = lines.Format(LogLevel.Information, "room", "seen\nleft", Properties, null);
        Assert.Equal(1, line.Count(c => c == '\n'));
        var root = JsonDocument.Parse(line).RootElement;
        Assert.Equal("info", root.GetProperty("level").GetString());
        Assert.Equal("seen\nleft", root.GetProperty("message").GetString());
        Assert.Equal("da39", root.GetProperty("device_id").GetString());
        Assert.Equal("seen", root.GetProperty("peer").GetString());
    }

    private static LogLines Lines(LogFormat format, bool journal) => new(format, journal, new StoppedClock());

    private sealed class StoppedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(2026, 11, 20, 12, 0, 0, TimeSpan.Zero);
    }
}
