using System.Buffers.Binary;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Format;

namespace CloudFs.Core.Tests.Chain;

/// <summary>Grows a chain by sealing, and lets a test state any field otherwise than it should be.</summary>
internal sealed class ChainBuilder
{
    private Id160 _secret;

    public ChainHead Head { get; private set; }

    public Id160 Token { get; private set; }

    public static Id160 Secret(byte seed) => new(Enumerable.Repeat(seed, Id160.Size).ToArray());

    public static ViewBody View(byte secret, ulong epoch, byte? revoked = null, bool forced = false) => new()
    {
        View = EntryHashes.ViewOf(Secret(secret)),
        Epoch = epoch,
        Primary = Secret(200),
        Replicas = [new(Secret(200), Secret(201))],
        Revoked = revoked is { } seed ? Secret(seed) : null,
        Forced = forced,
    };

    /// <summary>A chain that begins with the view of secret 1 at epoch 5.</summary>
    public static ChainBuilder Started()
    {
        var chain = new ChainBuilder();
        chain.Append(chain.Seal(EntryKind.View, EntryBodyParsed.Of(View(1, 5)), secret: 1));
        return chain;
    }

    public SealedTestEntry Update() => Seal(EntryKind.Update, null);

    public SealedTestEntry Seal(
        EntryKind kind, EntryBodyParsed? body, byte? secret = null, ulong? lsn = null, Id160? disk = null,
        Id160? previous = null, Id160? parent = null, ulong? time = null)
    {
        var bytes = body?.View?.ToBytes() ?? body?.Attributes.ToBytes() ?? [];
        var pages = bytes.Chunk(EntryLayout.PageSize).Select(page => PageRecord.Of(page)).ToArray();
        ExtentRecord[] extents = kind == EntryKind.Update ? [new(0, 8, ExtentKind.Zero)] : [];
        var header = new byte[EntrySealer.HeaderLength(extents.Length, pages.Length)];
        var made = EntrySealer.Seal(
            new EntryDraft
            {
                Kind = kind,
                Lsn = lsn ?? Head.Lsn + 1,
                Disk = disk ?? Head.Disk,
                Previous = previous ?? Head.Id,
                Parent = parent ?? Token,
                Secret = secret is { } seed ? Secret(seed) : _secret,
                TimeMicros = time ?? Head.TimeMicros + 1,
                Extents = extents,
                Pages = pages,
            },
            header);
        if (disk is { } other)
        {
            // A first entry's disk is filled in by sealing: put the stated one back. It is no part of the id.
            other.WriteTo(header.AsSpan(EntryLayout.DiskOffset));
            BinaryPrimitives.WriteUInt64LittleEndian(
                header.AsSpan(EntryLayout.CheckOffset), EntryHeaderCodec.ComputeCheck(header));
        }

        return new(new StoredEntry(0, header, bytes), body, made.Token, secret);
    }

    public ChainError Check(SealedTestEntry entry) => ChainRules.Check(Head, entry.Stored.Fields, entry.Body);

    public void Append(SealedTestEntry entry)
    {
        var error = Check(entry);
        if (error != ChainError.None)
        {
            throw new InvalidOperationException(error.Text());
        }

        Head = Head.Next(entry.Stored.Fields, entry.Body);
        Token = entry.Token;
        _secret = entry.Body?.View is null ? _secret : Secret(entry.SecretSeed!.Value);
    }
}

/// <summary>An entry with what only its maker knows.</summary>
internal sealed record SealedTestEntry(StoredEntry Stored, EntryBodyParsed? Body, Id160 Token, byte? SecretSeed);
