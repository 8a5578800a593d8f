using System.IO.Pipelines;
using CloudFs.Cli.Options;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Streams;

namespace CloudFs.Cli.Verbs;

/// <summary>
/// <c>verify</c>: checks a device or a stream without a daemon. Heads go to standard output, a line
/// <c>&lt;base id&gt;:&lt;version id&gt; lsn &lt;n&gt;</c> each; forced views and problems go to standard error, and a
/// problem makes the exit status 1. With <c>--rebuild-index</c> a device's index is made anew before.
/// </summary>
internal static class VerifyVerb
{
    // EWOULDBLOCK: the file is locked, which a daemon does to its device.
    private const int WouldBlock = 11;

    public static async Task RunAsync(VerifyCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command.RebuildIndex)
        {
            await RebuildVerb.RunAsync(command, io);
        }

        var problems = await VerifyAsync(command.Path, io, cancellation);
        if (problems > 0)
        {
            throw new CommandException($"{command.Path}: {problems} problem{(problems == 1 ? "" : "s")} found");
        }
    }

    private static async Task<int> VerifyAsync(string path, CommandIo io, CancellationToken cancellation)
    {
        await using (var input = Open(path, io))
        {
            if (path == "-" || BeginsLikeAStream(input))
            {
                return await VerifyStreamAsync(input, io, cancellation);
            }
        }

        // Closed first: an open stream shares a lock on the file, and a device is verified under an exclusive one.
        return await DeviceVerb.VerifyAsync(path, io, cancellation);
    }

    private static Stream Open(string path, CommandIo io)
    {
        try
        {
            return path == "-" ? io.OpenInput() : new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1 << 20, FileOptions.SequentialScan);
        }
        catch (IOException locked) when (locked.HResult == WouldBlock)
        {
            throw new CommandException($"{path} is in use: stop its daemon first (cloudfs down)");
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"{path} can't be read: {failed.Message}");
        }
    }

    /// <summary>A stream begins with an entry; a device begins with its label.</summary>
    private static bool BeginsLikeAStream(Stream input)
    {
        Span<byte> first = stackalloc byte[EntryLayout.FramingSize];
        var read = input.ReadAtLeast(first, first.Length, throwOnEndOfStream: false);
        if (!input.CanSeek)
        {
            throw new CommandException("a pipe is read as standard input: cloudfs verify -", ExitStatus.Usage);
        }

        input.Position = 0;
        return read == 0 || EntryHeaderCodec.TryReadLengths(first[..read], out _, out _, out _);
    }

    private static async Task<int> VerifyStreamAsync(Stream input, CommandIo io, CancellationToken cancellation)
    {
        var reader = PipeReader.Create(input, new StreamPipeReaderOptions(bufferSize: 1 << 20, leaveOpen: true));
        using var framer = new EntryFramer(reader);
        var chain = new ChainVerifier();
        var problems = 0;
        var entries = 0;
        while (true)
        {
            var framed = await framer.NextAsync(cancellation);
            switch (framed.Outcome)
            {
                case FramingOutcome.Entry:
                    entries++;
                    problems += Judge(chain, framed, io);
                    continue;
                case FramingOutcome.Cut:
                    Tell(io, framed.Position, "the stream ends within an entry", ref problems);
                    break;
                case FramingOutcome.Malformed:
                    Tell(io, framed.Position, $"no entry begins here: {framed.Error.Text()}", ref problems);
                    break;
            }

            PrintHeads(chain.Heads.OrderBy(head => head.Disk), chain.ForcedViews, entries, io);
            return problems;
        }
    }

    /// <summary>Judges an entry; 1 when it is refused.</summary>
    private static int Judge(ChainVerifier chain, in FramedEntry framed, CommandIo io)
    {
        var verdict = chain.Add(framed.Header.Span, framed.Body.Span);
        if (verdict.Accepted)
        {
            return 0;
        }

        var problems = 0;
        Tell(io, framed.Position, $"disk {verdict.Disk} {verdict}", ref problems);
        return problems;
    }

    private static void Tell(CommandIo io, ulong position, string what, ref int problems)
    {
        io.Say($"byte {position}: {what}");
        problems++;
    }

    /// <summary>Says what was found, for a stream and a device alike.</summary>
    internal static void PrintHeads(
        IEnumerable<ChainHead> heads, IEnumerable<ForcedView> forcedViews, long entries, CommandIo io)
    {
        foreach (var forced in forcedViews)
        {
            io.Say($"forced view: disk {forced.Disk} LSN {forced.Lsn}, id {forced.Id}: an operator must admit it");
        }

        foreach (var head in heads)
        {
            io.Print($"{head.Disk}:{head.Id} lsn {head.Lsn}{(head.Deleted ? " deleted" : "")}");
        }

        io.Say($"{entries} entries read");
    }
}
