using System.Text;
using System.Text.Json.Nodes;
using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// What is left of a history and then the stream gives the disk's contents: from nothing, from a late copy, while the
/// history gets shorter, and with damage, which is told and never taken for data.
/// </summary>
public sealed class StateStreamTests
{
    private const int DiskBytes = 8 << 20;
    private const int Piece = 256 << 10;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_state_and_the_stream_behind_it_are_the_disk(int seed) =>
        Simulation.Run(seed, async simulation =>
        {
            using var world = await World.StartAsync(simulation, seed);
            await world.WriteAsync(world.Quiet, 0, 3 * Piece);
            var late = await world.ReplayAsync(world.Quiet, null, new byte[DiskBytes]);
            var point = world.Quiet.Durable;
            Assert.Equal(1UL, late.From);
            Assert.Empty(late.Survivors);

            await world.Quiet.ZeroAsync(Piece, Piece, true, None);
            await world.WriteAsync(world.Quiet, 2 * Piece, 4096);
            await world.ForgetHistoryAsync();
            await world.WriteAsync(world.Quiet, 5 * Piece, 4096);
            var gone = await Assert.ThrowsAsync<RefusalException>(async () =>
                await world.Quiet.OpenStreamAsync(StreamPoint.After(point.Lsn), None));
            Assert.Equal(Refusal.Gone, gone.Reason);

            var whole = await world.ReplayAsync(world.Quiet, null, new byte[DiskBytes]);
            Assert.NotEmpty(whole.Survivors);
            Assert.Equal(whole.Survivors.Order(), whole.Survivors);
            Assert.True(whole.Survivors[^1] < whole.From, "what is left comes before the stream");
            await world.AssertIsAsync(world.Quiet, whole.Contents);

            var caughtUp = await world.ReplayAsync(world.Quiet, point, late.Contents);
            Assert.True(caughtUp.Survivors[0] > point.Lsn);
            await world.AssertIsAsync(world.Quiet, caughtUp.Contents);

            var busy = await world.ReplayAsync(world.Busy, null, new byte[DiskBytes]);
            await world.AssertIsAsync(world.Busy, busy.Contents);
        });

    [Fact]
    public void What_is_superseded_and_forgotten_while_it_is_read_is_found_in_the_stream() =>
        Simulation.Run(3, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 3);
            for (var at = 0; at < 16; at++)
            {
                await world.WriteAsync(world.Quiet, at * Piece, 4096);
            }

            await world.ForgetHistoryAsync();
            var state = await world.Quiet.OpenStateAsync(null, None);
            var reader = new Reader(new byte[DiskBytes]);
            Assert.True(await state.MoveNextAsync(false, None));
            reader.Take(state.Current.Span);

            // Much of what was looked up already is superseded, what superseded it leaves the history as well.
            for (var at = 0; at < 16; at += 2)
            {
                await world.WriteAsync(world.Quiet, at * Piece, 8192);
            }

            var before = world.Oldest;
            await world.ForgetHistoryAsync();
            Assert.True(world.Oldest > before);
            await world.WriteAsync(world.Quiet, 12345 * 512, 512);
            await reader.TakeAllAsync(state);
            Assert.True(reader.From > before);
            await world.AssertIsAsync(world.Quiet, reader.Contents);
        });

    [Fact]
    public void A_waiting_reader_gets_what_is_written_next() =>
        Simulation.Run(4, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 4);
            var state = await world.Quiet.OpenStateAsync(world.Quiet.Durable, None);
            for (var reader = new Reader([]); reader.State is null;)
            {
                Assert.True(await state.MoveNextAsync(true, None));
                Assert.True(StateItem.Is(state.Current.Span));
                reader.Take(state.Current.Span);
            }

            var next = state.MoveNextAsync(true, None).AsTask();
            Assert.False(next.IsCompleted);
            await world.WriteAsync(world.Quiet, 0, 512);
            Assert.True(await next);
            Assert.False(StateItem.Is(state.Current.Span));
        });

    [Fact]
    public void A_point_on_another_chain_is_refused_where_that_is_known() =>
        Simulation.Run(5, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 5);
            await world.WriteAsync(world.Quiet, 0, 4096);
            var kept = world.Quiet.Durable;
            await world.WriteAsync(world.Quiet, 8192, 4096);
            await world.WriteAsync(world.Quiet, 8192, 4096);
            await world.ForgetHistoryAsync();
            var unknown = world.Oldest - 2;
            await world.WriteAsync(world.Quiet, 16384, 4096);
            await world.WriteAsync(world.Quiet, 16384, 4096);
            var durable = world.Quiet.Durable;
            var foreign = Id160.Parse("da39a3ee5e6b4b0d3255bfef95601890afd80709");
            foreach (var good in (DiskVersion[])[default, new(1, world.Quiet.Id), kept, durable])
            {
                await world.Quiet.OpenStateAsync(good, None);
            }

            foreach (var lsn in (ulong[])[0, 1, kept.Lsn, durable.Lsn - 1, durable.Lsn])
            {
                Assert.Equal(Refusal.Conflict, await RefusalOfAsync(world.Quiet, new DiskVersion(lsn, foreign)));
            }

            // Nobody here can tell what stood there: it is taken on the word of the one who asks.
            await world.Quiet.OpenStateAsync(new DiskVersion(unknown, foreign), None);
            Assert.Equal(
                Refusal.BeyondHead, await RefusalOfAsync(world.Quiet, new DiskVersion(durable.Lsn + 1, foreign)));
        });

    [Fact]
    public void A_deleted_disk_tells_its_end() =>
        Simulation.Run(6, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 6);
            await world.WriteAsync(world.Quiet, 0, 4096);
            await world.ForgetHistoryAsync();
            await world.Quiet.DeleteAsync(None);
            var reader = new Reader(new byte[DiskBytes]);
            var state = await world.Quiet.OpenStateAsync(null, None);
            while (await state.MoveNextAsync(true, None))
            {
                reader.Take(state.Current.Span);
            }

            Assert.True(reader.State!["disk"]!["deleted"]!.GetValue<bool>());
        });

    [Fact]
    public void The_last_item_restates_version_view_and_attributes() =>
        Simulation.Run(7, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 7);
            await world.ForgetHistoryAsync();
            await world.Host.Engine.RenameDiskAsync(world.Quiet, "calm", None);
            await world.WriteAsync(world.Quiet, 0, 4096);
            var reader = await world.ReplayAsync(world.Quiet, null, new byte[DiskBytes]);
            var status = world.Quiet.GetStatus();
            var state = reader.State!;
            Assert.Equal(status.Newest.Lsn, state["lsn"]!.GetValue<ulong>());
            Assert.Equal(status.Newest.Id.ToString(), state["version"]!.GetValue<string>());
            Assert.Equal(status.View.ToString(), state["view"]!.GetValue<string>());
            Assert.Equal(status.Epoch, state["epoch"]!.GetValue<ulong>());
            Assert.Equal(status.TimeMicros, state["time"]!.GetValue<ulong>());
            Assert.Equal(("calm", (ulong)DiskBytes), (
                state["disk"]!["name"]!.GetValue<string>(), state["disk"]!["size"]!.GetValue<ulong>()));
            Assert.Equal(status.Newest.Lsn, reader.Last);
        });

    [Fact]
    public void Many_views_and_lost_runs_take_several_items()
    {
        var head = SampleHead();
        var views = Enumerable.Range(1, 2500)
            .Select(i => new ViewMark(new Ballot((ulong)i, head.Disk), (ulong)i * 10, head.Id, head.Id)).ToArray();
        var lost = Enumerable.Range(0, 1025).Select(i => new LostRun((ulong)i * 100, 8, 0)).ToArray();
        var reader = new Reader([]);
        foreach (var item in StateItem.Of(head, 30_000, views, lost))
        {
            Assert.Null(reader.State);
            Assert.True(StateItem.Is(item));
            Assert.False(EntryHeaderCodec.TryRead(item.AsSpan(0, 512), out _, out _));
            reader.Take(item);
        }

        Assert.Equal(views.Select(view => view.Lsn), reader.Views);
        Assert.Equal(lost.Select(run => run.Lba), reader.Lost);
        Assert.Equal(30_000UL, reader.From);
    }

    [Fact]
    public void A_rotten_page_is_left_out_and_told_and_the_rest_comes() =>
        Simulation.Run(8, async simulation =>
        {
            using var world = await World.StartAsync(simulation, 8);
            await world.WriteAsync(world.Quiet, 0, 4 * 4096);
            var marked = new byte[4096];
            Assert.Equal(IoStatus.Ok, await world.Quiet.ReadAsync(8192, marked, None));
            await world.ForgetHistoryAsync();
            world.Rot(marked);
            var reader = await world.ReplayAsync(world.Quiet, null, new byte[DiskBytes]);
            Assert.Equal([16UL], reader.Dropped);
            var good = new byte[8192];
            Assert.Equal(IoStatus.Ok, await world.Quiet.ReadAsync(0, good, None));
            Assert.Equal(good, reader.Contents[..8192]);
            Assert.Equal(IoStatus.Damaged, await world.Quiet.ReadAsync(8192, marked, None));
        });

    private static ChainHead SampleHead()
    {
        var id = Id160.Parse("da39a3ee5e6b4b0d3255bfef95601890afd80709");
        var view = new ViewBody { View = id, Epoch = 7, Primary = id, Replicas = [new Replica(id, id)] };
        return new ChainHead
        {
            Disk = id,
            Lsn = 40_000,
            Id = id,
            Lock = id,
            View = new ChainView(view, 25_000, id, id),
            Attributes = DiskAttributes.Empty.Merge(AttributesBody.Empty.WithSize(512)),
        };
    }

    private static async Task<Refusal> RefusalOfAsync(Disk disk, DiskVersion point) =>
        (await Assert.ThrowsAsync<RefusalException>(async () => await disk.OpenStateAsync(point, None))).Reason;

    /// <summary>Two disks on a device that is so small that the busy one soon drives the other's history out.</summary>
    private sealed class World : IDisposable
    {
        private readonly Random _random;

        private World(SimulatedHost host, Random random)
        {
            Host = host;
            _random = random;
        }

        public SimulatedHost Host { get; }

        public Disk Quiet { get; private set; } = null!;

        public Disk Busy { get; private set; } = null!;

        public static async Task<World> StartAsync(Simulation simulation, int seed)
        {
            var random = new Random(seed);
            var world = new World(new SimulatedHost(simulation, random, new MemoryDevice(160UL << 20)), random);
            await world.Host.OpenAsync();
            world.Quiet = await world.Host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            world.Busy = await world.Host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            return world;
        }

        public async Task WriteAsync(Disk disk, int offset, int length)
        {
            var data = new byte[length];
            _random.NextBytes(data);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, data, true, None));
        }

        /// <summary>
        /// Cuts the quiet disk's history behind all that it holds now: one of its later segments dies, and is used again.
        /// What its present version reads stays where it is.
        /// </summary>
        public async Task ForgetHistoryAsync()
        {
            await FillSegmentAsync();
            await ScratchAsync();
            await ScratchAsync();
            var doomed = Quiet.Durable.Lsn;
            await FillSegmentAsync();
            await ScratchAsync();
            for (var i = 0; i < 40 && Oldest <= doomed; i++)
            {
                await FillSegmentAsync();
            }

            Assert.True(Oldest > doomed, "what it held then is still within the history");
        }

        public ulong Oldest => Quiet.GetStatus().OldestLsn;

        private Task ScratchAsync() => WriteAsync(Quiet, DiskBytes - 4096, 4096);

        private async Task FillSegmentAsync()
        {
            for (var i = 0; i < 17; i++)
            {
                await WriteAsync(Busy, i % 8 << 20, 1 << 20);
            }
        }

        public async Task<Reader> ReplayAsync(Disk disk, DiskVersion? point, byte[] contents)
        {
            var reader = new Reader(contents);
            await reader.TakeAllAsync(await disk.OpenStateAsync(point, None));
            return reader;
        }

        public async Task AssertIsAsync(Disk disk, byte[] contents)
        {
            var read = new byte[DiskBytes];
            Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, read, None));
            Assert.True(read.AsSpan().SequenceEqual(contents), "what was replayed is not what the disk holds");
        }

        /// <summary>Flips a bit of what was written, wherever it lies on the device.</summary>
        public void Rot(byte[] bytes)
        {
            var device = Host.Device.Peek(0, (int)Host.Device.Length);
            var at = device.AsSpan().IndexOf(bytes);
            Assert.True(at > 0);
            Host.Device.FlipBit((ulong)at + 7, 3);
        }

        public void Dispose() => Host.Dispose();
    }

    /// <summary>Reads a state as the page on the protocol tells it.</summary>
    private sealed class Reader(byte[] contents)
    {
        public byte[] Contents { get; } = contents;

        public List<ulong> Survivors { get; } = [];

        public List<ulong> Views { get; } = [];

        public List<ulong> Lost { get; } = [];

        public List<ulong> Dropped { get; } = [];

        public JsonNode? State { get; private set; }

        public ulong From { get; private set; }

        public ulong Last { get; private set; }

        public async Task TakeAllAsync(StateStream state)
        {
            while (await state.MoveNextAsync(false, None))
            {
                Take(state.Current.Span);
            }

            Assert.NotNull(State);
            Assert.True(Last >= State["lsn"]!.GetValue<ulong>(), "it ends behind the version that it is whole from");
        }

        public void Take(ReadOnlySpan<byte> bytes)
        {
            Assert.True(EntryHeaderCodec.TryReadLengths(bytes, out var length, out var bodyLength, out _));
            Assert.Equal(bytes.Length, length + bodyLength);
            var header = bytes[..length];
            var body = bytes[length..];
            if (StateItem.Is(header))
            {
                TakeItem(body);
                return;
            }

            Assert.True(EntryHeaderCodec.TryRead(header, out var fields, out var error), error.ToString());
            Assert.True(EntryBody.VerifyPages(header, fields, body, out error, out _), error.ToString());
            if (State is null)
            {
                Assert.True(fields.Lsn > Last);
                Survivors.Add(fields.Lsn);
            }
            else
            {
                Assert.Equal(Last + 1, fields.Lsn);
            }

            Last = fields.Lsn;
            Apply(header, fields, body);
        }

        private void TakeItem(ReadOnlySpan<byte> body)
        {
            Assert.Null(State);
            var json = JsonNode.Parse(Encoding.UTF8.GetString(body))!;
            Views.AddRange((json["views"] as JsonArray ?? []).Select(view => view!["lsn"]!.GetValue<ulong>()));
            Lost.AddRange((json["lost"] as JsonArray ?? []).Select(run => run!["lba"]!.GetValue<ulong>()));
            if (json["more"] is null)
            {
                State = json;
                From = json["from"]!.GetValue<ulong>();
                Last = From - 1;
            }
        }

        private void Apply(ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body)
        {
            for (var i = 0; i < fields.ExtentCount; i++)
            {
                var extent = EntryHeaderCodec.ReadExtent(header, i);
                Contents.AsSpan((int)extent.Lba * 512, (int)extent.Sectors * 512).Clear();
                foreach (var page in EntryPages.Of(header, fields))
                {
                    if (page.Extent != i)
                    {
                        continue;
                    }

                    if (!page.IsPresent)
                    {
                        Dropped.Add(page.Lba);
                        continue;
                    }

                    body.Slice(page.BodyOffset, page.Record.Length).CopyTo(Contents.AsSpan((int)page.Lba * 512));
                }
            }
        }
    }
}
