namespace CloudFs.SystemTests.Harness;

/// <summary>A folder that is gone when the test is.</summary>
internal sealed class Scratch : IDisposable
{
    public string Folder { get; } = Directory.CreateTempSubdirectory("cloudfs-system-").FullName;

    public string At(string name) => Path.Combine(Folder, name);

    /// <summary>Makes a file of nothing but a hole.</summary>
    public string Sparse(string name, long bytes)
    {
        using var file = File.Create(At(name));
        file.SetLength(bytes);
        return At(name);
    }

    /// <summary>Makes a file of bytes that nothing compresses or guesses, the same at each run.</summary>
    public string Random(string name, int bytes, int seed)
    {
        var contents = new byte[bytes];
        new Random(seed).NextBytes(contents);
        File.WriteAllBytes(At(name), contents);
        return At(name);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
