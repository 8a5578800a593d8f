using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

public sealed class BitFlipTests
{
    private const int SectorBytes = 512;
    private const int DiskBytes = 2 << 20;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public void After_bits_flipped_anywhere_each_sector_is_right_or_an_error_until_it_is_overwritten() =>
        Seeds.Run(0, 40, 5, seed => Simulation.Run(seed, async simulation =>
        {
            var random = new Random(seed);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(EngineHarness.DeviceBytes));
            await host.OpenAsync();
            var disk = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            var model = new DiskModel(disk.Id, disk.Newest, DiskBytes);
            for (var i = 0; i < 60; i++)
            {
                var offset = random.Next(DiskBytes / SectorBytes) * SectorBytes;
                var data = new byte[Math.Min(DiskBytes - offset, (random.Next(200) + 1) * SectorBytes)];
                random.NextBytes(data);
                model.Write(offset, data.Length, data);
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, data, random.Next(4) == 0, None));
            }

            await host.EndAsync(End.Kill, stopFirst: random.Next(2) == 0);
            var chunks = host.Device.WrittenChunks();
            var labels = new bool[2];
            for (var flips = random.Next(1, 201); flips > 0; flips--)
            {
                var at = chunks[random.Next(chunks.Count)] + (ulong)random.Next(SparseBytes.ChunkBytes);
                host.Device.FlipBit(at, random.Next(8));
                labels[0] |= at - DeviceGeometry.LabelOffset(0) < DeviceGeometry.LabelBytes;
                labels[1] |= at - DeviceGeometry.LabelOffset(1) < DeviceGeometry.LabelBytes;
            }

            try
            {
                await host.OpenAsync();
            }
            catch (DeviceRefusedException) when (labels[0] && labels[1])
            {
                // Nothing can be told of a device without a label: that it is refused is right.
                return;
            }

            if (!host.Engine.TryGetDisk(disk.Id.ToString(), out var found))
            {
                Assert.Equal("degraded", host.Engine.GetHealth().Status);
                return;
            }

            var bad = await AssertRightOrDamagedAsync(found, model);
            Assert.True(bad == 0 || host.Engine.GetHealth().Status == "degraded");
            if (!found.IsReadOnly)
            {
                Assert.Equal(IoStatus.Ok, await found.ZeroAsync(0, DiskBytes, true, None));
                Assert.Equal(IoStatus.Ok, await found.ReadAsync(0, new byte[DiskBytes], None));
                Assert.Equal(0UL, found.GetStatus().DamagedBytes);
            }
        }));

    private static async Task<int> AssertRightOrDamagedAsync(Disk disk, DiskModel model)
    {
        var bad = 0;
        var sector = new byte[SectorBytes];
        for (var at = 0; at < DiskBytes; at += SectorBytes)
        {
            var status = await disk.ReadAsync((ulong)at, sector, None);
            Assert.True(
                status == IoStatus.Damaged
                    || (status == IoStatus.Ok && sector.AsSpan().SequenceEqual(model.Contents.Slice(at, SectorBytes))),
                $"sector {at / SectorBytes}: {status}, and other contents");
            bad += status == IoStatus.Damaged ? 1 : 0;
        }

        return bad;
    }
}
