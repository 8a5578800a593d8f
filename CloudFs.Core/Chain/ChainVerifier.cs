using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>
/// Verifies entries as they come, of any number of disks, each disk's in LSN order: form, hashes, links, and each
/// view's entries once its secret is revealed. A refused entry changes nothing; what follows it is then refused as a
/// gap. Not safe for use by several threads at once.
/// </summary>
/// <param name="entriesPerViewMax">How many entries of a view are kept to be held against its secret.</param>
public sealed class ChainVerifier(int entriesPerViewMax = ViewProof.DefaultEntriesMax)
{
    private readonly Dictionary<Id160, DiskState> _disks = [];
    private readonly List<ForcedView> _forcedViews = [];

    /// <summary>The head of every disk seen, or known from the start.</summary>
    public IEnumerable<ChainHead> Heads => _disks.Values.Select(disk => disk.Head);

    /// <summary>Every forced view that was accepted in form.</summary>
    public IReadOnlyList<ForcedView> ForcedViews => _forcedViews;

    /// <summary>Lets a disk go on from a head that is known already. The entries before it count as unproved.</summary>
    public void Begin(in ChainHead head) => _disks[head.Disk] = new(head, new(head.Lsn + 1, entriesPerViewMax));

    /// <summary>The head of one disk; default if nothing of it was accepted.</summary>
    public ChainHead HeadOf(Id160 disk) => _disks.TryGetValue(disk, out var state) ? state.Head : default;

    /// <summary>Judges the next entry and, if it is accepted, goes on to it.</summary>
    /// <param name="header">The header's bytes.</param>
    /// <param name="body">The body's bytes.</param>
    public EntryVerdict Add(ReadOnlySpan<byte> header, ReadOnlySpan<byte> body)
    {
        if (!EntryHeaderCodec.TryRead(header, out var entry, out var error))
        {
            return new() { Lsn = ClaimedLsn(header), Fault = new(error, "") };
        }

        var verdict = new EntryVerdict { Disk = entry.Disk, Lsn = entry.Lsn, Id = entry.Id };
        if (!EntryBody.VerifyPages(header, entry, body, out error, out var badPage))
        {
            return verdict with { Fault = new(error, badPage < 0 ? "" : $"page {badPage}") };
        }

        if (!EntryBodyParsed.TryParse(entry.Kind, body, out var parsed, out var fault))
        {
            return verdict with { Fault = fault };
        }

        return Judge(entry, parsed, verdict);
    }

    private EntryVerdict Judge(in EntryHeader entry, EntryBodyParsed? body, in EntryVerdict verdict)
    {
        var state = _disks.GetValueOrDefault(entry.Disk);
        var head = state?.Head ?? default;
        var error = ChainRules.Check(head, entry, body, OriginTime(body));
        if (error != ChainError.None)
        {
            return verdict with { ChainError = error };
        }

        var judged = verdict with { Forced = ChainRules.IsForced(body) };
        if (state is not null && body?.View is { Revoked: { } secret })
        {
            var foreign = state.Proof.FindForeign(secret);
            judged = judged with { ForeignLsn = foreign, Unproved = state.Unproved };
            if (foreign != 0)
            {
                return judged with { ChainError = ChainError.NotByTheView };
            }
        }

        Accept(state, head.Next(entry, body), entry, body);
        return judged;
    }

    private void Accept(DiskState? state, in ChainHead next, in EntryHeader entry, EntryBodyParsed? body)
    {
        // A view's own entry is locked with the secret that it introduces, so it is the first of the view's.
        var proof = body?.View is null && state is not null ? state.Proof : new(entry.Lsn, entriesPerViewMax);
        proof.Add(entry.Entropy, entry.Lock);
        if (state is null)
        {
            _disks.Add(entry.Disk, new(next, proof));
        }
        else
        {
            state.Head = next;
            state.Proof = proof;
        }

        if (ChainRules.IsForced(body))
        {
            _forcedViews.Add(new(entry.Disk, entry.Lsn, entry.Id, next.Ballot));
        }
    }

    // Known only while the origin's head is still the version that the branch springs from.
    private ulong OriginTime(EntryBodyParsed? body) =>
        body?.View?.Origin is { } origin && HeadOf(origin.Disk) is var head && head.Id == origin.Version
            ? head.TimeMicros
            : 0;

    private static ulong ClaimedLsn(ReadOnlySpan<byte> header) => header.Length < EntryLayout.FixedSize
        ? 0
        : BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]);

    private sealed class DiskState(in ChainHead head, ViewProof proof)
    {
        public ChainHead Head { get; set; } = head;

        public ViewProof Proof { get; set; } = proof;

        /// <summary>Entries of the view in force that its secret will not be held against.</summary>
        public ulong Unproved => Proof.Skipped + (Proof.FirstLsn - (Head.View?.Lsn ?? Proof.FirstLsn));
    }
}
