namespace CloudFs.Cli.Top;

/// <summary>How long things took within an interval, in seconds; no times where nothing was measured.</summary>
/// <param name="Count">How many were measured.</param>
/// <param name="Mean">What they took on average.</param>
/// <param name="Median">Half of them took no longer.</param>
/// <param name="P99">99 of a hundred took no longer.</param>
internal readonly record struct LatencyFigures(double Count, double Mean, double Median, double P99)
{
    /// <summary>
    /// From the buckets of a histogram: how many more are in each than before, and how much their sum has grown. Within a
    /// bucket times are taken to lie evenly, so that a figure is wrong by less than the bucket is wide.
    /// </summary>
    /// <param name="more">What came to the buckets, by their bounds in rising order, each with those below it.</param>
    /// <param name="sum">Seconds that came to the sum.</param>
    public static LatencyFigures Of(IReadOnlyList<(double Bound, double Count)> more, double sum)
    {
        var count = more.Count == 0 ? 0 : more[^1].Count;
        return count <= 0 ? default : new LatencyFigures(count, sum / count, Quantile(more, 0.5), Quantile(more, 0.99));
    }

    /// <summary>What that part of them took at most. Of those beyond the last bound no more is known than that.</summary>
    internal static double Quantile(IReadOnlyList<(double Bound, double Count)> more, double part)
    {
        var rank = part * more[^1].Count;
        var (low, below) = (0.0, 0.0);
        foreach (var (bound, count) in more)
        {
            if (double.IsInfinity(bound))
            {
                break;
            }

            if (count >= rank)
            {
                return count > below ? low + ((bound - low) * (rank - below) / (count - below)) : bound;
            }

            (low, below) = (bound, count);
        }

        return low;
    }
}
