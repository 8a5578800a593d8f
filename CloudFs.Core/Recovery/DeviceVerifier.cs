using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>What verifying a device came to.</summary>
/// <param name="Heads">Each disk's newest entry in the log.</param>
/// <param name="ForcedViews">Views that prove nothing by themselves.</param>
/// <param name="Entries">Entries checked.</param>
/// <param name="Bytes">Bytes of them.</param>
/// <param name="Problems">How many were told.</param>
public sealed record VerifyOutcome(
    IReadOnlyList<ChainHead> Heads, IReadOnlyList<ForcedView> ForcedViews, long Entries, long Bytes, int Problems);

/// <summary>
/// Reads a whole device that nobody uses and changes nothing: label, checkpoints, every commit of every segment of the log
/// with its second copies, every hash of every entry, every chain. Each problem is told as one line with its place.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="tell">Told each problem.</param>
/// <param name="progress">Told bytes of the device done, and to do.</param>
public sealed class DeviceVerifier(IBlockDevice device, Action<string> tell, Action<long, long>? progress = null) : ISegmentFindings
{
    private readonly ChainVerifier _chain = new();
    private readonly HashSet<Id160> _broken = [];
    private readonly HashSet<Id160> _viewsInDoubt = [];
    private readonly Dictionary<Id160, int> _gapsAtLast = [];
    private int _gaps;
    private long _entries;
    private long _bytes;
    private int _problems;

    /// <exception cref="DeviceRefusedException">There is no CloudFS device here.</exception>
    public async Task<VerifyOutcome> RunAsync(CancellationToken cancellation)
    {
        var label = await DeviceLabels.ReadAsync(device, Problem)
            ?? throw new DeviceRefusedException("there is no CloudFS device here: no label");
        var roots = await new CheckpointStore(device, label.DeviceId).VerifyAsync(label.SegmentCount, Problem);
        var uses = await FindUsesAsync(label, roots, cancellation);
        var durable = new LogPosition(roots.Select(root => root.Durable.Value).DefaultIfEmpty().Max());
        var verifier = new SegmentVerifier(device, label.DeviceId);
        var previous = 0UL;
        var done = 0;
        foreach (var (use, segment) in uses)
        {
            cancellation.ThrowIfCancellationRequested();
            _gaps += previous + 1 != use ? 1 : 0;
            var ending = use == uses.Keys.Max() ? SegmentEnding.Last : SegmentEnding.Sealed;
            await verifier.VerifyAsync(new SegmentToVerify(segment, use, ending, durable), this);
            previous = use;
            progress?.Invoke(++done * (long)DeviceGeometry.SegmentBytes, uses.Count * (long)DeviceGeometry.SegmentBytes);
        }

        return new VerifyOutcome(
            [.. _chain.Heads.OrderBy(head => head.Disk)], _chain.ForcedViews, _entries, _bytes, _problems);
    }

    private async Task<SortedDictionary<ulong, int>> FindUsesAsync(
        DeviceLabel label, IReadOnlyList<CheckpointRoot> roots, CancellationToken cancellation)
    {
        var spilled = roots.SelectMany(root => root.Spills).ToHashSet();
        var uses = new SortedDictionary<ulong, int>();
        for (var segment = 0; segment < label.SegmentCount; segment++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (!spilled.Contains(segment) && await SegmentUses.ReadAsync(device, label.DeviceId, segment) is { } use
                && !uses.TryAdd(use, segment))
            {
                Problem($"segments {uses[use]} and {segment} both claim use {use}");
            }
        }

        return uses;
    }

    void ISegmentFindings.Fault(SegmentFault fault)
    {
        Problem(fault.Message);
        if (fault is { Kind: SegmentFaultKind.Entry, Disk.IsZero: false })
        {
            _entries++;
            _broken.Add(fault.Disk);
        }
    }

    void ISegmentFindings.Entry(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold)
    {
        _entries++;
        _bytes += fields.TotalLength;
        VerifyLink(header, fields, body, place, pagesHold);
    }

    private void VerifyLink(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold)
    {
        var head = _chain.HeadOf(fields.Disk);
        EntryBodyParsed? parsed = null;
        if (pagesHold && !EntryBodyParsed.TryParse(fields.Kind, body, out parsed, out var fault))
        {
            Problem($"{Name(fields, place)}: {fault}");
            pagesHold = false;
        }

        // A chain is taken up anew behind what is damaged (which was told) and behind reclaimed segments (which is no fault).
        // What a gap took may have held views: the first behind it has nothing to be held against.
        var isView = parsed?.View is not null;
        var viewInDoubt = isView && _viewsInDoubt.Remove(fields.Disk);
        var linked = head.Lsn + 1 == fields.Lsn && !viewInDoubt;
        var afterGap = _gapsAtLast.GetValueOrDefault(fields.Disk) != _gaps;
        _gapsAtLast[fields.Disk] = _gaps;
        var mayResume = _broken.Remove(fields.Disk) || afterGap || viewInDoubt;
        if (pagesHold && (linked || !mayResume))
        {
            var verdict = _chain.Add(header, body);
            if (verdict.Accepted)
            {
                return;
            }

            Problem($"{Name(fields, place)}: {verdict}");
        }

        if (!pagesHold)
        {
            _broken.Add(fields.Disk);
        }

        if (!linked && !isView)
        {
            _viewsInDoubt.Add(fields.Disk);
        }

        _chain.Begin(head.Next(fields, parsed));
    }

    private static string Name(in EntryHeader fields, ulong place) => $"byte {place}: disk {fields.Disk} LSN {fields.Lsn}";

    private void Problem(string what)
    {
        _problems++;
        tell(what);
    }
}
