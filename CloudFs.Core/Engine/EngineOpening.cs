using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using CloudFs.Core.Replication;
using CloudFs.Core.Scrub;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Engine;

/// <summary>
/// Opens an engine: label, recovery, log, replay of what a process that died left in its write buffer, first upkeep. Until
/// the last step nobody else sees the engine.
/// </summary>
internal static class EngineOpening
{
    public static async Task<StorageEngine> OpenAsync(EngineSettings settings, EngineRuntime runtime)
    {
        try
        {
            return await OpenOwnedAsync(settings.Over(new FailStopDevice(settings.Device)), runtime);
        }
        catch
        {
            settings.Device.Dispose();
            throw;
        }
    }

    private static async Task<StorageEngine> OpenOwnedAsync(EngineSettings settings, EngineRuntime runtime)
    {
        if (!BitConverter.IsLittleEndian)
        {
            throw new DeviceRefusedException("this machine is big-endian, which CloudFS does not run on");
        }

        var report = new RecoveryReport();
        var label = await DeviceFormat.OpenAsync(settings, runtime, report);
        var region = settings.OpenBuffer?.Invoke(label.DeviceId);
        var matches = false;
        var found = region is null
            ? WriteBuffer.InMemory()
            : WriteBuffer.Attach(region.Region, label.DeviceId, settings.Boot, out matches);

        var checkpoints = new CheckpointStore(settings.Device, label.DeviceId);
        var pages = new PageCache(settings.IndexCacheBytes);
        var bad = new BadPlaces(settings.Device, label.DeviceId, runtime.Report);
        await bad.LoadAsync(label.SegmentCount, message => report.AddDamage("damaged-bad-list", message));
        var recovered = await new Recoverer(settings.Device, label, checkpoints, bad, pages, report)
            { Planted = runtime.Planted }
            .RecoverAsync(matches ? found.Written : LogPosition.None, settings.RebuildIndex);
        var items = matches ? BufferReplay.Collect(found, recovered.End, report) : [];

        // Until all of it is durable again, what was found stays where it is: a second death must find it too.
        var buffer = items.Count > 0 ? WriteBuffer.InMemory(found.Slots) : found;
        recovered.Segments.Planted = runtime.Planted;
        var services = Compose(settings, runtime, label, recovered, bad, buffer);
        foreach (var (id, state) in recovered.Disks)
        {
            services.Disks.Add(id, new Disk(services, state));
        }

        var checkpointer = new Checkpointer(settings.Device, services, recovered.IndexSpace, checkpoints);
        var compactor = new Compactor(settings.Device, services, checkpointer, label.PhysicalBlock, settings.HistoryMin);
        var housekeeper = new Housekeeper(settings.Device, services, checkpointer, compactor);
        services.Log.Upkeep = housekeeper.Wake;
        services.Checkpoint = () => checkpointer.WriteAsync();
        var scrubber = new Scrubber(
            new ScrubSources
            {
                Device = settings.Device,
                Label = label,
                Services = services,
                Index = new IndexScrub(services, recovered.IndexSpace).CheckAsync,
                Checkpoint = () => checkpointer.WriteAsync(),
            },
            settings.ScrubRate, settings.ScrubInterval);
        var upkeep = new EngineUpkeep(housekeeper, checkpointer, compactor, checkpoints, recovered.IndexSpace, pages);
        var engine = new StorageEngine(settings.Device, label, services, upkeep, scrubber, region, report,
            new ReplicationHub(services, settings.Dialer, settings.Lease));
        var asNamed = await housekeeper.PrepareFirstAsync(recovered.End.NextSegment);
        var logLoop = runtime.Spawn(services.Log.RunAsync);
        engine.Start(logLoop, Task.CompletedTask);
        if (!asNamed || recovered.IsRebuilt || !checkpoints.IsPaired || report.Decisions.Any(decision => decision.IsDamage))
        {
            // The log's end must name the segment that follows; a damaged checkpoint is best replaced at once; and of two that
            // differ the older one would hold on to what the newer has given up.
            await WriteFirstAsync(checkpointer, services);
        }

        // What is replayed may fill segments, and somebody must prepare the next.
        engine.Start(logLoop, runtime.Spawn(housekeeper.RunAsync));
        if (items.Count > 0)
        {
            await ReplayAsync(items, services, report);
        }

        services.Log.ChangeBuffer(found);
        await engine.Replication.StartAsync();
        engine.StartScrub(runtime.Spawn(scrubber.RunAsync));
        Tell(runtime, report);
        return engine;
    }

    /// <summary>
    /// Without this checkpoint, what the log goes on in might not be found: where the device refuses its place it is tried
    /// again, and after too many times the log takes nothing, which the engine then says. Reads go on.
    /// </summary>
    private static async Task WriteFirstAsync(Checkpointer checkpointer, DiskServices services)
    {
        do
        {
            try
            {
                await checkpointer.WriteAsync();
            }
            catch (DeviceException e) when (checkpointer.WasRefused)
            {
                services.Log.Fail(e);
            }
        }
        while (checkpointer.WasRefused && services.Log.Failure is null);
    }

    private static DiskServices Compose(
        EngineSettings settings, EngineRuntime runtime, DeviceLabel label, Recovered recovered, BadPlaces bad, WriteBuffer buffer)
    {
        var log = new LogWriter(
            settings.Device, recovered.Segments, bad, buffer, label.DeviceId, label.PhysicalBlock, recovered.End, runtime);
        var reader = new LogReader(settings.Device, recovered.Segments, log, () => log.Buffer, label.DeviceId);
        return new DiskServices
        {
            HostId = label.HostId,
            DeviceId = label.DeviceId,
            Runtime = runtime,
            Segments = recovered.Segments,
            Bad = bad,
            Log = log,
            Reader = reader,
            Pages = new PageReader(reader, settings.ReadCacheBytes > 0 ? new ReadCache(settings.ReadCacheBytes) : null),
            Walker = new SegmentWalker(settings.Device, recovered.Segments, label.DeviceId),
            Rewriter = new PageRewriter(settings.Device, recovered.Segments, log, label.PhysicalBlock),
            Clock = new ChainClock(runtime),
            Tree = recovered.Tree,
            Remembered = recovered.Remembered,
            Heat = new HeatMap(settings.Device.Length),
        };
    }

    /// <summary>Appends, byte for byte, entries that were sealed before the restart and are still held whole (PROTOCOL.md, 8).</summary>
    private static async Task ReplayAsync(
        IReadOnlyList<ReadOnlyMemory<byte>> items, DiskServices services, RecoveryReport report)
    {
        DeviceRecord? secret = null;
        foreach (var item in items)
        {
            if (DeviceRecord.TryRead(item.Span, out var record) == LayoutFault.None)
            {
                if (record.Type == DeviceRecordType.ViewSecret)
                {
                    secret = record;
                }
                else if (await services.Remembered.WriteAsync(services, record) != IoStatus.Ok)
                {
                    report.AddDamage("buffer-lost", $"disk {record.Disk}: a {record.Type} could not be written again");
                }
                else if (record.Type is DeviceRecordType.CopyBegin or DeviceRecordType.CopyEnd)
                {
                    services.Disks.ById(record.Disk)?.SetCopying(
                    services.Remembered.Of(record.Disk).IsCopying, record.Type == DeviceRecordType.CopyEnd ? record.Lsn : 0);
                }
                else if (record.Type == DeviceRecordType.CopyLost)
                {
                    services.Disks.ById(record.Disk)?.NoteCopyLost(new LostRun(record.Lba, record.Sectors, record.Lsn));
                }

                continue;
            }

            if (!EntryHeaderCodec.TryReadLengths(item.Span, out var headerLength, out _, out _)
                || !EntryHeaderCodec.TryRead(item.Span[..headerLength], out var fields, out _)
                || !EntryBody.VerifyPages(item.Span[..headerLength], fields, item.Span[headerLength..], out _, out _)
                || !EntryBodyParsed.TryParse(fields.Kind, item.Span[headerLength..], out var body, out _))
            {
                report.AddDamage("buffer-damaged", "an entry in the write buffer is damaged: replayed up to there");
                break;
            }

            var disk = services.Disks.ById(fields.Disk);
            var head = disk?.Locked(state => state.Head) ?? default;
            if (fields.Lsn <= head.Lsn)
            {
                continue;
            }

            var isCopying = services.Remembered.Of(fields.Disk).IsCopying;
            var error = isCopying && fields.Lsn != head.Lsn + 1 ? ChainError.None : ChainRules.Check(head, fields, body);
            if (error != ChainError.None)
            {
                report.AddDamage(
                    "buffer-mismatch", $"disk {fields.Disk}: LSN {fields.Lsn} of the write buffer does not fit: {error.Text()}");
                continue;
            }

            var target = disk ?? new Disk(services, new DiskState(services.Segments) { IsCopying = isCopying });
            var own = body?.View is { } view && secret?.View == view.View ? secret : null;
            var outcome = await target.AppendWhenRoomAsync(
                () => isCopying ? target.Appender.TryAppendCopied(item.Span, fields, body, default, isReplay: true)
                    : target.Appender.TryAppendRaw(item.Span, fields, body, head.Id, own, isReplay: true), CancellationToken.None);
            if (outcome.Status != IoStatus.Ok)
            {
                report.AddDamage("buffer-lost", $"disk {fields.Disk}: LSN {fields.Lsn} could not be appended again: {outcome.Status}");
                break;
            }

            report.EntriesReplayed++;
        }

        if (await services.Log.FlushAsync() != IoStatus.Ok)
        {
            // The buffer keeps them: the next start will try again.
            throw new DeviceException("what a process that died had acknowledged could not be written", services.Log.Failure);
        }

        report.Add("replayed", $"{report.EntriesReplayed} entries that a process which died had acknowledged were appended again");
    }

    private static void Tell(EngineRuntime runtime, RecoveryReport report)
    {
        foreach (var decision in report.Decisions)
        {
            runtime.Report(new EngineEvent(
                decision.IsDamage ? EventLevel.Error : EventLevel.Info, decision.Code, decision.Message));
        }
    }
}
