using System.Globalization;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>
/// Bits that flip on the device, wherever they lie: each range reads right or answers EIO, never what it held before.
/// </summary>
public sealed class RotTests(ITestOutputHelper output)
{
    private const int Flips = 200;
    private const int DiskBytes = 48 << 20;
    private const int Passes = 3;
    private const int Range = 4096;
    private const int RangeSectors = Range / SectorModel.Sector;
    private const int SegmentsAt = 8 << 20;
    private const int SegmentBytes = 16 << 20;
    private const int LabelCopyAt = 1 << 20;
    private const int SlotsAt = 2 << 20;
    private const int SlotBytes = 2 << 20;

    /// <summary>Three seeds; with <c>CLOUDFS_ROT_SEEDS=100-150</c> in the environment, those instead.</summary>
    public static TheoryData<int, int> Seeds()
    {
        var range = (Environment.GetEnvironmentVariable("CLOUDFS_ROT_SEEDS") ?? "1-3").Split('-');
        var seeds = new TheoryData<int, int>();
        for (var seed = int.Parse(range[0], CultureInfo.InvariantCulture); seed <= int.Parse(range[^1], CultureInfo.InvariantCulture); seed++)
        {
            seeds.Add(seed, seed % 2 == 0 ? Host.SigKill : Host.SigTerm);
        }

        return seeds;
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task Two_hundred_flipped_bits_give_right_bytes_or_EIO_and_never_older_ones(int seed, int signal)
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(DiskBytes, "rotten");
        var model = WriteSeveralTimes(host, disk, seed);
        if (signal == Host.SigKill)
        {
            host.Kill();
        }
        else
        {
            await host.StopAsync();
        }

        Flip(host.Device, new Random(seed), signal == Host.SigKill);
        var verified = (await host.VerifyAsync()).Ended(1);
        Assert.Contains("problem", verified.Error, StringComparison.Ordinal);

        await host.StartAgainAsync();
        using var peer = NbdPeer.Connect(host.Socket, disk);
        var bad = ReadEachRange(peer, model);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"seed {seed}: {bad.Count} of {model.Sectors / RangeSectors} ranges answer EIO"));
        Assert.True(bad.Count < model.Sectors / RangeSectors / 2, $"{bad.Count} ranges of 4 KiB are gone for {Flips} bits");

        var health = await host.JsonAsync("/healthz");
        Assert.Equal("degraded", health["status"]!.GetValue<string>());
        Assert.NotEmpty(health["reasons"]!.AsArray());
        Assert.All(health["reasons"]!.AsArray(), reason => Assert.NotEmpty(reason!["message"]!.GetValue<string>()));
        var metrics = await host.TextAsync("/metrics");
        if (bad.Count > 0)
        {
            Assert.True(Metric(metrics, "cloudfs_damaged_pages_total") > 0 || Metric(metrics, "cloudfs_disk_damaged_bytes") > 0, metrics);
            Assert.True(Metric(metrics, "cloudfs_disk_damaged_bytes") >= 512, metrics);
        }

        if ((await host.JsonAsync("/disks/rotten"))["writable"]!.GetValue<bool>())
        {
            await Clear(host, peer, model, bad);
        }
        else
        {
            Assert.Contains("read-only", health.ToJsonString(), StringComparison.Ordinal);
            output.WriteLine("the disk is read-only");
        }

        // What is beside it is not concerned.
        var other = await host.NewDiskAsync(1 << 20);
        using var beside = NbdPeer.Connect(host.Socket, other);
        Assert.Equal(0u, beside.Do(NbdPeer.Write, 0, Range, SectorModel.Contents(0, RangeSectors, 1), NbdPeer.Fua));
        var read = new byte[Range];
        Assert.Equal(0u, beside.TryRead(0, read));
        Assert.True(SectorModel.Holds(read.AsSpan(0, 512), 0, 1));
    }

    private static SectorModel WriteSeveralTimes(Host host, string disk, int seed)
    {
        var model = new SectorModel(DiskBytes);
        var random = new Random(seed);
        using var peer = NbdPeer.Connect(host.Socket, disk);
        for (var pass = 0; pass < Passes; pass++)
        {
            for (var first = 0; first < model.Sectors;)
            {
                var count = Math.Min(RangeSectors * random.Next(1, 24), model.Sectors - first);
                var sequence = model.Next();
                var flags = random.Next(50) == 0 ? NbdPeer.Fua : (ushort)0;
                Assert.Equal(0u, peer.Do(
                    NbdPeer.Write, (long)first * SectorModel.Sector, count * SectorModel.Sector,
                    SectorModel.Contents(first, count, sequence), flags));
                model.Set(first, count, sequence);
                first += count;
            }
        }

        return model;
    }

    /// <summary>Flips bits in what is used: labels, checkpoints, commits with their headers, footers, and data.</summary>
    private void Flip(string device, Random random, bool bothCheckpoints)
    {
        using var file = new FileStream(device, FileMode.Open, FileAccess.ReadWrite);
        var used = UsedBytes(file);
        var places = new List<long>
        {
            // One copy of the label; a slot of the checkpoints, or both.
            random.Next(2) == 0 ? random.Next(100) : LabelCopyAt + random.Next(100),
            SlotsAt + random.Next(512),
        };
        if (bothCheckpoints)
        {
            places.Add(SlotsAt + SlotBytes + random.Next(512));
        }

        var frames = Frames(used);
        while (places.Count < 30)
        {
            // Within a commit's record, its trailer, or the header of the entry behind it.
            places.Add(SegmentsAt + frames[random.Next(frames.Count)] + random.Next(1024));
        }

        while (places.Count < 36)
        {
            // Near a segment's end, where its footer is.
            places.Add(SegmentsAt + ((random.Next(used.Length / SegmentBytes) + 1L) * SegmentBytes) - 1 - random.Next(64 << 10));
        }

        while (places.Count < Flips)
        {
            places.Add(SegmentsAt + random.Next(used.Length));
        }

        foreach (var place in places)
        {
            file.Position = place;
            var value = (byte)file.ReadByte();
            file.Position = place;
            file.WriteByte((byte)(value ^ (1 << random.Next(8))));
        }

        output.WriteLine($"{places.Count} bits flipped within {used.Length >> 20} MiB of segments, {frames.Count} frames of commits");
    }

    private static byte[] UsedBytes(FileStream file)
    {
        var used = new List<byte[]>();
        var segment = new byte[SegmentBytes];
        file.Position = SegmentsAt;
        while (file.ReadAtLeast(segment, SegmentBytes, throwOnEndOfStream: false) == SegmentBytes && segment.AsSpan().ContainsAnyExcept((byte)0))
        {
            used.Add([.. segment]);
        }

        return [.. used.SelectMany(bytes => bytes)];
    }

    private static List<int> Frames(byte[] used)
    {
        var frames = new List<int>();
        for (var at = 0; at < used.Length; at += 512)
        {
            if (used.AsSpan(at, 4).SequenceEqual("CFSC"u8) || used.AsSpan(at, 4).SequenceEqual("CFST"u8))
            {
                frames.Add(at);
            }
        }

        return frames;
    }

    private static List<int> ReadEachRange(NbdPeer peer, SectorModel model)
    {
        var bad = new List<int>();
        var read = new byte[Range];
        for (var first = 0; first < model.Sectors; first += RangeSectors)
        {
            var error = peer.TryRead((long)first * SectorModel.Sector, read);
            if (error == NbdPeer.Eio)
            {
                bad.Add(first);
                continue;
            }

            Assert.Equal(0u, error);
            Assert.Null(model.Complaint(read, first));
        }

        return bad;
    }

    /// <summary>Every other bad range is overwritten, the rest trimmed: they are good again, and nobody talks of them any more.</summary>
    private static async Task Clear(Host host, NbdPeer peer, SectorModel model, List<int> bad)
    {
        foreach (var (first, index) in bad.Select((first, index) => (first, index)))
        {
            var sequence = index % 2 == 0 ? model.Next() : 0;
            Assert.Equal(0u, sequence > 0
                ? peer.Do(NbdPeer.Write, (long)first * SectorModel.Sector, Range, SectorModel.Contents(first, RangeSectors, sequence))
                : peer.Do(NbdPeer.Trim, (long)first * SectorModel.Sector, Range));
            model.Set(first, RangeSectors, sequence);
        }

        Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        Assert.Empty(ReadEachRange(peer, model));
        Assert.DoesNotContain("damaged-range", await host.TextAsync("/healthz"), StringComparison.Ordinal);
        Assert.Equal(0, Metric(await host.TextAsync("/metrics"), "cloudfs_disk_damaged_bytes"));

        await host.StopAsync();
        await host.StartAgainAsync();
        using var again = NbdPeer.Connect(host.Socket, "rotten");
        Assert.Empty(ReadEachRange(again, model));
    }

    private static double Metric(string metrics, string name) =>
        metrics.Split('\n')
            .Where(line => line.StartsWith(name, StringComparison.Ordinal) && line[name.Length] is ' ' or '{')
            .Sum(line => double.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture));
}
