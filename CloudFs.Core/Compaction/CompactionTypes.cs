using CloudFs.Core.Layout;
using CloudFs.Core.Log;

namespace CloudFs.Core.Compaction;

/// <summary>What is known of a sealed segment, of the log or of relocation.</summary>
/// <param name="Segment">Its place on the device.</param>
/// <param name="Use">Its use.</param>
/// <param name="References">Mapped extents that point into it, and what is pinned in it.</param>
/// <param name="LiveSectors">Sectors of live data in it.</param>
/// <param name="SealedAt">The log's use when it was sealed: the clock that ages are measured with.</param>
/// <param name="SealedMicros">When it was sealed, microseconds since 1970.</param>
/// <param name="Headers">What its headers take, where that is known.</param>
public readonly record struct SegmentFacts(
    int Segment, ulong Use, int References, long LiveSectors, ulong SealedAt, long SealedMicros, HeaderTally Headers = default)
{
    /// <summary>Uses from here on are of relocation segments.</summary>
    public const ulong FirstRelocationUse = 1UL << 39;

    /// <summary>Records, heads of trailers and padding are one in so many bytes of such a segment.</summary>
    public const int FramePart = 256;

    /// <summary>True for a segment of relocation.</summary>
    public bool IsRelocation => Use >= FirstRelocationUse;

    /// <summary>
    /// What relocating it would take elsewhere, about: data, headers and their copies, and commit frames. It rather is too much.
    /// </summary>
    public long LiveBytes => Math.Min(
        DeviceGeometry.SegmentBytes, ((LiveSectors * 512) + Headers.BytesLeft(References)) * (FramePart + 1) / FramePart);

    /// <summary>What relocating it would win.</summary>
    public long GarbageBytes => DeviceGeometry.SegmentBytes - LiveBytes;
}

/// <summary>The state of the device's space, as victims are chosen for it.</summary>
/// <param name="Free">Free segments.</param>
/// <param name="OutputRest">Bytes that the open relocation segments still take.</param>
/// <param name="LogUse">The log's use now.</param>
/// <param name="RollFromUse">Segments of the log from this use on are needed by the last checkpoint.</param>
/// <param name="HorizonUse">History begins at this use: taking a segment below it costs no history.</param>
/// <param name="NowMicros">The time, microseconds since 1970.</param>
public readonly record struct SpaceNow(
    int Free, long OutputRest, ulong LogUse, ulong RollFromUse, ulong HorizonUse, long NowMicros);

/// <summary>What is to be done about space.</summary>
public enum CompactionVerdict
{
    /// <summary>Enough is free.</summary>
    NotNeeded,

    /// <summary>Victims were chosen.</summary>
    Chosen,

    /// <summary>All that could be won is history younger than it should get, and writes don't wait for it yet.</summary>
    HistoryHolds,

    /// <summary>What could be won is needed by the last checkpoint, or there is no room to move it to: take another checkpoint.</summary>
    CheckpointFirst,

    /// <summary>There is too little garbage to make room from: once nothing is free, the device is full.</summary>
    NothingToGain,
}

/// <summary>Victims of one cycle.</summary>
/// <param name="Verdict">Whether there are any; the rest is zero if not.</param>
/// <param name="LiveBytes">What is to be relocated, about.</param>
/// <param name="GainBytes">What will be won by it.</param>
/// <param name="OutputSegments">
/// Segments that it must be able to begin, so that all fits. Until it has, ordinary writes leave it what it may still need
/// (<see cref="Floor"/>); when it has, it begins more only if that hurts nobody (<see cref="MayBegin"/>).
/// </param>
/// <param name="ShortensHistory">True when a victim is younger than history should get.</param>
public readonly record struct CompactionPlan(
    CompactionVerdict Verdict, long LiveBytes, long GainBytes, int OutputSegments, bool ShortensHistory)
{
    /// <summary>How many free segments ordinary writes leave while this goes on, in place of the reserve.</summary>
    /// <param name="begun">Segments that the cycle has begun so far.</param>
    public int Floor(int begun) => 1 + Math.Max(0, OutputSegments - begun);

    /// <summary>
    /// True when the cycle may begin another segment. If not, the entry goes into the other stream's open one: there is room.
    /// </summary>
    /// <param name="begun">Segments that the cycle has begun so far.</param>
    /// <param name="free">Free segments now.</param>
    public bool MayBegin(int begun, int free) => begun < OutputSegments || free > 1;

    /// <summary>No victims, and why.</summary>
    public static CompactionPlan None(CompactionVerdict verdict) => new(verdict, 0, 0, 0, false);
}

/// <summary>What has to be done until enough is free.</summary>
/// <param name="LiveBytes">Bytes to relocate.</param>
/// <param name="GainBytes">Bytes that are missing.</param>
/// <param name="IsReachable">False when there is not enough garbage for it.</param>
public readonly record struct CompactionDebt(long LiveBytes, long GainBytes, bool IsReachable);
