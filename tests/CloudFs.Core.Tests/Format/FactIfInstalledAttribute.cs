using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>A fact that needs a tool of the machine, and is skipped, saying so, where that is not installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class FactIfInstalledAttribute : FactAttribute
{
    public FactIfInstalledAttribute(string tool)
    {
        Tool = tool;
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        if (!folders.Any(folder => File.Exists(Path.Combine(folder, tool))))
        {
            Skip = $"{tool} is not installed";
        }
    }

    public string Tool { get; }
}
