using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Chain;

/// <summary>The rules of acceptance one by one, beyond those that a golden vector breaks.</summary>
public sealed class ChainRulesTests
{
    private static readonly EntryBodyParsed FirstView = EntryBodyParsed.Of(ChainBuilder.View(1, 5));
    private static readonly Id160 Some = ChainBuilder.Secret(77);

    [Fact]
    public void A_disk_that_grows_by_the_rules_is_accepted_entry_by_entry()
    {
        var chain = ChainBuilder.Started();
        chain.Append(chain.Update());
        chain.Append(chain.Seal(EntryKind.Attributes, EntryBodyParsed.Of(AttributesBody.Empty.WithName("a"))));
        chain.Append(chain.Seal(EntryKind.View, EntryBodyParsed.Of(ChainBuilder.View(2, 6, revoked: 1)), secret: 2));
        chain.Append(chain.Update());
        var forced = EntryBodyParsed.Of(ChainBuilder.View(3, 9, forced: true));
        chain.Append(chain.Seal(EntryKind.View, forced, secret: 3, parent: default(Id160)));
        chain.Append(chain.Update());

        Assert.Equal((7UL, 9UL, 6UL), (chain.Head.Lsn, chain.Head.Ballot.Epoch, chain.Head.View!.Lsn));
        Assert.Equal(EntryHashes.ViewOf(ChainBuilder.Secret(3)), chain.Head.View.Hash);
        Assert.Equal("a", chain.Head.Attributes!.Name);
        Assert.Equal(chain.Token, chain.Head.Token(ChainBuilder.Secret(3)));
        Assert.True(ChainRules.IsForced(forced));
        Assert.False(ChainRules.IsForced(FirstView));
        Assert.False(ChainRules.IsForced(null));
    }

    [Fact]
    public void A_first_entry_must_begin_a_disk_in_every_respect()
    {
        var none = new ChainBuilder();
        var attributes = EntryBodyParsed.Of(AttributesBody.Empty.WithName("a"));
        Assert.Equal(ChainError.FirstKind, none.Check(none.Update()));
        Assert.Equal(ChainError.FirstKind, none.Check(none.Seal(EntryKind.Attributes, attributes)));
        Assert.Equal(ChainError.FirstLsn, none.Check(none.Seal(EntryKind.View, FirstView, lsn: 2)));
        Assert.Equal(ChainError.FirstPrevious, none.Check(none.Seal(EntryKind.View, FirstView, previous: Some)));
        Assert.Equal(ChainError.FirstParent, none.Check(none.Seal(EntryKind.View, FirstView, parent: Some)));
        Assert.Equal(ChainError.FirstDisk, none.Check(none.Seal(EntryKind.View, FirstView, disk: Some)));
        var reveals = EntryBodyParsed.Of(ChainBuilder.View(2, 6, revoked: 1));
        Assert.Equal(ChainError.FirstRevokesOrForced, none.Check(none.Seal(EntryKind.View, reveals)));
    }

    [Fact]
    public void A_branch_must_spring_from_the_version_that_its_origin_names_and_not_before_it()
    {
        var none = new ChainBuilder();
        var body = EntryBodyParsed.Of(ChainBuilder.View(1, 1) with { Origin = new(Some, Some, 4) });
        var branch = none.Seal(EntryKind.Branch, body, previous: Some, time: 100);

        Assert.Equal(ChainError.None, none.Check(branch));
        Assert.Equal(
            ChainError.BranchPrevious,
            none.Check(none.Seal(EntryKind.Branch, body, previous: default(Id160))));
        Assert.Equal(
            ChainError.BranchPrevious,
            none.Check(none.Seal(EntryKind.Branch, body, previous: ChainBuilder.Secret(78))));
        var fields = branch.Stored.Fields;
        Assert.Equal(ChainError.None, ChainRules.Check(default, fields, body, originTimeMicros: 100));
        Assert.Equal(ChainError.BranchTime, ChainRules.Check(default, fields, body, originTimeMicros: 101));
    }

    [Fact]
    public void A_next_entry_must_follow_in_every_respect()
    {
        var chain = ChainBuilder.Started();
        chain.Append(chain.Update());
        var head = chain.Head;

        Assert.Equal(ChainError.OtherDisk, chain.Check(chain.Seal(EntryKind.Update, null, disk: Some)));
        Assert.Equal(ChainError.Gap, chain.Check(chain.Seal(EntryKind.Update, null, lsn: head.Lsn + 2)));
        Assert.Equal(ChainError.Gap, chain.Check(chain.Seal(EntryKind.Update, null, lsn: head.Lsn)));
        Assert.Equal(ChainError.Gap, chain.Check(chain.Seal(EntryKind.Update, null, lsn: ulong.MaxValue)));
        Assert.Equal(ChainError.Fork, chain.Check(chain.Seal(EntryKind.Update, null, previous: Some)));
        Assert.Equal(ChainError.TimeBack, chain.Check(chain.Seal(EntryKind.Update, null, time: head.TimeMicros - 1)));
        Assert.Equal(ChainError.None, chain.Check(chain.Seal(EntryKind.Update, null, time: head.TimeMicros)));
        Assert.Equal(ChainError.Token, chain.Check(chain.Seal(EntryKind.Update, null, parent: Some)));
        Assert.Equal(ChainError.Token, chain.Check(chain.Seal(EntryKind.Update, null, parent: default(Id160))));
    }

    [Fact]
    public void A_view_needs_the_token_even_where_it_reveals_the_secret()
    {
        var chain = ChainBuilder.Started();
        var view = EntryBodyParsed.Of(ChainBuilder.View(2, 6, revoked: 1));

        Assert.Equal(ChainError.None, chain.Check(chain.Seal(EntryKind.View, view)));
        Assert.Equal(ChainError.Token, chain.Check(chain.Seal(EntryKind.View, view, parent: Some)));
        Assert.Equal(ChainError.Token, chain.Check(chain.Seal(EntryKind.View, view, parent: default(Id160))));
    }

    [Fact]
    public void A_forced_view_too_needs_a_higher_ballot_and_a_secret_of_its_own()
    {
        var chain = ChainBuilder.Started();

        ChainError CheckForced(byte secret, ulong epoch) => chain.Check(chain.Seal(
            EntryKind.View,
            EntryBodyParsed.Of(ChainBuilder.View(secret, epoch, forced: true)),
            parent: default(Id160)));

        Assert.Equal(ChainError.None, CheckForced(2, 6));
        Assert.Equal(ChainError.BallotNotAbove, CheckForced(2, 5));
        Assert.Equal(ChainError.ViewInForce, CheckForced(1, 6));
    }

    [Fact]
    public void Ballots_are_compared_as_numbers_and_then_as_bytes()
    {
        Assert.True(new Ballot(10, default) > new Ballot(9, Some));
        Assert.True(new Ballot(9, Some) > new Ballot(9, default));
        Assert.True(default(Ballot) < new Ballot(1, default));
        Assert.True(new Ballot(1, Some) >= new Ballot(1, Some));
        Assert.Equal($"9@{Some}", new Ballot(9, Some).ToString());
    }

    [Fact]
    public void A_body_of_another_kind_is_the_callers_mistake()
    {
        var chain = ChainBuilder.Started();
        var update = chain.Update();

        Assert.Throws<ArgumentException>(() => ChainRules.Check(chain.Head, update.Stored.Fields, FirstView));
        var view = chain.Seal(EntryKind.View, EntryBodyParsed.Of(ChainBuilder.View(2, 6, revoked: 1)));
        Assert.Throws<ArgumentException>(() => ChainRules.Check(chain.Head, view.Stored.Fields, null));
        var attributes = EntryBodyParsed.Of(AttributesBody.Empty);
        Assert.Throws<ArgumentException>(() => ChainRules.Check(chain.Head, view.Stored.Fields, attributes));
    }

    [Fact]
    public void A_refused_entry_changes_nothing_and_the_right_one_is_taken_after_it()
    {
        var chain = ChainBuilder.Started();
        var verifier = new ChainVerifier();
        verifier.Begin(chain.Head);
        var wrong = chain.Seal(EntryKind.Update, null, parent: Some).Stored;
        var right = chain.Update().Stored;

        Assert.Equal(ChainError.Token, verifier.Add(wrong.Header, wrong.Body).ChainError);
        Assert.Equal(chain.Head, verifier.HeadOf(chain.Head.Disk));
        Assert.True(verifier.Add(right.Header, right.Body).Accepted);
        Assert.Equal(2UL, verifier.HeadOf(chain.Head.Disk).Lsn);
    }

    [Fact]
    public void A_refused_entry_is_described_in_a_line()
    {
        var chain = ChainBuilder.Started();
        var verifier = new ChainVerifier();
        verifier.Begin(chain.Head);
        var wrong = chain.Seal(EntryKind.Update, null, parent: Some).Stored;

        Assert.Equal($"LSN 2: {ChainError.Token.Text()}", verifier.Add(wrong.Header, wrong.Body).ToString());
        Assert.Equal($"LSN 0: {FormatError.Cut.Text()}", verifier.Add([], []).ToString());
    }
}
