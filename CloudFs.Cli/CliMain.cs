using System.Globalization;
using System.Reflection;
using CloudFs.Cli.Options;
using CloudFs.Cli.Verbs;
using CloudFs.Core.Contracts;
using CommandLine;
using CommandLine.Text;

namespace CloudFs.Cli;

/// <summary>From the command line to the exit status.</summary>
internal static class CliMain
{
    private static readonly Type[] Commands =
    [
        typeof(NewDiskCommand), typeof(DisksCommand), typeof(InfoCommand), typeof(RenameCommand), typeof(ResizeCommand),
        typeof(DeleteDiskCommand), typeof(ReadCommand), typeof(WriteCommand), typeof(ImportCommand),
        typeof(ExportCommand), typeof(VerifyCommand), typeof(NukeCommand), typeof(UpCommand), typeof(DownCommand),
        typeof(StatusCommand), typeof(ScrubCommand), typeof(TopCommand), typeof(HostsCommand), typeof(DrainCommand),
        typeof(ForgetCommand), typeof(MoveCommand), typeof(ReplicasCommand), typeof(SetCommand),
    ];

    public static async Task<int> RunAsync(string[] arguments, CommandIo io, CancellationToken cancellation)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.CaseSensitive = true;
            settings.ParsingCulture = CultureInfo.InvariantCulture;
        });
        var parsed = parser.ParseArguments(arguments, Commands);
        if (parsed.Value is null || parsed.Errors.Any())
        {
            return Explain(parsed, io);
        }

        if (FindMistake(parsed.Value, arguments) is { } mistake)
        {
            io.Say($"cloudfs: {mistake}; see cloudfs <command> --help");
            return ExitStatus.Usage;
        }

        try
        {
            await RunAsync(parsed.Value, io, cancellation);
            return ExitStatus.Ok;
        }
        catch (CommandException refused)
        {
            io.Say($"cloudfs: {refused.Message}");
            return refused.Status;
        }
        catch (OperationCanceledException)
        {
            io.Say("cloudfs: interrupted");
            return ExitStatus.Failed;
        }
        catch (IOException failed)
        {
            io.Say($"cloudfs: {failed.Message}");
            return ExitStatus.Failed;
        }
    }

    private static Task RunAsync(object command, CommandIo io, CancellationToken cancellation) => command switch
    {
        NewDiskCommand c => DiskVerbs.NewAsync(c, io, cancellation),
        DisksCommand c => DiskVerbs.ListAsync(c, io, cancellation),
        InfoCommand c => DiskVerbs.InfoAsync(c, io, cancellation),
        RenameCommand c => DiskVerbs.RenameAsync(c, io, cancellation),
        ResizeCommand c => DiskVerbs.ResizeAsync(c, io, cancellation),
        DeleteDiskCommand c => DiskVerbs.DeleteAsync(c, io, cancellation),
        ReadCommand c => DataVerbs.ReadAsync(c, io, cancellation),
        WriteCommand c => DataVerbs.WriteAsync(c, io, cancellation),
        ImportCommand c => DataVerbs.ImportAsync(c, io, cancellation),
        ExportCommand c => DataVerbs.ExportAsync(c, io, cancellation),
        ScrubCommand c => ScrubVerb.RunAsync(c, io, cancellation),
        TopCommand c => TopVerb.RunAsync(c, io, cancellation),
        VerifyCommand c => VerifyVerb.RunAsync(c, io, cancellation),
        NukeCommand c => DeviceVerb.NukeAsync(c, io),
        UpCommand c => LocalVerbs.UpAsync(c, io, cancellation),
        DownCommand c => LocalVerbs.DownAsync(c, io, cancellation),
        StatusCommand c => LocalVerbs.StatusAsync(c, io, cancellation),
        HostsCommand c => ClusterVerbs.HostsAsync(c, io, cancellation),
        DrainCommand c => ClusterVerbs.DrainAsync(c, io, cancellation),
        ForgetCommand c => ClusterVerbs.ForgetAsync(c, io, cancellation),
        MoveCommand c => ClusterVerbs.MoveAsync(c, io, cancellation),
        ReplicasCommand c => ClusterVerbs.ReplicasAsync(c, io, cancellation),
        SetCommand c => DiskVerbs.SetAsync(c, io, cancellation),
        _ => throw new ArgumentOutOfRangeException(nameof(command), command, "a command without a verb"),
    };

    /// <summary>Mistakes that the parser lets through: words too many, and options without their value.</summary>
    private static string? FindMistake(object command, string[] arguments)
    {
        if (command is Command { Strays: { } strays } && strays.FirstOrDefault() is { } stray)
        {
            return $"'{stray}' is one word too many";
        }

        var valued =
            from property in command.GetType().GetProperties()
            where property.PropertyType != typeof(bool)
            let option = property.GetCustomAttribute<OptionAttribute>()
            where option is not null
            select option.LongName;
        return OptionRules.FindWithoutValue(arguments, valued.ToHashSet()) is { } missing
            ? $"{missing} wants a value" : null;
    }

    private static int Explain(ParserResult<object> parsed, CommandIo io)
    {
        var error = parsed.Errors.First();
        switch (error)
        {
            case HelpRequestedError or HelpVerbRequestedError:
                io.Print(Help(parsed));
                return ExitStatus.Ok;
            case VersionRequestedError:
                io.Print($"cloudfs {ProductVersion.Text}");
                return ExitStatus.Ok;
        }

        io.Say("cloudfs: " + error switch
        {
            NoVerbSelectedError => "expected a command; see cloudfs --help",
            BadVerbSelectedError bad => $"there is no command '{bad.Token}'; see cloudfs --help",
            UnknownOptionError unknown => $"there is no option '{unknown.Token}' here; see cloudfs <command> --help",
            MissingRequiredOptionError => "something is missing; see cloudfs <command> --help",
            MissingValueOptionError missing => $"--{missing.NameInfo.LongName} wants a value",
            BadFormatConversionError { NameInfo.LongName.Length: > 0 } bad =>
                $"--{bad.NameInfo.LongName} has a value that can't be understood",
            RepeatedOptionError repeated => $"--{repeated.NameInfo.LongName} is given more than once",
            _ => "the command line can't be understood; see cloudfs <command> --help",
        });
        return ExitStatus.Usage;
    }

    private static string Help(ParserResult<object> parsed)
    {
        var command = parsed.TypeInfo.Current;
        var help = HelpText.AutoBuild(
            parsed,
            text =>
            {
                text.Heading = $"cloudfs {ProductVersion.Text}: the operator's command of CloudFS.";
                text.Copyright = string.Empty;
                text.AdditionalNewLineAfterOption = false;
                text.MaximumDisplayWidth = 100;
                text.AddPreOptionsLines(Usage(command));
                text.AddPostOptionsLine("Disks are named by id, by a prefix of it that is unique, or by name.");
                text.AddPostOptionsLine(
                    "Exit status: 0 done, 1 failed, 2 wrong usage. Errors are one line on standard error.");
                return text;
            },
            example => example,
            verbsIndex: command == typeof(NullInstance));
        return help.ToString().TrimEnd();
    }

    /// <summary>How a command is written, and what it does: taken from its class, so that it can't be wrong.</summary>
    private static IEnumerable<string> Usage(Type command)
    {
        if (command.GetCustomAttribute<VerbAttribute>() is not { } verb)
        {
            return ["cloudfs <command> [options]"];
        }

        var words =
            from property in command.GetProperties()
            let value = property.GetCustomAttribute<ValueAttribute>()
            where value is { Hidden: false }
            orderby value.Index
            select value.Required ? $" <{value.MetaName}>" : $" [{value.MetaName}]";
        return [$"cloudfs {verb.Name}{string.Concat(words)} [options]", verb.HelpText];
    }
}
