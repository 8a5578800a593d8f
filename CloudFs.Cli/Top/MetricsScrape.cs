using System.Globalization;

namespace CloudFs.Cli.Top;

/// <summary>
/// What <c>/metrics</c> told at one moment: values by their name as it is written, labels and all, and the buckets of
/// histograms. A line that can't be understood is as though it were not there: another version may tell more.
/// </summary>
internal sealed class MetricsScrape
{
    private const string BucketStart = "_bucket{";
    private const string BoundStart = ",le=\"";

    private readonly Dictionary<string, double> _values = [];
    private readonly Dictionary<string, SortedDictionary<double, double>> _buckets = [];

    private MetricsScrape(TimeSpan at) => At = at;

    /// <summary>When it was made, on a clock that only goes forward.</summary>
    public TimeSpan At { get; }

    /// <summary>Reads Prometheus' text format.</summary>
    public static MetricsScrape Parse(string text, TimeSpan at)
    {
        var scrape = new MetricsScrape(at);
        foreach (var line in text.Split('\n'))
        {
            var space = line.LastIndexOf(' ');
            if (space > 0 && line[0] != '#' && TryNumber(line.AsSpan(space + 1), out var value))
            {
                scrape.Take(line[..space], value);
            }
        }

        return scrape;
    }

    /// <summary>A value; null when it was not told.</summary>
    public double? Find(string name) => _values.TryGetValue(name, out var value) ? value : null;

    /// <summary>A value; 0 when it was not told.</summary>
    public double Of(string name) => Find(name) ?? 0;

    /// <summary>A histogram's buckets: how many took no longer than the bound, in seconds. Empty when it was not told.</summary>
    public IReadOnlyDictionary<double, double> Buckets(string name, string label) =>
        _buckets.TryGetValue($"{name}{{{label}", out var buckets) ? buckets : new SortedDictionary<double, double>();

    private static bool TryNumber(ReadOnlySpan<char> text, out double value)
    {
        if (text is "+Inf")
        {
            value = double.PositiveInfinity;
            return true;
        }

        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value);
    }

    private void Take(string name, double value)
    {
        _values[name] = value;
        var labels = name.IndexOf(BucketStart, StringComparison.Ordinal);
        var bound = name.IndexOf(BoundStart, StringComparison.Ordinal);
        if (labels < 0 || bound < 0 || !TryNumber(name.AsSpan(bound + BoundStart.Length).TrimEnd("\"}"), out var limit))
        {
            return;
        }

        var series = name[..labels] + "{" + name[(labels + BucketStart.Length)..bound];
        if (!_buckets.TryGetValue(series, out var buckets))
        {
            _buckets[series] = buckets = [];
        }

        buckets[limit] = value;
    }
}
