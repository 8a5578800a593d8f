using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A number that stands for everything that was seen, in order: two runs that are the same have the same.</summary>
internal sealed class Digest
{
    public ulong Value { get; private set; } = 0x9E3779B97F4A7C15;

    public void Add(ulong value) => Value = ((Value ^ value) * 0xD6E8FEB86659FD93) ^ (Value >> 29);

    public void Add(ReadOnlySpan<byte> bytes) => Add(XXH64.DigestOf(bytes));

    public void Add(Id160 id)
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        id.WriteTo(bytes);
        Add(bytes);
    }
}
