using System.Net;

namespace CloudFs.Cli;

/// <summary>A command that can't be done: one line that says what to do, and the exit status.</summary>
internal sealed class CommandException(string line, int exitStatus = ExitStatus.Failed) : Exception(line)
{
    public int Status { get; } = exitStatus;

    /// <summary>The HTTP status of the answer that refused it; null where it was no answer.</summary>
    public HttpStatusCode? Answer { get; init; }
}

/// <summary>The exit statuses; --help tells them.</summary>
internal static class ExitStatus
{
    public const int Ok = 0;

    public const int Failed = 1;

    public const int Usage = 2;
}
