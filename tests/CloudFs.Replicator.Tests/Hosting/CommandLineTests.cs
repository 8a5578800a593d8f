using CloudFs.Replicator.Hosting;
using Xunit;

namespace CloudFs.Replicator.Tests.Hosting;

/// <summary>What the command line and the environment may say.</summary>
public sealed class CommandLineTests
{
    private static ReplicatorCommandLine.Outcome Read(params string[] arguments) => ReplicatorCommandLine.Read(arguments, _ => null);

    [Fact]
    public void Peers_get_the_default_port()
    {
        var options = Read("auto", "10.0.0.2", "db1.example:9000", "[::1]").Options!;
        Assert.Equal(["10.0.0.2:8091", "db1.example:9000", "[::1]:8091"], options.Seeds);
        Assert.Null(options.HostId);
        Assert.Equal("127.0.0.1:8091", options.Listen.ToString());
    }

    [Theory]
    [InlineData("", "host id is missing")]
    [InlineData("12", "expected 40 hex digits")]
    [InlineData("0000000000000000000000000000000000000000", "not all zero")]
    [InlineData("auto a:b", "peer 'a:b'")]
    [InlineData("auto --listen 0.0.0.0:8091", "--insecure")]
    [InlineData("auto --listen 0.0.0.0:8091 --insecure", "--advertise")]
    [InlineData("auto --listen x", "--listen x")]
    [InlineData("auto --daemon ftp://a", "--daemon ftp://a")]
    [InlineData("auto --weight 0", "--weight 0")]
    [InlineData("auto --grace 10", "--grace 10")]
    [InlineData("auto --advertise a:b", "--advertise a:b")]
    [InlineData("auto --db", "--db wants a value")]
    [InlineData("auto --nonsense", "there is no option")]
    public void What_is_wrong_is_said_in_one_line(string line, string part)
    {
        var outcome = Read(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Null(outcome.Options);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(part, outcome.Text, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', outcome.Text);
    }

    [Fact]
    public void The_environment_fills_what_the_command_line_left_open()
    {
        var variables = new Dictionary<string, string>
        {
            ["CLOUDFS_REPLICATOR_HOST_ID"] = "auto", ["CLOUDFS_REPLICATOR_PEERS"] = "a,b:1", ["CLOUDFS_REPLICATOR_ZONE"] = "z",
            ["CLOUDFS_REPLICATOR_WITNESS"] = "true", ["CLOUDFS_REPLICATOR_GRACE"] = "1m",
        };
        var options = ReplicatorCommandLine.Read(["--grace", "2m"], variables.GetValueOrDefault).Options!;
        Assert.Equal(["a:8091", "b:1"], options.Seeds);
        Assert.Equal(("z", true, TimeSpan.FromMinutes(2)), (options.Zone, options.Witness, options.Grace));
    }

    [Fact]
    public void Help_and_version_end_well()
    {
        Assert.Equal(0, Read("--help").ExitCode);
        Assert.Contains("--advertise-daemon", Read("--help").Text, StringComparison.Ordinal);
        Assert.StartsWith("replicator ", Read("--version").Text, StringComparison.Ordinal);
    }
}
