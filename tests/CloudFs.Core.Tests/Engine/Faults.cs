using CloudFs.Core.Devices;

namespace CloudFs.Core.Tests.Engine;

/// <summary>What can go wrong on a simulated device (docs/testing/fault-model.md).</summary>
internal enum Fault
{
    TornWrite,
    Rot,
    MisdirectedWrite,
    MisdirectedRead,
    ReadError,
    LastingReadError,
    WriteError,
    FlushError,
    NoRoomBelow,
    Slow,
}

/// <summary>
/// Which faults a device has, how often, and which it had: drawn from a seed. It goes with the device through deaths and
/// power cuts. Rates are chances in each operation of that kind.
/// </summary>
internal sealed class Faults(Random random, TimeProvider time)
{
    private const int BlockBits = 12;

    private readonly double[] _rates = new double[Enum.GetValues<Fault>().Length];
    private readonly int[] _counts = new int[Enum.GetValues<Fault>().Length];
    private readonly HashSet<ulong> _unreadable = [];

    /// <summary>False: the device behaves. What can't be read stays so.</summary>
    public bool IsOn { get; set; }

    /// <summary>How many more faults there will be.</summary>
    public int Left { get; set; } = int.MaxValue;

    /// <summary>True while the file system below has no room for another segment.</summary>
    public bool NoRoomBelow { get; set; }

    /// <summary>True when blocks were made unreadable, and may be still.</summary>
    public bool HasUnreadable => _unreadable.Count > 0;

    /// <summary>True when reads may fail from now on.</summary>
    public bool HasReadFaults => IsOn && Left > 0 && _rates[(int)Fault.ReadError] + _rates[(int)Fault.LastingReadError] > 0;

    public double this[Fault fault]
    {
        set => _rates[(int)fault] = value;
    }

    /// <summary>How often a fault happened so far.</summary>
    public int CountOf(Fault fault) => _counts[(int)fault];

    public override string ToString() => string.Join(
        ", ", Enum.GetValues<Fault>().Where(fault => CountOf(fault) > 0).Select(fault => $"{fault} {CountOf(fault)}"));

    /// <summary>A fault that was not drawn by the device itself.</summary>
    public void Note(Fault fault) => _counts[(int)fault]++;

    /// <summary>Waits, on the simulated clock, when the device is slow now.</summary>
    public async ValueTask DelayAsync()
    {
        if (Draw(Fault.Slow))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(1, 400)), time);
        }
    }

    /// <summary>Where a read goes. Throws where it fails.</summary>
    public ulong Read(ulong offset, int length, ulong deviceLength)
    {
        if (Draw(Fault.LastingReadError))
        {
            _unreadable.Add((offset + (ulong)random.NextInt64(length)) >> BlockBits);
        }

        if (_unreadable.Count > 0)
        {
            ThrowIfUnreadable(offset, length);
        }

        if (Draw(Fault.ReadError))
        {
            throw new DeviceException("read failed, this once");
        }

        return Draw(Fault.MisdirectedRead) ? Elsewhere(offset, length, deviceLength) : offset;
    }

    /// <summary>
    /// How many bytes a write that fails now leaves on the device, from its start: none, all, or its beginning; null for one
    /// that does not fail.
    /// </summary>
    public int? FailingWrite(int length) => !Draw(Fault.WriteError)
        ? null
        : random.Next(3) switch
        {
            0 => 0,
            1 => length,
            _ => random.Next(length / 512) * 512,
        };

    /// <summary>Where a write goes.</summary>
    public ulong Write(ulong offset, int length, ulong deviceLength)
    {

        var to = Draw(Fault.MisdirectedWrite) ? Elsewhere(offset, length, deviceLength) : offset;
        for (var block = to >> BlockBits; _unreadable.Count > 0 && block << BlockBits < to + (ulong)length; block++)
        {
            // A disk puts what is written to a bad place somewhere else.
            _unreadable.Remove(block);
        }

        return to;
    }

    /// <exception cref="DeviceException">The flush fails.</exception>
    public void Flush()
    {
        if (Draw(Fault.FlushError))
        {
            throw new DeviceException("flush failed");
        }
    }

    private bool Draw(Fault fault)
    {
        if (!IsOn || Left <= 0 || _rates[(int)fault] == 0 || random.NextDouble() >= _rates[(int)fault])
        {
            return false;
        }

        Left -= fault == Fault.Slow ? 0 : 1;
        _counts[(int)fault]++;
        return true;
    }

    private void ThrowIfUnreadable(ulong offset, int length)
    {
        foreach (var block in _unreadable)
        {
            if (block << BlockBits < offset + (ulong)length && (block + 1) << BlockBits > offset)
            {
                throw new DeviceException($"block {block} can't be read");
            }
        }
    }

    /// <summary>Near by, at the same place of another segment, one bit of the address off, or anywhere.</summary>
    private ulong Elsewhere(ulong offset, int length, ulong deviceLength)
    {
        const ulong sector = 512;
        var last = (deviceLength - (ulong)length) / sector;
        var from = offset / sector;
        var to = random.Next(4) switch
        {
            0 => from + (ulong)random.Next(1, 64),
            1 => from + (ulong)(random.Next(1, 5) << 15),
            2 => from ^ (1UL << random.Next(3, 20)),
            _ => (ulong)random.NextInt64((long)last + 1),
        };
        to = to > last ? to % (last + 1) : to;
        return (to == from ? (from + 8) % (last + 1) : to) * sector;
    }
}
