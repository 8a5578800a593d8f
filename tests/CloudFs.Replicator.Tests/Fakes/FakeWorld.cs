using CloudFs.Core.Contracts;
using CloudFs.Replicator.Creation;

namespace CloudFs.Replicator.Tests.Fakes;

/// <summary>
/// What the daemons of a cluster would agree on, in one place: views, who holds what, who is gone. Copies take no time.
/// </summary>
internal sealed class FakeWorld
{
    private readonly Dictionary<string, FakeDisk> _disks = [];
    private readonly Dictionary<string, HashSet<string>> _held = [];
    private readonly Dictionary<string, DateTime> _gone = [];

    public Lock Gate { get; } = new();

    /// <summary>Makes that many seconds of each second that a host is away.</summary>
    public double AwayScale { get; set; } = 1;

    public void SetRunning(string host, bool running)
    {
        lock (Gate)
        {
            if (running)
            {
                _gone.Remove(host);
            }
            else
            {
                _gone.TryAdd(host, DateTime.UtcNow);
            }
        }
    }

    public bool Holds(string host, string disk)
    {
        lock (Gate)
        {
            return Held(host).Contains(disk);
        }
    }

    public IReadOnlyList<string> Members(string disk)
    {
        lock (Gate)
        {
            return [.. _disks[disk].Named.Select(member => member.Host)];
        }
    }

    public string Primary(string disk)
    {
        lock (Gate)
        {
            return _disks[disk].Primary;
        }
    }

    public int PutDisk(string host, string id, byte[] bytes, string? secret)
    {
        if (FirstEntry.Read(bytes, out _) is not { } entry || entry.Id.ToString() != id
            || (entry.View.Primary.ToString() == host) != (secret is not null))
        {
            return 400;
        }

        lock (Gate)
        {
            _disks.TryAdd(id, new FakeDisk(id, entry.View.Primary.ToString())
            {
                Named = [.. entry.View.Replicas.Select(r => new MemberJson(r.Host.ToString(), r.Device.ToString(), r.Witness))],
            });
            return Held(host).Add(id) ? 201 : 200;
        }
    }

    public int Follow(string host, string disk)
    {
        lock (Gate)
        {
            if (!_disks.TryGetValue(disk, out var known))
            {
                return 404;
            }

            Held(host).Add(disk);
            if (known.Joining.FirstOrDefault(member => member.Host == host) is { } joined)
            {
                known.Joining.Remove(joined);
                known.Named.Add(joined);
                known.Epoch++;
            }

            return 202;
        }
    }

    public int ChangeMembers(string host, MembersRequest request)
    {
        lock (Gate)
        {
            if (!_disks.TryGetValue(request.Disk, out var disk) || disk.Primary != host)
            {
                return 409;
            }

            if (request.Add is { } added)
            {
                disk.Joining.Add(added);
                return 202;
            }

            disk.Joining.RemoveAll(member => member.Host == request.Remove);
            disk.Epoch += (ulong)disk.Named.RemoveAll(member => member.Host == request.Remove);
            return 204;
        }
    }

    public int Move(string host, MoveRequest request)
    {
        lock (Gate)
        {
            if (!_disks.TryGetValue(request.Disk, out var disk) || disk.Primary != host || disk.Named.All(member => member.Host != request.To))
            {
                return 409;
            }

            disk.Primary = request.To;
            disk.Epoch++;
            return 204;
        }
    }

    public int Drop(string host, string id)
    {
        lock (Gate)
        {
            if (_disks.TryGetValue(id, out var disk) && disk.Named.Any(member => member.Host == host) && IsCommitted(disk))
            {
                return 409;
            }

            Held(host).Remove(id);
            return 204;
        }
    }

    public IReadOnlyList<ClusterDiskJson> DisksOf(string host)
    {
        lock (Gate)
        {
            return [.. Held(host).Order(StringComparer.Ordinal).Select(id => Describe(host, _disks[id]))];
        }
    }

    private HashSet<string> Held(string host)
    {
        if (!_held.TryGetValue(host, out var held))
        {
            _held[host] = held = [];
        }

        return held;
    }

    private bool IsCommitted(FakeDisk disk) => disk.Epoch > 1
        || (disk.Committed |= disk.Named.Count(member => Held(member.Host).Contains(disk.Id)) > disk.Named.Count / 2);

    private ClusterDiskJson Describe(string host, FakeDisk disk)
    {
        var isPrimary = disk.Primary == host;
        var named = disk.Named.FirstOrDefault(member => member.Host == host);
        var committed = IsCommitted(disk);
        return new ClusterDiskJson
        {
            Id = disk.Id, Name = null, Size = 1 << 20, Durability = "flush",
            Role = isPrimary ? "primary" : named is { Witness: true } ? "witness" : named is not null ? "replica"
                : disk.Joining.Exists(member => member.Host == host) ? "joining" : "removed",
            State = isPrimary ? "serving" : "following", Epoch = disk.Epoch, Primary = disk.Primary,
            Lsn = committed ? 2UL : 1UL, Committed = committed ? 2UL : 0UL, LiveBytes = 0,
            Replicas = [.. disk.Named.Select(member => Replica(disk, member, isPrimary, false)),
                .. disk.Joining.Select(member => Replica(disk, member, isPrimary, true))],
        };
    }

    private ClusterReplicaJson Replica(FakeDisk disk, MemberJson member, bool isPrimary, bool joining)
    {
        var away = _gone.TryGetValue(member.Host, out var since) ? (DateTime.UtcNow - since).TotalSeconds * AwayScale : 0;
        var state = !isPrimary ? "unknown" : member.Host == disk.Primary ? "primary"
            : away > 0 || !Held(member.Host).Contains(disk.Id) ? "away" : "live";
        return new ClusterReplicaJson
        {
            Host = member.Host, Device = member.Device, Witness = member.Witness, State = state, Joining = joining, AwaySeconds = away,
        };
    }

    private sealed class FakeDisk(string id, string primary)
    {
        public string Id => id;

        public string Primary { get; set; } = primary;

        public ulong Epoch { get; set; } = 1;

        public bool Committed { get; set; }

        public List<MemberJson> Named { get; init; } = [];

        public List<MemberJson> Joining { get; } = [];
    }
}
