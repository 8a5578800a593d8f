using System.Collections.Concurrent;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>A disk in memory: sparse, with faults and delays as a test wants them.</summary>
internal sealed class MemoryTarget(string id, string? name, ulong size) : IBlockTarget
{
    private const int Sector = 512;

    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, byte[]> _sectors = [];
    private int _fuaWrites;
    private int _flushes;
    private int _flushesHere;
    private int _prepared;

    public static readonly string SomeId = new('a', 40);

    public string Id { get; } = id;

    public string? Name { get; set; } = name;

    public ulong SizeBytes { get; set; } = size;

    public bool IsReadOnly { get; set; }

    public string Description => $"memory {Id}";

    /// <summary>What a call answers instead of being carried out; Ok lets it pass.</summary>
    public Func<string, ulong, ulong, IoStatus> Fault { get; set; } = (_, _, _) => IoStatus.Ok;

    /// <summary>Awaited before each call is carried out; null for calls that finish at once.</summary>
    public Func<string, Task>? Delay { get; set; }

    /// <summary>How many writes came together, and whether they were to be durable.</summary>
    public ConcurrentQueue<(int Writes, bool IsFua)> Batches { get; } = new();

    public int FuaWrites => Volatile.Read(ref _fuaWrites);

    public int Flushes => Volatile.Read(ref _flushes);

    /// <summary>Those of them that the caller's thread might carry out.</summary>
    public int FlushesHere => Volatile.Read(ref _flushesHere);

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination) =>
        Run("read", offset, (ulong)destination.Length, () => Read(offset, destination.Span));

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua) =>
        Run("write", offset, (ulong)data.Length, () => Write(offset, data.Span, fua));

    public async ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua)
    {
        Batches.Enqueue((batch.Writes.Count, fua));
        foreach (var (offset, start, length) in batch.Writes)
        {
            var status = await WriteAsync(offset, batch.Data.Slice(start, length), fua);
            if (status != IoStatus.Ok)
            {
                return status;
            }
        }

        return IoStatus.Ok;
    }

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua) =>
        Run("zero", offset, length, () => Zero(offset, length, fua));

    public ValueTask<IoStatus> FlushAsync() => Run("flush", 0, 0, () => Interlocked.Increment(ref _flushes));

    /// <summary>How often a flush was prepared.</summary>
    public int Prepared => Volatile.Read(ref _prepared);

    public void PrepareFlush() => Interlocked.Increment(ref _prepared);

    public ValueTask<IoStatus> FlushHereAsync()
    {
        Interlocked.Increment(ref _flushesHere);
        return FlushAsync();
    }

    public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        var fault = Fault("describe", offset, length);
        if (fault != IoStatus.Ok)
        {
            return fault;
        }

        lock (_gate)
        {
            for (var at = offset; at < offset + length; at += Sector)
            {
                var content = !_sectors.ContainsKey(at) ? RangeContent.Hole
                    : Fault("damage", at, Sector) != IoStatus.Ok ? RangeContent.Damaged : RangeContent.Data;
                if (into.Count > 0 && into[^1].Content == content)
                {
                    into[^1] = into[^1] with { Length = into[^1].Length + Sector };
                }
                else if (into.Count == maxRanges)
                {
                    break;
                }
                else
                {
                    into.Add(new DiskRange(at, Sector, content));
                }
            }
        }

        return IoStatus.Ok;
    }

    /// <summary>The bytes as they are, whatever faults are set.</summary>
    public byte[] Peek(ulong offset, int length)
    {
        var bytes = new byte[length];
        Read(offset, bytes);
        return bytes;
    }

    private ValueTask<IoStatus> Run(string what, ulong offset, ulong length, Action carryOut)
    {
        if (Delay is { } delay)
        {
            return new ValueTask<IoStatus>(RunLaterAsync(delay, what, offset, length, carryOut));
        }

        var fault = Fault(what, offset, length);
        if (fault == IoStatus.Ok)
        {
            carryOut();
        }

        return new ValueTask<IoStatus>(fault);
    }

    private async Task<IoStatus> RunLaterAsync(
        Func<string, Task> delay, string what, ulong offset, ulong length, Action carryOut)
    {
        await delay(what);
        var fault = Fault(what, offset, length);
        if (fault == IoStatus.Ok)
        {
            carryOut();
        }

        return fault;
    }

    private void Read(ulong offset, Span<byte> to)
    {
        lock (_gate)
        {
            for (var i = 0; i < to.Length; i += Sector)
            {
                var part = to.Slice(i, Sector);
                if (_sectors.TryGetValue(offset + (ulong)i, out var sector))
                {
                    sector.CopyTo(part);
                }
                else
                {
                    part.Clear();
                }
            }
        }
    }

    private void Write(ulong offset, ReadOnlySpan<byte> from, bool fua)
    {
        lock (_gate)
        {
            for (var i = 0; i < from.Length; i += Sector)
            {
                _sectors[offset + (ulong)i] = from.Slice(i, Sector).ToArray();
            }

            _fuaWrites += fua ? 1 : 0;
        }
    }

    private void Zero(ulong offset, ulong length, bool fua)
    {
        lock (_gate)
        {
            foreach (var at in _sectors.Keys.Where(at => at - offset < length).ToList())
            {
                _sectors.Remove(at);
            }

            _fuaWrites += fua ? 1 : 0;
        }
    }
}
