using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;

namespace CloudFs.Core.Engine;

/// <summary>Makes a device ours, finds out whether it is, and makes it nobody's.</summary>
public static class DeviceFormat
{
    /// <summary>Reads the label, formatting a blank device. A damaged copy is mended from the other.</summary>
    /// <exception cref="DeviceRefusedException">It holds something else, another version, or belongs to another host.</exception>
    public static async Task<DeviceLabel> OpenAsync(EngineSettings settings, EngineRuntime runtime, RecoveryReport report)
    {
        try
        {
            return await JudgeAsync(settings, runtime, report);
        }
        catch (DeviceRefusedException)
        {
            settings.Device.UndoGrowth();
            throw;
        }
    }

    private static async Task<DeviceLabel> JudgeAsync(EngineSettings settings, EngineRuntime runtime, RecoveryReport report)
    {
        var device = settings.Device;
        if (device.Length < DeviceGeometry.MinDeviceBytes)
        {
            throw new DeviceRefusedException(
                $"the device is too small: {device.Length} bytes, at least {DeviceGeometry.MinDeviceBytes} (104 MiB) are needed");
        }

        var label = await DeviceLabels.ReadAsync(device, message => report.AddDamage("damaged-label", message));
        if (label is null)
        {
            return await FormatAsync(settings, runtime, report);
        }

        if (settings.HostId is { } host && host != label.HostId)
        {
            throw new DeviceRefusedException(
                $"the device belongs to host {label.HostId}, not {host}: leave --host-id out, or nuke the device");
        }

        if (label.PhysicalBlock < device.PhysicalBlock)
        {
            throw new DeviceRefusedException(
                $"the device was formatted for blocks of {label.PhysicalBlock} bytes and lies on blocks of "
                + $"{device.PhysicalBlock} now: a torn write could reach what is durable; copy it to another device");
        }

        if (label.DeviceBytes > device.Length)
        {
            throw new DeviceRefusedException(
                $"the device was {label.DeviceBytes} bytes when it was formatted and has {device.Length} now: part of it is missing");
        }

        if (settings.SizeBytes < label.DeviceBytes)
        {
            throw new DeviceRefusedException(
                $"the device has {label.DeviceBytes} bytes: it can grow, not shrink to --size {settings.SizeBytes}");
        }

        var grown = settings.SizeBytes is { } size && DeviceGeometry.SegmentCount(size) > label.SegmentCount;
        if (grown || report.Decisions.Any(decision => decision.IsDamage))
        {
            label = label with
            {
                DeviceBytes = grown ? settings.SizeBytes!.Value : label.DeviceBytes,
                Generation = label.Generation + 1,
            };
            await DeviceLabels.WriteAsync(device, label, message => report.AddDamage("damaged-label", message));
        }

        return label;
    }

    /// <summary>
    /// What a device holds, in words, or null when it is blank. Looks at the beginning, where everything that one would not
    /// want to lose has its mark.
    /// </summary>
    public static async Task<string?> DescribeContentsAsync(IBlockDevice device)
    {
        var start = new byte[Math.Min(device.Length, 128 << 10)];
        await device.ReadAsync(0, start);
        if (DeviceSignatures.Name(start) is { } name)
        {
            return name;
        }

        if (start.AsSpan().IndexOfAnyExcept((byte)0) >= 0)
        {
            return "something that is not zeroes";
        }

        // A device whose first copy was overwritten is still ours.
        var copy = new byte[DeviceGeometry.LabelBytes];
        await device.ReadAsync(DeviceGeometry.LabelCopyOffset, copy);
        return copy.AsSpan().IndexOfAnyExcept((byte)0) >= 0 ? "something that is not zeroes at 1 MiB" : null;
    }

    /// <summary>Overwrites, durably, everything by which a device is known: labels, checkpoints, all before the segments.</summary>
    public static async Task NukeAsync(IBlockDevice device)
    {
        var zeroes = new byte[1 << 20];
        var end = Math.Min(DeviceGeometry.SegmentsOffset, device.Length);
        for (ulong offset = 0; offset < end; offset += (ulong)zeroes.Length)
        {
            await device.WriteAsync(offset, zeroes.AsMemory(0, (int)Math.Min((ulong)zeroes.Length, end - offset)));
        }

        await device.FlushAsync();
    }

    private static async Task<DeviceLabel> FormatAsync(EngineSettings settings, EngineRuntime runtime, RecoveryReport report)
    {
        if (settings.SizeBytes < DeviceGeometry.MinDeviceBytes)
        {
            throw new DeviceRefusedException(
                $"--size {settings.SizeBytes} is too small: at least {DeviceGeometry.MinDeviceBytes} (104 MiB) are needed");
        }

        if (await DescribeContentsAsync(settings.Device) is { } contents)
        {
            throw new DeviceRefusedException(
                $"the device holds {contents}: it is left untouched; 'cloudfs nuke' makes it blank if that may be lost");
        }

        var label = new DeviceLabel
        {
            DeviceId = NewId(runtime),
            HostId = settings.HostId ?? NewId(runtime),
            DeviceBytes = settings.SizeBytes ?? settings.Device.Length,
            PhysicalBlock = settings.Device.PhysicalBlock,
            CreatedMicros = (ulong)((runtime.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond),
            Generation = 1,
        };
        if (!await settings.Device.TryReserveAsync(0, DeviceGeometry.SegmentsOffset))
        {
            throw new DeviceRefusedException("the file system below the device is full");
        }

        await DeviceLabels.WriteAsync(settings.Device, label, message => report.AddDamage("damaged-label", message));
        report.Add("formatted", $"formatted: device {label.DeviceId}, host {label.HostId}, {label.DeviceBytes} bytes");
        return label;
    }

    private static Id160 NewId(EngineRuntime runtime)
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        runtime.FillRandom(bytes);
        return new Id160(bytes);
    }
}
