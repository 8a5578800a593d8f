using System.Security.Cryptography;
using System.Text;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Devices;

/// <summary>Tells one boot of this machine from another.</summary>
public static class MachineBoot
{
    private const string BootIdPath = "/proc/sys/kernel/random/boot_id";

    /// <summary>
    /// The digest of the kernel's id of this boot: what an earlier boot left in the write buffer means nothing any more.
    /// </summary>
    /// <exception cref="DeviceRefusedException">The kernel tells none.</exception>
    public static Id160 Id()
    {
        try
        {
            return new Id160(SHA1.HashData(Encoding.ASCII.GetBytes(File.ReadAllText(BootIdPath))));
        }
        catch (IOException missing)
        {
            throw new DeviceRefusedException(
                $"{BootIdPath} can't be read, so no boot can be told from another: {missing.Message}");
        }
    }
}
