namespace CloudFs.Core.Replication;

/// <summary>
/// What one end of a link asks of the other (docs/protocol/replication.md). Answers begin with a <see cref="LinkAnswer"/>.
/// </summary>
internal enum LinkRequest : byte
{
    /// <summary>A promise to a ballot (PROTOCOL.md, 1 to 4).</summary>
    Promise = 1,

    /// <summary>Take the right to write over (PROTOCOL.md, 20).</summary>
    HandOver = 2,

    /// <summary>One page of an entry, to heal a copy.</summary>
    Page = 3,

    /// <summary>A disk's size and name, and whether a version is in its chain: a session begins or goes on.</summary>
    Open = 4,
    Read = 5,
    Write = 6,
    Zero = 7,
    Flush = 8,
    Describe = 9,

    /// <summary>Durable entries behind an LSN, a piece of them: for a candidate whose chain is not the newest.</summary>
    Entries = 10,
}

/// <summary>What can be told of a request without its body.</summary>
internal static class LinkRequests
{
    /// <summary>Requests and answers take places by their bytes, one at least.</summary>
    public const int PlaceBytes = 64 << 10;

    /// <summary>True for what a client of the other host asks for.</summary>
    public static bool IsOfSession(this LinkRequest request) => request is >= LinkRequest.Open and <= LinkRequest.Describe;

    public static int PlacesOf(int bytes) => 1 + (bytes / PlaceBytes);
}

/// <summary>How an answer begins.</summary>
internal enum LinkAnswer : byte
{
    Ok = 0,

    /// <summary>A line of text follows.</summary>
    Refused = 1,

    /// <summary>An <see cref="Primitives.IoStatus"/> follows.</summary>
    Status = 2,

    /// <summary>This host is not the disk's primary.</summary>
    NotPrimary = 3,
}
