using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>Devices that get full, and devices that go round.</summary>
internal sealed partial class EngineWorld
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Fills the device until it refuses, trims all, and finds that as much fits in again.</summary>
    private async Task FillAndEmptyAsync()
    {
        var big = (await CreateAsync(96 << 20))!;
        var doomed = await CreateAsync(1 << 20);
        var amounts = new List<int>();
        var gains = new List<long>();
        for (var rounds = _random.Next(1, 3); rounds > 0; rounds--)
        {
            _faults.NoRoomBelow = false;
            var filled = 0;
            var noRoomAt = _random.Next(3) == 0 ? _random.Next(20, 60) * ChunkBytes : int.MaxValue;
            while (filled + ChunkBytes <= big.Bytes && await WriteAsync(big, filled, ChunkBytes, fua: false))
            {
                filled += ChunkBytes;
                _faults.NoRoomBelow = filled >= noRoomAt;
            }

            if (!_faults.NoRoomBelow && noRoomAt == int.MaxValue)
            {
                amounts.Add(filled);
            }

            await FlushAsync();
            await CheckRangeAsync(big, Math.Max(0, filled - ChunkBytes), ChunkBytes);
            if (doomed is { IsGone: false } && _random.Next(2) == 0)
            {
                Assert.True(await DeleteAsync(doomed), "a disk could not be deleted on a full device");
            }

            if (_random.Next(2) == 0)
            {
                await EndAsync(_random.Next(2) == 0 ? End.PowerCut : End.Kill, _random.Next(2) == 0);
                await RestartAsync(mayDieAgain: false);
            }

            if (_faults.NoRoomBelow)
            {
                // That there is room again is found out within a second.
                _faults.NoRoomBelow = false;
                await Task.Delay(TimeSpan.FromSeconds(2), _simulation.Time);
            }

            big.Write(0, big.Bytes, null);
            Assert.True(
                await AskAsync(big, true, disk => disk.ZeroAsync(0, (ulong)big.Bytes, true, None)),
                "a disk could not be trimmed on a full device");
            await Task.Delay(TimeSpan.FromSeconds(5), _simulation.Time);
            await CheckpointAsync();
            gains.Add(Spare());
            await AuditAsync();
        }

        Assert.True(await WriteAsync(big, 0, ChunkBytes, fua: true), "nothing fits in after a trim of everything");
        Assert.True(amounts.Count == 0 || amounts.Max() - amounts.Min() <= 49 * ChunkBytes, $"taken: {string.Join(", ", amounts)}");
        Assert.True(gains.Max() - gains.Min() <= 32 * ChunkBytes, $"free or garbage: {string.Join(", ", gains)}");
        await EndAsync(End.PowerCut, stopFirst: false);
        await RestartAsync(mayDieAgain: false);
    }

    /// <summary>What is free, and what can be brought back.</summary>
    private long Spare()
    {
        var space = _host.Engine.GetSpace();
        return (long)(space.Free + space.History + space.Dead);
    }

    /// <summary>Overwrites much, and between it a little that stays: segments with something live in them must stay, too.</summary>
    private async Task OverwriteForLongAsync()
    {
        var busy = (await CreateAsync(_random.Next(4, 9) << 20))!;
        var left = _random.Next(90, 150);
        while (left > 0)
        {
            if (_random.Next(2) == 0)
            {
                _host.Device.StopAt(_random.Next(20, 200), _random);
            }

            for (var i = _random.Next(20, 70); i > 0 && left > 0 && !_host.Device.Stopped.IsCompleted; i--, left--)
            {
                if (busy.IsGone || busy.IsDeleted)
                {
                    return;
                }

                var blocks = (busy.Bytes - ChunkBytes) / SectorBytes;
                await WriteAsync(busy, _random.Next(blocks) * SectorBytes, ChunkBytes, fua: _random.Next(20) == 0);
                if (_random.Next(6) == 0)
                {
                    await StepsAsync(1);
                }
            }

            await EndAsync(_random.Next(2) == 0 ? End.PowerCut : End.Kill, _random.Next(3) == 0);
            await RestartAsync(mayDieAgain: _random.Next(4) == 0);
        }

        await CheckSameAgainAsync();
    }
}
