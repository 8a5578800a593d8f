using CommandLine;

namespace CloudFs.Cli.Options;

[Verb("read", HelpText = "Write bytes of a disk to standard output.")]
internal sealed class ReadCommand : DiskCommand
{
    [Option("offset", MetaValue = "SIZE", HelpText = "Where to begin, in bytes: 4096, 1M. Default 0.")]
    public string? Offset { get; set; }

    [Option("length", MetaValue = "SIZE", HelpText = "How much. Default: to the end of the disk.")]
    public string? Length { get; set; }
}

[Verb("write", HelpText = "Write standard input to a disk; durable when it ends.")]
internal sealed class WriteCommand : DiskCommand
{
    [Option("offset", MetaValue = "SIZE", HelpText = "Where to begin, in bytes: 4096, 1M. Default 0.")]
    public string? Offset { get; set; }
}

[Verb("import", HelpText = "Copy a raw image into a disk, from its beginning. Zeroes become holes.")]
internal sealed class ImportCommand : DiskCommand
{
    [Value(1, MetaName = "file", HelpText = "The image; - or nothing for standard input.")]
    public string File { get; set; } = "-";
}

[Verb("export", HelpText = "Copy a disk into a raw image. Holes become holes.")]
internal sealed class ExportCommand : DiskCommand
{
    [Value(1, MetaName = "file", HelpText = "The image; - or nothing for standard output.")]
    public string File { get; set; } = "-";

    [Option("yes", HelpText = "Overwrite a file that is there.")]
    public bool Yes { get; set; }
}
