using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>
/// What a reader must know of a disk to judge its next entry: the newest entry, the view in force, and the attributes.
/// <c>default</c> is the head before a first entry. A value; the parts that seldom change are shared.
/// </summary>
public readonly record struct ChainHead
{
    /// <summary>The disk's base id; zero before the first entry.</summary>
    public Id160 Disk { get; init; }

    /// <summary>LSN of the newest entry; 0 before the first.</summary>
    public ulong Lsn { get; init; }

    /// <summary>Id of the newest version.</summary>
    public Id160 Id { get; init; }

    /// <summary>Entropy of the newest entry; zero where it is not known. Without it the token can't be had
    /// again.</summary>
    public Id160 Entropy { get; init; }

    /// <summary>Lock of the newest entry: what the next one's parent must open.</summary>
    public Id160 Lock { get; init; }

    /// <summary>Time of the newest entry, microseconds since 1970.</summary>
    public ulong TimeMicros { get; init; }

    /// <summary>The view in force; null before the first entry only.</summary>
    public ChainView? View { get; init; }

    /// <summary>The merged attributes; null reads as none, before the first entry.</summary>
    public DiskAttributes? Attributes { get; init; }

    /// <summary>True before a first entry.</summary>
    public bool IsNone => Lsn == 0;

    /// <summary>True if no entry can follow.</summary>
    public bool Deleted => Attributes is { Deleted: true };

    /// <summary>The ballot in force; default before the first entry.</summary>
    public Ballot Ballot => View?.Ballot ?? default;

    /// <summary>The head after an entry that <see cref="ChainRules.Check"/> accepted. Checks nothing itself.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="body">Its parsed body; null for an update.</param>
    public ChainHead Next(in EntryHeader entry, EntryBodyParsed? body) => this with
    {
        Disk = entry.Disk,
        Lsn = entry.Lsn,
        Id = entry.Id,
        Entropy = entry.Entropy,
        Lock = entry.Lock,
        TimeMicros = entry.TimeMicros,
        View = NextView(entry.Lsn, entry.Id, entry.Previous, body),
        Attributes = NextAttributes(body),
    };

    /// <summary>The head after an entry that was just sealed here to extend this head.</summary>
    /// <param name="draft">What was sealed.</param>
    /// <param name="sealedEntry">What became of it.</param>
    /// <param name="body">Its body; null for an update.</param>
    public ChainHead Next(in EntryDraft draft, in SealedEntry sealedEntry, EntryBodyParsed? body) => this with
    {
        Disk = draft.IsFirst ? sealedEntry.Id : Disk,
        Lsn = draft.Lsn,
        Id = sealedEntry.Id,
        Entropy = sealedEntry.Entropy,
        Lock = sealedEntry.Lock,
        TimeMicros = draft.TimeMicros,
        View = NextView(draft.Lsn, sealedEntry.Id, draft.Previous, body),
        Attributes = NextAttributes(body),
    };

    /// <summary>The token of the newest entry, had again from the secret of the view in force.</summary>
    public Id160 Token(Id160 secret) => EntryHashes.Token(secret, Entropy);

    private ChainView? NextView(ulong lsn, Id160 id, Id160 previous, EntryBodyParsed? body) =>
        body?.View is { } view ? new(view, lsn, id, previous) : View;

    private DiskAttributes NextAttributes(EntryBodyParsed? body)
    {
        var before = Attributes ?? DiskAttributes.Empty;
        return body is null ? before : before.Merge(body.Attributes);
    }
}
