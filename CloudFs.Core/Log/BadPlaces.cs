using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// Which segments writes failed to, and how what was in them goes on: remembered on the device in a list of its own, which is
/// read with whatever checkpoint holds (docs/adr/0015-bad-places-in-a-list-of-their-own.md). Any thread; one change at a time.
/// <para>
/// Crash order of a move: (1) the copy is written and flushed; (2) the list names it, flushed; (3) the table in memory; (4) the
/// caller writes again, to the new place. A cut before (2) leaves the old segment in force, in which nothing durable is
/// missing; after it the new one is, which has all of that.
/// </para>
/// </summary>
public sealed class BadPlaces : IDisposable
{
    /// <summary>How many places may fail one after the other for one and the same write.</summary>
    public const int TriesMax = 8;

    private readonly IBlockDevice _device;
    private readonly Id160 _deviceId;
    private readonly Action<EngineEvent> _report;
    private readonly SegmentMove _move;
    private readonly SemaphoreSlim _one = new(1);
    private readonly ulong[] _generations = new ulong[DeviceGeometry.BadListBlocks];
    private SegmentTable? _segments;
    private volatile BadList _list = new(0, []);

    public BadPlaces(IBlockDevice device, Id160 deviceId, Action<EngineEvent> report)
    {
        _device = device;
        _deviceId = deviceId;
        _report = report;
        _move = new SegmentMove(device, deviceId);
    }

    /// <summary>All that are known, in the order in which they went bad.</summary>
    public IReadOnlyList<BadPlace> Places => _list.Places;

    /// <summary>Reads the list: that of the highest generation.</summary>
    /// <exception cref="DeviceRefusedException">It was written by a newer program.</exception>
    public async Task LoadAsync(int segmentCount, Action<string> tellDamage)
    {
        for (var block = 0; block < _generations.Length; block++)
        {
            var bytes = new byte[BadListLayout.Size];
            var fault = LayoutFault.Absent;
            BadList? found = null;
            try
            {
                await _device.ReadAsync(DeviceGeometry.BadListOffset(block), bytes);
                fault = BadList.TryRead(bytes, _deviceId, block, segmentCount, out found);
            }
            catch (DeviceException e)
            {
                tellDamage($"block {block} of the list of bad places can't be read: {e.Message}");
            }

            if (fault == LayoutFault.NewerVersion)
            {
                throw new DeviceRefusedException("the device's list of bad places was written by a newer CloudFS: use that version");
            }

            _generations[block] = found?.Generation ?? 0;
            _list = found is not null && found.Generation > _list.Generation ? found : _list;
        }
    }

    /// <summary>
    /// Says to a table that was just loaded, or made, what is bad; a checkpoint may be older than that. It is this table that
    /// changes from here on.
    /// </summary>
    public void ApplyTo(SegmentTable segments)
    {
        _segments = segments;
        foreach (var place in Places.Where(place => place.Segment != BadList.IndexArea))
        {
            var isThere = place.Use != 0 && segments.TryLocate(place.Use, out var segment) && segment == place.Segment;
            if (isThere)
            {
                segments.Evict(place.MovedTo);
                segments.Occupy(place.MovedTo, SegmentState.Checkpoint, 0);
                segments.Move(place.Use, place.MovedTo);
            }
            else if (place.Use != 0)
            {
                // Free by now, or dead and not yet forgotten by this checkpoint: what was in it went on elsewhere.
                segments.Evict(place.Segment);
            }

            segments.Condemn(place.Segment);
        }
    }

    /// <summary>Where a use lies that was said to be in a segment: there, or where it moved to.</summary>
    public int Resolve(int segment, ulong use)
    {
        foreach (var place in Places)
        {
            // A place to which something moves is good then: it stands further on in the list if it went bad later.
            segment = place.Segment == segment && place.Use == use && use != 0 ? place.MovedTo : segment;
        }

        return segment;
    }

    /// <summary>True when a segment, or <see cref="BadList.IndexArea"/>, is in the list.</summary>
    public bool Contains(int segment) => Places.Any(place => place.Segment == segment);

    /// <summary>A write to a segment failed, and what is in it stays there until it is not needed: it is taken for nothing new.</summary>
    /// <exception cref="DeviceException">That could not be written down: nothing may be written any more.</exception>
    public async Task CondemnAsync(int segment, DeviceException why)
    {
        await _one.WaitAsync();
        try
        {
            if (segment != BadList.IndexArea)
            {
                _segments!.Condemn(segment);
            }

            if (!Contains(segment))
            {
                await RememberAsync(new BadPlace(segment, -1, 0));
                Tell(segment == BadList.IndexArea
                    ? $"a write to the index pages before the segments failed ({why.Message}): pages go elsewhere from now on"
                    : $"a write to segment {segment} failed ({why.Message}): it is taken for nothing new from now on");
            }
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>
    /// A write to the segment of a use failed: the use, with all that was written to it, goes on in another. Its positions
    /// stay. Nobody else may write to it meanwhile; reads go on.
    /// </summary>
    /// <param name="tries">How many writes failed in a row, this one included: with too many it is the device that is bad.</param>
    /// <param name="part">What of it goes on.</param>
    /// <param name="why">How the write failed.</param>
    /// <returns>The segment that it is in now.</returns>
    /// <exception cref="DeviceException">It could not be done: nothing may be written any more.</exception>
    public async Task<int> MoveAsync(int tries, MovedPart part, DeviceException why)
    {
        await _one.WaitAsync();
        try
        {
            var located = _segments!.TryLocate(part.Use, out var from);
            Invariant.That(located, "a segment that is written to is not reclaimed");
            using var bytes = new SegmentBytes();
            await _move.ReadAsync(from, part, bytes.Memory);
            var to = await CopyAsync(bytes.Memory, tries, why);
            await RememberAsync(new BadPlace(from, to, part.Use));
            _segments.Move(part.Use, to);
            Tell($"a write to segment {from} failed ({why.Message}): what is in it went on in segment {to}, and it is not used any more");
            return to;
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();

    private async Task<int> CopyAsync(ReadOnlyMemory<byte> bytes, int tries, DeviceException why)
    {
        for (; tries < TriesMax; tries++)
        {
            var to = await TakeSpareAsync();
            if (to < 0)
            {
                throw new DeviceException($"a write failed, and no segment is free to go on in: {why.Message}", why);
            }

            try
            {
                await _move.WriteAsync(to, bytes);
                return to;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                why = e;
                _segments!.Condemn(to);
                _segments.ReleasePages(to, SegmentState.Checkpoint);
                await RememberAsync(new BadPlace(to, -1, 0));
                Tell($"a write to segment {to} failed ({e.Message}): it is not used any more");
            }
        }

        throw new DeviceException($"writes failed in {TriesMax} places one after the other, the last: {why.Message}", why);
    }

    private async Task<int> TakeSpareAsync()
    {
        if (_segments!.BackedSpare <= 1 && _segments.FindUnbacked() is var unbacked and >= 0
            && await _device.TryReserveAsync(DeviceGeometry.SegmentOffset(unbacked), DeviceGeometry.SegmentBytes))
        {
            _segments.SetBacked(unbacked);
        }

        return _segments.TakeSpare();
    }

    /// <summary>
    /// Writes the list, with one more place in it, into two blocks, the older first: the newest that is there stays until one
    /// more is durable. One is enough where the others fail.
    /// </summary>
    private async Task RememberAsync(BadPlace place)
    {
        if (Places.Count == BadList.MaxPlaces)
        {
            throw new DeviceException($"more than {BadList.MaxPlaces} places of the device are bad: replace the device");
        }

        var next = new BadList(_list.Generation + 1, [.. Places, place]);
        var oldestFirst = Enumerable.Range(0, _generations.Length).OrderBy(block => _generations[block]).ToList();
        DeviceException? failure = null;
        for (int written = 0, attempt = 0; written < 2; attempt++)
        {
            if (attempt == oldestFirst.Count && written > 0)
            {
                break;
            }

            if (attempt == 2 * oldestFirst.Count)
            {
                throw new DeviceException($"a place went bad, and that could not be written down: {failure!.Message}", failure);
            }

            try
            {
                await WriteBlockAsync(next, oldestFirst[attempt % oldestFirst.Count]);
                written++;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                failure = e;
            }
        }

        _list = next;
    }

    private async Task WriteBlockAsync(BadList list, int block)
    {
        var bytes = new byte[BadListLayout.Size];
        list.Write(bytes, _deviceId, block);
        await _device.WriteAsync(DeviceGeometry.BadListOffset(block), bytes);
        await _device.FlushAsync();
        _generations[block] = list.Generation;
    }

    private void Tell(string what)
    {
        _report(new EngineEvent(EventLevel.Warning, "bad-place", what));
    }
}
