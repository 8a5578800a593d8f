using System.Reflection;

namespace CloudFs.Core.Contracts;

/// <summary>The version of this build, which daemon, replicator and command share.</summary>
public static class ProductVersion
{
    /// <summary>As <c>--version</c> prints it, without the commit that the SDK adds.</summary>
    public static string Text { get; } = Read();

    private static string Read()
    {
        var text = typeof(ProductVersion).Assembly
            .GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0.0.0";
        var plus = text.IndexOf('+', StringComparison.Ordinal);
        return plus < 0 ? text : text[..plus];
    }
}
