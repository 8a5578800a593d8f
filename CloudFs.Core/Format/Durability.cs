namespace CloudFs.Core.Format;

/// <summary>When a disk's writes are acknowledged (PROTOCOL.md, 14).</summary>
public enum Durability
{
    /// <summary>FLUSH and FUA once a majority has it durable: a disk's default.</summary>
    Flush = 0,

    /// <summary>Every write as FUA.</summary>
    Write = 1,

    /// <summary>FLUSH and FUA once the primary alone has it durable.</summary>
    Async = 2,
}
