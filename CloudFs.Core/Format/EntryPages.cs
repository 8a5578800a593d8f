namespace CloudFs.Core.Format;

/// <summary>
/// The pages of an entry in order, for <c>foreach</c>, with the places that follow from those before. The header must
/// have been read without error.
/// </summary>
public ref struct EntryPages
{
    private readonly ReadOnlySpan<byte> _header;
    private readonly EntryHeader _fields;
    private EntryPage _current;
    private ExtentRecord _extent;
    private int _extentIndex;
    private int _pageInExtent;
    private int _pagesInExtent;
    private int _next;
    private int _bodyOffset;

    private EntryPages(ReadOnlySpan<byte> header, in EntryHeader fields)
    {
        _header = header;
        _fields = fields;
        _extentIndex = -1;
        if (fields.HasJsonBody)
        {
            _extent = new(0, (uint)(fields.BodyLength / EntryLayout.SectorSize), ExtentKind.Data);
            _pagesInExtent = fields.PageCount;
        }
    }

    /// <summary>The pages of that entry.</summary>
    public static EntryPages Of(ReadOnlySpan<byte> header, in EntryHeader fields) => new(header, fields);

    /// <summary>The page that <see cref="MoveNext"/> came to.</summary>
    public readonly EntryPage Current => _current;

    public readonly EntryPages GetEnumerator() => this;

    /// <summary>Goes to the next page; false after the last.</summary>
    public bool MoveNext()
    {
        if (_next == _fields.PageCount)
        {
            return false;
        }

        while (_pageInExtent == _pagesInExtent)
        {
            _extent = EntryHeaderCodec.ReadExtent(_header, ++_extentIndex);
            _pageInExtent = 0;
            _pagesInExtent = _extent.Pages;
        }

        var record = EntryHeaderCodec.ReadPage(_header, _fields, _next);
        _current = new(_next, _extentIndex, PageCutter.LbaOf(_extent.Lba, _pageInExtent), _bodyOffset, record);
        _bodyOffset += record.State == PageState.Present ? record.Length : 0;
        _pageInExtent++;
        _next++;
        return true;
    }
}
