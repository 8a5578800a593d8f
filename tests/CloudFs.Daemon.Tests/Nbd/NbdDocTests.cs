using System.Text;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>docs/protocol/nbd.md says what the code does.</summary>
public sealed class NbdDocTests
{
    private static readonly string Page = File.ReadAllText(FuzzTests.InRepository("docs", "protocol", "nbd.md"));

    [Fact]
    public void Every_error_is_in_the_table_and_nothing_else()
    {
        HashSet<string> expected = [];
        foreach (var fault in Enum.GetValues<RequestFault>().Where(f => f != RequestFault.None))
        {
            expected.Add(Row(NbdErrorMap.Of(fault, structured: true)));
        }

        foreach (var status in Enum.GetValues<IoStatus>().Where(s => s != IoStatus.Ok).Append(NbdErrorMap.Unexpected))
        {
            expected.Add(Row(NbdErrorMap.Of(status, NbdCommand.Read)));
            expected.Add(Row(NbdErrorMap.Of(status, NbdCommand.Write)));
        }

        var found = Page.Split("## Errors")[1].Split("## Limits")[0].Split('\n')
            .Where(l => l.StartsWith("| E", StringComparison.Ordinal))
            .Select(l => string.Join('|', l.Split('|')[1..3].Select(c => c.Trim())));
        Assert.Equal(expected.Order(), found.Order());
    }

    [Fact]
    public void Limits_are_the_options_defaults()
    {
        var options = new NbdServerOptions();
        Expect("connections in transmission", $"{options.MaxConnections}");
        Expect("handshakes at once", $"{options.MaxHandshakes}");
        Expect("time for a handshake", $"{options.HandshakeTimeout.TotalSeconds} s");
        Expect("requests under way, one connection", $"{options.MaxRequestsPerConnection}");
        Expect("bytes under way, one connection", $"{options.MaxBytesPerConnection >> 20} MiB");
        Expect("bytes under way, all connections", $"{options.MaxBytes >> 20} MiB");
        Expect("bytes that each connection may use besides", $"{NbdLimits.Piece >> 20} MiB");
        Expect("receive buffer", $"{options.ReceiveBufferBytes >> 10} KiB");
        Expect("time for the last replies after a goodbye", $"{options.FarewellTimeout.TotalSeconds} s");
    }

    [Fact]
    public void Every_option_and_command_is_in_its_table()
    {
        Assert.All(Enum.GetValues<NbdOption>(), o => Assert.Contains($"({(uint)o})", Page, StringComparison.Ordinal));
        Assert.All(Enum.GetValues<NbdCommand>(), c => Assert.Contains($"({(int)c}) |", Page, StringComparison.Ordinal));
    }

    private static void Expect(string limit, string value) =>
        Assert.Contains($"| {limit} | {value} |", Page, StringComparison.Ordinal);

    private static string Row(NbdFailure failure)
    {
        var name = failure.Error switch
        {
            NbdError.NotPermitted => "EPERM",
            NbdError.Io => "EIO",
            NbdError.Invalid => "EINVAL",
            NbdError.NoSpace => "ENOSPC",
            NbdError.Overflow => "EOVERFLOW",
            NbdError.Shutdown => "ESHUTDOWN",
            _ => "?",
        };
        return $"{name}|{Encoding.UTF8.GetString(failure.Text)}";
    }
}
