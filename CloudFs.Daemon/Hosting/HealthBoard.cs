using CloudFs.Core.Engine;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// The health of the whole process: the engine's own report, and what failed around it (a loop that ended by an
/// exception nobody expected). Such a failure stays until the process is started again: what died does not come back.
/// </summary>
internal sealed class HealthBoard
{
    public const string Failed = "failed";

    // A loop that dies does so once; the bound is for a bug that would report for ever.
    private const int MaxFailures = 16;

    private readonly Lock _gate = new();
    private readonly List<HealthIssue> _failures = [];

    /// <summary>Records that a part of the process died.</summary>
    public void Fail(string code, string message)
    {
        lock (_gate)
        {
            if (_failures.Count < MaxFailures)
            {
                _failures.Add(new HealthIssue(code, message));
            }
        }
    }

    /// <summary>The engine's report with the failures of the process laid over it.</summary>
    public HealthReport Combine(HealthReport engine)
    {
        lock (_gate)
        {
            return _failures.Count == 0 ? engine : new HealthReport(Failed, [.. _failures, .. engine.Issues]);
        }
    }
}
