using System.Text;

namespace CloudFs.Tests.Shared;

/// <summary>What a daemon logs, kept as text. Its thread may write while a test reads: each takes the same lock.</summary>
internal sealed class LogText : TextWriter
{
    private readonly Lock _gate = new();
    private readonly StringBuilder _text = new();

    public override Encoding Encoding => Encoding.UTF8;

    public override void Write(char value)
    {
        lock (_gate)
        {
            _text.Append(value);
        }
    }

    public override void Write(char[] buffer, int index, int count)
    {
        lock (_gate)
        {
            _text.Append(buffer, index, count);
        }
    }

    public override void Write(string? value)
    {
        lock (_gate)
        {
            _text.Append(value);
        }
    }

    /// <summary>Whether a line comes that holds this: whoever logs it does not wait until it is written.</summary>
    public async Task<bool> ComesToHoldAsync(string part)
    {
        for (var waited = 0; waited < 10_000; waited += 10)
        {
            if (ToString().Contains(part, StringComparison.Ordinal))
            {
                return true;
            }

            await Task.Delay(10);
        }

        return false;
    }

    /// <summary>Forgets what was logged so far.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _text.Clear();
        }
    }

    public override string ToString()
    {
        lock (_gate)
        {
            return _text.ToString();
        }
    }
}
