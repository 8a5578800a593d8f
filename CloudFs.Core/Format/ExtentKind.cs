namespace CloudFs.Core.Format;

/// <summary>What an extent puts in place.</summary>
public enum ExtentKind : byte
{
    /// <summary>Bytes, cut into pages.</summary>
    Data = 0,

    /// <summary>Zeroes: no page, no bytes. Discard and write-zeroes are this too.</summary>
    Zero = 1,
}
