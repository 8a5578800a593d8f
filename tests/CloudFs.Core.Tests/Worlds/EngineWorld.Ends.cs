using CloudFs.Core.Chain;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>How processes end, and what must be there when the next one has started.</summary>
internal sealed partial class EngineWorld
{
    private (ulong Offset, int Length) _lastWrite;

    private async Task EndAsync(End end, bool stopFirst)
    {
        foreach (var model in _models.Where(model => !model.IsGone))
        {
            // What was shown as durable must stay.
            if (TryFind(model) is { } disk)
            {
                model.NoteDurable(disk.Durable.Lsn);
            }
        }

        var stopped = await _host.EndAsync(end, stopFirst);
        _nothingLost &= (stopped || end == End.Kill) && !HasFailed;
        _lastWrite = _host.Ended.LastWrite;
        foreach (var task in _behind)
        {
            // What failed so was refused before the end, and would have been wrong.
            Assert.True(task.IsCompletedSuccessfully || !task.IsCompleted || !stopped, task.Exception?.ToString());
        }

        _behind.Clear();
    }

    private async Task RestartAsync(bool mayDieAgain)
    {
        _failuresBefore = Failures;
        _readFaultsBefore = ReadFaults;
        for (var attempt = 0; ; attempt++)
        {
            Assert.True(attempt < 20, "the device can't be opened any more, though nothing new fails");
            if (mayDieAgain && attempt == 0)
            {
                _host.Device.StopAt(_random.Next(1, 8), _random);
            }

            if (attempt > 3)
            {
                _faults.IsOn = false;
            }

            if (await TryOpenAsync())
            {
                break;
            }

            _nothingLost &= !HasFailed;
            await _host.EndAsync(_random.Next(2) == 0 && !_mayLose && ReadFaults == 0 ? End.PowerCut : End.Kill, stopFirst: false);
            _nothingLost &= _host.EndedBy == End.Kill;
        }

        _host.Device.GoOn();
        _mayLose |= ReadFaults > _readFaultsBefore || _faults.HasUnreadable;
        await CheckAllAsync();
        _nothingLost = true;
    }

    private async Task<bool> TryOpenAsync()
    {
        _restarts++;
        try
        {
            return await _host.TryOpenAsync();
        }
        catch (DeviceException) when (HasFailed || ReadFaults > 0)
        {
            return false;
        }
        catch (DeviceRefusedException) when (ReadFaults > _readFaultsBefore && _faults.IsOn)
        {
            // Neither copy of the label could be read; perhaps they can the next time.
            return false;
        }
    }

    /// <summary>Every disk must hold what it may hold, prove its chain, and be as well as a disk can be.</summary>
    private async Task CheckAllAsync()
    {
        var health = _host.Engine.GetHealth();
        Assert.True(
            _mayLose || HasFailed || health.Issues.All(IsExpected),
            $"after an ordinary crash: {string.Join("; ", health.Issues.Select(issue => issue.Message))}");
        var bad = new List<string>();
        foreach (var model in _models.Where(model => !model.IsGone))
        {
            var disk = TryFind(model);
            model.Recovered(disk, _nothingLost && !_mayLose, _mayLose);
            if (disk is null)
            {
                bad.AddRange(model.IsDeleted ? [] : [$"disk {model.Id} is not there"]);
                continue;
            }

            _digest.Add(disk.Newest.Id);
            var lost = await model.CheckContentsAsync(disk, _random, () => ReadsMayFail, _digest);
            bad.AddRange(lost == 0 ? [] : [$"{lost} bytes of disk {model.Id} of {model.Bytes}, which has {disk.SizeBytes}"]);
            if (_random.Next(2) == 0)
            {
                await CheckStreamAsync(model, disk);
            }
        }

        if (_class is WorldClass.Crash or WorldClass.Long or WorldClass.Full)
        {
            // The first start writes a checkpoint: from then on there is one, and nothing needs to be rebuilt.
            Assert.Equal([], _host.Engine.Recovery.Decisions
                .Where(decision => decision.IsDamage || decision.Message.StartsWith("no checkpoint", StringComparison.Ordinal))
                .Select(decision => decision.Message));
        }

        if (_random.Next(3) == 0)
        {
            await AuditAsync();
        }

        if (_class is WorldClass.Crash or WorldClass.Long or WorldClass.Full && _random.Next(_class == WorldClass.Crash ? 4 : 2) == 0)
        {
            await CheckRebuiltAsync(_random.Next(2) == 0);
        }

        Assert.True(
            bad.Count == 0 || _host.Engine.GetHealth().Status != "ok",
            $"something is damaged, and the engine says that all is well: {string.Join(", ", bad)}");
    }

    /// <summary>What health may tell where nothing is damaged.</summary>
    private bool IsExpected(HealthIssue issue) => issue.Code switch
    {
        "full" => true,
        "upkeep" => _class == WorldClass.Full || HasBadPlaces,
        "bad-segments" or "unmended-footer" or "damaged-label" => HasBadPlaces,
        _ => false,
    };

    /// <summary>
    /// The stream proves itself from its first entry to the head, makes the disk's contents, and proves itself again from a
    /// point within it. The disk's newest version is durable.
    /// </summary>
    private async Task CheckStreamAsync(WorldDisk model, Disk disk)
    {
        var oldest = disk.GetStatus().OldestLsn;
        if (oldest > 1)
        {
            await TryReadStreamAsync(disk, oldest - 1, null, null);
            return;
        }

        var heads = new List<ChainHead>();
        using var made = new WorldImage(model.Bytes, null);
        if (!await TryReadStreamAsync(disk, 0, heads, made))
        {
            return;
        }

        // Where the newest entries are lost, which is told, the stream ends before them, as the disk does.
        Assert.True(
            model.IsCutShort || made.Contents.SequenceEqual(model.Contents),
            $"the stream of disk {disk.Id} makes other contents than the disk has");
        var point = heads[_random.Next(heads.Count)];
        await TryReadStreamAsync(disk, point.Lsn, [point], null);
    }

    /// <summary>False where it breaks off, as it may on a device that does worse than to lose power.</summary>
    private async Task<bool> TryReadStreamAsync(Disk disk, ulong after, List<ChainHead>? heads, WorldImage? made)
    {
        var verifier = new ChainVerifier();
        if (heads is { Count: 1 })
        {
            verifier.Begin(heads[0]);
        }

        var last = after;
        try
        {
            var stream = await disk.OpenStreamAsync(StreamPoint.After(after), None);
            while (await stream.MoveNextAsync(wait: false, None))
            {
                var entry = stream.Current;
                Assert.True(EntryHeaderCodec.TryReadLengths(entry.Span, out var header, out _, out _));
                Assert.True(EntryHeaderCodec.TryRead(entry.Span[..header], out var fields, out _));
                Assert.True(++last == fields.Lsn);
                if (heads is not null)
                {
                    var verdict = verifier.Add(entry.Span[..header], entry.Span[header..]);
                    if (!verdict.Accepted)
                    {
                        Assert.Fail($"LSN {verdict.Lsn}: {verdict.Fault} {verdict.ChainError}");
                    }
                }

                if (made is not null)
                {
                    heads!.Add(verifier.HeadOf(disk.Id));
                    Replay(entry.Span[..header], fields, entry[header..], made);
                }
            }
        }
        catch (UnprovableEntryException) when (ReadsMayFail)
        {
            return false;
        }
        catch (RefusalException e) when (e.Reason == Refusal.Gone)
        {
            // Where something is compacted, what was within the history a moment ago need not be now.
            Assert.True(disk.GetStatus().OldestLsn > last + 1, $"LSN {last + 1} is gone, and is said to be there");
            return false;
        }

        Assert.Equal(disk.Durable.Lsn, last);
        return true;
    }

    private static void Replay(ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlyMemory<byte> body, WorldImage made)
    {
        var next = 0;
        foreach (var page in EntryPages.Of(header, fields))
        {
            // Extents in their order, and so the pages, too.
            for (; next <= page.Extent; next++)
            {
                ReplayZeroes(header, fields, next, made);
            }

            // A page of a JSON body is of no extent.
            if (page.IsPresent && page.Extent >= 0)
            {
                var bytes = body.Slice(page.BodyOffset, page.Record.Sectors * SectorBytes);
                made.Apply(new DiskChange(fields.Lsn, ChangeKind.Contents, (int)(page.Lba * SectorBytes), bytes.Length, bytes, null));
            }
        }

        for (; next < fields.ExtentCount; next++)
        {
            ReplayZeroes(header, fields, next, made);
        }
    }

    private static void ReplayZeroes(ReadOnlySpan<byte> header, in EntryHeader fields, int index, WorldImage made)
    {
        var extent = EntryHeaderCodec.ReadExtent(header, index);
        if (extent.Kind == ExtentKind.Zero)
        {
            var from = (int)Math.Min(extent.Lba * SectorBytes, (ulong)made.Bytes);
            var length = (int)Math.Min((long)extent.Sectors * SectorBytes, made.Bytes - from);
            made.Apply(new DiskChange(fields.Lsn, ChangeKind.Contents, from, length, null, null));
        }
    }

    /// <summary>One more start, and a start without checkpoints, must find the same.</summary>
    private async Task CheckSameAgainAsync()
    {
        await EndAsync(End.Kill, stopFirst: _random.Next(2) == 0);
        await RestartAsync(mayDieAgain: false);
        await CheckRebuiltAsync(withCheckpoints: false);
    }

    /// <summary>
    /// A start without checkpoints, or with an index that was wiped, finds the same: on a copy, as it would be found if the process died
    /// now.
    /// </summary>
    private async Task CheckRebuiltAsync(bool withCheckpoints)
    {
        var heads = _models.Where(model => !model.IsGone).Select(model => (model, Find(model).Newest)).ToList();
        var rebuilt = await _host.OpenCopyAsync(withCheckpoints, withIndex: !withCheckpoints);
        var told = rebuilt.Recovery.Decisions.Where(
            decision => decision.IsDamage && !(withCheckpoints && decision.Code == "damaged-index")).Select(decision => decision.Message);
        Assert.Equal([], told);
        foreach (var (model, newest) in heads)
        {
            Assert.True(rebuilt.TryGetDisk(model.Id.ToString(), out var disk), $"disk {model.Id} is not there when it is rebuilt");
            Assert.Equal(newest, disk.Newest);
            await model.CheckContentsAsync(disk, _random, () => false, _digest);
        }

        await Audit.RunAsync(rebuilt);
    }
}
