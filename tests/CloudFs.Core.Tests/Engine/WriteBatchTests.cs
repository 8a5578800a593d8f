using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Writes that share an entry hold what each of them wrote, in order, and are one version.</summary>
public sealed class WriteBatchTests
{
    private const int SectorBytes = 512;
    private const int PageBytes = 4096;
    private const int DiskBytes = 1 << 20;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task As_many_as_fit_the_shortest_header_share_an_entry()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes));
        var disk = await engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
        var data = Bytes(1, 32 * PageBytes);
        var batch = new WriteBatch();

        // Seven pages with gaps between: 160 + 7 * (16 + 32) = 496 bytes.
        var taken = Enumerable.Range(0, 32).TakeWhile(i => batch.TryAdd(data, (ulong)(3 * i * PageBytes), i * PageBytes, PageBytes));
        Assert.Equal(7, taken.Count());
        var before = disk.Newest.Lsn;
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(batch, false, None));
        Assert.Equal(before + 1, disk.Newest.Lsn);
        batch.Clear();

        // Pages that adjoin share an extent, too: ten of them.
        taken = Enumerable.Range(0, 32).TakeWhile(i => batch.TryAdd(data, (ulong)(i * PageBytes), i * PageBytes, PageBytes));
        Assert.Equal(10, taken.Count());
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(batch, true, None));
        Assert.Equal((before + 2, before + 2), (disk.Newest.Lsn, disk.Durable.Lsn));
        var read = new byte[10 * PageBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, read, None));
        Assert.True(read.AsSpan().SequenceEqual(data.AsSpan(0, read.Length)));
    }

    [Fact]
    public async Task What_can_not_share_is_refused_and_leaves_the_batch_as_it_was()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes));
        var disk = await engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
        var data = Bytes(2, WriteBatch.LongestWrite + SectorBytes);
        var batch = new WriteBatch();
        Assert.False(batch.TryAdd(data, 0, 0, 0));
        Assert.False(batch.TryAdd(data, 1, 0, SectorBytes));
        Assert.False(batch.TryAdd(data, 0, 0, SectorBytes - 1));
        Assert.False(batch.TryAdd(data, 0, 0, WriteBatch.LongestWrite + SectorBytes));
        Assert.True(batch.IsEmpty);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(batch, true, None));

        Assert.True(batch.TryAdd(data, 2 * PageBytes, 0, PageBytes));
        Assert.False(batch.TryAdd(data, (2 * PageBytes) + SectorBytes, 0, SectorBytes));
        Assert.False(batch.TryAdd(data, 0, 0, (2 * PageBytes) + SectorBytes));
        Assert.False(batch.TryAdd(data, 8 * PageBytes, 0, 16 * PageBytes));
        Assert.True(batch.TryAdd(data, 3 * PageBytes, PageBytes, SectorBytes));
        Assert.Equal((2, PageBytes + SectorBytes), (batch.Writes.Count, batch.Bytes));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(batch, false, None));
        var read = new byte[PageBytes + SectorBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(2 * PageBytes, read, None));
        Assert.True(read.AsSpan().SequenceEqual(data.AsSpan(0, read.Length)));

        batch.Clear();
        Assert.True(batch.TryAdd(data, DiskBytes - PageBytes, 0, PageBytes));
        Assert.True(batch.TryAdd(data, DiskBytes, 0, PageBytes));
        Assert.Equal(IoStatus.OutOfRange, await disk.WriteAsync(batch, false, None));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Whatever_shares_an_entry_reads_as_though_each_had_been_written_alone(int seed)
    {
        var random = new Random(seed);
        var model = new byte[DiskBytes];
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var cache = seed == 2 ? 1L << 20 : 0;
        await using (var engine = await EngineHarness.OpenAsync(device, readCache: cache))
        {
            var disk = await engine.CreateDiskAsync(new DiskSpec(DiskBytes, "one"), None);
            var batch = new WriteBatch();
            for (var round = 0; round < 300; round++)
            {
                AddSome(batch, random);
                foreach (var (offset, start, length) in batch.Writes)
                {
                    batch.Data.Slice(start, length).CopyTo(model.AsMemory((int)offset));
                }

                Assert.Equal(IoStatus.Ok, await disk.WriteAsync(batch, random.Next(8) == 0, None));
                batch.Clear();
                await AssertIsAsync(disk, random, model);
            }
        }

        await using var again = await EngineHarness.OpenAsync(device, readCache: cache);
        for (var i = 0; i < 50; i++)
        {
            await AssertIsAsync(again.FindDisk("one"), random, model);
        }
    }

    private static void AddSome(WriteBatch batch, Random random)
    {
        var data = Bytes(random.Next(), 128 << 10);
        data.AsSpan(random.Next(64 << 10), random.Next(32 << 10)).Clear();
        for (var i = random.Next(1, 20); i > 0; i--)
        {
            var sectors = random.Next(4) == 0 ? random.Next(1, 65) : random.Next(2) == 0 ? 8 : random.Next(1, 9);
            var lba = random.Next((DiskBytes / SectorBytes) - sectors);
            lba = random.Next(2) == 0 ? lba & ~(EntryLayout.PageSectors - 1) : lba;
            var start = random.Next((data.Length / SectorBytes) - sectors) * SectorBytes;
            batch.TryAdd(data, (ulong)lba * SectorBytes, start, sectors * SectorBytes);
        }
    }

    private static async Task AssertIsAsync(Disk disk, Random random, byte[] model)
    {
        var from = random.Next(DiskBytes / SectorBytes) * SectorBytes;
        var read = new byte[Math.Min(DiskBytes - from, random.Next(1, 200) * SectorBytes)];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)from, read, None));
        Assert.True(read.AsSpan().SequenceEqual(model.AsSpan(from, read.Length)));
    }

    private static byte[] Bytes(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
