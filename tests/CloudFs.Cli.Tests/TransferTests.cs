using CloudFs.Cli.Transfer;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>The parts of import and export that need no daemon.</summary>
public sealed class TransferTests
{
    private const int Block = Import.BlockBytes;

    [Fact]
    public void A_piece_is_cut_where_blocks_of_zeroes_begin_and_end()
    {
        var piece = new byte[(4 * Block) + 1024];
        piece[Block] = 1;
        piece[(3 * Block) - 1] = 1;
        Assert.Equal([(0, Block, true), (Block, 3 * Block, false), (3 * Block, piece.Length, true)], Runs(piece));
    }

    [Fact]
    public void A_cut_last_sector_goes_as_data_even_when_it_is_zero()
    {
        var piece = new byte[Block + 700];
        Assert.Equal([(0, Block, true), (Block, piece.Length, false)], Runs(piece));
    }

    [Fact]
    public void Random_pieces_are_cut_without_gaps_and_no_data_is_taken_for_zeroes()
    {
        var random = new Random(20106);
        for (var round = 0; round < 200; round++)
        {
            var piece = new byte[random.Next(1, 6 * Block)];
            for (var i = random.Next(4); i > 0; i--)
            {
                piece[random.Next(piece.Length)] = 7;
            }

            var at = 0;
            foreach (var (start, end, zero) in Runs(piece))
            {
                Assert.Equal(at, start);
                Assert.True(end > start);
                Assert.True(!zero || !piece.AsSpan(start, end - start).ContainsAnyExcept((byte)0));
                Assert.True(!zero || (end - start) % 512 == 0);
                at = end;
            }

            Assert.Equal(piece.Length, at);
        }
    }

    [Fact]
    public async Task A_sparse_file_is_read_without_its_holes()
    {
        var path = Path.Combine(Path.GetTempPath(), $"cloudfs-{Guid.NewGuid():N}");
        try
        {
            using (var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write))
            {
                RandomAccess.Write(file, new byte[] { 1, 2, 3 }, 8 << 20);
                RandomAccess.SetLength(file, (32 << 20) + 100);
            }

            using var image = ImageInput.Open(path, TestIo.Create().Io);
            Assert.Equal((32UL << 20) + 100, image.Length);
            var (holes, data) = await CountAsync(image);
            Assert.Equal(image.Length, holes + data);

            // Not every file system has holes, but none may have more of them than there are.
            Assert.True(holes <= (32UL << 20) - 1);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task The_first_piece_that_fails_ends_the_copy()
    {
        var inFlight = new InFlight(2);
        var started = 0;
        var thrown = await Assert.ThrowsAsync<CommandException>(async () =>
        {
            for (var i = 0; i < 100; i++)
            {
                var number = i;
                await inFlight.AddAsync(async () =>
                {
                    started++;
                    await Task.Yield();
                    if (number == 3)
                    {
                        throw new CommandException("piece 3");
                    }
                });
            }

            await inFlight.FinishAsync();
        });
        Assert.Equal("piece 3", thrown.Message);
        Assert.InRange(started, 4, 6);
    }

    [Theory]
    [InlineData(0UL, 0UL, 1UL << 30, 1.0, "0 B of 1 GiB, 0 B/s")]
    [InlineData(1UL << 29, 1UL << 29, 1UL << 30, 2.0, "512 MiB of 1 GiB, 256 MiB/s, 0:02 left")]
    [InlineData(1UL << 29, 0UL, 1UL << 30, 2.0, "512 MiB of 1 GiB, 0 B/s, 0:02 left")]
    [InlineData(1UL << 20, 1UL << 20, 8UL << 30, 1.0, "1 MiB of 8 GiB, 1 MiB/s, 2:16:31 left")]
    public void Progress_says_how_far_how_fast_and_how_long(
        ulong done, ulong moved, ulong total, double seconds, string line) =>
        Assert.Equal(line, Progress.Line(done, moved, total, TimeSpan.FromSeconds(seconds)));

    [Fact]
    public void Progress_of_a_stream_has_no_end() =>
        Assert.Equal("3 MiB, 1.5 MiB/s", Progress.Line(3 << 20, 3 << 20, null, TimeSpan.FromSeconds(2)));

    private static async Task<(ulong Holes, ulong Data)> CountAsync(ImageInput image)
    {
        ulong holes = 0;
        ulong data = 0;
        var buffer = new byte[1 << 20];
        while (true)
        {
            holes += image.SkipHole();
            var read = await image.ReadAsync(buffer, CancellationToken.None);
            if (read == 0)
            {
                return (holes, data);
            }

            data += (ulong)read;
        }
    }

    private static List<(int Start, int End, bool Zero)> Runs(byte[] piece)
    {
        List<(int Start, int End, bool Zero)> runs = [];
        for (var start = 0; start < piece.Length; start = runs[^1].End)
        {
            var end = Import.RunEnd(piece, start, out var zero);
            runs.Add((start, end, zero));
        }

        return runs;
    }
}
