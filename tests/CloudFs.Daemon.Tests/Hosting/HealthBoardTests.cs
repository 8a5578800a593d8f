using CloudFs.Core.Engine;
using CloudFs.Daemon.Hosting;
using Xunit;

namespace CloudFs.Daemon.Tests.Hosting;

public sealed class HealthBoardTests
{
    [Fact]
    public void A_part_that_died_makes_the_whole_failed_and_hides_no_other_reason()
    {
        var board = new HealthBoard();
        var engine = new HealthReport("degraded", [new HealthIssue("full", "no room")]);
        Assert.Same(engine, board.Combine(engine));

        board.Fail("loop-died", "why");
        var both = board.Combine(engine);
        Assert.Equal("failed", both.Status);
        Assert.Equal(["loop-died", "full"], both.Issues.Select(issue => issue.Code));
    }

    [Fact]
    public void A_part_that_dies_again_and_again_does_not_fill_the_memory()
    {
        var board = new HealthBoard();
        for (var i = 0; i < 1000; i++)
        {
            board.Fail("loop-died", "why");
        }

        Assert.InRange(board.Combine(new HealthReport("ok", [])).Issues.Count, 1, 100);
    }
}
