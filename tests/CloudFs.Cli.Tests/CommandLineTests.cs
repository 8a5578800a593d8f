using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>What the command line says of itself and of mistakes.</summary>
public sealed class CommandLineTests
{
    [Theory]
    [InlineData("--help", "help.txt")]
    [InlineData("newdisk --help", "help-newdisk.txt")]
    [InlineData("import --help", "help-import.txt")]
    [InlineData("up --help", "help-up.txt")]
    [InlineData("top --help", "help-top.txt")]
    public async Task Help_is_as_it_was(string arguments, string golden)
    {
        var io = TestIo.Create();
        Assert.Equal(0, await io.RunAsync(arguments.Split(' ')));
        Assert.Empty(io.Error);
        var version = io.Out[..io.Out.IndexOf(':', StringComparison.Ordinal)];
        Golden.Check(Path.Combine("cli", golden), io.Out.Replace(version, "cloudfs VERSION", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Version_is_one_line()
    {
        var io = TestIo.Create();
        Assert.Equal(0, await io.RunAsync("--version"));
        Assert.StartsWith("cloudfs ", io.Out, StringComparison.Ordinal);
        Assert.Single(io.Out.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("")]
    [InlineData("bogus")]
    [InlineData("disks --bogus")]
    [InlineData("info one two")]
    [InlineData("rename demo")]
    [InlineData("newdisk none")]
    [InlineData("newdisk 0")]
    [InlineData("newdisk --size")]
    [InlineData("newdisk --size 8GB")]
    [InlineData("resize demo huge")]
    [InlineData("disks --daemon nowhere")]
    [InlineData("disks --daemon https://127.0.0.1:1")]
    [InlineData("disks --json --json")]
    [InlineData("disks what else")]
    [InlineData("top --interval")]
    [InlineData("top --interval 0")]
    [InlineData("top --interval 200ms")]
    [InlineData("top --interval 2d")]
    [InlineData("top --count 0")]
    [InlineData("top --count many")]
    public async Task A_mistake_is_one_line_and_status_2(string arguments)
    {
        var io = TestIo.Create();
        Assert.Equal(2, await io.RunAsync(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)));
        Assert.Empty(io.Out);
        Assert.StartsWith("cloudfs: ", io.Error, StringComparison.Ordinal);
        Assert.Single(io.Error.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task Without_a_daemon_it_says_how_to_get_one()
    {
        var io = TestIo.Create(environment: new Dictionary<string, string>
        {
            ["CLOUDFS_DAEMON"] = "http://127.0.0.1:1",
        });
        Assert.Equal(1, await io.RunAsync("disks"));
        Assert.Equal(
            "cloudfs: no daemon answers at http://127.0.0.1:1: start one with cloudfs up, "
            + "or name another with --daemon\n",
            io.Error);
    }
}
