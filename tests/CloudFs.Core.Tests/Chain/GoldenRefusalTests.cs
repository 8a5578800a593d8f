using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Chain;

/// <summary>Every bad vector is refused at the entry, and for the reason, that golden.json states.</summary>
public sealed class GoldenRefusalTests
{
    [Theory]
    [InlineData("bad-forged", 2, FormatError.Id)]
    [InlineData("bad-zero-page", 2, FormatError.PageOfZeroes)]
    [InlineData("bad-view-forced-word", 9, FormatError.JsonValue)]
    [InlineData("bad-view-bare", 9, FormatError.JsonKeyMissing)]
    [InlineData("bad-attributes-view", 9, FormatError.JsonKeyUnexpected)]
    [InlineData("bad-key-twice", 3, FormatError.JsonKeyTwice)]
    [InlineData("bad-empty-update", 3, FormatError.EmptyUpdate)]
    [InlineData("bad-padding", 2, FormatError.Padding)]
    [InlineData("bad-rot", 2, FormatError.PageXxh64)]
    [InlineData("bad-cut", 11, FormatError.Cut)]
    public void An_entry_that_is_not_well_made_is_refused_for_that_reason(string name, ulong lsn, FormatError error)
    {
        var verdict = FirstRefusal(name);

        Assert.Equal((lsn, error, ChainError.None), (verdict.Lsn, verdict.Fault.Error, verdict.ChainError));
    }

    [Theory]
    [InlineData("bad-fork", 3, ChainError.Fork)]
    [InlineData("bad-no-token", 3, ChainError.Token)]
    [InlineData("bad-foreign-secret", 9, ChainError.RevokedOther)]
    [InlineData("bad-not-by-the-view", 4, ChainError.NotByTheView)]
    [InlineData("bad-gap", 4, ChainError.Gap)]
    [InlineData("bad-view-unrevoked", 9, ChainError.ViewNeitherRevokedNorForced)]
    [InlineData("bad-view-both", 9, ChainError.ViewRevokedAndForced)]
    [InlineData("bad-view-forced-parent", 9, ChainError.ForcedWithParent)]
    [InlineData("bad-view-ballot", 9, ChainError.BallotNotAbove)]
    [InlineData("bad-view-again", 9, ChainError.ViewInForce)]
    [InlineData("bad-branch-late", 9, ChainError.BranchLate)]
    [InlineData("bad-first-forced", 1, ChainError.FirstRevokesOrForced)]
    [InlineData("bad-after-deleted", 4, ChainError.AfterDeleted)]
    [InlineData("bad-first", 1, ChainError.FirstKind)]
    [InlineData("bad-time", 3, ChainError.TimeBack)]
    public void An_entry_that_does_not_extend_the_chain_is_refused_for_that_reason(
        string name, ulong lsn, ChainError error)
    {
        var verdict = FirstRefusal(name);

        Assert.Equal((lsn, FormatError.None, error), (verdict.Lsn, verdict.Fault.Error, verdict.ChainError));
    }

    [Fact]
    public void The_entry_that_another_secret_locked_is_named()
    {
        Assert.Equal(3UL, FirstRefusal("bad-not-by-the-view").ForeignLsn);
    }

    [Fact]
    public void Every_bad_vector_is_tested()
    {
        var tested = typeof(GoldenRefusalTests).GetMethods()
            .SelectMany(method => method.GetCustomAttributes(typeof(InlineDataAttribute), false))
            .Select(data => (string)((InlineDataAttribute)data).GetData(null!).Single()[0] + ".stream");
        var stored = Directory.GetFiles(TestTree.Golden(""), "bad-*.stream").Select(path => Path.GetFileName(path));

        Assert.Equal(stored.Order(), tested.Order());
    }

    private static EntryVerdict FirstRefusal(string name) =>
        EntryStream.Verify(new(), EntryStream.ReadGolden(name + ".stream")).First(verdict => !verdict.Accepted);
}
