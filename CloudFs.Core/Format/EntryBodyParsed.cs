namespace CloudFs.Core.Format;

/// <summary>The JSON body of an entry of kind 2, 3 or 4, parsed. Immutable.</summary>
public sealed class EntryBodyParsed
{
    private EntryBodyParsed(ViewBody? view, AttributesBody attributes)
    {
        View = view;
        Attributes = attributes;
    }

    /// <summary>The view of kinds 2 and 3; null in kind 4.</summary>
    public ViewBody? View { get; }

    /// <summary>What the entry changes in the disk's attributes; in kinds 2 and 3 often nothing.</summary>
    public AttributesBody Attributes { get; }

    /// <summary>The body of a view or branch.</summary>
    public static EntryBodyParsed Of(ViewBody view) => new(view, view.Attributes);

    /// <summary>The body of a change of attributes.</summary>
    public static EntryBodyParsed Of(AttributesBody attributes) => new(null, attributes);

    /// <summary>Parses the body that a kind has. An update's is not JSON: true, and null.</summary>
    /// <param name="kind">The entry's kind.</param>
    /// <param name="body">The whole body with its padding.</param>
    /// <param name="parsed">The body; null for updates and on error.</param>
    /// <param name="fault">The first rule that is broken.</param>
    public static bool TryParse(
        EntryKind kind, ReadOnlySpan<byte> body, out EntryBodyParsed? parsed, out FormatFault fault)
    {
        parsed = null;
        fault = default;
        switch (kind)
        {
            case EntryKind.Update:
                return true;
            case EntryKind.Attributes:
                var attributesSound = AttributesBody.TryParse(body, out var attributes, out fault);
                parsed = attributesSound ? Of(attributes) : null;
                return attributesSound;
            default:
                var viewSound = ViewBody.TryParse(kind, body, out var view, out fault);
                parsed = viewSound ? Of(view!) : null;
                return viewSound;
        }
    }
}
