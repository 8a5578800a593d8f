using System.Globalization;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// One way to spoil a whole segment, as a line of text, so that a failure can be kept: steps separated by semicolons.
/// <code>
/// flip 8203.4            one bit of a byte
/// zero 4096+512          a range becomes zeroes
/// noise 4096+512         a range becomes random
/// copy 0+8192>16384      a range is written over another
/// record 8192 52 4 77    a field (offset, size, value) of the record there; its check fits
/// trailer 12800 44 4 77  the same of the trailer there, or of its first prefix
/// header 8704 124 2 77   the same of the entry header there
/// durable 9000           known to have been durable;  written 9000, footer 9000 likewise
/// </code>
/// </summary>
internal sealed class ScanCase
{
    private const int Dirty = 1 << 20;
    private const ulong Use = 9;

    private static readonly SampleSegment Sound = MakeSound();

    private readonly byte[] _bytes;
    private LogPosition _durable;
    private LogPosition _written;
    private int _commitsEnd = -1;
    private bool _forged;
    private bool _moved;

    private ScanCase(byte[] bytes) => _bytes = bytes;

    /// <summary>The commits that are there before anything is spoilt.</summary>
    public static IReadOnlyList<CommitFrame> Frames => Sound.Frames;

    /// <summary>Where headers and device records stand.</summary>
    public static IReadOnlyList<uint> Places { get; } = [.. Sound.Headers.Keys.Order()];

    /// <summary>A buffer to run cases in, one after the other.</summary>
    public static byte[] NewBuffer() => (byte[])Sound.Bytes.Clone();

    /// <summary>Spoils the segment, scans it, and holds what was found against what was put there.</summary>
    public static void Run(string line, byte[] buffer)
    {
        Sound.Bytes.AsSpan(0, Dirty).CopyTo(buffer);
        var spoilt = new ScanCase(buffer);
        foreach (var step in line.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            spoilt.Apply(step);
        }

        try
        {
            spoilt.Check(SegmentScan.Scan(
                buffer, LayoutSamples.Device, Use, spoilt._durable, spoilt._written, spoilt._commitsEnd));
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"add to scan-cases.txt: {line}\n{e.Message}", e);
        }
    }

    private static SampleSegment MakeSound()
    {
        var segment = new SampleSegment(Use);
        Remnants(new SampleSegment(Use - 4), segment, 40, 3);
        Remnants(new SampleSegment(Use, LayoutSamples.OtherDevice), segment, 12, 5);
        var disk = new SampleDisk();
        var second = new SampleDisk(LayoutSamples.Id(0x31));
        var durable = segment.End;
        segment.Commit(null, disk.RecordBytes, disk.First, second.RecordBytes, second.First);
        for (var i = 0; i < 7; i++)
        {
            var before = segment.End;
            segment.Commit(
                durable, disk.Update((ulong)i * 100, 1 + (i * 7)), second.Trim((ulong)i * 64, 32), disk.Update((ulong)i, 8));
            durable = before;
        }

        segment.Commit(null);
        segment.Commit(durable, second.Update(3, 40));
        return segment;
    }

    private static void Remnants(SampleSegment from, SampleSegment to, int commits, int sectors)
    {
        var disk = new SampleDisk(LayoutSamples.Id(0x44));
        from.Commit(null, disk.RecordBytes, disk.First);
        for (var i = 0; i < commits; i++)
        {
            from.Commit(null, disk.Update((ulong)i, sectors), disk.Update((ulong)i + 90, sectors));
        }

        from.Bytes.AsSpan(0, (int)from.End.Offset).CopyTo(to.Bytes);
    }

    private void Apply(string step)
    {
        var words = step.Split(' ');
        var numbers = words[1].Split('+', '.', '>').Concat(words.Skip(2))
            .Select(word => ulong.Parse(word, CultureInfo.InvariantCulture)).ToArray();
        var at = (int)Math.Min(numbers[0], int.MaxValue);
        switch (words[0])
        {
            case "flip":
                _bytes[at] ^= (byte)(1 << (int)numbers[1]);
                break;
            case "zero":
                _bytes.AsSpan(at, (int)numbers[1]).Clear();
                break;
            case "noise":
                new Random(at).NextBytes(_bytes.AsSpan(at, (int)numbers[1]));
                break;
            case "copy":
                _bytes.AsSpan(at, (int)numbers[1]).ToArray().CopyTo(_bytes, (int)numbers[2]);
                _moved = true;
                break;
            case "record" or "trailer" or "header":
                Forge(words[0], _bytes.AsSpan(at), (int)numbers[1], (int)numbers[2], numbers[3]);
                break;
            case "durable":
                _durable = new LogPosition(numbers[0]);
                break;
            case "written":
                _written = new LogPosition(numbers[0]);
                break;
            case "footer":
                _commitsEnd = Math.Min(at / 512 * 512, SegmentFooter.RecordOffset);
                break;
            default:
                throw new ArgumentException(step);
        }
    }

    private void Forge(string what, Span<byte> bytes, int offset, int size, ulong value)
    {
        _forged = true;
        BitConverter.GetBytes(value).AsSpan(0, size).CopyTo(bytes[offset..]);
        switch (what)
        {
            case "record":
                LayoutMutants.Mend(bytes[..CommitFrameLayout.RecordBytes], CommitFrameLayout.Check);
                break;
            case "trailer" when offset < CommitFrameLayout.Size:
                LayoutMutants.Mend(bytes[..CommitFrameLayout.Size], CommitFrameLayout.Check);
                break;
            case "trailer":
                MendPrefix(bytes[CommitFrameLayout.Size..], BitConverter.ToUInt32(bytes[CommitFrameLayout.Offset..]));
                break;
            case "header" when BitConverter.ToInt32(bytes[EntryLayout.HeaderLengthOffset..]) is >= 512 and <= Dirty / 2 and var length:
                BitConverter.TryWriteBytes(bytes[EntryLayout.CheckOffset..], EntryHeaderCodec.ComputeCheck(bytes[..length]));
                break;
        }
    }

    private static void MendPrefix(Span<byte> prefix, uint commit)
    {
        var (place, length) = (BitConverter.ToInt32(prefix), BitConverter.ToInt32(prefix[4..]));
        if (length is > 0 and < Dirty / 2)
        {
            var bytes = prefix.Slice(AppendSize.PrefixHeaderBytes, length).ToArray();
            TrailerPrefix.Write(prefix, LayoutSamples.Device, new LogPosition(Use, commit), place, bytes);
        }
    }

    private void Check(SegmentScan scan)
    {
        uint end = 0;
        foreach (var frame in scan.Frames)
        {
            Assert.Equal((LayoutSamples.Device, Use), (frame.DeviceId, frame.Position.Use));
            Assert.True(frame.Position.Offset >= end, "commits overlap");
            end = frame.Position.Offset + (uint)frame.Length;
        }

        Assert.True(scan.End >= end && scan.StaleEnd >= scan.End && scan.StaleEnd <= DeviceGeometry.SegmentBytes);
        Assert.All(scan.Holes, hole => Assert.True(hole.Start < hole.End && hole.End <= DeviceGeometry.SegmentBytes));
        uint place = 0;
        foreach (var item in scan.Items)
        {
            Assert.True(item.Place >= place, "items out of order");
            place = item.Place + 1;
            CheckItem(scan, item);
        }
    }

    private void CheckItem(SegmentScan scan, in ScannedItem item)
    {
        if (item.Kind == ScannedKind.PrefixOnly)
        {
            Assert.True(LogItem.IsSoundPrefix(item.Header.Span));
            return;
        }

        Assert.True(LogItem.Proves(item.Header.Span));
        if (_forged)
        {
            // Whatever a forged field says: what is led to by it lies within the segment.
            LogItem.TryMeasure(item.Header.Span, out _, out var total);
            Assert.True(item.Place + (long)total <= DeviceGeometry.SegmentBytes);
        }
        else if (!_moved || scan.DamagedTrailers == 0)
        {
            Assert.True(item.Header.Span.SequenceEqual(Sound.Headers[item.Place]), $"another item at {item.Place}");
        }
    }
}

/// <summary>Random segments, spoilt in every way, and those that are kept in scan-cases.txt.</summary>
public sealed class SegmentScanFuzzTests
{
    private const int Rounds = 1500;

    private static readonly int[] FrameFields =
        [CommitFrameLayout.Content, CommitFrameLayout.NextSegment, CommitFrameLayout.Use, CommitFrameLayout.Offset,
            CommitFrameLayout.Length, CommitFrameLayout.ItemsLength, CommitFrameLayout.ItemCount, CommitFrameLayout.TrailerLength,
            CommitFrameLayout.Durable, CommitFrameLayout.Sequence, CommitFrameLayout.Size, CommitFrameLayout.Size + 4,
            CommitFrameLayout.Size + 16 + EntryLayout.ExtentCountOffset, CommitFrameLayout.Size + 16 + EntryLayout.PageCountOffset,
            CommitFrameLayout.Size + 16 + EntryLayout.HeaderLengthOffset, CommitFrameLayout.Size + 16 + EntryLayout.FixedSize];

    private static readonly int[] HeaderFields =
        [EntryLayout.KindOffset, EntryLayout.FlagsOffset, EntryLayout.HeaderLengthOffset, EntryLayout.BodyLengthOffset,
            EntryLayout.LsnOffset, EntryLayout.ExtentCountOffset, EntryLayout.PageCountOffset, EntryLayout.FixedSize,
            EntryLayout.FixedSize + 8, EntryLayout.FixedSize + 12];

    private static readonly string[] Claims = ["durable", "written", "footer"];

    private static readonly ulong[] Values =
        [0, 1, 2, 511, 512, 1024, 65_535, 65_536, 1 << 24, int.MaxValue, uint.MaxValue, 1UL << 40, ulong.MaxValue];

    [Fact]
    public void Every_case_that_was_kept_is_judged_soundly()
    {
        var buffer = ScanCase.NewBuffer();
        var lines = File.ReadAllLines(Path.Combine(TestTree.Root, "tests", "golden", "device-layout", "scan-cases.txt"));
        Assert.All(lines.Where(line => !line.StartsWith('#')), line => ScanCase.Run(line, buffer));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Any_spoilt_segment_is_judged_soundly(int seed)
    {
        var chance = new Random(seed);
        var buffer = ScanCase.NewBuffer();
        for (var i = 0; i < Rounds; i++)
        {
            ScanCase.Run(string.Join("; ", Enumerable.Range(0, chance.Next(1, 5)).Select(_ => Step(chance))), buffer);
        }
    }

    private static string Step(Random chance)
    {
        var frame = ScanCase.Frames[chance.Next(ScanCase.Frames.Count)];
        var start = frame.Position.Offset;
        var sector = start + ((uint)chance.Next(frame.Length / 512) * 512);
        var within = start + (uint)chance.Next(frame.Length);
        var other = ScanCase.Frames[chance.Next(ScanCase.Frames.Count)];
        var value = chance.Next(3) == 0 ? (ulong)chance.Next(1 << 20) : Values[chance.Next(Values.Length)];
        var size = 1 << chance.Next(4);
        var place = ScanCase.Places[chance.Next(ScanCase.Places.Count)];
        var target = other.Position.Offset + (uint)(chance.Next(other.Length / 512) * 512);
        return chance.Next(10) switch
        {
            0 or 1 => $"flip {within}.{chance.Next(8)}",
            2 => $"zero {sector}+{512 << chance.Next(8)}",
            3 => $"noise {sector}+{512 << chance.Next(5)}",
            4 => $"copy {start}+{frame.Length}>{(chance.Next(2) == 0 ? other.Position.Offset : sector)}",
            5 => $"copy {sector}+{512 << chance.Next(6)}>{target}",
            6 => $"record {start} {FrameFields[chance.Next(10)]} {size} {value}",
            7 => $"trailer {start + (uint)frame.TrailerOffset} {FrameFields[chance.Next(FrameFields.Length)]} {size} {value}",
            8 => $"header {place} {HeaderFields[chance.Next(HeaderFields.Length)]} {size} {value}",
            _ => $"{Claims[chance.Next(Claims.Length)]} {(chance.Next(2) == 0 ? new LogPosition(9, within).Value : within)}",
        };
    }
}
