using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Reads and writes the two copies of a device's label.</summary>
public static class DeviceLabels
{
    /// <summary>Reads the label without changing anything; null when there is none.</summary>
    /// <exception cref="DeviceRefusedException">There is one that can't be used.</exception>
    public static async Task<DeviceLabel?> ReadAsync(IBlockDevice device, Action<string> tellDamage)
    {
        DeviceLabel? newest = null;
        DeviceException? unreadable = null;
        var faults = new LayoutFault[2];
        for (var copy = 0; copy < 2; copy++)
        {
            var bytes = new byte[DeviceGeometry.LabelBytes];
            try
            {
                await device.ReadAsync(DeviceGeometry.LabelOffset(copy), bytes);
            }
            catch (DeviceException e)
            {
                // The other copy is why there are two.
                faults[copy] = LayoutFault.Damaged;
                unreadable = e;
                continue;
            }

            if (DeviceLabel.TryRead(bytes, copy, out var label, out faults[copy])
                && label!.Generation > (newest?.Generation ?? 0))
            {
                newest = label;
            }
        }

        if (newest is null)
        {
            return faults.Contains(LayoutFault.NewerVersion)
                ? throw new DeviceRefusedException("the device was written by a newer CloudFS: use that version")
                : faults.All(fault => fault == LayoutFault.Absent)
                    ? null
                    : throw new DeviceRefusedException(
                        "both copies of the device's label are damaged: nothing on it can be told apart; nuke it to use it anew",
                        unreadable);
        }

        for (var copy = 0; copy < 2; copy++)
        {
            if (faults[copy] != LayoutFault.None)
            {
                tellDamage($"copy {copy} of the device's label is damaged ({faults[copy]}): the other one was used");
            }
        }

        return newest;
    }

    /// <summary>Writes both copies, durably. The generation must be above that of any copy that is there.</summary>
    /// <param name="device">The device.</param>
    /// <param name="label">What they say.</param>
    /// <param name="tellDamage">Told of a copy whose place is bad, while the other one can be written; null to fail then.</param>
    public static async Task WriteAsync(IBlockDevice device, DeviceLabel label, Action<string>? tellDamage = null)
    {
        // One copy after the other, each durable, so that there is always a whole one.
        var failed = 0;
        for (var copy = 0; copy < 2; copy++)
        {
            var bytes = new byte[DeviceGeometry.LabelBytes];
            label.Write(bytes, copy);
            try
            {
                await device.WriteAsync(DeviceGeometry.LabelOffset(copy), bytes);
                await device.FlushAsync();
            }
            catch (DeviceException e) when (e.IsBadPlace && tellDamage is not null && ++failed < 2)
            {
                tellDamage($"copy {copy} of the device's label can't be written: {e.Message}");
            }
        }
    }
}
