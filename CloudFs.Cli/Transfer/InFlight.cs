namespace CloudFs.Cli.Transfer;

/// <summary>
/// Runs a bounded number of pieces of a copy at a time. The first that fails ends the whole: <see cref="AddAsync"/> and
/// <see cref="FinishAsync"/> throw what it threw. One caller.
/// </summary>
internal sealed class InFlight(int capacity)
{
    private readonly List<Task> _running = [];

    /// <summary>Starts a piece as soon as there is room for it.</summary>
    public async Task AddAsync(Func<Task> piece)
    {
        while (_running.Count >= capacity)
        {
            await ReapAsync();
        }

        _running.Add(piece());
    }

    /// <summary>Waits for all that was started.</summary>
    public async Task FinishAsync()
    {
        while (_running.Count > 0)
        {
            await ReapAsync();
        }
    }

    private async Task ReapAsync()
    {
        var done = await Task.WhenAny(_running);
        _running.Remove(done);
        try
        {
            await done;
        }
        catch
        {
            // What else is under way is of no use any more, but must not end unobserved.
            foreach (var other in _running)
            {
                await Task.WhenAny(other);
                _ = other.Exception;
            }

            _running.Clear();
            throw;
        }
    }
}
