namespace CloudFs.Cli.Local;

/// <summary>A host that lives in a folder of this machine: its device, its daemon, and in a cluster its replicator.</summary>
internal sealed class LocalHost
{
    private const string DeviceName = "cloudfs.dev";

    private const string SocketName = "nbd.sock";

    // sockaddr_un has room for 108 bytes, the last of which is 0.
    private const int MaxSocketPath = 107;

    public LocalHost(string directory)
    {
        Folder = Path.GetFullPath(directory);
        Daemon = new LocalProcess(Folder, "cloudfsd", DevicePath);
        Replicator = new LocalProcess(Folder, "replicator", DatabasePath);
    }

    public string Folder { get; }

    public LocalProcess Daemon { get; }

    public LocalProcess Replicator { get; }

    public string DevicePath => Path.Combine(Folder, DeviceName);

    public string DatabasePath => Path.Combine(Folder, "replicator.db");

    /// <summary>Where NBD is served besides TCP; null where the folder's path is too long for a socket's.</summary>
    public string? SocketPath
    {
        get
        {
            var path = Path.Combine(Folder, SocketName);
            return System.Text.Encoding.UTF8.GetByteCount(path) <= MaxSocketPath ? path : null;
        }
    }

    /// <summary>Removes what this host keeps, and nothing else that may lie in its folder; an empty folder goes too.</summary>
    public void Destroy()
    {
        string[] files =
        [
            DevicePath, DatabasePath, DatabasePath + "-wal", DatabasePath + "-shm", Path.Combine(Folder, SocketName),
            Daemon.LogPath, Replicator.LogPath,
        ];
        foreach (var file in files)
        {
            if (Directory.Exists(Folder))
            {
                File.Delete(file);
            }
        }

        if (Directory.Exists(Folder) && !Directory.EnumerateFileSystemEntries(Folder).Any())
        {
            Directory.Delete(Folder);
        }
    }
}
