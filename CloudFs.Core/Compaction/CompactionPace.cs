namespace CloudFs.Core.Compaction;

/// <summary>Where space, clients and the cycle under way stand.</summary>
/// <param name="FreeBytes">Free segments, and what the log's open one still takes.</param>
/// <param name="FloorBytes">
/// Where ordinary writes begin to wait: the reserve, less what this cycle has taken of it for its output.
/// </param>
/// <param name="HighBytes">Where compaction ends: <see cref="VictimPolicy.HighWater"/>.</param>
/// <param name="ClientBytesPerSecond">How fast the log grows by clients' writes, smoothed over some seconds.</param>
/// <param name="LeftBytes">What the cycle under way has yet to relocate.</param>
/// <param name="LiveShare">Which part of its victims lives, 0 to 1.</param>
public readonly record struct PaceInput(
    long FreeBytes, long FloorBytes, long HighBytes, double ClientBytesPerSecond, long LeftBytes, double LiveShare);

/// <summary>
/// How fast to relocate: not at all when enough is free; faster the less there is, so that clients find a slope and no
/// cliff; without limit when they wait. Two demands, the greater counts: to win on average what clients take, and to
/// be through with the cycle before they have taken what is left, because only its end frees anything.
/// </summary>
public static class CompactionPace
{
    /// <summary>What it goes at while clients write nothing: short of space is short of space.</summary>
    public const double IdleBytesPerSecond = 16 << 20;

    /// <summary>The cycle is to be through when this part of the room is gone; the rest is for its checkpoint.</summary>
    public const double CycleShare = 0.5;

    /// <summary>Victims that live nearly wholly don't make it faster than this part would.</summary>
    public const double MaxLiveShare = 0.97;

    /// <summary>Bytes per second to relocate; infinite for "as fast as can be".</summary>
    public static double BytesPerSecond(in PaceInput input)
    {
        if (input.FreeBytes >= input.HighBytes)
        {
            return 0;
        }

        var room = input.FreeBytes - input.FloorBytes;
        if (room <= 0)
        {
            return double.PositiveInfinity;
        }

        var share = Math.Clamp(input.LiveShare, 0, MaxLiveShare);
        var balance = input.ClientBytesPerSecond * share / (1 - share);

        // None at high water, the balance half way down, without end at the floor.
        var urge = (double)(input.HighBytes - input.FreeBytes) / room;
        var deadline = input.LeftBytes * input.ClientBytesPerSecond / (CycleShare * room);
        return Math.Max(IdleBytesPerSecond, Math.Max(balance * urge, deadline));
    }

    /// <summary>Seconds until high water is reached at this speed; infinite while clients take as much as is won.</summary>
    public static double SecondsLeft(in CompactionDebt debt, double bytesPerSecond, double clientBytesPerSecond)
    {
        if (debt.GainBytes == 0)
        {
            return 0;
        }

        if (!debt.IsReachable)
        {
            return double.PositiveInfinity;
        }

        // Nothing to relocate: the next checkpoint frees it.
        var won = debt.LiveBytes == 0 ? double.PositiveInfinity : bytesPerSecond * debt.GainBytes / debt.LiveBytes;
        return won > clientBytesPerSecond ? debt.GainBytes / (won - clientBytesPerSecond) : double.PositiveInfinity;
    }
}
