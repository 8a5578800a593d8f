using CloudFs.Core.Compaction;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Log;

namespace CloudFs.Core.Engine;

/// <summary>Segments for copies, from the one table of all segments, as many as a cycle's plan lets it begin.</summary>
internal sealed class RelocationSpace(DiskServices services) : IRelocationSpace
{
    /// <summary>On smaller devices a second segment that is being filled costs more than keeping apart what dies young wins.</summary>
    private const int SegmentsForStreams = 64;

    private readonly Dictionary<int, ulong> _open = [];
    private CompactionPlan _plan;
    private int _begun;

    /// <summary>True while a segment is being filled.</summary>
    public bool HasOpen => _open.Count > 0;

    /// <summary>A cycle begins.</summary>
    public void Begin(in CompactionPlan plan)
    {
        _plan = plan;
        _begun = 0;
        services.Segments.CycleFloor = plan.Floor(_begun);
    }

    /// <summary>
    /// The cycle is over. Who waits is told: what the cycle won was free before, and those who looked then still found its floor.
    /// </summary>
    public void End()
    {
        services.Segments.CycleFloor = 0;
        services.Log.RoomMayHaveChanged();
    }

    /// <summary>The stream that an entry goes to: the other one when its own has no segment open and can't have one.</summary>
    public int Redirect(int stream)
    {
        if (services.Segments.Count < SegmentsForStreams)
        {
            return 0;
        }

        if (!_open.ContainsKey(stream) && !_plan.MayBegin(_begun, services.Segments.Free))
        {
            foreach (var other in _open.Keys)
            {
                return other;
            }
        }

        return stream;
    }

    public bool TryBegin(int stream, out ulong use, out int segment)
    {
        (use, segment) = (0, -1);
        if (!_plan.MayBegin(_begun, services.Segments.Free))
        {
            return false;
        }

        segment = services.Segments.TakeForRelocation(out use);
        if (segment < 0)
        {
            return false;
        }

        _open[stream] = use;
        services.Segments.CycleFloor = _plan.Floor(++_begun);
        return true;
    }

    public void Sealed(ulong use, HeaderTally headers)
    {
        foreach (var (stream, open) in _open)
        {
            if (open == use)
            {
                _open.Remove(stream);
                break;
            }
        }

        services.Segments.SetHeaders(use, headers);
        services.Segments.Seal(use, services.Clock.NowMicros, services.Log.Tail().End.Use);
    }

    public Task<int> MoveAsync(int tries, MovedPart part, DeviceException why) => services.Bad.MoveAsync(tries, part, why);
}
