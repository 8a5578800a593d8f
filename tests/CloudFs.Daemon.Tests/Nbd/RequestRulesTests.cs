using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>What is refused, and with which error: each command with each flag and each kind of range.</summary>
public sealed class RequestRulesTests
{
    private const ulong Size = 1UL << 30;

    private static readonly NbdSession Full = new(Size, ReadOnly: false, Structured: true, Allocation: true);

    public static TheoryData<int, int> CommandsAndFlags()
    {
        var data = new TheoryData<int, int>();
        for (var command = 0; command <= 9; command++)
        {
            for (var bit = 0; bit < 16; bit++)
            {
                data.Add(command, bit);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(CommandsAndFlags))]
    public void A_flag_is_taken_only_where_it_is_documented(int command, int bit)
    {
        var request = Request((NbdCommand)command, 0, command == (int)NbdCommand.Flush ? 0U : 4096) with
        {
            Flags = (CommandFlags)(1 << bit),
        };
        var isKnown = command is not 2 and < 8;
        var isTaken = (command, bit) switch
        {
            (_, 0) => true,
            (6, 1) or (0, 2) or (7, 3) or (6, 4) => true,
            _ => false,
        };
        var expected = !isKnown ? RequestFault.UnknownCommand
            : isTaken ? RequestFault.None : RequestFault.UnknownFlags;
        Assert.Equal(expected, RequestRules.Check(request, Full));
    }

    [Fact]
    public void Df_and_block_status_need_what_they_were_negotiated_with()
    {
        var df = Request(NbdCommand.Read, 0, 512) with { Flags = CommandFlags.DontFragment };
        Assert.Equal(RequestFault.UnknownFlags, RequestRules.Check(df, Full with { Structured = false }));
        var status = Request(NbdCommand.BlockStatus, 0, 512);
        Assert.Equal(RequestFault.NoContext, RequestRules.Check(status, Full with { Allocation = false }));
    }

    [Theory]
    [InlineData(0UL, 512U, true)]
    [InlineData(0UL, 4096U, true)]
    [InlineData(Size - 512, 512U, true)]
    [InlineData(0UL, 33554432U, true)]
    [InlineData(Size, 512U, false)]
    [InlineData(Size - 512, 1024U, false)]
    [InlineData(0xffff_ffff_ffff_fe00UL, 512U, false)]
    [InlineData(0xffff_ffff_ffff_fe00UL, 33554432U, false)]
    public void A_range_must_end_within_the_export(ulong offset, uint length, bool isGood)
    {
        foreach (var command in RangeCommands)
        {
            var beyond = command is NbdCommand.Write or NbdCommand.WriteZeroes
                ? RequestFault.WriteBeyondEnd : RequestFault.ReadBeyondEnd;
            var request = Request(command, offset, length);
            Assert.Equal(isGood ? RequestFault.None : beyond, RequestRules.Check(request, Full));
        }
    }

    [Theory]
    [InlineData(0UL, 0U, RequestFault.Empty)]
    [InlineData(Size, 0U, RequestFault.Empty)]
    [InlineData(1UL, 512U, RequestFault.Misaligned)]
    [InlineData(511UL, 512U, RequestFault.Misaligned)]
    [InlineData(0UL, 1U, RequestFault.Misaligned)]
    [InlineData(0UL, 513U, RequestFault.Misaligned)]
    [InlineData(0xffff_ffff_ffff_ffffUL, 0xffff_ffffU, RequestFault.Misaligned)]
    public void A_range_must_be_sectors(ulong offset, uint length, object fault)
    {
        Assert.All(
            RangeCommands,
            c => Assert.Equal((RequestFault)fault, RequestRules.Check(Request(c, offset, length), Full)));
    }

    [Fact]
    public void Only_payload_is_bounded()
    {
        const uint TooLong = (32 << 20) + 512;
        Assert.Equal(RequestFault.ReadTooLong, RequestRules.Check(Request(NbdCommand.Read, 0, TooLong), Full));
        Assert.Equal(RequestFault.WriteTooLong, RequestRules.Check(Request(NbdCommand.Write, 0, TooLong), Full));
        foreach (var command in RangeCommands.Except([NbdCommand.Read, NbdCommand.Write]))
        {
            var large = Full with { Size = 1UL << 40 };
            Assert.Equal(RequestFault.None, RequestRules.Check(Request(command, 512, 0xffff_fe00), large));
        }
    }

    [Fact]
    public void A_flush_has_no_range()
    {
        Assert.Equal(RequestFault.None, RequestRules.Check(Request(NbdCommand.Flush, 0, 0), Full));
        Assert.Equal(RequestFault.ReservedFields, RequestRules.Check(Request(NbdCommand.Flush, 512, 0), Full));
        Assert.Equal(RequestFault.ReservedFields, RequestRules.Check(Request(NbdCommand.Flush, 0, 512), Full));
    }

    [Fact]
    public void A_read_only_export_is_only_read()
    {
        var session = Full with { ReadOnly = true };
        foreach (var command in RangeCommands)
        {
            var writes = command is NbdCommand.Write or NbdCommand.Trim or NbdCommand.WriteZeroes;
            var expected = writes ? RequestFault.ReadOnly : RequestFault.None;
            Assert.Equal(expected, RequestRules.Check(Request(command, 0, 512), session));
        }

        Assert.Equal(RequestFault.None, RequestRules.Check(Request(NbdCommand.Flush, 0, 0), session));
    }

    [Theory]
    [InlineData(false, false, 0b1101_0110_1101)]
    [InlineData(false, true, 0b1101_1110_1101)]
    [InlineData(true, true, 0b0101_1000_1111)]
    public void Flags_say_what_the_session_can(bool readOnly, bool structured, int flags)
    {
        // FAST_ZERO, CACHE, -, MULTI, DF, ZEROES, TRIM, -, FUA, FLUSH, RO, HAS down to bit 0.
        Assert.Equal(flags, (int)new NbdSession(Size, readOnly, structured, true).Flags);
    }

    [Theory]
    [InlineData(IoStatus.Misaligned, NbdCommand.Write, 22U)]
    [InlineData(IoStatus.OutOfRange, NbdCommand.Read, 22U)]
    [InlineData(IoStatus.OutOfRange, NbdCommand.Trim, 22U)]
    [InlineData(IoStatus.OutOfRange, NbdCommand.Write, 28U)]
    [InlineData(IoStatus.OutOfRange, NbdCommand.WriteZeroes, 28U)]
    [InlineData(IoStatus.NoSpace, NbdCommand.Write, 28U)]
    [InlineData(IoStatus.ReadOnly, NbdCommand.Write, 1U)]
    [InlineData(IoStatus.Damaged, NbdCommand.Read, 5U)]
    [InlineData(IoStatus.Poisoned, NbdCommand.Flush, 5U)]
    [InlineData(IoStatus.Stopped, NbdCommand.Write, 108U)]
    [InlineData(IoStatus.Deleted, NbdCommand.Read, 108U)]
    [InlineData(IoStatus.VersionMismatch, NbdCommand.Write, 5U)]
    [InlineData((IoStatus)int.MaxValue, NbdCommand.Write, 5U)]
    public void Statuses_become_errors(IoStatus status, object command, uint error)
    {
        var failure = NbdErrorMap.Of(status, (NbdCommand)command);
        Assert.Equal(error, (uint)failure.Error);
        Assert.InRange(failure.Text.Length, 1, NbdErrorMap.MaxText);
    }

    [Theory]
    [InlineData(RequestFault.UnknownCommand, 22U, 22U)]
    [InlineData(RequestFault.UnknownFlags, 22U, 22U)]
    [InlineData(RequestFault.NoContext, 22U, 22U)]
    [InlineData(RequestFault.ReadOnly, 1U, 1U)]
    [InlineData(RequestFault.ReservedFields, 22U, 22U)]
    [InlineData(RequestFault.Empty, 22U, 22U)]
    [InlineData(RequestFault.Misaligned, 22U, 22U)]
    [InlineData(RequestFault.ReadTooLong, 22U, 75U)]
    [InlineData(RequestFault.WriteTooLong, 22U, 22U)]
    [InlineData(RequestFault.ReadBeyondEnd, 22U, 22U)]
    [InlineData(RequestFault.WriteBeyondEnd, 28U, 28U)]
    [InlineData(RequestFault.Stopping, 108U, 108U)]
    public void Faults_become_errors(object fault, uint simple, uint structured)
    {
        Assert.Equal(simple, (uint)NbdErrorMap.Of((RequestFault)fault, false).Error);
        var failure = NbdErrorMap.Of((RequestFault)fault, true);
        Assert.Equal(structured, (uint)failure.Error);
        Assert.InRange(failure.Text.Length, 1, NbdErrorMap.MaxText);
    }

    [Fact]
    public void Every_status_and_fault_has_its_error()
    {
        Assert.All(
            Enum.GetValues<IoStatus>().Where(s => s != IoStatus.Ok),
            s => Assert.NotEqual(NbdError.None, NbdErrorMap.Of(s, NbdCommand.Read).Error));
        Assert.All(
            Enum.GetValues<RequestFault>().Where(f => f != RequestFault.None),
            f => Assert.NotEqual(NbdError.None, NbdErrorMap.Of(f, true).Error));
    }

    private static IEnumerable<NbdCommand> RangeCommands =>
        Enum.GetValues<NbdCommand>().Except([NbdCommand.Disconnect, NbdCommand.Flush]);

    private static NbdRequest Request(NbdCommand command, ulong offset, uint length) =>
        new(CommandFlags.None, command, 1, offset, length);
}
