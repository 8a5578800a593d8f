using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;

namespace CloudFs.Core.Scrub;

/// <summary>
/// One pass over everything that is in use: label, checkpoints, index, segments. It never stops for what it finds. It holds
/// one buffer of a segment's size.
/// </summary>
internal sealed class ScrubPass(ScrubSources sources, ScrubTally tally, PacedDevice device) : ISegmentFindings
{
    /// <summary>How often something that changes under the reader is looked at again.</summary>
    private const int LooksMax = 3;

    /// <summary>
    /// So many pages of a segment that nobody has, one after the other, and no more are asked for: others may be out of reach.
    /// </summary>
    private const int UnmendedMax = 4;

    private readonly List<SegmentFault> _faults = [];
    private int _unmended;

    private DiskServices Services => sources.Services;

    private DeviceLabel Label => sources.Label;

    /// <summary>Bytes to go through: what lies before the segments, and so many of them.</summary>
    public static ulong BytesOf(int segments) =>
        DeviceGeometry.SegmentsOffset + ((ulong)segments * DeviceGeometry.SegmentBytes);

    /// <summary>The segments with entries, in the order of their uses. Those of the index are read tree by tree.</summary>
    public static List<(int Segment, ulong Use)> UsesOf(SegmentTable segments) =>
    [
        .. segments.Snapshot()
            .Where(held => held.Use != 0 && held.State is SegmentState.Open or SegmentState.Sealed)
            .Select(held => (held.Segment, held.Use))
            .OrderBy(held => held.Use),
    ];

    public async Task RunAsync()
    {
        var uses = UsesOf(Services.Segments);
        tally.Begin(BytesOf(uses.Count));
        await CheckLabelAsync();
        await CheckCheckpointsAsync();
        await CheckIndexAsync();
        tally.Reach(BytesOf(0));
        var verifier = new SegmentVerifier(device, Label.DeviceId, device.BreatheAsync);
        for (var i = 0; i < uses.Count; i++)
        {
            await CheckSegmentAsync(verifier, uses[i].Segment, uses[i].Use);
            tally.Reach(BytesOf(i + 1));
        }
    }

    void ISegmentFindings.Fault(SegmentFault fault) => _faults.Add(fault);

    void ISegmentFindings.Entry(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold)
    {
        // That it is what it was is all that matters here: links between entries were checked when they came.
    }

    private async ValueTask CheckLabelAsync()
    {
        var faults = new List<string>();
        var found = await ReadLabelAsync(faults);
        if (faults.Count == 0)
        {
            return;
        }

        var isOurs = found is null || found.DeviceId == Label.DeviceId;
        var healed = isOurs && await TryAsync(async () =>
        {
            var generation = Math.Max(Label.Generation, found?.Generation ?? 0);
            await DeviceLabels.WriteAsync(sources.Device, (found ?? Label) with { Generation = generation + 1 });
            var left = new List<string>();
            return await ReadLabelAsync(left) is not null && left.Count == 0;
        });
        TellAll("label", faults, healed);
    }

    private async ValueTask<DeviceLabel?> ReadLabelAsync(List<string> faults)
    {
        try
        {
            var found = await DeviceLabels.ReadAsync(device, faults.Add);
            if (found is null)
            {
                faults.Add("the device's label is gone");
            }
            else if (found.DeviceId != Label.DeviceId)
            {
                faults.Add($"the device's label is that of another device, {found.DeviceId}: somebody else has written to it");
            }

            return found;
        }
        catch (DeviceRefusedException e)
        {
            faults.Add(e.Message);
            return null;
        }
    }

    private async ValueTask CheckCheckpointsAsync()
    {
        var faults = await ReadCheckpointsAsync();
        if (faults.Count == 0)
        {
            return;
        }

        // A checkpoint goes into both slots.
        var healed = sources.Checkpoint is { } write && await TryAsync(async () =>
            await write() && (await ReadCheckpointsAsync()).Count == 0);
        TellAll("checkpoint", faults, healed);
    }

    /// <summary>Reads both slots. What is wrong counts only if nobody wrote them meanwhile.</summary>
    private async ValueTask<List<string>> ReadCheckpointsAsync()
    {
        for (var look = 0; look < LooksMax; look++)
        {
            var faults = new List<string>();
            var before = await ReadRootsAsync();
            await new CheckpointStore(device, Label.DeviceId).VerifyAsync(Label.SegmentCount, faults.Add);
            var after = await ReadRootsAsync();
            if (before.AsSpan().SequenceEqual(after))
            {
                return faults;
            }
        }

        return [];
    }

    private async ValueTask<byte[]> ReadRootsAsync()
    {
        var roots = new byte[DeviceGeometry.CheckpointSlots * CheckpointRootLayout.Size];
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            try
            {
                await device.ReadAsync(
                    DeviceGeometry.CheckpointSlotOffset(slot),
                    roots.AsMemory(slot * CheckpointRootLayout.Size, CheckpointRootLayout.Size));
            }
            catch (DeviceException)
            {
                // It is told by who reads the checkpoint itself.
                roots.AsSpan(slot * CheckpointRootLayout.Size, CheckpointRootLayout.Size).Clear();
            }
        }

        return roots;
    }

    private async ValueTask CheckIndexAsync()
    {
        if (sources.Index is { } check)
        {
            var faults = new List<string>();
            await check(device, faults.Add);
            TellAll("index", faults, healed: false);
        }
    }

    private async ValueTask CheckSegmentAsync(SegmentVerifier verifier, int segment, ulong use)
    {
        if (Describe(segment, use) is not { } what)
        {
            return;
        }

        _faults.Clear();
        _unmended = 0;
        var verified = await verifier.VerifyAsync(what, this);

        // What was read of a segment that became something else meanwhile proves nothing.
        if (_faults.Count > 0 && IsThere(segment, use))
        {
            await JudgeAsync(what, verified);
        }
    }

    /// <summary>What is to be read of a segment; null when it is gone, or nothing in it is durable.</summary>
    private SegmentToVerify? Describe(int segment, ulong use)
    {
        var durable = Services.Log.Durable;
        if (!IsThere(segment, use))
        {
            return null;
        }

        if (Services.Segments.StateOf(segment) == SegmentState.Sealed || durable.Use > use)
        {
            return new SegmentToVerify(segment, use, SegmentEnding.Sealed, durable);
        }

        if (LogPosition.IsRelocation(use))
        {
            return new SegmentToVerify(segment, use, SegmentEnding.Growing, durable);
        }

        return durable.Use == use && durable.Offset > 0
            ? new SegmentToVerify(segment, use, SegmentEnding.Open, durable)
            : null;
    }

    private bool IsThere(int segment, ulong use) => Services.Segments.TryLocate(use, out var now) && now == segment;

    private async ValueTask JudgeAsync(SegmentToVerify what, VerifiedSegment verified)
    {
        var wantsFooter = what.Ending == SegmentEnding.Sealed && _faults.Exists(fault => fault.Kind == SegmentFaultKind.Footer);
        var hasFooter = !wantsFooter || await TryAsync(() => MendAsync(what, verified));
        foreach (var fault in _faults)
        {
            var (verdict, notWritten) = await TryMendAsync(fault)
                ?? (await JudgeAsync(fault, wantsFooter && hasFooter, hasFooter), null);
            var done = verdict switch
            {
                ScrubVerdict.Healed when fault.Kind == SegmentFaultKind.Page => ": had from another host, and written again",
                _ when notWritten is not null => $": another host has it, and here it could not be written again: {notWritten}",
                ScrubVerdict.Healed => ": written again",
                ScrubVerdict.Lost => ": reads answer EIO until it is overwritten or trimmed",
                ScrubVerdict.History => ": no disk's present contents",
                ScrubVerdict.Unknown => ": what was there may be needed",
                _ when fault.Kind == SegmentFaultKind.Footer => ": it could not be written again, but nothing is lost by it alone",
                _ => "",
            };
            tally.Add(new ScrubFinding(
                verdict, $"segment {what.Segment} (use {what.Use})", fault.Message + done, fault.Disk.IsZero ? null : fault.Disk, fault.Lsn,
                [.. fault.Extents.Select(extent => new ScrubRange(
                    extent.Lba * EntryLayout.SectorSize, extent.Sectors * (ulong)EntryLayout.SectorSize))]));
        }
    }

    /// <summary>A damaged page that another host has; null for anything else, which is to be judged.</summary>
    private async ValueTask<(ScrubVerdict Verdict, string? NotWritten)?> TryMendAsync(SegmentFault fault)
    {
        if (fault is not { Kind: SegmentFaultKind.Page, Extents: [var page] } || Services.Healer is null || _unmended >= UnmendedMax
            || Services.Disks.ById(fault.Disk) is not { } disk)
        {
            return null;
        }

        var (mended, notWritten) = await disk.MendAsync(fault.Position, fault.Lsn, page.Lba, page.Sectors);
        _unmended = mended == Mended.NotFound ? _unmended + 1 : 0;
        return mended switch
        {
            Mended.Healed => (ScrubVerdict.Healed, null),
            Mended.NotWritten => (ScrubVerdict.Readable, notWritten),
            _ => null,
        };
    }

    private async ValueTask<ScrubVerdict> JudgeAsync(SegmentFault fault, bool footerWasMended, bool hasFooter)
    {
        switch (fault.Kind)
        {
            case SegmentFaultKind.Footer:
                return footerWasMended ? ScrubVerdict.Healed : ScrubVerdict.Readable;
            case SegmentFaultKind.Unreadable or SegmentFaultKind.Frame or SegmentFaultKind.KnownHole:
                return ScrubVerdict.Readable;
            case SegmentFaultKind.Header:
                return hasFooter ? ScrubVerdict.Readable : ScrubVerdict.Unknown;
            case SegmentFaultKind.Hole or SegmentFaultKind.Difference:
                return ScrubVerdict.Unknown;
        }

        // Damaged entries and pages: what they cost is for the disk to say.
        var disk = fault.Disk.IsZero ? null : Services.Disks.ById(fault.Disk);
        if (disk is null)
        {
            return fault.Disk.IsZero ? ScrubVerdict.Unknown : ScrubVerdict.History;
        }

        ulong noted = 0;
        foreach (var extent in fault.Extents)
        {
            noted += await disk.NoteDamageAsync(fault.Position, fault.Lsn, extent.Lba, extent.Sectors);
        }

        return noted > 0 ? ScrubVerdict.Lost : ScrubVerdict.History;
    }

    /// <summary>Writes a footer again from what proves itself, while nobody can use the segment for something else.</summary>
    private async Task<bool> MendAsync(SegmentToVerify what, VerifiedSegment verified)
    {
        if (!Services.Segments.TryHold(what.Use, what.Segment))
        {
            return false;
        }

        try
        {
            return await WriteFooterAsync(what, verified) && await HoldsAsync(what);
        }
        finally
        {
            Services.Segments.EndHold(what.Use);
        }
    }

    private async Task<bool> WriteFooterAsync(SegmentToVerify what, VerifiedSegment verified)
    {
        var mender = new FooterMender(sources.Device, Label.DeviceId, Label.PhysicalBlock);
        if (verified is { Footer: { } footer, Catalog: { IsIncomplete: false } catalog })
        {
            return await mender.TryWriteAsync(catalog, what.Segment, footer.CommitsEnd, footer.NextSegment, footer.LastSequence);
        }

        var following = Services.Segments.TryLocate(what.Use + 1, out var next) ? next : -1;
        var end = verified.Footer?.CommitsEnd ?? await mender.FindCommitsEndAsync(verified.Scan, what.Use, following);
        return await mender.TryMendAsync(
            verified.Scan, what.Segment, what.Use, end, verified.Footer?.NextSegment ?? following);
    }

    private async Task<bool> HoldsAsync(SegmentToVerify what)
    {
        await sources.Device.FlushAsync();
        var walker = Services.Walker;
        return await walker.ReadFooterAsync(what.Segment, what.Use) is { } footer
            && await walker.ReadCatalogAsync(what.Segment, footer) is { DamagedCopies: 0 };
    }

    private void TellAll(string place, List<string> faults, bool healed)
    {
        foreach (var fault in faults)
        {
            tally.Add(new ScrubFinding(
                healed ? ScrubVerdict.Healed : ScrubVerdict.Unknown, place, healed ? fault + ": written again" : fault, null, 0, []));
        }
    }

    private static async ValueTask<bool> TryAsync(Func<Task<bool>> heal)
    {
        try
        {
            return await heal();
        }
        catch (DeviceException)
        {
            // The device takes no writes: the finding stays, and health tells the rest.
            return false;
        }
    }
}
