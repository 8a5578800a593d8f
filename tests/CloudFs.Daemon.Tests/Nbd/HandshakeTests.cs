using System.Buffers.Binary;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>Option haggling as a client sees it, good and bad.</summary>
public sealed class HandshakeTests
{
    private readonly MemoryTarget _named = new(MemoryTarget.SomeId, "demo", 1 << 20);
    private readonly MemoryTarget _plain = new(new string('b', 40), null, 1 << 21) { IsReadOnly = true };

    [Fact]
    public async Task List_gives_names_and_ids()
    {
        await using var server = await TestServer.StartAsync(_named, _plain);
        using var client = server.Client();
        client.Greet();
        var answers = client.Ask(3);
        Assert.Equal(["demo", _named.Id, _plain.Id], answers[..^1].Select(a =>
            a.Text.Substring(4, BinaryPrimitives.ReadInt32BigEndian(a.Data))));
        Assert.All(answers[..^1], a => Assert.Equal(OptionReply.Server, a.Type));
        Assert.Equal(OptionReply.ErrInvalid, client.Ask(3, "x")[^1].Type);
    }

    [Theory]
    [InlineData("demo")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    public async Task Info_answers_what_was_asked(string export)
    {
        await using var server = await TestServer.StartAsync(_named, _plain);
        using var client = server.Client();
        client.Greet();
        client.Ask(8);
        var answers = client.Ask(
            6, (uint)export.Length, export, (ushort)4, (ushort)1, (ushort)2, (ushort)3, (ushort)99);
        Assert.Equal(
            [
                NbdTestClient.Bytes((ushort)0, 1UL << 20, (ushort)0b1101_1110_1101),
                NbdTestClient.Bytes((ushort)3, 512U, 4096U, 32U << 20),
                NbdTestClient.Bytes((ushort)1, export),
                NbdTestClient.Bytes((ushort)2, _named.Description),
                [],
            ],
            answers.Select(a => a.Data));
        Assert.Equal(answers[0].Data, Assert.Single(client.Ask(6, (uint)export.Length, export, (ushort)0)[..^1]).Data);
    }

    [Fact]
    public async Task The_only_disk_is_the_default_export()
    {
        await using (var one = await TestServer.StartAsync(_named))
        {
            using var client = one.Attach();
            Assert.Equal(1UL << 20, client.Size);
        }

        await using var two = await TestServer.StartAsync(_named, _plain);
        await using var none = await TestServer.StartAsync();
        foreach (var (server, text) in new[] { (two, "there are 2 disks"), (none, "there is no disk") })
        {
            using var client = server.Client();
            client.Greet();
            var answer = Assert.Single(client.Ask(7, 0U, (ushort)0));
            Assert.Equal(OptionReply.ErrUnknown, answer.Type);
            Assert.StartsWith(text, answer.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task An_unknown_disk_is_refused_and_haggling_goes_on()
    {
        await using var server = await TestServer.StartAsync(_named);
        using var client = server.Client();
        client.Greet();
        foreach (var option in new[] { 6U, 7U })
        {
            var answer = Assert.Single(client.Ask(option, 4U, "nope", (ushort)0));
            Assert.Equal(OptionReply.ErrUnknown, answer.Type);
            Assert.Contains("'nope'", answer.Text, StringComparison.Ordinal);
        }

        Assert.Equal(OptionReply.Ack, client.Ask(7, 4U, "demo", (ushort)0)[^1].Type);
    }

    [Theory]
    [InlineData(0U, 152 - 18)]
    [InlineData(1U, 152 - 18)]
    [InlineData(3U, 10)]
    public async Task Export_name_enters_without_a_word(uint flags, int bytes)
    {
        await using var server = await TestServer.StartAsync(_named);
        using var client = server.Client();
        client.Greet(flags);
        client.SendOption(1, "demo");
        var answer = client.Receive(bytes);
        Assert.Equal(NbdTestClient.Bytes(1UL << 20, (ushort)0b1101_0110_1101), answer[..10]);
        Assert.All(answer[10..], b => Assert.Equal(0, b));
        Assert.Equal(new byte[512], client.Read(0, 512));
    }

    [Fact]
    public async Task Export_name_of_no_disk_closes()
    {
        await using var server = await TestServer.StartAsync(_named);
        using var client = server.Client();
        client.Greet();
        client.SendOption(1, "nope");
        Assert.True(client.IsClosed());
    }

    [Theory]
    [InlineData(4U)]
    [InlineData(5U)]
    [InlineData(11U)]
    [InlineData(0U)]
    [InlineData(0xffff_ffffU)]
    public async Task Other_options_are_unsupported_and_skipped(uint option)
    {
        await using var server = await TestServer.StartAsync(_named);
        using var client = server.Client();
        client.Greet();
        Assert.Equal(OptionReply.ErrUnsupported, Assert.Single(client.Ask(option, new byte[65536])).Type);
        Assert.Equal(OptionReply.ErrUnsupported, Assert.Single(client.Ask(option)).Type);
        Assert.Equal(OptionReply.Ack, Assert.Single(client.Ask(2, "goodbye")).Type);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public async Task Contexts_are_listed_and_selected_as_the_protocol_says()
    {
        await using var server = await TestServer.StartAsync(_named, _plain);
        using var client = server.Client();
        client.Greet();
        Assert.Equal(OptionReply.ErrInvalid, client.Ask(9, Query("demo"))[^1].Type);
        Assert.Equal(OptionReply.ErrInvalid, client.Ask(10, Query("demo", "base:allocation"))[^1].Type);
        Assert.Equal(OptionReply.ErrInvalid, client.Ask(8, "x")[^1].Type);
        Assert.Equal(OptionReply.Ack, client.Ask(8)[^1].Type);

        Assert.True(IsAllocation(client.Ask(9, Query("demo"))));
        Assert.True(IsAllocation(client.Ask(9, Query("demo", "base:"))));
        Assert.True(IsAllocation(client.Ask(9, Query("demo", "x:y", "base:allocation", "base:"))));
        Assert.False(IsAllocation(client.Ask(9, Query("demo", "base:other", "qemu:"))));
        Assert.False(IsAllocation(client.Ask(10, Query("demo"))));
        Assert.False(IsAllocation(client.Ask(10, Query("demo", "base:"))));
        Assert.True(IsAllocation(client.Ask(10, Query("demo", "x:y", "base:allocation"))));
        Assert.Equal(OptionReply.ErrUnknown, client.Ask(10, Query("nope", "base:allocation"))[^1].Type);
        Assert.Equal(OptionReply.ErrInvalid, client.Ask(10, 4U, "demo", 1U, 99U, "x")[^1].Type);
    }

    [Theory]
    [InlineData("demo", "demo", true)]
    [InlineData("demo", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)]
    [InlineData("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "demo", false)]
    public async Task Block_status_needs_the_context_of_this_export(string selected, string entered, bool works)
    {
        await using var server = await TestServer.StartAsync(_named, _plain);
        using var client = server.Client();
        client.Greet();
        client.Ask(8);
        client.Ask(10, Query(selected, "base:allocation"));
        client.Ask(7, (uint)entered.Length, entered, (ushort)0);
        Assert.Equal(works ? NbdError.None : NbdError.Invalid, client.Do(NbdCommand.BlockStatus, 0, 4096));
    }

    [Fact]
    public async Task Garbage_closes_that_connection_alone()
    {
        await using var server = await TestServer.StartAsync(_named);
        using var other = server.Attach("demo");
        foreach (var bad in new object[][]
        {
            ["GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
            [4U],
            [3U, "IHAVEOPS", 3U, 0U],
            [3U, 0x49484156454f5054UL, 3U, 65537U],
            [3U, 0x49484156454f5054UL, 7U, 0xffff_ffffU],
            [3U, 0x49484156454f5054UL, 1U, 3U, "a\0b"],
        })
        {
            using var client = server.Client();
            client.Receive(18);
            client.Send(bad);
            Assert.True(client.IsClosed());
        }

        Assert.Equal(6, server.Server.GetMetrics().Refused);
        Assert.Equal(NbdError.None, other.Write(0, new byte[512]));
    }

    [Fact]
    public async Task Options_without_end_are_ended()
    {
        await using var server = await TestServer.StartAsync(_named);
        using var client = server.Client();
        client.Greet();
        for (var i = 0; i < 256; i++)
        {
            Assert.Equal(OptionReply.ErrUnsupported, client.Ask(99)[^1].Type);
        }

        Assert.True(client.IsClosed());
    }

    [Fact]
    public async Task Ten_thousand_disks_can_be_listed()
    {
        var many = Enumerable.Range(0, 10_000).Select(i => new MemoryTarget($"{i:x40}", null, 512)).ToArray();
        await using var server = await TestServer.StartAsync(many);
        using var client = server.Client();
        client.Greet();
        Assert.Equal(10_001, client.Ask(3).Count);
    }

    private static byte[] Query(string export, params string[] queries) =>
        NbdTestClient.Bytes([
            (uint)export.Length,
            export,
            (uint)queries.Length,
            .. queries.SelectMany(q => new object[] { (uint)q.Length, q }),
        ]);

    private static bool IsAllocation(List<OptionAnswer> answers)
    {
        Assert.Equal(OptionReply.Ack, answers[^1].Type);
        if (answers.Count == 1)
        {
            return false;
        }

        Assert.Equal(2, answers.Count);
        Assert.Equal(OptionReply.MetaContext, answers[0].Type);
        return answers[0].Text[4..] == "base:allocation";
    }
}
