using System.Text;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>The JSON bodies: what is read, what is refused and where, and what is written.</summary>
public sealed class EntryBodyParsedTests
{
    private const string Id = "8fe79bee1a1ed76951f9c765d4a2bf959fba6055";
    private const string Member = $$"""{"host":"{{Id}}","device":"{{Id}}","share":"","witness":false}""";
    private const string Sound = $$"""{"view":"{{Id}}","epoch":1,"primary":"{{Id}}","replicas":[{{Member}}]}""";

    [Theory]
    [InlineData("golden-1.stream")]
    [InlineData("golden-1-forced.stream")]
    [InlineData("golden-1-branch.stream")]
    public void A_golden_body_is_written_again_byte_for_byte(string name)
    {
        foreach (var entry in EntryStream.Entries(name).Where(entry => entry.Fields.HasJsonBody))
        {
            Assert.True(EntryBodyParsed.TryParse(entry.Fields.Kind, entry.Body, out var parsed, out _));
            Assert.Equal(entry.Body, parsed!.View?.ToBytes() ?? parsed.Attributes.ToBytes());
        }
    }

    [Fact]
    public void The_first_golden_view_says_what_it_was_made_of()
    {
        var entry = EntryStream.Entries("golden-1.stream")[0];
        Assert.True(ViewBody.TryParse(EntryKind.View, entry.Body, out var view, out _));

        Assert.Equal(EntryHashes.ViewOf(GoldenJson.Secret("view one")), view!.View);
        Assert.Equal(new Ballot(1, view.Replicas[0].Host), view.Ballot);
        Assert.Equal(3, view.Replicas.Count);
        Assert.All(view.Replicas, replica => Assert.True(replica is { Share: "", Witness: false }));
        Assert.True(view is { Revoked: null, Forced: false, Origin: null });
        var attributes = DiskAttributes.Empty.Merge(view.Attributes);
        Assert.Equal((8UL << 30, "golden"), (attributes.Size, attributes.Name));
        Assert.Equal(Durability.Flush, attributes.Durability);
    }

    [Theory]
    [InlineData("""[]""", FormatError.JsonPadding, "")]
    [InlineData("", FormatError.JsonPadding, "")]
    [InlineData(""" {}""", FormatError.JsonPadding, "")]
    [InlineData("{}\n", FormatError.JsonPadding, "")]
    [InlineData("""{} {}""", FormatError.JsonSyntax, "")]
    [InlineData("""{"horizon":1,}""", FormatError.JsonSyntax, "")]
    [InlineData("""{"horizon":01}""", FormatError.JsonSyntax, "")]
    [InlineData("""{/**/}""", FormatError.JsonSyntax, "")]
    [InlineData("{\"disk\":{\"a\":\"\\ud800\"}}", FormatError.JsonEncoding, "")]
    [InlineData("""{"disk":{"size":512,"size":512}}""", FormatError.JsonKeyTwice, "")]
    [InlineData("""{"disk":{"x":[{"a":1,"\u0061":2}]}}""", FormatError.JsonKeyTwice, "")]
    [InlineData("""{"other":1}""", FormatError.JsonKeyUnexpected, "other")]
    [InlineData("""{"forced":false}""", FormatError.JsonKeyUnexpected, "forced")]
    [InlineData("""{"horizon":-1}""", FormatError.JsonValue, "horizon")]
    [InlineData("""{"horizon":1.5}""", FormatError.JsonValue, "horizon")]
    [InlineData("""{"horizon":"1"}""", FormatError.JsonValue, "horizon")]
    [InlineData("""{"disk":[]}""", FormatError.JsonValue, "disk")]
    [InlineData("""{"disk":{"size":0}}""", FormatError.JsonValue, "disk.size")]
    [InlineData("""{"disk":{"size":513}}""", FormatError.JsonValue, "disk.size")]
    [InlineData("""{"disk":{"size":18446744073709551616}}""", FormatError.JsonValue, "disk.size")]
    [InlineData("""{"disk":{"name":"1st"}}""", FormatError.JsonValue, "disk.name")]
    [InlineData("""{"disk":{"durability":"Flush"}}""", FormatError.JsonValue, "disk.durability")]
    [InlineData("""{"disk":{"deleted":false}}""", FormatError.JsonValue, "disk.deleted")]
    [InlineData("""{"snapshots":["a"]}""", FormatError.JsonValue, "snapshots")]
    [InlineData("""{"snapshots":{"deadbeef":null}}""", FormatError.JsonValue, "snapshots.deadbeef")]
    [InlineData("""{"snapshots":{"a":"8FE79BEE1A1ED76951F9C765D4A2BF959FBA6055"}}""",
        FormatError.JsonValue, "snapshots.a")]
    [InlineData("""{"snapshots":{"a":"8fe79bee"}}""", FormatError.JsonValue, "snapshots.a")]
    public void Attributes_that_break_a_rule_are_refused_for_that_rule(string json, FormatError error, string where)
    {
        Assert.False(EntryBodyParsed.TryParse(EntryKind.Attributes, Padded(json), out var parsed, out var fault));
        Assert.Null(parsed);
        Assert.Equal(new FormatFault(error, where), fault);
    }

    [Theory]
    [InlineData("\"view\":", "\"View\":", FormatError.JsonKeyMissing, "view")]
    [InlineData("\"epoch\":1,", "", FormatError.JsonKeyMissing, "epoch")]
    [InlineData("\"epoch\":1", "\"epoch\":0", FormatError.JsonValue, "epoch")]
    [InlineData("\"epoch\":1", "\"epoch\":\"1\"", FormatError.JsonValue, "epoch")]
    [InlineData("\"primary\":\"8", "\"primary\":\"G", FormatError.JsonValue, "primary")]
    [InlineData("\"replicas\":[", "\"replica\":[", FormatError.JsonKeyMissing, "replicas")]
    [InlineData("[" + Member + "]", "{}", FormatError.JsonValue, "replicas")]
    [InlineData("[" + Member, "[" + Member + ",1", FormatError.JsonValue, "replicas[1]")]
    [InlineData("{\"host\":", "{\"guest\":", FormatError.JsonKeyMissing, "replicas[0].host")]
    [InlineData("\"device\":\"8", "\"device\":\"\",\"x\":\"", FormatError.JsonValue, "replicas[0].device")]
    [InlineData("\"share\":\"\"", "\"share\":\"a\"", FormatError.JsonValue, "replicas[0].share")]
    [InlineData("\"share\":\"\"", "\"share\":\"abc \"", FormatError.JsonValue, "replicas[0].share")]
    [InlineData("\"share\":\"\"", "\"share\":null", FormatError.JsonValue, "replicas[0].share")]
    [InlineData("\"witness\":false", "\"witness\":0", FormatError.JsonValue, "replicas[0].witness")]
    [InlineData("\"epoch\":1", "\"epoch\":1,\"forced\":null", FormatError.JsonValue, "forced")]
    [InlineData("\"epoch\":1", "\"epoch\":1,\"revoked\":null", FormatError.JsonValue, "revoked")]
    [InlineData("\"epoch\":1", "\"epoch\":1,\"origin\":7", FormatError.JsonValue, "origin")]
    [InlineData("\"epoch\":1", "\"epoch\":1,\"disk\":{\"size\":1}", FormatError.JsonValue, "disk.size")]
    public void A_view_that_breaks_a_rule_is_refused_for_that_rule(
        string sound, string broken, FormatError error, string where)
    {
        Assert.Contains(sound, Sound, StringComparison.Ordinal);
        var json = Sound.Replace(sound, broken, StringComparison.Ordinal);

        Assert.False(EntryBodyParsed.TryParse(EntryKind.View, Padded(json), out _, out var fault));
        Assert.Equal(new FormatFault(error, where), fault);
    }

    [Fact]
    public void A_branch_must_name_its_origin_and_a_view_need_not()
    {
        Assert.True(ViewBody.TryParse(EntryKind.View, Padded(Sound), out _, out _));
        Assert.False(ViewBody.TryParse(EntryKind.Branch, Padded(Sound), out _, out var fault));
        Assert.Equal(new FormatFault(FormatError.JsonKeyMissing, "origin"), fault);
    }

    [Fact]
    public void Unknown_keys_of_a_view_are_ignored()
    {
        var json = Sound.Replace("\"epoch\":1", "\"epoch\":1,\"colour\":{\"x\":[null]}", StringComparison.Ordinal);

        Assert.True(ViewBody.TryParse(EntryKind.View, Padded(json), out var view, out _));
        Assert.True(view!.Attributes.IsEmpty);
    }

    [Fact]
    public void Bytes_that_are_not_utf8_are_refused()
    {
        byte[] body = [.. "{\"disk\":{\"a\":\""u8, 0xC3, 0x28, .. "\"}}"u8];

        Assert.False(EntryBodyParsed.TryParse(EntryKind.Attributes, body, out _, out var fault));
        Assert.Equal(FormatError.JsonEncoding, fault.Error);
    }

    [Fact]
    public void A_share_is_written_as_it_is()
    {
        var view = new ViewBody
        {
            View = Id160.Parse(Id),
            Epoch = 7,
            Primary = Id160.Parse(Id),
            Replicas = [new(Id160.Parse(Id), Id160.Parse(Id), "+/8=", true)],
        };

        var body = view.ToBytes();

        Assert.Contains("\"share\":\"+/8=\"", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
        Assert.True(ViewBody.TryParse(EntryKind.View, body, out var read, out _));
        Assert.Equal(view.Replicas, read!.Replicas);
        Assert.Equal(0, body.Length % EntryLayout.SectorSize);
    }

    [Fact]
    public void A_view_that_no_reader_would_accept_is_not_written()
    {
        Assert.True(ViewBody.TryParse(EntryKind.View, Padded(Sound), out var view, out _));

        Assert.Throws<ArgumentException>(() => (view! with { Epoch = 0 }).ToBytes());
        Assert.Throws<ArgumentException>(() => (view! with { Replicas = [new(default, default, "?")] }).ToBytes());
    }

    private static byte[] Padded(string json)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        return [.. bytes, .. Enumerable.Repeat((byte)' ', (512 - (bytes.Length % 512)) % 512)];
    }
}
