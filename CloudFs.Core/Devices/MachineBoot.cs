using System.Security.Cryptography;
using System.Text;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Devices;

/// <summary>Tells one boot of this machine from another.</summary>
public static class MachineBoot
{
    private const string BootIdFile = "/proc/sys/kernel/random/boot_id";

    /// <summary>The digest of the kernel's boot id; zero where the kernel tells none, which matches nothing.</summary>
    public static Id160 Id() => File.Exists(BootIdFile)
        ? new Id160(SHA1.HashData(Encoding.ASCII.GetBytes(File.ReadAllText(BootIdFile).Trim())))
        : default;
}
