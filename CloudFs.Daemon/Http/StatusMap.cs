using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Http;

/// <summary>
/// The one table from what the engine says to what HTTP says: a status, and where the engine gives no line of its own,
/// a line that says what to do.
/// </summary>
internal static class StatusMap
{
    public static int For(Refusal reason) => reason switch
    {
        Refusal.NotFound => 404,
        Refusal.Invalid => 400,
        Refusal.Conflict => 409,
        Refusal.NoSpace => 507,
        Refusal.ReadOnly => 403,
        Refusal.Gone => 410,
        Refusal.BeyondHead => 416,
        Refusal.Unavailable => 503,
        _ => throw new ArgumentOutOfRangeException(nameof(reason), reason, "a refusal without a status"),
    };

    public static int For(IngestOutcome outcome) => outcome switch
    {
        IngestOutcome.Appended or IngestOutcome.AlreadyHeld => 200,
        IngestOutcome.Malformed => 400,
        IngestOutcome.DoesNotFit => 409,
        IngestOutcome.NoSpace => 507,
        IngestOutcome.Unavailable => 503,
        _ => throw new ArgumentOutOfRangeException(nameof(outcome), outcome, "an outcome without a status"),
    };

    public static int For(IoStatus status) => status switch
    {
        IoStatus.Ok => 200,
        IoStatus.Misaligned => 400,
        IoStatus.OutOfRange => 416,
        IoStatus.NoSpace => 507,
        IoStatus.ReadOnly => 403,
        IoStatus.Damaged => 500,
        IoStatus.Poisoned => 503,
        IoStatus.Stopped => 503,
        IoStatus.Deleted => 404,
        IoStatus.VersionMismatch => 412,
        IoStatus.Unreachable => 503,
        IoStatus.Fenced => 503,
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "a status without a status"),
    };

    /// <summary>One line for a status that is not Ok; <paramref name="what"/> names disk and range.</summary>
    public static string Line(IoStatus status, string what) => status switch
    {
        IoStatus.Ok => "ok",
        IoStatus.Misaligned => $"{what}: offset and length must be multiples of 512",
        IoStatus.OutOfRange => $"{what}: the range ends behind the disk",
        IoStatus.NoSpace => $"{what}: the device has no room; trim or delete something, or give it a larger device",
        IoStatus.ReadOnly => $"{what}: the disk can't be written on this host",
        IoStatus.Damaged =>
            $"{what}: some of the range is damaged on the device; overwriting or trimming it makes it readable again",
        IoStatus.Poisoned => $"{what}: the device failed a write or a flush; see /healthz, and start the daemon again",
        IoStatus.Stopped => $"{what}: the daemon is stopping; try again",
        IoStatus.Deleted => $"{what}: the disk was deleted",
        IoStatus.VersionMismatch => $"{what}: the disk has a newer version, which the ETag names",
        IoStatus.Unreachable => $"{what}: too few replicas are within reach; GET /disks/ID says which are away",
        IoStatus.Fenced => $"{what}: this host has promised another primary; try again",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "a status without a line"),
    };
}
