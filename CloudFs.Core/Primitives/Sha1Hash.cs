using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace CloudFs.Core.Primitives;

/// <summary>
/// SHA-1 (FIPS 180-4) of short things: what each entry and each page has several of. .NET's own face looks the algorithm up
/// for every call, which costs more than hashing 500 bytes does; OpenSSL's three old functions don't, and run the same code.
/// Where they are not to be had, .NET's is used. Allocates nothing; any thread.
/// </summary>
public static unsafe class Sha1Hash
{
    /// <summary>More than the state of any version takes: SHA_CTX has 96 bytes.</summary>
    private const int StateBytes = 128;

    /// <summary>Longer pieces go to .NET: while this hashes, no garbage can be collected.</summary>
    private const int ShortMax = 8 << 10;

    private static readonly delegate* unmanaged[SuppressGCTransition]<byte*, int> Init;
    private static readonly delegate* unmanaged[SuppressGCTransition]<byte*, byte*, nuint, int> Update;
    private static readonly delegate* unmanaged[SuppressGCTransition]<byte*, byte*, int> Final;

    static Sha1Hash()
    {
        if (NativeLibrary.TryLoad("libcrypto.so.3", out var library)
            && NativeLibrary.TryGetExport(library, "SHA1_Init", out var init)
            && NativeLibrary.TryGetExport(library, "SHA1_Update", out var update)
            && NativeLibrary.TryGetExport(library, "SHA1_Final", out var final))
        {
            Update = (delegate* unmanaged[SuppressGCTransition]<byte*, byte*, nuint, int>)update;
            Final = (delegate* unmanaged[SuppressGCTransition]<byte*, byte*, int>)final;
            Init = (delegate* unmanaged[SuppressGCTransition]<byte*, int>)init;
        }
    }

    /// <summary>The hash of <paramref name="bytes"/>.</summary>
    [SkipLocalsInit]
    public static Id160 Of(ReadOnlySpan<byte> bytes)
    {
        Span<byte> digest = stackalloc byte[Id160.Size];
        if (Init == null || bytes.Length > ShortMax)
        {
            SHA1.HashData(bytes, digest);
            return new Id160(digest);
        }

        var state = stackalloc byte[StateBytes];
        fixed (byte* source = bytes)
        fixed (byte* result = digest)
        {
            var done = Init(state) & Update(state, source, (nuint)bytes.Length) & Final(result, state);
            Invariant.That(done == 1, "SHA-1 of memory can't fail");
        }

        return new Id160(digest);
    }
}
