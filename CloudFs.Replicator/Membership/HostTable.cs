using CloudFs.Core.Primitives;

namespace CloudFs.Replicator.Membership;

/// <summary>
/// Who is in the cluster, as far as this host knows: its own record, those that others told, and what was decided about them. No
/// I/O; time comes from outside, and only differences of this host's own clock count. Safe from any thread.
/// </summary>
internal sealed class HostTable(HostRecord self, TimeProvider time)
{
    /// <summary>More hosts than this are not remembered: a message that names more is refused.</summary>
    public const int MaxHosts = 1000;

    public static readonly TimeSpan SuspectAfter = TimeSpan.FromSeconds(5);

    public static readonly TimeSpan DownAfter = TimeSpan.FromSeconds(15);

    /// <summary>How long a conflict of ids is told after it was last seen.</summary>
    private static readonly TimeSpan ConflictMemory = TimeSpan.FromSeconds(60);

    public const int MaxConflicts = 64;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (HostRecord Record, long Heard)> _others = [];
    private readonly Dictionary<string, HostMark> _marks = [];
    private readonly Dictionary<string, (IdConflict Conflict, long Seen, bool IsOwn)> _conflicts = [];
    private HostRecord _self = self;
    private long _version;

    /// <summary>This host's id.</summary>
    public string Self { get; } = self.Id;

    /// <summary>Changes when a host came, went for good, or has another address.</summary>
    public long Version => Interlocked.Read(ref _version);

    /// <summary>True when this host was forgotten by command: it takes no part until it is started again.</summary>
    public bool IsForgotten
    {
        get
        {
            lock (_gate)
            {
                return WasForgotten(_self);
            }
        }
    }

    /// <summary>Changes what this host says of itself; id, incarnation and beat stay.</summary>
    public void Describe(Func<HostRecord, HostRecord> change)
    {
        lock (_gate)
        {
            _self = change(_self) with { Id = _self.Id, Incarnation = _self.Incarnation, Instance = _self.Instance, Beat = _self.Beat };
        }
    }

    /// <summary>This host lives: its beat goes up.</summary>
    public void Beat()
    {
        lock (_gate)
        {
            _self = _self with { Beat = _self.Beat + 1 };
        }
    }

    /// <summary>What was known before this process: addresses to try; such a host is down until it is heard of.</summary>
    public void Recall(IEnumerable<HostRecord> records, IEnumerable<HostMark> marks)
    {
        lock (_gate)
        {
            MergeMarks(marks);
            var longAgo = time.GetTimestamp() - (long)(DownAfter.TotalSeconds * 2 * time.TimestampFrequency);
            foreach (var record in records.Where(record => record.Id != Self && !WasForgotten(record)).Take(MaxHosts))
            {
                _others[record.Id] = (record, longAgo);
            }

            _version++;
        }
    }

    /// <summary>What to send: everything, with how long each host has been silent.</summary>
    public GossipMessage ToMessage()
    {
        lock (_gate)
        {
            List<HostRecord> hosts = [_self with { SilentSeconds = 0 }];
            foreach (var (record, heard) in _others.Values)
            {
                hosts.Add(record with { SilentSeconds = Math.Round(time.GetElapsedTime(heard).TotalSeconds, 3) });
            }

            DropOldConflicts();
            var seen = _conflicts.Values.Where(pair => pair.IsOwn).Select(pair => pair.Conflict);
            return new GossipMessage(Self, hosts, [.. _marks.Values]) { Conflicts = [.. seen] };
        }
    }

    /// <summary>
    /// Takes in a message. Null, or one line why all of it was refused; then nothing changed but the conflict that may be named.
    /// </summary>
    public string? Merge(GossipMessage message)
    {
        if (GossipRules.FindFault(message) is { } fault)
        {
            return fault;
        }

        lock (_gate)
        {
            var sender = message.Hosts.First(record => record.Id == message.From);
            if (message.From == Self)
            {
                return sender.Instance == _self.Instance ? null : Conflict(_self, sender).Line;
            }

            if (WasForgotten(sender))
            {
                // It learns of it from the answer; what it says of others is as good as anybody's, but it is no member.
                return null;
            }

            if (_others.TryGetValue(sender.Id, out var held) && IsContested(held, sender))
            {
                return Conflict(held.Record, sender).Line;
            }

            foreach (var conflict in message.Conflicts)
            {
                Note(conflict, isOwn: false);
            }

            MergeMarks(message.Marks);
            foreach (var record in message.Hosts)
            {
                MergeRecord(record);
            }

            return null;
        }
    }

    /// <summary>A command's decision about a host; it spreads by gossip.</summary>
    public void Mark(string host, Func<HostMark, HostMark> change)
    {
        lock (_gate)
        {
            var old = _marks.GetValueOrDefault(host) ?? new HostMark { Id = host, Version = 0 };
            var now = (ulong)time.GetUtcNow().ToUnixTimeMilliseconds();
            _marks[host] = change(old) with { Id = host, Version = Math.Max(old.Version + 1, now) };
            DropForgotten();
            _version++;
        }
    }

    /// <summary>Remembers that another host refused this one, or that two others fight over an id.</summary>
    public void NoteConflict(IdConflict conflict)
    {
        lock (_gate)
        {
            Note(conflict, isOwn: false);
        }
    }

    /// <summary>Every host, this one included, in the order of ids.</summary>
    public IReadOnlyList<HostView> Views()
    {
        lock (_gate)
        {
            return [.. _others.Values.Select(known => View(known.Record, time.GetElapsedTime(known.Heard)))
                .Append(View(_self, TimeSpan.Zero)).OrderBy(view => view.Id)];
        }
    }

    /// <summary>One host; null for one that is not known.</summary>
    public HostView? Find(string id)
    {
        lock (_gate)
        {
            return id == Self ? View(_self, TimeSpan.Zero)
                : _others.TryGetValue(id, out var known) ? View(known.Record, time.GetElapsedTime(known.Heard)) : null;
        }
    }

    public HostRecord SelfRecord
    {
        get
        {
            lock (_gate)
            {
                return _self;
            }
        }
    }

    public IReadOnlyList<HostMark> Marks()
    {
        lock (_gate)
        {
            return [.. _marks.Values];
        }
    }

    /// <summary>Fights over ids that were seen within the last minute.</summary>
    public IReadOnlyList<IdConflict> Conflicts()
    {
        lock (_gate)
        {
            DropOldConflicts();
            return [.. _conflicts.Values.Select(pair => pair.Conflict)];
        }
    }

    private HostView View(HostRecord record, TimeSpan silent) => new(
        record, Id160.Parse(record.Id),
        silent >= DownAfter ? HostState.Down : silent >= SuspectAfter ? HostState.Suspect : HostState.Up,
        _marks.TryGetValue(record.Id, out var mark) && mark.Draining, silent);

    private void MergeRecord(HostRecord record)
    {
        if (record.Id == Self || WasForgotten(record))
        {
            return;
        }

        var heard = time.GetTimestamp() - (long)(Math.Min(record.SilentSeconds, 1e6) * time.TimestampFrequency);
        if (!_others.TryGetValue(record.Id, out var held))
        {
            if (_others.Count < MaxHosts)
            {
                _others[record.Id] = (record, heard);
                _version++;
            }

            return;
        }

        if (IsContested(held, record))
        {
            // One of the two lies. The one that was here first stays, and both are named.
            Note(IdConflict.Of(record.Id, held.Record.Address, record.Address), isOwn: true);
            return;
        }

        var isNewer = (record.Incarnation, record.Beat).CompareTo((held.Record.Incarnation, held.Record.Beat)) > 0;
        if (!isNewer)
        {
            return;
        }

        if (held.Record.Address != record.Address || held.Record.Daemon != record.Daemon
            || held.Record.Incarnation != record.Incarnation)
        {
            _version++;
        }

        _others[record.Id] = (record, Math.Max(held.Heard, heard));
    }

    /// <summary>
    /// True if another process claims the id at another address while the one that is known is still up: a host that moved was
    /// silent for a while, two that live at once are a mistake.
    /// </summary>
    private bool IsContested((HostRecord Record, long Heard) held, HostRecord other) =>
        held.Record.Instance != other.Instance && held.Record.Address != other.Address
        && TimeSpan.FromSeconds(Math.Min(other.SilentSeconds, 1e6)) < SuspectAfter
        && time.GetElapsedTime(held.Heard) < SuspectAfter;

    private IdConflict Conflict(HostRecord one, HostRecord other)
    {
        var conflict = IdConflict.Of(one.Id, one.Address, other.Address);
        Note(conflict, isOwn: true);
        return conflict;
    }

    private void Note(IdConflict conflict, bool isOwn)
    {
        var isKnown = _conflicts.TryGetValue(conflict.Id, out var known);
        if (isKnown && known.IsOwn && !isOwn)
        {
            // What was seen with own eyes is kept, and ends by itself.
            return;
        }

        if (isKnown || _conflicts.Count < MaxConflicts)
        {
            _conflicts[conflict.Id] = (conflict, time.GetTimestamp(), isOwn);
        }
    }

    private void DropOldConflicts()
    {
        foreach (var id in _conflicts.Where(pair => time.GetElapsedTime(pair.Value.Seen) > ConflictMemory).Select(p => p.Key).ToList())
        {
            _conflicts.Remove(id);
        }
    }

    private void MergeMarks(IEnumerable<HostMark> marks)
    {
        foreach (var mark in marks)
        {
            var old = _marks.GetValueOrDefault(mark.Id);
            if (mark.Version > (old?.Version ?? 0) && (old is not null || _marks.Count < MaxHosts))
            {
                _marks[mark.Id] = mark;
                _version++;
            }
        }

        DropForgotten();
    }

    private void DropForgotten()
    {
        foreach (var id in _others.Where(pair => WasForgotten(pair.Value.Record)).Select(pair => pair.Key).ToList())
        {
            _others.Remove(id);
        }
    }

    private bool WasForgotten(HostRecord record) =>
        _marks.TryGetValue(record.Id, out var mark) && record.Incarnation <= mark.Forgotten;
}
