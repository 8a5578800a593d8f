using System.Globalization;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// A network of its own for hosts, each in a network namespace, joined by a bridge that the tests reach too. What is cut loses packets without a
/// word, as a broken switch does. It takes root.
/// </summary>
internal sealed class Network : IAsyncDisposable
{
    private static int _count;

    private readonly string _name = string.Create(CultureInfo.InvariantCulture, $"cf{Environment.ProcessId}x{Interlocked.Increment(ref _count)}");
    private readonly string _prefix = string.Create(
        CultureInfo.InvariantCulture, $"10.{Random.Shared.Next(200, 250)}.{Random.Shared.Next(1, 250)}.");

    private int _hosts;

    public static async Task<Network> MakeAsync(int hosts)
    {
        var network = new Network();
        try
        {
            await Ip($"link add {network._name} type bridge", $"addr add {network._prefix}254/24 dev {network._name}", $"link set {network._name} up");
            for (var host = 0; host < hosts; host++)
            {
                var (space, port) = (network.Namespace(host), network.Port(host));
                await Ip($"netns add {space}");
                network._hosts++;
                await Ip(
                    $"link add {port} type veth peer name eth0 netns {space}",
                    $"link set {port} master {network._name} up",
                    $"-n {space} addr add {network.Address(host)}/24 dev eth0",
                    $"-n {space} link set eth0 up",
                    $"-n {space} link set lo up");
            }

            return network;
        }
        catch
        {
            await network.DisposeAsync();
            throw;
        }
    }

    public string Namespace(int host) => string.Create(CultureInfo.InvariantCulture, $"{_name}-{host}");

    public string Address(int host) => string.Create(CultureInfo.InvariantCulture, $"{_prefix}{host + 1}");

    /// <summary>The setup of a host that lives in here.</summary>
    public MemberSetup Setup(int host) => new()
    {
        Host = new HostSetup { Address = Address(host), Namespace = Namespace(host), More = ["--insecure"] },
        Replicator = ["--insecure"],
    };

    /// <summary>Two hosts no longer reach each other, or do again; others reach both. One such pair at a time.</summary>
    public async Task CutAsync(int one, int other, bool cut = true)
    {
        foreach (var host in new[] { one, other })
        {
            (await Tool.RunAsync("bridge", ["link", "set", "dev", Port(host), "isolated", cut ? "on" : "off"])).Ok();
        }
    }

    /// <summary>A host reaches nobody, nor is it reached, or is again.</summary>
    public Task CutAsync(int host, bool cut = true) => Ip($"link set {Port(host)} {(cut ? "down" : "up")}");

    public async ValueTask DisposeAsync()
    {
        for (var host = 0; host < _hosts; host++)
        {
            // The pair of interfaces goes with the namespace, once nothing runs in it.
            await Tool.RunAsync("ip", ["netns", "del", Namespace(host)]);
            await Tool.RunAsync("ip", ["link", "del", Port(host)]);
        }

        await Tool.RunAsync("ip", ["link", "del", _name]);
    }

    // 15 characters at most.
    private string Port(int host) => string.Create(CultureInfo.InvariantCulture, $"{_name}p{host}");

    private static async Task Ip(params string[] lines)
    {
        foreach (var line in lines)
        {
            (await Tool.RunAsync("ip", line.Split(' '))).Ok();
        }
    }
}
