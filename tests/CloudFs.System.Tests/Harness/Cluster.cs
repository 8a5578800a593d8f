using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>How a host of a cluster is set up, where a test wants it otherwise.</summary>
internal sealed record MemberSetup
{
    public HostSetup Host { get; init; } = new();

    /// <summary>Options of the replicator beyond the usual ones.</summary>
    public IReadOnlyList<string> Replicator { get; init; } = [];
}

/// <summary>A host of a cluster: a daemon and a replicator.</summary>
internal sealed record Member(int Number, string Id, Host Daemon, Replicator Replicator)
{
    /// <summary>Kills both.</summary>
    public void Kill()
    {
        Replicator.Kill();
        Daemon.Kill();
    }
}

/// <summary>
/// Hosts of real processes on this machine, each in a zone of its own, that know each other through the first one's replicator. What goes wrong
/// in here is told with the last lines that each process logged.
/// </summary>
internal sealed class Cluster : IAsyncDisposable
{
    private readonly List<Member> _members = [];

    public IReadOnlyList<Member> Members => _members;

    public Member this[int number] => _members[number];

    public static async Task<Cluster> StartAsync(int hosts, Func<int, MemberSetup>? setup = null)
    {
        var cluster = new Cluster();
        try
        {
            for (var number = 0; number < hosts; number++)
            {
                await cluster.AddAsync(setup?.Invoke(number));
            }

            await cluster.WaitUntilMetAsync();
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Another host, which need not be known to the others yet.</summary>
    public async Task<Member> AddAsync(MemberSetup? setup = null)
    {
        setup ??= new MemberSetup();
        var daemon = await Host.StartAsync(setup.Host);
        var number = _members.Count;
        var replicator = new Replicator(
            setup.Host.Address, daemon.Url, Path.Combine(daemon.Folder, "replicator.db"), setup.Host.Namespace,
            ["--zone", string.Create(CultureInfo.InvariantCulture, $"z{number}"), "--weight", "1", .. setup.Replicator]);
        var member = new Member(number, (await daemon.JsonAsync("/host"))["host"]!.GetValue<string>(), daemon, replicator);
        _members.Add(member);
        await StartReplicatorAsync(member);
        return member;
    }

    /// <summary>Starts a replicator, told of the first host that is another.</summary>
    public Task StartReplicatorAsync(Member member) =>
        member.Replicator.StartAsync(_members.Where(other => other != member).Take(1).Select(other => other.Replicator.Address));

    /// <summary>Returns once all that run see all that run as up.</summary>
    public Task WaitUntilMetAsync() => WaitAsync("all hosts see each other", TimeSpan.FromSeconds(30), async () =>
    {
        var running = _members.Where(member => member.Replicator.Runs && member.Daemon.Runs).ToList();
        foreach (var member in running)
        {
            var hosts = JsonNode.Parse(await member.Replicator.TextAsync("/hosts"))!["hosts"]!.AsArray();
            var up = hosts.Where(host => host!["state"]!.GetValue<string>() == "up" && host["daemon"]!.GetValue<string>().Length > 0
                && host["device"] is not null).Select(host => host!["host"]!.GetValue<string>());
            if (running.ExceptBy(up, other => other.Id).Any())
            {
                return $"host {member.Number} sees {hosts.ToJsonString()}";
            }
        }

        return null;
    });

    public Member Of(string id) => _members.Single(member => member.Id == id);

    /// <summary>Makes a disk with the operator's command, asked of some host; gives its id.</summary>
    public async Task<string> NewDiskAsync(int replicas, int bytes, string name, int via = 0)
    {
        var made = await this[via].Daemon.CommandAsync(
            "newdisk", replicas.ToString(CultureInfo.InvariantCulture), "--size", bytes.ToString(CultureInfo.InvariantCulture), "--name", name);
        Told(made.Status == 0, made.ToString());
        return made.Output.Trim();
    }

    /// <summary>What a host's replicator says of where a disk is.</summary>
    public async Task<JsonNode> PlaceAsync(string disk, int via = 0) =>
        JsonNode.Parse(await this[via].Replicator.TextAsync("/disks/" + disk))!;

    public async Task<Member> PrimaryAsync(string disk, int via = 0) => Of((await PlaceAsync(disk, via))["primary"]!.GetValue<string>());

    /// <summary>The disk as its primary's daemon has it.</summary>
    public static Task<JsonNode> DiskAsync(Member primary, string disk) => primary.Daemon.JsonAsync("/disks/" + disk);

    /// <summary>What the primary says of each replica, its own included.</summary>
    public static async Task<IReadOnlyList<JsonNode>> StatusAsync(Member primary, string disk) =>
        [.. (await primary.Daemon.JsonAsync("/cluster"))["disks"]!.AsArray()
            .Where(each => each!["id"]!.GetValue<string>() == disk).SelectMany(each => each!["replicas"]!.AsArray()).Select(each => each!)];

    /// <summary>What the primary says of one replica; null where it knows none such.</summary>
    public static async Task<JsonNode?> StatusAsync(Member primary, string disk, Member of) =>
        (await StatusAsync(primary, disk)).FirstOrDefault(each => each["host"]!.GetValue<string>() == of.Id);

    /// <summary>Returns once the primary calls a replica live.</summary>
    public Task<TimeSpan> WaitUntilLiveAsync(Member primary, string disk, Member replica, double seconds = 20) =>
        WaitAsync($"host {replica.Number} is in step", TimeSpan.FromSeconds(seconds), async () =>
        {
            var status = await StatusAsync(primary, disk, replica);
            return status?["state"]!.GetValue<string>() == "live" ? null : status?.ToJsonString() ?? "it is no replica";
        });

    /// <summary>Returns once a disk has so many data replicas, all live or primary, none of them joining.</summary>
    public Task<TimeSpan> WaitUntilWholeAsync(Member primary, string disk, int replicas, double seconds = 30) =>
        WaitAsync($"{replicas} replicas are in step", TimeSpan.FromSeconds(seconds), async () =>
        {
            var all = await StatusAsync(primary, disk);
            var whole = all.Count(each => each["state"]!.GetValue<string>() is "live" or "primary"
                && !each["joining"]!.GetValue<bool>() && !each["witness"]!.GetValue<bool>());
            return whole == replicas && all.Count(each => !each["witness"]!.GetValue<bool>()) == replicas
                ? null : string.Join('\n', all.Select(each => each.ToJsonString()));
        });

    /// <summary>Returns once hosts have the same durable head of a disk, which nobody writes now.</summary>
    public async Task<string> WaitUntilEqualAsync(string disk, params IEnumerable<Member> members)
    {
        var heads = Array.Empty<string>();
        await WaitAsync("the heads are equal", TimeSpan.FromSeconds(15), async () =>
        {
            heads = await Task.WhenAll(members.Select(member => member.Daemon.HeadAsync(disk)));
            return heads.Distinct().Count() == 1 ? null : string.Join('\n', heads);
        });
        return heads[0];
    }

    /// <summary>Waits until a question is answered with null; anything else says what is still missing. No answer is one too.</summary>
    public async Task<TimeSpan> WaitAsync(string what, TimeSpan limit, Func<Task<string?>> missing)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            string? found;
            try
            {
                found = await missing();
            }
            catch (Exception failed) when (failed is HttpRequestException or TaskCanceledException or InvalidOperationException)
            {
                found = failed.Message;
            }

            if (found is null)
            {
                return clock.Elapsed;
            }

            Told(clock.Elapsed < limit, $"not within {limit.TotalSeconds} s: {what}\n{found}");
            await Task.Delay(100);
        }
    }

    /// <summary>Demands something; where it is not so, the logs are told too.</summary>
    public void Told(bool so, string otherwise) => Assert.True(so, so ? null : $"{otherwise}\n{LogTails()}");

    public string LogTails() => string.Join('\n', _members.Select(member =>
        $"--- daemon {member.Number} {member.Id[..8]}\n{member.Daemon.LogTail()}\n{Now(member.Daemon.Url + "/cluster")}\n"
        + $"--- replicator {member.Number}\n{member.Replicator.LogTail()}\n{Now("http://" + member.Replicator.Address + "/healthz")}"));

    private static string Now(string url)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(2) };
        try
        {
            using var answer = http.Send(new HttpRequestMessage(HttpMethod.Get, url));
            using var reader = new StreamReader(answer.Content.ReadAsStream());
            return reader.ReadToEnd();
        }
        catch (Exception gone) when (gone is HttpRequestException or TaskCanceledException)
        {
            return gone.Message;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var member in _members)
        {
            await member.Replicator.DisposeAsync();
            await member.Daemon.DisposeAsync();
        }
    }
}
