using CloudFs.SystemTests.Harness;

namespace CloudFs.SystemTests;

/// <summary>What deploy/ has is tried, as far as this machine can.</summary>
public sealed class DeployTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    private static readonly string Try = Path.Combine(Tool.Scripts, "..", "deploy", "try.sh");

    private static readonly Dictionary<string, string> Environment = new() { ["CLOUDFS_DIST"] = Tool.Dist };

    [RequiresFact("systemd-analyze")]
    public void The_systemd_units_are_sound_and_may_do_little() =>
        Tool.Run("bash", [Try, "units"], environment: Environment).Ok();

    [RequiresFact(RequiresFactAttribute.Mount, "dockerd", "docker", "debootstrap", "systemd-analyze", "curl", "python3", "dotnet")]
    public void Three_hosts_in_containers_come_up_healthy_make_a_disk_and_go() =>
        Tool.Run("bash", [Try], limit: Limit, environment: Environment).Ok();
}
