using CloudFs.Core.Primitives;
using CloudFs.Replicator.Hosting;

namespace CloudFs.Replicator.Membership;

/// <summary>What a message of gossip must be like before any of it is believed.</summary>
internal static class GossipRules
{
    private const int MaxText = 255;

    private const double MaxWeight = 1e9;

    /// <summary>The first thing that is wrong with it, in a line; null for none.</summary>
    public static string? FindFault(GossipMessage message)
    {
        if (message.Hosts.Count > HostTable.MaxHosts + 1 || message.Marks.Count > HostTable.MaxHosts)
        {
            return $"a message names at most {HostTable.MaxHosts} hosts; this one names {message.Hosts.Count}";
        }

        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var record in message.Hosts)
        {
            if (record is null || FindFault(record) is not null)
            {
                return record is null ? "a host that is null" : FindFault(record);
            }

            if (!seen.Add(record.Id))
            {
                return $"host {record.Id} stands in the message twice";
            }
        }

        foreach (var mark in message.Marks)
        {
            if (mark is null || !IsId(mark.Id))
            {
                return "a mark's host id is expected to be 40 lower-case hex digits, not all zero";
            }
        }

        if (message.Conflicts is null || message.Conflicts.Count > HostTable.MaxConflicts
            || message.Conflicts.Any(conflict => conflict is null || !IsId(conflict.Id) || conflict.Line is not { Length: <= 2 * MaxText }))
        {
            return $"at most {HostTable.MaxConflicts} conflicts are expected, each with an id and a line";
        }

        return seen.Contains(message.From) ? null : "the sender's own record is missing";
    }

    /// <summary>True for 40 lower-case hex digits that are not all zero.</summary>
    public static bool IsId(string? text) =>
        text is not null && Id160.TryParse(text, out var id) && !id.IsZero && id.ToString() == text;

    private static string? FindFault(HostRecord record)
    {
        if (!IsId(record.Id))
        {
            return "a host id is expected to be 40 lower-case hex digits, not all zero";
        }

        if (!HostAddress.IsValid(record.Address) || !HostAddress.IsValid(record.Daemon))
        {
            return $"host {record.Id}: expected addresses such as 10.0.0.1:8091";
        }

        if (record.Device is null || (record.Device.Length > 0 && !IsId(record.Device)))
        {
            return $"host {record.Id}: the device id is expected to be 40 lower-case hex digits, or nothing";
        }

        if (record.Zone is null || record.Zone.Length > MaxText || record.Zone.Any(char.IsControl))
        {
            return $"host {record.Id}: a zone is a word of at most {MaxText} characters";
        }

        if (!(record.Weight is > 0 and <= MaxWeight) || !(record.SilentSeconds >= 0))
        {
            return $"host {record.Id}: the weight is expected to be above 0, and the silence not below";
        }

        return string.IsNullOrEmpty(record.Instance) || record.Instance.Length > MaxText
            ? $"host {record.Id}: the instance is missing" : null;
    }
}
