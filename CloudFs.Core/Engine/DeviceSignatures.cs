namespace CloudFs.Core.Engine;

/// <summary>
/// Knows what else may lie on a device, so that a refusal can name it. The marks are those that each format documents;
/// anything that is not zeroes is refused anyway.
/// </summary>
internal static class DeviceSignatures
{
    private static readonly (string Name, int Offset, byte[] Mark)[] Marks =
    [
        ("a CloudFS device", 0, "CFSLABEL"u8.ToArray()),
        ("an ext2, ext3 or ext4 file system", 0x438, [0x53, 0xEF]),
        ("an XFS file system", 0, "XFSB"u8.ToArray()),
        ("a Btrfs file system", 0x10040, "_BHRfS_M"u8.ToArray()),
        ("an F2FS file system", 0x400, [0x10, 0x20, 0xF5, 0xF2]),
        ("an NTFS file system", 3, "NTFS    "u8.ToArray()),
        ("a FAT file system", 0x52, "FAT32   "u8.ToArray()),
        ("a FAT file system", 0x36, "FAT1"u8.ToArray()),
        ("swap space", 0xFF6, "SWAPSPACE2"u8.ToArray()),
        ("an LVM physical volume", 0x200, "LABELONE"u8.ToArray()),
        ("a LUKS volume", 0, [(byte)'L', (byte)'U', (byte)'K', (byte)'S', 0xBA, 0xBE]),
        ("a partition table (GPT)", 0x200, "EFI PART"u8.ToArray()),
        ("a member of a Linux RAID", 0x1000, [0xFC, 0x4E, 0x2B, 0xA9]),
        ("a qcow2 image", 0, [(byte)'Q', (byte)'F', (byte)'I', 0xFB]),
        ("a Squashfs image", 0, "hsqs"u8.ToArray()),
        ("a partition table or boot sector", 0x1FE, [0x55, 0xAA]),
    ];

    /// <summary>The first format whose mark stands in the first bytes of a device; null for none.</summary>
    public static string? Name(ReadOnlySpan<byte> start)
    {
        foreach (var (name, offset, mark) in Marks)
        {
            if (start.Length >= offset + mark.Length && start.Slice(offset, mark.Length).SequenceEqual(mark))
            {
                return name;
            }
        }

        return null;
    }
}
