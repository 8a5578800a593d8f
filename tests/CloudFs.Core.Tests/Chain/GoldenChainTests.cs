using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Chain;

/// <summary>The good vectors are accepted whole, and say what they were made to say.</summary>
public sealed class GoldenChainTests
{
    [Theory]
    [InlineData("golden-1")]
    [InlineData("golden-1-compacted")]
    [InlineData("golden-1-forced")]
    [InlineData("golden-1-branch")]
    public void A_good_stream_is_accepted_whole(string name)
    {
        var verdicts = EntryStream.Verify(new(), EntryStream.ReadGolden(name + ".stream"));

        Assert.All(verdicts, verdict => Assert.True(verdict.Accepted, verdict.ToString()));
    }

    [Theory]
    [InlineData("golden-1")]
    [InlineData("golden-1-compacted")]
    public void The_head_after_all_is_the_one_stated_compacted_or_not(string name)
    {
        var verifier = new ChainVerifier();
        EntryStream.Verify(verifier, EntryStream.ReadGolden(name + ".stream"));
        var head = verifier.Heads.Single();

        Assert.Equal(GoldenJson.Disk, head.Disk);
        Assert.Equal(GoldenJson.Head, head.Id);
        Assert.Equal(11UL, head.Lsn);
        Assert.Equal(4UL, head.Ballot.Epoch);
        Assert.Equal(9UL, head.View!.Lsn);
        Assert.Equal("golden", head.Attributes!.Name);
        Assert.Equal(8UL << 30, head.Attributes.Size);
        Assert.Equal(121, head.Attributes.Snapshots.Count);
        Assert.False(head.Deleted);
    }

    [Fact]
    public void Every_entry_has_the_lsn_id_lock_and_token_stated()
    {
        var entries = EntryStream.Entries("golden-1.stream");
        Assert.Equal(GoldenJson.Entries.Count, entries.Count);
        foreach (var (entry, stated) in entries.Zip(GoldenJson.Entries))
        {
            var fields = entry.Fields;
            var secret = GoldenJson.Secret(stated.Lsn < 9 ? "view one" : "view two");
            Assert.Equal(stated.Offset, entry.Offset);
            Assert.Equal(stated.Length, fields.TotalLength);
            Assert.Equal((stated.Lsn, stated.Id, stated.Lock), (fields.Lsn, fields.Id, fields.Lock));
            Assert.Equal(stated.Token, EntryHashes.Token(secret, fields.Entropy));
        }
    }

    [Fact]
    public void A_forced_view_is_accepted_in_form_and_reported()
    {
        var verifier = new ChainVerifier();
        var verdicts = EntryStream.Verify(verifier, EntryStream.ReadGolden("golden-1-forced.stream"));

        var forced = Assert.Single(verifier.ForcedViews);
        Assert.Equal(9UL, forced.Lsn);
        Assert.Equal(verdicts[^1].Id, forced.Id);
        Assert.True(verdicts[^1].Forced);
        Assert.Contains("forced", verdicts[^1].ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Several_disks_in_one_stream_are_kept_apart()
    {
        var verifier = new ChainVerifier();
        var origin = EntryStream.Entries("golden-1.stream");
        var branch = EntryStream.Entries("golden-1-branch.stream").Single();
        origin.Insert(6, branch);

        Assert.All(origin, entry => Assert.True(verifier.Add(entry.Header, entry.Body).Accepted));
        Assert.Equal(2, verifier.Heads.Count());
        Assert.Equal(GoldenJson.Head, verifier.HeadOf(GoldenJson.Disk).Id);
        Assert.Equal("branch", verifier.HeadOf(branch.Fields.Disk).Attributes!.Name);
    }

    [Fact]
    public void A_stream_can_be_taken_up_in_the_middle_from_a_known_head()
    {
        var entries = EntryStream.Entries("golden-1.stream");
        var first = new ChainVerifier();
        entries.Take(5).ToList().ForEach(entry => first.Add(entry.Header, entry.Body));
        var second = new ChainVerifier();
        second.Begin(first.Heads.Single());

        var verdicts = entries.Skip(5).Select(entry => second.Add(entry.Header, entry.Body)).ToList();

        Assert.All(verdicts, verdict => Assert.True(verdict.Accepted, verdict.ToString()));
        Assert.Equal(5UL, verdicts[3].Unproved);
        Assert.Equal(GoldenJson.Head, second.Heads.Single().Id);
    }

    [Fact]
    public void Entries_beyond_the_bound_are_said_to_be_unproved()
    {
        var verdicts = EntryStream.Verify(new(entriesPerViewMax: 3), EntryStream.ReadGolden("golden-1.stream"));

        Assert.Equal(5UL, verdicts[8].Unproved);
        Assert.Equal(0UL, EntryStream.Verify(new(), EntryStream.ReadGolden("golden-1.stream"))[8].Unproved);
    }

    [Fact]
    public void Sectors_after_all_entries_hold_the_bytes_stated()
    {
        var replay = new ReplayModel(sectors: 8192);
        EntryStream.Entries("golden-1.stream").ForEach(replay.Apply);

        Assert.Equal(GoldenJson.Sha1AfterAll, replay.Sha1());
    }

    [Fact]
    public void The_branch_names_its_origin_and_token()
    {
        var entry = EntryStream.Entries("golden-1-branch.stream").Single();
        var secret = GoldenJson.Secret("view three");

        Assert.Equal(GoldenJson.BranchId, entry.Fields.Id);
        Assert.Equal(GoldenJson.BranchToken, EntryHashes.Token(secret, entry.Fields.Entropy));
        Assert.True(EntryBodyParsed.TryParse(EntryKind.Branch, entry.Body, out var body, out _));
        Assert.Equal(new BranchOrigin(GoldenJson.Disk, entry.Fields.Previous, 4), body!.View!.Origin);
        Assert.Equal(EntryHashes.ViewOf(secret), body.View.View);
    }
}
