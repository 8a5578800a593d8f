using System.Globalization;
using System.Text;
using CloudFs.Core.Metrics;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Writes Prometheus' text format (version 0.0.4): each metric with its help and type before its first sample.
/// </summary>
internal sealed class MetricsText
{
    private readonly StringBuilder _text = new(4096);

    /// <summary>A number that only rises. Its name ends in <c>_total</c>.</summary>
    public void Counter(string name, string help, double value) => Sample(name, "counter", help, value);

    public void Gauge(string name, string help, double value) => Sample(name, "gauge", help, value);

    /// <summary>Begins a metric whose samples differ by labels; <see cref="Labelled(string, string, string, double)"/> adds each.</summary>
    public void Begin(string name, string type, string help)
    {
        _text.Append("# HELP ").Append(name).Append(' ').Append(help).Append('\n');
        _text.Append("# TYPE ").Append(name).Append(' ').Append(type).Append('\n');
    }

    public void Labelled(string name, string label, string labelValue, double value)
    {
        AppendLabel(_text.Append(name).Append('{'), label, labelValue);
        _text.Append("} ").Append(Number(value)).Append('\n');
    }

    /// <summary>A sample that two labels tell apart.</summary>
    public void Labelled(string name, string first, string firstValue, string second, string secondValue, double value)
    {
        AppendLabel(_text.Append(name).Append('{'), first, firstValue);
        AppendLabel(_text.Append(','), second, secondValue);
        _text.Append("} ").Append(Number(value)).Append('\n');
    }

    /// <summary>One of a histogram's sets of buckets, told apart by a label; its times in seconds.</summary>
    public void Histogram(string name, string label, string labelValue, LatencySnapshot latency)
    {
        const double Nanos = 1e9;
        long count = 0;
        for (var i = 0; i < latency.Counts.Count; i++)
        {
            count += latency.Counts[i];
            var bound = i < LatencyHistogram.Bounds ? Number(LatencyHistogram.BoundNanos(i) / Nanos) : "+Inf";
            _text.Append(name).Append("_bucket{").Append(label).Append("=\"").Append(labelValue).Append("\",le=\"")
                .Append(bound).Append("\"} ").Append(count).Append('\n');
        }

        Labelled(name + "_sum", label, labelValue, latency.Nanos / Nanos);
        Labelled(name + "_count", label, labelValue, count);
    }

    public override string ToString() => _text.ToString();

    private void Sample(string name, string type, string help, double value)
    {
        Begin(name, type, help);
        _text.Append(name).Append(' ').Append(Number(value)).Append('\n');
    }

    private static void AppendLabel(StringBuilder text, string label, string value)
    {
        text.Append(label).Append("=\"");
        foreach (var c in value)
        {
            text.Append(c switch { '\\' => "\\\\", '"' => "\\\"", '\n' => "\\n", _ => c.ToString() });
        }

        text.Append('"');
    }

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
