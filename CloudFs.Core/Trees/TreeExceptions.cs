namespace CloudFs.Core.Trees;

/// <summary>A page that a merge can't do without is not the one that its parent means.</summary>
public sealed class TreeDamagedException(ulong page, string what) : Exception($"index page {page}: {what}")
{
    /// <summary>Which page.</summary>
    public ulong Page { get; } = page;
}

/// <summary>There is no room for another index page; or what a checkpoint says of index pages can't be.</summary>
public sealed class IndexSpaceException(string message) : Exception(message);
