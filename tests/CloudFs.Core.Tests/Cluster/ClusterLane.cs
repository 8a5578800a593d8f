using System.Buffers.Binary;
using System.Runtime.InteropServices;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>
/// What a stretch of a disk may hold, of which one client at a time asks for one thing at a time. Of each sector it knows the newest write that
/// can't be lost, and those after it: acknowledged or not, and whether a power cut may have taken them. Sectors hold the number of their write.
/// </summary>
internal sealed class ClusterLane
{
    private readonly SectorPast[] _sectors;

    public ClusterLane(int firstSector, int sectors)
    {
        FirstSector = firstSector;
        _sectors = [.. Enumerable.Range(0, sectors).Select(_ => new SectorPast())];
    }

    public int FirstSector { get; }

    public int Sectors => _sectors.Length;

    /// <summary>How many of what it asked for were acknowledged.</summary>
    public int Acknowledged { get; private set; }

    /// <summary>The bytes of a write: each sector holds its number, or zeroes for 0.</summary>
    public static byte[] BytesOf(ulong number, int sectors)
    {
        var bytes = new byte[sectors * EntryLayout.SectorSize];
        MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan()).Fill(BitConverter.IsLittleEndian ? number : BinaryPrimitives.ReverseEndianness(number));
        return bytes;
    }

    /// <summary>A write is about to be asked for.</summary>
    public LaneWrite Begin(ulong number, int at, int sectors, object session)
    {
        var write = new LaneWrite(number, at, sectors, session);
        foreach (var sector in Of(write))
        {
            sector.After.Add(write);
        }

        return write;
    }

    /// <summary>It was acknowledged; with FUA, or where every write is flushed, it is durable.</summary>
    public void Acknowledge(LaneWrite write, bool isDurable)
    {
        Acknowledged++;
        write.IsAcknowledged = true;
        if (isDurable)
        {
            Flushed([write]);
        }
    }

    /// <summary>Whether and when it takes effect is open until then.</summary>
    public void Abandon(LaneWrite write, long until)
    {
        foreach (var sector in Of(write))
        {
            sector.Late.Add((write.Number, until));
        }
    }

    /// <summary>What a flush that is asked for now will cover.</summary>
    public List<LaneWrite> Flushable(object session) =>
        [.. _sectors.SelectMany(sector => sector.After).Distinct()
            .Where(write => write.IsAcknowledged && (!write.MayBeLost || write.Session == session))];

    /// <summary>A flush that covers these was acknowledged.</summary>
    public void Flushed(IReadOnlyList<LaneWrite> writes)
    {
        foreach (var write in writes)
        {
            foreach (var sector in Of(write))
            {
                var index = sector.After.IndexOf(write);
                if (index >= 0)
                {
                    sector.Firm = write.Number;
                    sector.After.RemoveRange(0, index + 1);
                }
            }
        }
    }

    /// <summary>The power of a host went: what was not flushed may be lost.</summary>
    public void NotePowerCut()
    {
        foreach (var write in _sectors.SelectMany(sector => sector.After))
        {
            write.MayBeLost = true;
        }
    }

    /// <summary>Sectors were read: each holds what it may, and from then on what was seen.</summary>
    public void Check(int at, ReadOnlySpan<byte> bytes, long now, string where)
    {
        for (var i = 0; i < bytes.Length / EntryLayout.SectorSize; i++)
        {
            var words = MemoryMarshal.Cast<byte, ulong>(bytes.Slice(i * EntryLayout.SectorSize, EntryLayout.SectorSize));
            var number = words[0];
            Assert.True(words.IndexOfAnyExcept(number) < 0, $"sector {FirstSector + at + i} read {where} is of several writes");
            var sector = _sectors[at + i];
            Assert.True(
                sector.TrySee(number, now),
                $"sector {FirstSector + at + i} read {where} holds write {number}; it may hold {sector}");
        }
    }

    private IEnumerable<SectorPast> Of(LaneWrite write) => Enumerable.Range(write.At, write.Sectors).Select(at => _sectors[at]);

    private sealed class SectorPast
    {
        /// <summary>What can't be lost.</summary>
        public ulong Firm { get; set; }

        /// <summary>Writes after it, in the order in which they were asked for.</summary>
        public List<LaneWrite> After { get; } = [];

        /// <summary>Writes that may still come, whatever was written after them.</summary>
        public List<(ulong Number, long Until)> Late { get; } = [];

        public bool TrySee(ulong number, long now)
        {
            for (var i = After.Count - 1; i >= 0; i--)
            {
                var write = After[i];
                if (write.Number == number)
                {
                    // What came later and was acknowledged was lost; what came before does not matter any more.
                    After.RemoveAll(other => After.IndexOf(other) > i && other.MayBeLost);
                    After.RemoveRange(0, i);
                    return true;
                }

                if (write is { IsAcknowledged: true, MayBeLost: false })
                {
                    return IsLate(number, now);
                }
            }

            return Firm == number || IsLate(number, now);
        }

        public override string ToString() => $"{Firm}, then {string.Join(", ", After)}"
            + (Late.Count == 0 ? "" : $"; late ones may be {string.Join(", ", Late.Select(late => late.Number))}");

        private bool IsLate(ulong number, long now)
        {
            Late.RemoveAll(late => late.Until < now);
            return Late.Exists(late => late.Number == number);
        }
    }
}

/// <summary>A write that was asked for.</summary>
internal sealed record LaneWrite(ulong Number, int At, int Sectors, object Session)
{
    public bool IsAcknowledged { get; set; }

    public bool MayBeLost { get; set; }

    public bool Equals(LaneWrite? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => Number.GetHashCode();

    public override string ToString() => $"{Number}{(IsAcknowledged ? "" : "?")}{(MayBeLost ? " (may be lost)" : "")}";
}
