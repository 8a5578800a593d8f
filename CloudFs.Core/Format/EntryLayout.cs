namespace CloudFs.Core.Format;

/// <summary>
/// Where the fields of an entry stand, in bytes from the start of its header (docs/format/entry.md). Little-endian.
/// <code>
/// | magic format kind digest flags | headerLength bodyLength | lsn | disk previous parent lock id |
/// | extentCount pageCount | time | reserved | check | extents … | pages … | zeroes to headerLength | body … |
/// </code>
/// Each offset is written as the one before plus its size, so that a field can't be moved alone.
/// </summary>
public static class EntryLayout
{
    /// <summary>Bytes of a sector, the unit of addresses and of padding.</summary>
    public const int SectorSize = 512;

    /// <summary>Sectors of a whole page; a page never crosses a multiple of this in the disk's address space.</summary>
    public const int PageSectors = 8;

    /// <summary>Bytes of a whole page.</summary>
    public const int PageSize = SectorSize * PageSectors;

    /// <summary>Bytes of the longest header: what a reader must be ready to hold before it can check
    /// anything.</summary>
    public const int MaxHeaderLength = 65_536;

    /// <summary>Bytes of the longest body, dropped pages counted.</summary>
    public const int MaxBodyLength = 1_048_576;

    /// <summary>No extent reaches beyond this sector: byte addresses then fit 64 bits.</summary>
    public const ulong MaxSector = 1UL << 55;

    /// <summary>The magic as it is read from the first four bytes: "CFSE".</summary>
    public const uint Magic = 0x45534643;

    /// <summary>The one format version that exists.</summary>
    public const byte FormatVersion = 1;

    /// <summary>The one digest that exists: SHA-1.</summary>
    public const byte DigestSha1 = 1;

    /// <summary>Flag: some page's bytes are no longer here.</summary>
    public const byte FlagCompacted = 1;

    /// <summary>What a reader needs to frame an entry in a stream: the bytes up to the end of bodyLength.</summary>
    public const int FramingSize = BodyLengthOffset + BodyLengthSize;

    public const int MagicOffset = 0;
    public const int MagicSize = 4;
    public const int FormatOffset = MagicOffset + MagicSize;
    public const int FormatSize = 1;
    public const int KindOffset = FormatOffset + FormatSize;
    public const int KindSize = 1;
    public const int DigestOffset = KindOffset + KindSize;
    public const int DigestSize = 1;
    public const int FlagsOffset = DigestOffset + DigestSize;
    public const int FlagsSize = 1;
    public const int HeaderLengthOffset = FlagsOffset + FlagsSize;
    public const int HeaderLengthSize = 4;
    public const int BodyLengthOffset = HeaderLengthOffset + HeaderLengthSize;
    public const int BodyLengthSize = 4;
    public const int LsnOffset = BodyLengthOffset + BodyLengthSize;
    public const int LsnSize = 8;
    public const int DiskOffset = LsnOffset + LsnSize;
    public const int DiskSize = 20;
    public const int PreviousOffset = DiskOffset + DiskSize;
    public const int PreviousSize = 20;
    public const int ParentOffset = PreviousOffset + PreviousSize;
    public const int ParentSize = 20;
    public const int LockOffset = ParentOffset + ParentSize;
    public const int LockSize = 20;
    public const int IdOffset = LockOffset + LockSize;
    public const int IdSize = 20;
    public const int ExtentCountOffset = IdOffset + IdSize;
    public const int ExtentCountSize = 2;
    public const int PageCountOffset = ExtentCountOffset + ExtentCountSize;
    public const int PageCountSize = 2;
    public const int TimeOffset = PageCountOffset + PageCountSize;
    public const int TimeSize = 8;
    public const int ReservedOffset = TimeOffset + TimeSize;
    public const int ReservedSize = 16;
    public const int CheckOffset = ReservedOffset + ReservedSize;
    public const int CheckSize = 8;

    /// <summary>Bytes of the fixed fields; the extents follow.</summary>
    public const int FixedSize = CheckOffset + CheckSize;

    public const int ExtentLbaOffset = 0;
    public const int ExtentLbaSize = 8;
    public const int ExtentSectorsOffset = ExtentLbaOffset + ExtentLbaSize;
    public const int ExtentSectorsSize = 4;
    public const int ExtentKindOffset = ExtentSectorsOffset + ExtentSectorsSize;
    public const int ExtentKindSize = 1;
    public const int ExtentReservedOffset = ExtentKindOffset + ExtentKindSize;
    public const int ExtentReservedSize = 3;

    /// <summary>Bytes of one extent.</summary>
    public const int ExtentSize = ExtentReservedOffset + ExtentReservedSize;

    public const int PageSha1Offset = 0;
    public const int PageSha1Size = 20;
    public const int PageXxh64Offset = PageSha1Offset + PageSha1Size;
    public const int PageXxh64Size = 8;
    public const int PageSectorsOffset = PageXxh64Offset + PageXxh64Size;
    public const int PageSectorsSize = 1;
    public const int PageStateOffset = PageSectorsOffset + PageSectorsSize;
    public const int PageStateSize = 1;
    public const int PageReservedOffset = PageStateOffset + PageStateSize;
    public const int PageReservedSize = 2;

    /// <summary>Bytes of one page record.</summary>
    public const int PageRecordSize = PageReservedOffset + PageReservedSize;

    /// <summary>
    /// Bytes of a header with that many extents and page records, rounded up to whole sectors. May be above
    /// <see cref="MaxHeaderLength"/>: the caller compares.
    /// </summary>
    public static int HeaderLength(int extents, int pages) =>
        (UnpaddedLength(extents, pages) + SectorSize - 1) & ~(SectorSize - 1);

    /// <summary>Bytes of a header before its padding.</summary>
    public static int UnpaddedLength(int extents, int pages) =>
        FixedSize + (ExtentSize * extents) + (PageRecordSize * pages);
}
