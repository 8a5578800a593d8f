using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>
/// The two checkpoint slots. A checkpoint is written into the slot of the older one: the old root becomes zeroes, then pages,
/// flush, root, flush; so at every moment one of them is whole, and a root that a crash cut short shows zeroes where its
/// beginning or its check belongs, which rot does not. Used by one caller at a time.
/// </summary>
public sealed class CheckpointStore(IBlockDevice device, Id160 deviceId)
{
    private readonly CheckpointRoot?[] _roots = new CheckpointRoot?[DeviceGeometry.CheckpointSlots];
    private readonly bool[] _mayStand = new bool[DeviceGeometry.CheckpointSlots];

    /// <summary>The sequence of the newest checkpoint; 0 for none.</summary>
    public ulong Newest => _roots.Max(root => root?.Sequence ?? 0);

    /// <summary>Where the newest checkpoint says that the log is to be read from.</summary>
    public LogPosition NewestRollFrom => _roots.OfType<CheckpointRoot>().MaxBy(root => root.Sequence)?.RollFrom ?? LogPosition.None;

    /// <summary>Up to where the log was durable by any root that is whole, even if its pages are not.</summary>
    public LogPosition KnownDurable { get; private set; }

    /// <summary>Segments that the newest checkpoint spilled into.</summary>
    public int SpillsOfNewest => _roots.OfType<CheckpointRoot>().MaxBy(root => root.Sequence)?.Spills.Count ?? 0;

    /// <summary>Bytes of checkpoints written since the device was opened.</summary>
    public long BytesWritten { get; private set; }

    /// <summary>
    /// Loads the newest checkpoint that is whole, and remembers both roots. Tells of every slot that is damaged; null when
    /// there is no whole one.
    /// </summary>
    public async ValueTask<LoadedCheckpoint?> LoadAsync(int segmentCount, Action<string> tellDamage)
    {
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            _roots[slot] = await ReadRootAsync(slot, segmentCount, tellDamage);
            KnownDurable = _roots[slot] is { } root && root.Durable > KnownDurable ? root.Durable : KnownDurable;
        }

        foreach (var root in _roots.OfType<CheckpointRoot>().OrderByDescending(one => one.Sequence).ToArray())
        {
            try
            {
                var loaded = await CheckpointCodec.ReadAsync(new BlobReader(device, root), root, segmentCount);
                TakeSpills(loaded.Segments);
                return loaded;
            }
            catch (DamagedCheckpointException e)
            {
                tellDamage($"checkpoint {root.Sequence} in slot {root.Slot} is damaged: {e.Message}");
                _roots[root.Slot] = null;
            }
        }

        return null;
    }

    /// <summary>
    /// Makes both checkpoints void, durably: the index that they lead to is about to be overwritten, so nobody may come back to
    /// them, however that ends. What they say of the log's durable end is kept in mind.
    /// </summary>
    public async ValueTask VoidAsync(int segmentCount)
    {
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            if (await ReadRootAsync(slot, segmentCount, _ => { }) is { } root)
            {
                KnownDurable = root.Durable > KnownDurable ? root.Durable : KnownDurable;
                await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(slot), new byte[CheckpointRootLayout.Size]);
            }

            _roots[slot] = null;
        }

        await device.FlushAsync();
    }

    /// <summary>Reads both checkpoints whole, telling of every one that is damaged; gives the roots of those that are not.</summary>
    public async ValueTask<IReadOnlyList<CheckpointRoot>> VerifyAsync(int segmentCount, Action<string> tellDamage)
    {
        var whole = new List<CheckpointRoot>();
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            if (await ReadRootAsync(slot, segmentCount, tellDamage) is not { } root)
            {
                continue;
            }

            try
            {
                await CheckpointCodec.ReadAsync(new BlobReader(device, root), root, segmentCount);
                whole.Add(root);
            }
            catch (DamagedCheckpointException e)
            {
                tellDamage($"checkpoint {root.Sequence} in slot {slot} is damaged: {e.Message}");
            }
        }

        return whole;
    }

    /// <summary>
    /// True when both slots say the same, so that nothing but what the newest refers to is needed by either: the second of a
    /// pair has an even sequence.
    /// </summary>
    public bool IsPaired => Newest > 0 && Newest % 2 == 0 && !_mayStand.Contains(true);

    /// <summary>How the last checkpoint's write failed, where the device refused its place; null where it did not.</summary>
    public DeviceException? Refused { get; private set; }

    /// <summary>True when the newest is the first of a pair: the second could not be written.</summary>
    public bool IsHalfWritten => Newest % 2 != 0;

    /// <summary>The segment to which a page could not be written then; -1 for none.</summary>
    public int RefusedSpill { get; private set; } = -1;

    /// <summary>
    /// A root whose write failed may be on the device all the same, and lead to pages that were given up since: it becomes
    /// zeroes before any of them is written anew.
    /// </summary>
    /// <exception cref="DeviceException">The device failed; where that is a bad place, this may be tried again.</exception>
    public async ValueTask SettleAsync()
    {
        (Refused, RefusedSpill) = (null, -1);
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            if (_mayStand[slot])
            {
                await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(slot), new byte[CheckpointRootLayout.Size]);
                await device.FlushAsync();
                _mayStand[slot] = false;
            }
        }
    }

    /// <summary>
    /// Writes a checkpoint into both slots, one after the other. The log and the index must be durable up to what it says.
    /// Once both are written nothing is needed any more that only earlier checkpoints refer to.
    /// </summary>
    /// <returns>
    /// How many slots were written; fewer than both when there was no segment for the rest, or the device refused a place
    /// (<see cref="Refused"/>).
    /// </returns>
    /// <exception cref="DeviceException">The device failed: nothing more may be written to it.</exception>
    public async ValueTask<int> WriteAsync(
        SegmentTable segments, CheckpointContents contents, LogPosition durable, ulong timeMicros)
    {
        var sequence = (Newest + 1) | 1;
        (Refused, RefusedSpill) = (null, -1);
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            try
            {
                await WriteOneAsync(sequence + (ulong)slot, segments, contents, durable, timeMicros);
            }
            catch (CheckpointSpaceException)
            {
                return slot;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                Refused = e;
                return slot;
            }
        }

        return DeviceGeometry.CheckpointSlots;
    }

    /// <summary>Writes one slot: that of the older checkpoint.</summary>
    /// <exception cref="CheckpointSpaceException">No segment for its pages; the older checkpoints stand.</exception>
    /// <exception cref="DeviceException">The device failed: nothing more may be written to it.</exception>
    private async ValueTask WriteOneAsync(
        ulong sequence, SegmentTable segments, CheckpointContents contents, LogPosition durable, ulong timeMicros)
    {
        var slot = OldestSlot();
        var replaced = _roots[slot];
        _roots[slot] = null;
        foreach (var spill in replaced?.Spills ?? [])
        {
            segments.ReleasePages(spill, SegmentState.Checkpoint);
        }

        var bytes = new byte[CheckpointRootLayout.Size];
        await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(slot), bytes);
        var blob = new BlobWriter(device, segments, deviceId, slot, sequence);
        try
        {
            await CheckpointCodec.WriteAsync(blob, contents);
            await blob.CompleteAsync();
        }
        catch (Exception e) when (e is CheckpointSpaceException or DeviceException { IsBadPlace: true })
        {
            RefusedSpill = blob.BadSpill;
            blob.Abandon();
            throw;
        }

        await device.FlushAsync();
        var root = new CheckpointRoot(deviceId, slot, sequence, contents.Cut.RollFrom, durable, blob.Length, timeMicros, blob.Spills);
        root.Write(bytes);
        try
        {
            await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(slot), bytes);
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            _mayStand[slot] = true;
            blob.Abandon();
            throw;
        }

        await device.FlushAsync();
        _roots[slot] = root;
        BytesWritten += blob.Length + CheckpointRootLayout.Size;
    }

    private int OldestSlot() => (_roots[0]?.Sequence ?? 0) <= (_roots[1]?.Sequence ?? 0) ? 0 : 1;

    private void TakeSpills(SegmentTable segments)
    {
        foreach (var root in _roots.OfType<CheckpointRoot>())
        {
            foreach (var spill in root.Spills)
            {
                segments.Evict(spill);
                segments.Occupy(spill, SegmentState.Checkpoint, 0);
            }
        }
    }

    private async ValueTask<CheckpointRoot?> ReadRootAsync(int slot, int segmentCount, Action<string> tellDamage)
    {
        var bytes = new byte[CheckpointRootLayout.Size];
        try
        {
            await device.ReadAsync(DeviceGeometry.CheckpointSlotOffset(slot), bytes);
        }
        catch (DeviceException e)
        {
            tellDamage($"checkpoint slot {slot} can't be read: {e.Message}");
            return null;
        }

        var fault = CheckpointRoot.TryRead(bytes, deviceId, slot, segmentCount, out var root);
        var isUnfinished = bytes.AsSpan(CheckpointRootLayout.Check, sizeof(ulong)).IndexOfAnyExcept((byte)0) < 0
            || bytes.AsSpan(0, CheckpointRootLayout.Spills).IndexOfAnyExcept((byte)0) < 0;
        if (fault is not (LayoutFault.None or LayoutFault.Absent or LayoutFault.OtherDevice) && !isUnfinished)
        {
            tellDamage($"the root of checkpoint slot {slot} is damaged ({fault})");
        }

        return root;
    }
}
