using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>The disks of a device by id and name. Any thread.</summary>
public sealed class DiskCatalog
{
    /// <summary>Fewer digits than this are too likely to be a typing error.</summary>
    private const int PrefixDigitsMin = 4;

    private readonly Lock _lock = new();
    private readonly Dictionary<Id160, Disk> _disks = [];

    /// <summary>Every disk, deleted ones included, in the order of their ids.</summary>
    public IReadOnlyList<Disk> All()
    {
        lock (_lock)
        {
            return [.. _disks.OrderBy(pair => pair.Key).Select(pair => pair.Value)];
        }
    }

    /// <summary>The disks that are not deleted.</summary>
    public IReadOnlyList<Disk> Live() => [.. All().Where(disk => !disk.IsDeleted)];

    /// <summary>Adds a disk.</summary>
    public void Add(Id160 id, Disk disk)
    {
        lock (_lock)
        {
            _disks.Add(id, disk);
        }
    }

    /// <summary>Takes a disk out: this host's copy is gone.</summary>
    public void Remove(Id160 id)
    {
        lock (_lock)
        {
            _disks.Remove(id);
        }
    }

    /// <summary>The disk with that id, deleted or not.</summary>
    public Disk? ById(Id160 id)
    {
        lock (_lock)
        {
            return _disks.GetValueOrDefault(id);
        }
    }

    /// <summary>By exact id (40 digits) or exact name.</summary>
    public Disk? ByIdOrName(string text) => Id160.TryParse(text, out var id)
        ? ById(id) is { IsDeleted: false } disk ? disk : null
        : ByName(text);

    /// <summary>By exact name; of several (mirrors bring their own), the one that this host is primary of.</summary>
    public Disk? ByName(string name)
    {
        Disk? found = null;
        foreach (var disk in Live())
        {
            if (disk.Name == name && (found is null || !disk.IsReadOnly))
            {
                found = disk;
            }
        }

        return found;
    }

    /// <summary>By id, unique prefix of an id, or name.</summary>
    /// <exception cref="RefusalException">NotFound, or Conflict for an ambiguous prefix.</exception>
    public Disk Find(string text)
    {
        if (ByIdOrName(text) is { } exact)
        {
            return exact;
        }

        var matches = text.Length >= PrefixDigitsMin && text.All(char.IsAsciiHexDigit)
            ? Live().Where(disk => disk.Id.ToString().StartsWith(text, StringComparison.OrdinalIgnoreCase)).ToList()
            : [];
        return matches.Count switch
        {
            1 => matches[0],
            0 => throw new RefusalException(
                Refusal.NotFound, $"no disk '{text}' here: give its name, its id, or at least {PrefixDigitsMin} digits of it"),
            _ => throw new RefusalException(
                Refusal.Conflict, $"'{text}' begins the ids of {matches.Count} disks: give more digits"),
        };
    }

    /// <exception cref="RefusalException">The name is malformed (Invalid) or taken (Conflict).</exception>
    public void RequireNameFree(string? name, Disk? except = null)
    {
        if (name is null)
        {
            return;
        }

        if (!EntryName.IsValid(name))
        {
            throw new RefusalException(
                Refusal.Invalid,
                $"'{name}' is no name for a disk: 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter, and not "
                + "8 or more hex digits alone");
        }

        if (Live().Any(disk => !ReferenceEquals(disk, except) && disk.Name == name))
        {
            throw new RefusalException(Refusal.Conflict, $"there is a disk named '{name}' already");
        }
    }
}
