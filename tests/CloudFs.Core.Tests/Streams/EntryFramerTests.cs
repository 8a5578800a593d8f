using System.IO.Pipelines;
using CloudFs.Core.Format;
using CloudFs.Core.Streams;
using Xunit;

namespace CloudFs.Core.Tests.Streams;

/// <summary>However a stream is cut on its way, the same entries come out, and never more than one is held.</summary>
public sealed class EntryFramerTests
{
    [Fact]
    public async Task Entries_come_out_whole_however_the_bytes_come_in()
    {
        var stream = Stream(20, seed: 1, out var entries);
        for (var seed = 0; seed < 30; seed++)
        {
            Assert.Equal(entries, await FrameAsync(stream, new Random(seed)));
        }
    }

    [Fact]
    public async Task The_longest_entry_fits_through_a_pipe_that_holds_back_sooner()
    {
        var longest = Entry(EntryLayout.MaxHeaderLength, EntryLayout.MaxBodyLength, 7);
        Assert.Equal([longest], await FrameAsync(longest, new Random(3)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(511)]
    [InlineData(1023)]
    public async Task What_ends_within_an_entry_is_cut(int length)
    {
        using var framer = new EntryFramer(PipeReader.Create(new MemoryStream(Entry(512, 512, 1)[..length])));
        Assert.Equal(FramingOutcome.Cut, (await framer.NextAsync(CancellationToken.None)).Outcome);
    }

    [Fact]
    public async Task What_is_no_entry_is_told_with_its_place()
    {
        byte[] stream = [.. Entry(512, 512, 1), .. new byte[512]];
        using var framer = new EntryFramer(PipeReader.Create(new MemoryStream(stream)));
        Assert.Equal(FramingOutcome.Entry, (await framer.NextAsync(CancellationToken.None)).Outcome);
        var bad = await framer.NextAsync(CancellationToken.None);
        Assert.Equal((FramingOutcome.Malformed, 1024UL), (bad.Outcome, bad.Position));
        Assert.NotEqual(FormatError.None, bad.Error);
    }

    [Fact]
    public async Task Mutated_streams_end_and_never_throw()
    {
        var stream = Stream(6, seed: 2, out _);
        for (var seed = 0; seed < 500; seed++)
        {
            var random = new Random(seed);
            var mutated = stream[..random.Next(stream.Length)];
            for (var flips = random.Next(4); flips > 0 && mutated.Length > 0; flips--)
            {
                mutated[random.Next(mutated.Length)] ^= (byte)(1 << random.Next(8));
            }

            using var framer = new EntryFramer(PipeReader.Create(new MemoryStream(mutated)));
            ulong position = 0;
            while (await framer.NextAsync(CancellationToken.None) is { Outcome: FramingOutcome.Entry } framed)
            {
                Assert.Equal(position, framed.Position);
                position += (ulong)framed.Bytes.Length;
            }
        }
    }

    private static async Task<List<byte[]>> FrameAsync(byte[] stream, Random random)
    {
        // A pipe as small as a server's: only having looked at everything lets an entry of 1.1 MiB through.
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 64 << 10, resumeWriterThreshold: 32 << 10));
        var writing = Task.Run(async () =>
        {
            for (var at = 0; at < stream.Length;)
            {
                var length = Math.Min(random.Next(1, random.Next(2) == 0 ? 40 : 20_000), stream.Length - at);
                await pipe.Writer.WriteAsync(stream.AsMemory(at, length));
                at += length;
            }

            await pipe.Writer.CompleteAsync();
        });
        List<byte[]> entries = [];
        using var framer = new EntryFramer(pipe.Reader);
        while (await framer.NextAsync(CancellationToken.None) is { Outcome: not FramingOutcome.End } framed)
        {
            Assert.Equal(FramingOutcome.Entry, framed.Outcome);
            entries.Add(framed.Bytes.ToArray());
        }

        await writing;
        return entries;
    }

    private static byte[] Stream(int count, int seed, out List<byte[]> entries)
    {
        var random = new Random(seed);
        entries = [.. Enumerable.Range(0, count).Select(i =>
            Entry(512 * random.Next(1, 4), 512 * random.Next(0, random.Next(3) == 0 ? 300 : 5), (byte)i))];
        return [.. entries.SelectMany(entry => entry)];
    }

    /// <summary>Framed like an entry; the framer believes nothing else of it, so the rest may be anything.</summary>
    private static byte[] Entry(int headerLength, int bodyLength, byte filler)
    {
        var entry = new byte[headerLength + bodyLength];
        Array.Fill(entry, filler);
        BitConverter.TryWriteBytes(entry.AsSpan(EntryLayout.MagicOffset), EntryLayout.Magic);
        entry[EntryLayout.FormatOffset] = EntryLayout.FormatVersion;
        entry[EntryLayout.KindOffset] = (byte)EntryKind.Update;
        entry[EntryLayout.DigestOffset] = EntryLayout.DigestSha1;
        entry[EntryLayout.FlagsOffset] = 0;
        BitConverter.TryWriteBytes(entry.AsSpan(EntryLayout.HeaderLengthOffset), headerLength);
        BitConverter.TryWriteBytes(entry.AsSpan(EntryLayout.BodyLengthOffset), bodyLength);
        return entry;
    }
}
