using System.Net.Sockets;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>
/// Bytes that no honest client would send: the corpus in tests/golden/nbd-fuzz, mutations of it from fixed seeds, and
/// noise. The server must end each such connection (the test's receive times out otherwise), free what it held, and
/// go on serving the client beside it.
/// </summary>
public sealed class FuzzTests
{
    private const int MutationsOfEach = 40;

    private readonly MemoryTarget _disk = new(MemoryTarget.SomeId, "demo", 1 << 20);

    public static TheoryData<string> Corpus() =>
        [.. Directory.GetFiles(Folder(), "*.hex").Select(f => Path.GetFileNameWithoutExtension(f)).Order()];

    [Theory]
    [MemberData(nameof(Corpus))]
    public async Task The_corpus_and_its_mutations_cost_nobody_else_anything(string name)
    {
        var bytes = Load(name);
        var isAttached = name.StartsWith("transmission", StringComparison.Ordinal);
        var chance = new Random(name.Sum(c => c));
        await using var server = await TestServer.StartAsync(_disk);
        using var other = server.Attach("demo");
        Throw(server, bytes, isAttached);
        for (var i = 0; i < MutationsOfEach; i++)
        {
            Throw(server, Mutate(bytes, chance), isAttached);
        }

        await ExpectHealthAsync(server, other);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Noise_costs_nobody_else_anything(bool isAttached)
    {
        var chance = new Random(4711);
        _disk.Delay = _ => chance.Next(2) == 0 ? Task.CompletedTask : Task.Delay(1);
        await using var server = await TestServer.StartAsync(_disk);
        using var other = server.Attach("demo");
        for (var i = 0; i < 200; i++)
        {
            Throw(server, isAttached ? Requests(chance) : Noise(chance, chance.Next(1, 3000)), isAttached);
        }

        await ExpectHealthAsync(server, other);
    }

    [Fact]
    public void Decoders_take_anything()
    {
        var chance = new Random(42);
        for (var i = 0; i < 20_000; i++)
        {
            var noise = Noise(chance, chance.Next(0, 200));
            OptionCodec.TryReadString(noise, out _);
            OptionCodec.TryReadExportQuery(noise, out _);
            OptionCodec.TryReadMetaQuery(noise, out _);
            var header = Noise(chance, NbdRequest.Size);
            Convert.FromHexString("25609513").CopyTo(header, 0);
            header[6] = 0;
            header[7] &= 15;
            var request = NbdRequest.Read(header);
            var session = new NbdSession((ulong)chance.NextInt64() & ~511UL, chance.Next(2) == 0, true, true);
            if (RequestRules.Check(request, session) == RequestFault.None && request.Command != NbdCommand.Flush)
            {
                Assert.True(request.Offset + request.Length <= session.Size && request.Length > 0);
            }
        }
    }

    private static void Throw(TestServer server, byte[] bytes, bool isAttached)
    {
        using var client = isAttached ? server.Attach("demo") : server.Client();
        try
        {
            client.SendBytes(bytes);
            client.Socket.Shutdown(SocketShutdown.Send);
            var waste = new byte[65536];
            while (client.Socket.Receive(waste) > 0)
            {
            }
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown)
        {
            // Closed while there was more to come.
        }
    }

    private static async Task ExpectHealthAsync(TestServer server, NbdTestClient other)
    {
        Assert.Equal(NbdError.None, other.Write(4096, DataTests.Pattern(4096, 1)));
        Assert.Equal(DataTests.Pattern(4096, 1), other.Read(4096, 4096));
        Assert.True(await TestServer.BecomesAsync(
            () => server.Server.GetMetrics() is { Connections: 1, Handshakes: 0, SharedBytes: 0 }));

        // The other client's receive buffer.
        Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Pool.Rented == 1));
    }

    private static byte[] Mutate(byte[] bytes, Random chance)
    {
        List<byte> mutated = [.. bytes];
        for (var i = chance.Next(1, 5); i > 0 && mutated.Count > 0; i--)
        {
            var at = chance.Next(mutated.Count);
            switch (chance.Next(5))
            {
                case 0:
                    mutated[at] ^= (byte)(1 << chance.Next(8));
                    break;
                case 1:
                    mutated[at] = (byte)(chance.Next(2) * 255);
                    break;
                case 2:
                    mutated.RemoveRange(at, chance.Next(1, mutated.Count - at + 1));
                    break;
                case 3:
                    mutated.InsertRange(at, Noise(chance, chance.Next(1, 40)));
                    break;
                default:
                    mutated.AddRange(mutated.GetRange(at, mutated.Count - at));
                    break;
            }
        }

        return [.. mutated];
    }

    // Well-formed headers with wild fields, which get further than noise.
    private static byte[] Requests(Random chance)
    {
        List<byte> bytes = [];
        for (var i = chance.Next(1, 30); i > 0; i--)
        {
            var length = chance.Next(3) == 0 ? (uint)chance.Next() : (uint)chance.Next(0, 64) * 512;
            var offset = chance.Next(3) == 0 ? (ulong)chance.NextInt64() : (ulong)chance.Next(0, 2048) * 512;
            var command = (ushort)chance.Next(0, 9);
            var flags = (ushort)(chance.Next(4) == 0 ? chance.Next(65536) : 0);
            bytes.AddRange(NbdTestClient.Bytes(0x25609513U, flags, command, (ulong)i, offset, length));
            if (command == 1 && length < 65536)
            {
                bytes.AddRange(new byte[length]);
            }
        }

        return [.. bytes];
    }

    private static byte[] Noise(Random chance, int length)
    {
        var noise = new byte[length];
        chance.NextBytes(noise);
        return noise;
    }

    private static byte[] Load(string name)
    {
        var lines = File.ReadLines(Path.Combine(Folder(), name + ".hex")).Where(l => !l.StartsWith('#'));
        return Convert.FromHexString(string.Concat(lines).Replace(" ", "", StringComparison.Ordinal));
    }

    private static string Folder() => InRepository("tests", "golden", "nbd-fuzz");

    internal static string InRepository(params string[] path)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder!.FullName, "CloudFs.slnx")))
        {
            folder = folder.Parent;
        }

        return Path.Combine([folder.FullName, .. path]);
    }
}
