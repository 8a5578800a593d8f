namespace CloudFs.Replicator.Creation;

/// <summary>What a host must know to vote before it has seen the entry, in headers of <c>PUT /log</c>.</summary>
internal static class CreationHeaders
{
    /// <summary>Host and device that the entry names for the one that is asked; the disk's name, where it has one.</summary>
    public const string Host = "CloudFS-Host";

    public const string Device = "CloudFS-Device";

    public const string Name = "CloudFS-Name";

    /// <summary>The view's secret, 40 hex digits, for the primary alone.</summary>
    public const string Secret = "CloudFS-Secret";
}
