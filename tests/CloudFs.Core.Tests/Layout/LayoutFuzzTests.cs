using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Format;
using FsCheck;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// Whatever the bytes, the decoders of single structures answer with a fault or a value, and accept nothing of another device
/// or place. The corpus is the golden files and what once failed (fuzz-*.bin); the mutations are the same in every run.
/// Half of them have their checks computed anew, so that they come further than a checksum.
/// </summary>
public sealed class LayoutFuzzTests
{
    private const int Rounds = 3000;

    private static readonly string CorpusFolder = Path.Combine(TestTree.Root, "tests", "golden", "device-layout");

    [Fact]
    public void Every_decoder_answers_to_everything_in_the_corpus()
    {
        foreach (var path in Directory.GetFiles(CorpusFolder, "*.bin"))
        {
            DecodeAll(File.ReadAllBytes(path));
        }

        DecodeAll([]);
    }

    [Theory]
    [InlineData("label-0", DeviceLabelLayout.Check, DeviceLabelLayout.Size)]
    [InlineData("device-record", DeviceRecordLayout.Check, DeviceRecordLayout.Size)]
    [InlineData("commit", CommitFrameLayout.Check, CommitFrameLayout.RecordBytes)]
    [InlineData("footer", SegmentFooterLayout.Check, SegmentFooterLayout.Size)]
    [InlineData("checkpoint-root", CheckpointRootLayout.Check, CheckpointRootLayout.Size)]
    [InlineData("checkpoint-page", CheckpointPageLayout.Check, CheckpointPageLayout.Size)]
    public void Any_mutation_is_answered(string name, int check, int size)
    {
        var golden = GoldenLayout.Read(name);
        golden = name == "footer" ? golden[^size..] : golden[..size];
        var chance = new System.Random(name.Length);
        for (var i = 0; i < Rounds; i++)
        {
            var mutant = LayoutMutants.Mutate(chance, golden);
            if (i % 2 == 0 && mutant.Length == size)
            {
                LayoutMutants.Mend(mutant, check);
            }

            DecodeAll(mutant);
        }
    }

    [Fact]
    public void Any_mutated_trailer_is_answered()
    {
        var frame = GoldenLayout.Segment().Frames[0];
        var golden = GoldenLayout.Read("commit").AsSpan(frame.TrailerOffset, frame.TrailerLength).ToArray();
        var chance = new System.Random(11);
        for (var i = 0; i < Rounds; i++)
        {
            var mutant = LayoutMutants.Mutate(chance, golden);
            if (i % 2 == 0 && mutant.Length == golden.Length)
            {
                LayoutMutants.Mend(mutant.AsSpan(0, CommitFrameLayout.Size), CommitFrameLayout.Check);
            }

            DecodeAll(mutant);
            if (mutant.Length >= golden.Length)
            {
                LogItem.IsSoundPrefix(mutant.AsSpan(CommitFrameLayout.Size + AppendSize.PrefixHeaderBytes));
                TrailerPrefix.ReadAll(mutant.AsMemory(CommitFrameLayout.Size), frame.DeviceId, frame.Position, int.MaxValue);
            }
        }
    }

    [Fact]
    public void Any_mutated_catalog_is_refused_or_holds_copies_that_prove_themselves_within_the_commits()
    {
        var golden = GoldenLayout.Read("footer");
        GoldenLayout.ReadFooter(golden, out var footer);
        var chance = new System.Random(12);
        for (var i = 0; i < Rounds; i++)
        {
            var mutant = LayoutMutants.Mutate(chance, golden);
            var places = mutant.AsSpan(Math.Min(footer.CopiesLength, mutant.Length));
            var mended = footer with { PlacesCheck = XXH64.DigestOf(places[..Math.Min(places.Length, footer.CopyCount * 8)]) };
            if (!Catalogs.TryRead(mended, mutant, out var catalog))
            {
                continue;
            }

            for (var copy = 0; copy < catalog.Count; copy++)
            {
                Assert.True(LogItem.Proves(catalog.Copy(copy)));
                Assert.Equal(footer.Use, catalog.Position(copy).Use);
                Assert.True(catalog.Position(copy).Offset + catalog.Copy(copy).Length <= footer.CommitsEnd);
            }
        }
    }

    [Fact]
    public void Nothing_of_another_device_or_place_is_accepted()
    {
        var other = LayoutSamples.OtherDevice;
        Assert.Equal(
            LayoutFault.OtherDevice, CommitFrame.TryReadRecord(GoldenLayout.Read("commit"), other, new LogPosition(9, 0), out _));
        Assert.Equal(LayoutFault.OtherPlace, CommitFrame.TryReadRecord(
            GoldenLayout.Read("commit"), LayoutSamples.Device, new LogPosition(9, 512), out _));
        Assert.Equal(LayoutFault.OtherPlace, CommitFrame.TryReadRecord(
            GoldenLayout.Read("commit"), LayoutSamples.Device, new LogPosition(10, 0), out _));
        Assert.Equal(
            LayoutFault.OtherDevice, SegmentFooter.TryRead(GoldenLayout.Read("footer").AsSpan(^512), other, out _));
        Assert.Equal(LayoutFault.OtherDevice, CheckpointRoot.TryRead(GoldenLayout.Read("checkpoint-root"), other, 0, 40, out _));
        Assert.Equal(
            LayoutFault.OtherPlace, CheckpointRoot.TryRead(GoldenLayout.Read("checkpoint-root"), LayoutSamples.Device, 1, 40, out _));
        var page = GoldenLayout.Read("checkpoint-page");
        Assert.False(CheckpointRoot.ProvesPage(page, other, 1, 0, out _));
        Assert.False(CheckpointRoot.ProvesPage(page, LayoutSamples.Device, 2, 0, out _));
        Assert.False(CheckpointRoot.ProvesPage(page, LayoutSamples.Device, 1, 1, out _));
        Assert.False(DeviceLabel.TryRead(GoldenLayout.Read("label-0"), 1, out _, out var fault));
        Assert.Equal(LayoutFault.OtherPlace, fault);
    }

    [Theory]
    [InlineData(CommitFrameLayout.ItemCount, 0x7FFFFFFFUL, 4)]
    [InlineData(CommitFrameLayout.ItemCount, 0UL, 4)]
    [InlineData(CommitFrameLayout.ItemsLength, 0xFFFFFE00UL, 4)]
    [InlineData(CommitFrameLayout.Length, 512UL, 4)]
    [InlineData(CommitFrameLayout.Length, 0x7FFFFE00UL, 4)]
    [InlineData(CommitFrameLayout.TrailerLength, 0UL, 4)]
    [InlineData(CommitFrameLayout.Content, 0UL, 1)]
    [InlineData(CommitFrameLayout.Content, 4UL, 1)]
    [InlineData(CommitFrameLayout.Offset, 1UL << 24, 4)]
    [InlineData(CommitFrameLayout.Use, (1UL << 40) + 9, 8)]
    [InlineData(CommitFrameLayout.Use, 0UL, 8)]
    [InlineData(CommitFrameLayout.Durable, ulong.MaxValue, 8)]
    public void A_commit_record_that_contradicts_itself_is_inconsistent(int offset, ulong value, int size)
    {
        var record = LayoutMutants.With(GoldenLayout.Read("commit")[..512], offset, value, size, CommitFrameLayout.Check);

        Assert.Equal(
            LayoutFault.Inconsistent, CommitFrame.TryReadRecord(record, LayoutSamples.Device, new LogPosition(9, 0), out _));
    }

    [Theory]
    [InlineData(CheckpointRootLayout.BlobLength, ulong.MaxValue, 8)]
    [InlineData(CheckpointRootLayout.BlobLength, long.MaxValue, 8)]
    [InlineData(CheckpointRootLayout.BlobLength, 1UL << 40, 8)]
    [InlineData(CheckpointRootLayout.SpillCount, 1UL, 4)]
    [InlineData(CheckpointRootLayout.SpillCount, 0xFFFFFFFFUL, 4)]
    public void A_root_that_contradicts_itself_is_inconsistent(int offset, ulong value, int size)
    {
        var root = LayoutMutants.With(GoldenLayout.Read("checkpoint-root"), offset, value, size, CheckpointRootLayout.Check);

        Assert.Equal(LayoutFault.Inconsistent, CheckpointRoot.TryRead(root, LayoutSamples.Device, 0, 40, out _));
    }

    [Fact]
    public void A_root_that_names_a_segment_twice_or_one_that_is_not_there_is_inconsistent()
    {
        var bytes = new byte[CheckpointRootLayout.Size];
        var long2 = (CheckpointPageLayout.PagesInSlot + CheckpointPageLayout.PagesInSegment + 1L) * CheckpointPageLayout.ContentBytes;
        foreach (int[] spills in (int[][])[[4, 4], [4, 40], [-1, 4]])
        {
            new CheckpointRoot(LayoutSamples.Device, 0, 1, default, default, long2, 0, spills).Write(bytes);
            Assert.Equal(LayoutFault.Inconsistent, CheckpointRoot.TryRead(bytes, LayoutSamples.Device, 0, 40, out _));
        }

        new CheckpointRoot(LayoutSamples.Device, 0, 1, default, default, long2, 0, [4, 39]).Write(bytes);
        Assert.Equal(LayoutFault.None, CheckpointRoot.TryRead(bytes, LayoutSamples.Device, 0, 40, out _));
    }

    [Theory]
    [InlineData(DeviceLabelLayout.PhysicalBlock, 4095UL, 4)]
    [InlineData(DeviceLabelLayout.PhysicalBlock, 8192UL, 4)]
    [InlineData(DeviceLabelLayout.SegmentBytes, 1UL << 25, 4)]
    [InlineData(DeviceLabelLayout.SegmentsOffset, 0UL, 8)]
    [InlineData(DeviceLabelLayout.DeviceBytes, 1UL << 20, 8)]
    [InlineData(DeviceLabelLayout.DeviceBytes, ulong.MaxValue, 8)]
    public void A_label_that_makes_no_sense_is_inconsistent(int offset, ulong value, int size)
    {
        var bytes = LayoutMutants.With(GoldenLayout.Read("label-0"), offset, value, size, DeviceLabelLayout.Check);

        Assert.False(DeviceLabel.TryRead(bytes, 0, out var label, out var fault));
        Assert.Equal((LayoutFault.Inconsistent, null), (fault, label));
    }

    [Fact]
    public void What_needs_a_newer_reader_is_told_apart_from_damage()
    {
        var label = LayoutMutants.With(GoldenLayout.Read("label-0"), DeviceLabelLayout.MinReader, 2, 2, DeviceLabelLayout.Check);
        var record = LayoutMutants.With(GoldenLayout.Read("commit")[..512], CommitFrameLayout.MinReader, 3, 1, CommitFrameLayout.Check);
        var footer = LayoutMutants.With(
            GoldenLayout.Read("footer")[^512..], SegmentFooterLayout.MinReader, 3, 1, SegmentFooterLayout.Check);
        var root = LayoutMutants.With(
            GoldenLayout.Read("checkpoint-root"), CheckpointRootLayout.MinReader, 2, 1, CheckpointRootLayout.Check);
        var secret = LayoutMutants.With(
            GoldenLayout.Read("device-record"), DeviceRecordLayout.MinReader, 2, 1, DeviceRecordLayout.Check);

        Assert.False(DeviceLabel.TryRead(label, 0, out _, out var fault));
        Assert.Equal(LayoutFault.NewerVersion, fault);
        Assert.Equal(LayoutFault.NewerVersion, CommitFrame.TryReadRecord(record, LayoutSamples.Device, new LogPosition(9, 0), out _));
        Assert.Equal(LayoutFault.NewerVersion, SegmentFooter.TryRead(footer, LayoutSamples.Device, out _));
        Assert.Equal(LayoutFault.NewerVersion, CheckpointRoot.TryRead(root, LayoutSamples.Device, 0, 40, out _));
        Assert.Equal(LayoutFault.NewerVersion, DeviceRecord.TryRead(secret, out _));
    }

    [Fact]
    public void Whatever_is_written_is_read_back_the_same() => Prop.ForAll<int>(seed =>
    {
        var chance = new System.Random(seed);
        var label = LayoutSamples.Label with
        {
            DeviceId = RandomId(chance),
            HostId = RandomId(chance),
            DeviceBytes = (ulong)chance.NextInt64(109_051_904, 1L << 54),
            PhysicalBlock = 512 << chance.Next(4),
            CreatedMicros = (ulong)chance.NextInt64(),
            Generation = (ulong)chance.NextInt64(),
        };
        var bytes = new byte[4096];
        label.Write(bytes, seed & 1);
        Assert.True(DeviceLabel.TryRead(bytes, seed & 1, out var readLabel, out _));
        Assert.Equal(label, readLabel);

        var items = chance.Next(1, 1000);
        var position = new LogPosition((ulong)chance.NextInt64(1, 1L << 39), (uint)chance.Next(1 << 13) * 512);
        var frame = new CommitFrame(
            label.DeviceId, position, (CommitContent)chance.Next(1, 3), 512 + (items * 512) + 1024, items * 512,
            chance.Next(1, items + 1), 512, new LogPosition((ulong)chance.NextInt64(0, (long)position.Value)),
            (ulong)chance.NextInt64(), chance.Next(-1, 1 << 20));
        frame.WriteRecord(bytes);
        Assert.Equal(LayoutFault.None, CommitFrame.TryReadRecord(bytes, label.DeviceId, position, out var readFrame));
        Assert.Equal(frame, readFrame);

        var footer = new SegmentFooter(
            label.DeviceId, position.Use, chance.Next(1 << 13) * 512, 9 << 20, chance.Next(1 << 20), chance.Next(1000),
            chance.Next(-1, 1 << 20), (ulong)chance.NextInt64(), (ulong)chance.NextInt64());
        footer.Write(bytes);
        Assert.Equal(LayoutFault.None, SegmentFooter.TryRead(bytes, label.DeviceId, out var readFooter));
        Assert.Equal(footer, readFooter);

        var record = new DeviceRecord(DeviceRecordType.ViewSecret, RandomId(chance), RandomId(chance), RandomId(chance));
        record.Write(bytes);
        Assert.Equal(LayoutFault.None, DeviceRecord.TryRead(bytes, out var readRecord));
        Assert.Equal(record, readRecord);

        var blob = chance.NextInt64(0, 300L << 20);
        var spills = Enumerable.Range(0, 1000).OrderBy(_ => chance.Next()).Take(CheckpointRoot.SpillCount(blob)).ToArray();
        var root = new CheckpointRoot(label.DeviceId, seed & 1, (ulong)chance.NextInt64(), position, frame.Durable, blob, 1, spills);
        root.Write(bytes);
        Assert.Equal(LayoutFault.None, CheckpointRoot.TryRead(bytes, label.DeviceId, seed & 1, 1000, out var readRoot));
        Assert.Equal(root with { Spills = [] }, readRoot! with { Spills = [] });
        Assert.Equal(spills, readRoot.Spills);
    }).QuickCheckThrowOnFailure();

    private static Id160 RandomId(System.Random chance)
    {
        var bytes = new byte[Id160.Size];
        chance.NextBytes(bytes);
        return new Id160(bytes);
    }

    private static void DecodeAll(byte[] bytes)
    {
        var device = LayoutSamples.Device;
        if (DeviceLabel.TryRead(bytes, 0, out var label, out _))
        {
            Assert.True(label!.SegmentCount >= DeviceGeometry.MinSegments);
        }

        if (CommitFrame.TryReadRecord(bytes, device, new LogPosition(9, 0), out var frame) == LayoutFault.None)
        {
            Assert.Equal((device, new LogPosition(9, 0)), (frame.DeviceId, frame.Position));
            Assert.True(frame.Length <= DeviceGeometry.SegmentBytes && frame.TrailerOffset + frame.TrailerLength <= frame.Length);
        }

        if (CommitFrame.TryReadTrailer(bytes, device, out frame) == LayoutFault.None)
        {
            Assert.Equal(device, frame.DeviceId);
        }

        if (SegmentFooter.TryRead(bytes, device, out var footer) == LayoutFault.None)
        {
            Assert.Equal(device, footer.DeviceId);
            Catalogs.TryRead(footer, bytes, out _);
        }

        if (CheckpointRoot.TryRead(bytes, device, 0, 40, out var root) == LayoutFault.None)
        {
            Assert.All(root!.Spills, spill => Assert.InRange(spill, 0, 39));
        }

        CheckpointRoot.ProvesPage(bytes, device, 1, 0, out _);
        DeviceRecord.TryRead(bytes, out _);
        LogItem.TryMeasure(bytes, out _, out _);
        LogItem.Proves(bytes);
        LogItem.IsSoundPrefix(bytes);
    }
}

/// <summary>Changes bytes at random, and makes checks fit again.</summary>
internal static class LayoutMutants
{
    private static readonly ulong[] Telling =
        [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 24, 1UL << 40, 1UL << 62, ulong.MaxValue];

    /// <summary>A copy of a structure with one to three changes; now and then shorter or longer than it was.</summary>
    public static byte[] Mutate(System.Random chance, byte[] source)
    {
        var bytes = (byte[])source.Clone();
        for (var changes = chance.Next(1, 4); changes > 0; changes--)
        {
            // The fields stand at the start, the checks at the end: that is where the most can go wrong.
            var at = chance.Next(3) == 0 ? chance.Next(bytes.Length) : chance.Next(Math.Min(bytes.Length, 160));
            var room = Math.Min(8, bytes.Length - at);
            switch (chance.Next(4))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << chance.Next(8));
                    break;
                case 1:
                    Put(bytes.AsSpan(at, room), Telling[chance.Next(Telling.Length)], Math.Min(room, 4));
                    break;
                case 2:
                    Put(bytes.AsSpan(at, room), Telling[chance.Next(Telling.Length)], room);
                    break;
                default:
                    chance.NextBytes(bytes.AsSpan(at, room));
                    break;
            }
        }

        return chance.Next(20) switch
        {
            0 => bytes[..chance.Next(bytes.Length)],
            1 => [.. bytes, .. new byte[chance.Next(1, 600)]],
            _ => bytes,
        };
    }

    /// <summary>A copy with one field of another value, and a check that fits.</summary>
    public static byte[] With(byte[] source, int offset, ulong value, int size, int check)
    {
        var bytes = (byte[])source.Clone();
        Put(bytes.AsSpan(offset), value, size);
        Mend(bytes, check);
        return bytes;
    }

    public static void Mend(Span<byte> bytes, int check) => LayoutCheck.Seal(bytes, check);

    private static void Put(Span<byte> bytes, ulong value, int size)
    {
        Span<byte> all = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(all, value);
        all[..size].CopyTo(bytes);
    }
}
