using System.Globalization;
using System.Text;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Http;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>The whole table of statuses, as text: a value that is added without a status fails here.</summary>
public sealed class StatusMapTests
{
    [Fact]
    public void Every_outcome_has_its_status_and_line()
    {
        var table = new StringBuilder();
        foreach (var status in Enum.GetValues<IoStatus>())
        {
            Row("io", status, StatusMap.For(status), StatusMap.Line(status, "disk d, bytes 0-511"));
        }

        foreach (var reason in Enum.GetValues<Refusal>())
        {
            Row("refusal", reason, StatusMap.For(reason), string.Empty);
        }

        foreach (var outcome in Enum.GetValues<IngestOutcome>())
        {
            Row("ingest", outcome, StatusMap.For(outcome), string.Empty);
        }

        Golden.Check("http/status.txt", table.ToString());

        void Row(string kind, Enum value, int status, string line) => table.Append(
            string.Create(CultureInfo.InvariantCulture, $"{kind,-8}{value,-16}{status} {line}").TrimEnd()).Append('\n');
    }
}
