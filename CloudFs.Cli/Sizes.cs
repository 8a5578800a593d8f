using CloudFs.Core.Contracts;

namespace CloudFs.Cli;

/// <summary>Sizes on the command line.</summary>
internal static class Sizes
{
    public static ulong Parse(string what, string text) => SizeText.TryParse(text, out var bytes)
        ? bytes
        : throw new CommandException(
            $"{what} '{text}': expected bytes, or a size such as 512M, 64G, 1T", ExitStatus.Usage);
}
