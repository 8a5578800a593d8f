using System.Buffers.Binary;
using System.Text.RegularExpressions;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// Reads the golden checkpoint's contents with nothing but the table of docs/format/checkpoint.md: so the table can't leave
/// out a field, or state another order or type, than what is written.
/// </summary>
public sealed partial class CheckpointContentsDocTests
{
    private readonly Dictionary<string, List<string>> _found = [];
    private byte[] _blob = [];
    private int _at;

    [Fact]
    public void The_contents_are_what_the_table_says_to_the_last_byte()
    {
        var page = GoldenLayout.Read("checkpoint-page");
        var length = BinaryPrimitives.ReadInt32LittleEndian(page.AsSpan(CheckpointPageLayout.Length));
        _blob = page[CheckpointPageLayout.HeaderBytes..(CheckpointPageLayout.HeaderBytes + length)];
        var fields = Rows().Matches(LayoutTable.Section("checkpoint.md", "contents"))
            .Select(row => (row.Groups[1].Value, row.Groups[2].Value)).ToList();

        ReadAll("", fields);

        Assert.Equal(_blob.Length, _at);
        Assert.Equal(["5"], _found["contentsVersion"]);
        Assert.Equal([$"{SampleCheckpoint.RollFrom.Value}"], _found["rollFrom"]);
        Assert.Equal(["77"], _found["nextCommit"]);
        Assert.Equal(["1", "3", "2"], _found["segments[].use"]);
        Assert.Equal(["2", "1", "2"], _found["segments[].state"]);
        Assert.Equal(["0", "0", "3"], _found["segments[].headers.entries"]);
        Assert.Equal(["0", "0", "2000"], _found["segments[].headers.bytes"]);
        Assert.Equal([$"{LogPosition.FirstRelocationUse + 4}"], _found["nextRelocation"]);
        Assert.Equal(["-1"], _found["indexPages[].segment"]);
        Assert.Equal("02", Assert.Single(_found["indexPages[].used"])[..2]);
        Assert.Equal([$"{new SampleDisk().Head.Disk}", $"{new SampleDisk(LayoutSamples.Id(0x66)).Head.Disk}"], _found["disks[].disk"]);
        Assert.Equal(["4", "1"], _found["disks[].lsn"]);
        Assert.Equal([$"{LayoutSamples.Secret}", $"{LayoutSamples.Id(0x66)}"], _found["disks[].secret"]);
        Assert.Equal(["", "a reason"], _found["disks[].suspect"]);
        Assert.Equal(["1", "2", "3", "1"], _found["disks[].runs[].use"]);
        Assert.Equal(["1", "1"], _found["disks[].views[].epoch"]);
        Assert.Equal(["1", "1"], _found["disks[].pins[].lsn"]);
        Assert.Equal(["1000", "1000"], _found["disks[].lost[].lba"]);
        Assert.Equal(["1", "0"], _found["disks[].treePage"]);
        Assert.Equal(["1", "0"], _found["disks[].treePages"]);
        Assert.Equal(["7"], _found["remembered[].epoch"]);
        Assert.Equal(["5"], _found["remembered[].droppedUse"]);
    }

    /// <summary>Reads fields that begin with a prefix; what is repeated follows the count right before it.</summary>
    private void ReadAll(string prefix, List<(string Name, string Type)> fields)
    {
        var count = 0;
        for (var i = 0; i < fields.Count;)
        {
            var (name, type) = fields[i];
            var inner = name[prefix.Length..];
            var list = inner.IndexOf("[].", StringComparison.Ordinal);
            if (list < 0)
            {
                var value = ReadOne(type);
                count = type == "count" ? int.Parse(value, null) : 0;
                (_found.TryGetValue(name, out var values) ? values : _found[name] = []).Add(value);
                i++;
                continue;
            }

            var under = prefix + inner[..(list + 3)];
            var repeated = fields.Skip(i).TakeWhile(field => field.Name.StartsWith(under, StringComparison.Ordinal)).ToList();
            for (; count > 0; count--)
            {
                ReadAll(under, repeated);
            }

            i += repeated.Count;
        }
    }

    private string ReadOne(string type)
    {
        var bytes = _blob.AsSpan(_at);
        switch (type)
        {
            case "u8":
                _at++;
                return $"{bytes[0]}";
            case "i32" or "count":
                _at += 4;
                return $"{BinaryPrimitives.ReadInt32LittleEndian(bytes)}";
            case "u64":
                _at += 8;
                return $"{BinaryPrimitives.ReadUInt64LittleEndian(bytes)}";
            case "id":
                _at += 20;
                return Convert.ToHexStringLower(bytes[..20]);
            case "string" or "bytes":
                var length = BinaryPrimitives.ReadInt32LittleEndian(bytes);
                _at += 4 + length;
                var content = bytes.Slice(4, length);
                return type == "bytes" ? Convert.ToHexStringLower(content) : System.Text.Encoding.UTF8.GetString(content);
            default:
                throw new ArgumentException($"the table has a type that this reader does not know: {type}");
        }
    }

    [GeneratedRegex(@"^\| ([a-zA-Z\[\].]+) \| (i32|u64|u8|id|string|count|bytes) \|", RegexOptions.Multiline)]
    private static partial Regex Rows();
}
