using Xunit;

namespace CloudFs.Core.Tests.Engine;

public sealed class HistoryTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Every_history_ends_with_what_was_promised(int batch) =>
        Seeds.Run(batch * 1000, 120, 10, EngineHistory.Run);
}

public sealed class MoreHistoryTests
{
    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    public void Every_history_ends_with_what_was_promised(int batch) =>
        Seeds.Run(batch * 1000, 120, 10, EngineHistory.Run);
}
