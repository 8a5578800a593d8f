using System.Buffers;
using CloudFs.Cli.Options;
using CloudFs.Cli.Transfer;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands that move bytes: read, write, import, export.</summary>
internal static class DataVerbs
{
    private const int WriteBytes = 8 << 20;

    public static async Task ReadAsync(ReadCommand command, CommandIo io, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        var offset = Offset(command.Offset, disk);
        var length = command.Length is null ? disk.Size - offset : Sizes.Parse("--length", command.Length);
        if (length > disk.Size - offset)
        {
            throw new CommandException($"the range ends behind the disk, which has {disk.Size} bytes");
        }

        using var progress = new Progress(io, length, TimeProvider.System);
        var export = new Export(daemon, disk.Id, progress);
        await using var output = io.OpenOutput();
        await export.ToStreamAsync(output, [new DiskExtent(offset, length, ExtentContent.Data)], cancellation);
        WarnIfChanged(export, io);
    }

    public static async Task WriteAsync(WriteCommand command, CommandIo io, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        var offset = Offset(command.Offset, disk);
        using var progress = new Progress(io, null, TimeProvider.System);
        await using var input = io.OpenInput();
        var writing = new InFlight(1);
        while (true)
        {
            // Two buffers take turns: one is filled while the other is written.
            var buffer = ArrayPool<byte>.Shared.Rent(WriteBytes);
            var read = await input.ReadAtLeastAsync(
                buffer.AsMemory(0, WriteBytes), WriteBytes, throwOnEndOfStream: false, cancellation);
            if (read == 0)
            {
                break;
            }

            if ((ulong)read > disk.Size - offset)
            {
                await writing.FinishAsync();
                throw new CommandException(
                    $"the input goes on behind the disk's end: what came before byte {offset} was written");
            }

            var at = offset;
            await writing.AddAsync(async () =>
            {
                await daemon.WriteBlocksAsync(disk.Id, at, buffer.AsMemory(0, read), cancellation);
                progress.Add((ulong)read);
                ArrayPool<byte>.Shared.Return(buffer);
            });
            offset += (ulong)read;
        }

        await writing.FinishAsync();
    }

    public static async Task ImportAsync(ImportCommand command, CommandIo io, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        using var image = ImageInput.Open(command.File, io);
        if (image.Length > disk.Size)
        {
            throw new CommandException(
                $"the image has {image.Length} bytes, the disk {disk.Size}: "
                + $"cloudfs resize {command.Disk} {image.Length}");
        }

        using var progress = new Progress(io, image.Length, TimeProvider.System);
        await new Import(daemon, disk.Id, disk.Size, progress).RunAsync(image, cancellation);
        progress.Dispose();
        io.Say($"imported {Summary(progress)}");
    }

    public static async Task ExportAsync(ExportCommand command, CommandIo io, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        using var progress = new Progress(io, disk.Size, TimeProvider.System);
        var export = new Export(daemon, disk.Id, progress);
        if (command.File == "-")
        {
            await using var output = io.OpenOutput();
            await export.ToStreamAsync(output, await daemon.GetExtentsAsync(disk.Id, cancellation), cancellation);
        }
        else
        {
            await ToFileAsync(export, command, disk, io, cancellation);
        }

        progress.Dispose();
        io.Say($"exported {Summary(progress)}");
        WarnIfChanged(export, io);
    }

    private static async Task ToFileAsync(
        Export export, ExportCommand command, DiskJson disk, CommandIo io, CancellationToken cancellation)
    {
        if (new FileInfo(command.File) is { Exists: true, Length: > 0 } there)
        {
            io.Confirm($"{command.File} with {SizeText.Format((ulong)there.Length)} will be overwritten", command.Yes);
        }

        try
        {
            using var file = File.OpenHandle(command.File, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            await export.ToFileAsync(file, disk.Size, cancellation);
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"{command.File} can't be written: {failed.Message}");
        }
    }

    private static ulong Offset(string? text, DiskJson disk)
    {
        var offset = text is null ? 0 : Sizes.Parse("--offset", text);
        return offset <= disk.Size
            ? offset : throw new CommandException($"--offset lies behind the disk, which has {disk.Size} bytes");
    }

    private static string Summary(Progress progress)
    {
        var rate = progress.Moved / Math.Max(progress.Elapsed.TotalSeconds, 0.001);
        return $"{SizeText.Format(progress.Moved)} of data, {SizeText.Format((ulong)rate)}/s";
    }

    private static void WarnIfChanged(Export export, CommandIo io)
    {
        if (export.Changed)
        {
            io.Say("cloudfs: warning: the disk was written meanwhile: what came out is of no one version");
        }
    }
}
