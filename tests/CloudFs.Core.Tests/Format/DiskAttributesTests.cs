using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>Changes add up object by object: absent leaves, null removes, unknown keys stay.</summary>
public sealed class DiskAttributesTests
{
    private static readonly Id160 Version = Id160.Parse("845818ac26779dfb29ab8530e8980952eaa77ec8");

    [Fact]
    public void A_disk_that_states_nothing_has_the_defaults()
    {
        var none = DiskAttributes.Empty;

        Assert.Equal((8UL << 30, null, Durability.Flush), (none.Size, none.Name, none.Durability));
        Assert.Equal((false, null, 0), (none.Deleted, none.Horizon, none.Snapshots.Count));
    }

    [Fact]
    public void Changes_add_up()
    {
        var state = DiskAttributes.Empty
            .Merge(AttributesBody.Empty.WithSize(1024).WithName("web1").WithDurability(Durability.Write))
            .Merge(AttributesBody.Empty.WithSnapshot("monday", Version).WithSnapshot("tuesday", Version).WithHorizon(5))
            .Merge(AttributesBody.Empty.WithSize(2048).WithSnapshot("monday", null));

        Assert.Equal((2048UL, "web1", Durability.Write), (state.Size, state.Name, state.Durability));
        Assert.Equal(KeyValuePair.Create("tuesday", Version), Assert.Single(state.Snapshots));
        Assert.Equal(5UL, state.Horizon);
        Assert.False(state.Deleted);
        Assert.True(state.Merge(AttributesBody.Empty.WithDeleted()).Deleted);
    }

    [Theory]
    [InlineData(
        """{"disk":{"a":{"b":1,"c":2}}}""",
        """{"disk":{"a":{"b":null,"d":3}}}""",
        """{"disk":{"a":{"c":2,"d":3}}}""")]
    [InlineData("""{"disk":{"a":1}}""", """{"disk":{"a":{"b":null,"c":2}}}""", """{"disk":{"a":{"c":2}}}""")]
    [InlineData("""{"disk":{"a":[1,2]}}""", """{"disk":{"a":[3]}}""", """{"disk":{"a":[3]}}""")]
    [InlineData("""{"disk":{"a":1},"horizon":3}""", """{"disk":null}""", """{"horizon":3}""")]
    [InlineData("""{"horizon":3}""", """{"horizon":null,"snapshots":null}""", """{}""")]
    [InlineData("""{"disk":{"note":"é <&>+"}}""", """{}""", """{"disk":{"note":"é <&>+"}}""")]
    public void Objects_are_merged_and_everything_else_replaced(string before, string change, string after)
    {
        Assert.Equal(after, Parse(before).Merge(Change(change)).ToJson());
    }

    [Fact]
    public void What_a_checkpoint_kept_is_read_again_unknown_keys_included()
    {
        var state = Parse($$$"""{"disk":{"size":512,"owner":{"team":"a"}},"snapshots":{"a":"{{{Version}}}"}}""");

        var again = Parse(state.ToJson());

        Assert.Equal(state.ToJson(), again.ToJson());
        Assert.Equal(Version, again.Snapshots["a"]);
        Assert.Contains("owner", again.ToJson(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_change_that_no_reader_would_accept_is_not_made()
    {
        Assert.Throws<ArgumentException>(() => AttributesBody.Empty.WithSize(1));
        Assert.Throws<ArgumentException>(() => AttributesBody.Empty.WithName("deadbeef"));
        Assert.Throws<ArgumentException>(() => AttributesBody.Empty.WithSnapshot("a b", Version));
    }

    [Theory]
    [InlineData("a", true)]
    [InlineData("Web-1.example_com", true)]
    [InlineData("abcdef1", true)]
    [InlineData("abcdef12", false)]
    [InlineData("ABCDEF1234", false)]
    [InlineData("abcdef12g", true)]
    [InlineData("", false)]
    [InlineData("1a", false)]
    [InlineData("-a", false)]
    [InlineData("a/b", false)]
    [InlineData("é", false)]
    [InlineData("a\n", false)]
    public void Names_follow_the_rule(string name, bool valid)
    {
        Assert.Equal(valid, EntryName.IsValid(name));
    }

    [Fact]
    public void Names_have_at_most_63_characters()
    {
        Assert.True(EntryName.IsValid(new string('x', 63)));
        Assert.False(EntryName.IsValid(new string('x', 64)));
    }

    private static DiskAttributes Parse(string json)
    {
        Assert.True(DiskAttributes.TryParse(json, out var attributes, out var fault), fault.ToString());
        return attributes;
    }

    private static AttributesBody Change(string json)
    {
        Assert.True(AttributesBody.TryParse(System.Text.Encoding.UTF8.GetBytes(json), out var change, out _));
        return change;
    }
}
