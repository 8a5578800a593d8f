namespace CloudFs.Replicator.Creation;

/// <summary>
/// Votes that this host has given to disks in the making, so that two of one name are not made at once. A vote that nothing came of
/// lapses by itself. Safe from any thread.
/// </summary>
internal sealed class VoteBook(TimeProvider time)
{
    public static readonly TimeSpan Lapse = TimeSpan.FromSeconds(10);

    private const int MaxVotes = 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (string? Name, long Given)> _votes = [];

    /// <summary>Null, or one line why there is no vote.</summary>
    public string? TryVote(string disk, string? name)
    {
        lock (_gate)
        {
            foreach (var lapsed in _votes.Where(vote => time.GetElapsedTime(vote.Value.Given) > Lapse).Select(vote => vote.Key).ToList())
            {
                _votes.Remove(lapsed);
            }

            if (name is not null && _votes.Any(vote => vote.Key != disk && vote.Value.Name == name))
            {
                return $"another disk of the name '{name}' is being made right now";
            }

            if (_votes.Count >= MaxVotes)
            {
                return "too many disks are being made right now; try again";
            }

            _votes[disk] = (name, time.GetTimestamp());
            return null;
        }
    }

    public void End(string disk)
    {
        lock (_gate)
        {
            _votes.Remove(disk);
        }
    }
}
