using System.Buffers;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>What a change of a disk changes.</summary>
internal enum ChangeKind
{
    Contents,
    Attributes,
    Deletion,
}

/// <summary>One change of a disk, as it was asked for.</summary>
/// <param name="Lsn">Of its entry.</param>
/// <param name="Kind">What it changes.</param>
/// <param name="Offset">Where it begins.</param>
/// <param name="Length">Bytes written or cleared; of attributes the new size.</param>
/// <param name="Data">What is written; null for zeroes.</param>
/// <param name="Name">Of attributes the new name.</param>
internal readonly record struct DiskChange(
    ulong Lsn, ChangeKind Kind, int Offset, int Length, ReadOnlyMemory<byte>? Data, string? Name);

/// <summary>
/// Bytes and name of a disk at one time. Its memory is lent, and is the next world's when nobody can look at it any more: to have it
/// from the system again and again, page by page, took a good part of a world's time.
/// </summary>
internal sealed class WorldImage(int bytes, string? name) : IDisposable
{
    private byte[] _array = Rent(bytes);

    public int Bytes { get; private set; } = bytes;

    public string? Name { get; private set; } = name;

    public ReadOnlySpan<byte> Contents => _array.AsSpan(0, Bytes);

    public void Apply(in DiskChange change)
    {
        switch (change.Kind)
        {
            case ChangeKind.Attributes:
                Resize(change.Length);
                Name = change.Name;
                break;
            case ChangeKind.Contents when change.Data is { } data:
                data.Span.CopyTo(_array.AsSpan(change.Offset, Bytes - change.Offset));
                break;
            case ChangeKind.Contents:
                _array.AsSpan(change.Offset, Math.Min(change.Length, Bytes - change.Offset)).Clear();
                break;
            default:
                break;
        }
    }

    /// <summary>Becomes the same as another.</summary>
    public void Take(WorldImage other)
    {
        Resize(other.Bytes);
        other.Contents.CopyTo(_array);
        Name = other.Name;
    }

    /// <summary>Becomes the same as another of this size where a change of contents was.</summary>
    public void Take(WorldImage other, in DiskChange change) =>
        other.Contents.Slice(change.Offset, change.Length).CopyTo(_array.AsSpan(change.Offset));

    public WorldImage Fork()
    {
        var fork = new WorldImage(0, null);
        fork.Take(this);
        return fork;
    }

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_array);
        _array = [];
    }

    private static byte[] Rent(int bytes)
    {
        var array = ArrayPool<byte>.Shared.Rent(bytes);
        array.AsSpan(0, bytes).Clear();
        return array;
    }

    private void Resize(int bytes)
    {
        if (bytes > _array.Length)
        {
            var grown = Rent(bytes);
            Contents.CopyTo(grown);
            ArrayPool<byte>.Shared.Return(_array);
            _array = grown;
        }
        else if (bytes > Bytes)
        {
            _array.AsSpan(Bytes, bytes - Bytes).Clear();
        }

        Bytes = bytes;
    }
}
