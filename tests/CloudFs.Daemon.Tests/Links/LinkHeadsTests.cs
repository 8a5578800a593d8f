using System.Text;
using CloudFs.Daemon.Links;
using Xunit;

namespace CloudFs.Daemon.Tests.Links;

/// <summary>The heads with which a link begins: what is taken for one, and what never is.</summary>
public sealed class LinkHeadsTests
{
    private const string Answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n";

    [Fact]
    public void What_is_sent_is_what_is_taken()
    {
        var request = LinkHeads.Request("127.0.0.1:8090");
        Assert.Equal(request.Length, LinkHeads.LengthOfRequest(request));
        Assert.Equal(request.Length, LinkHeads.LengthOfRequest([.. request, 1, 2, 3]));
        Assert.Equal(LinkHeads.Accepted.Length, LinkHeads.LengthOfAnswer(LinkHeads.Accepted, out var refusal));
        Assert.Null(refusal);
    }

    [Fact]
    public void A_part_of_a_request_is_none_yet()
    {
        var request = LinkHeads.Request("127.0.0.1:8090");
        for (var length = 0; length < request.Length; length++)
        {
            Assert.Equal(0, LinkHeads.LengthOfRequest(request.AsSpan(0, length)));
        }
    }

    [Theory]
    [InlineData("GET /heads HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    [InlineData("POST /cluster/link HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    [InlineData("GET /cluster/link HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    [InlineData("GET /cluster/link HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    [InlineData("GET /cluster/link HTTP/1.1\r\nHost: a\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    [InlineData("GET /cluster/link HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")]
    [InlineData("GET /cluster/link HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\nContent-Length: 3\r\n\r\n")]
    [InlineData("GET /cluster/linkage HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: cloudfs-link/1\r\n\r\n")]
    public void Another_request_is_the_servers(string request) =>
        Assert.Equal(0, LinkHeads.LengthOfRequest(Encoding.ASCII.GetBytes(request)));

    [Fact]
    public void An_answer_is_read_once_it_is_whole()
    {
        var bytes = Encoding.ASCII.GetBytes(Answer);
        for (var length = 0; length < bytes.Length; length++)
        {
            Assert.Equal(0, LinkHeads.LengthOfAnswer(bytes.AsSpan(0, length), out var early));
            Assert.Null(early);
        }

        Assert.Equal(bytes.Length, LinkHeads.LengthOfAnswer([.. bytes, 7], out _));
    }

    [Theory]
    [InlineData("HTTP/1.1 426 Upgrade Required\r\n\r\n", "426 Upgrade Required")]
    [InlineData("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "another protocol")]
    [InlineData("NBDMAGICIHAVEOPT", "no HTTP")]
    public void Another_answer_is_refused(string answer, string why)
    {
        LinkHeads.LengthOfAnswer(Encoding.ASCII.GetBytes(answer), out var refusal);
        Assert.Contains(why, refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void An_answer_without_an_end_is_refused()
    {
        var endless = Encoding.ASCII.GetBytes("HTTP/1.1 101 A\r\nX: " + new string('x', LinkHeads.MaxBytes));
        Assert.Equal(0, LinkHeads.LengthOfAnswer(endless.AsSpan(0, LinkHeads.MaxBytes), out var refusal));
        Assert.NotNull(refusal);
    }
}
