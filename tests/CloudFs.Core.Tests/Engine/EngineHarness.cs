using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Opens engines over memory devices, with a write buffer that may outlive them.</summary>
internal static class EngineHarness
{
    public const ulong DeviceBytes = 256UL << 20;

    public static EngineRuntime Runtime(List<EngineEvent>? events = null, TimeProvider? time = null) => new()
    {
        Time = time ?? TimeProvider.System,
        FillRandom = System.Security.Cryptography.RandomNumberGenerator.Fill,
        Spawn = work => Task.Run(work),
        Report = e =>
        {
            if (events is not null)
            {
                lock (events)
                {
                    events.Add(e);
                }
            }
        },
    };

    public static byte[] NewRegion(int slots = 4) => new byte[WriteBuffer.RegionBytes(slots)];

    public static Task<StorageEngine> OpenAsync(
        IBlockDevice device, byte[]? region = null, List<EngineEvent>? events = null, TimeProvider? time = null,
        long readCache = 0) =>
        StorageEngine.OpenAsync(
            new EngineSettings
            {
                Device = device,
                OpenBuffer = region is null ? null : _ => new EngineBuffer(region, () => Array.Clear(region)),
                Boot = Id160.Parse("00000000000000000000000000000000000000b0"),
                ReadCacheBytes = readCache,
            },
            Runtime(events, time));
}
