using System.Text.Json;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Repair;
using Microsoft.Data.Sqlite;

namespace CloudFs.Replicator.Store;

/// <summary>
/// What may be lost, in SQLite: the peers that were known, what was decided about them, and what was wanted of disks. One that can't be
/// read is set aside and made anew. Not safe from several threads at once; calls are short and rare.
/// </summary>
internal sealed class PeerStore : IDisposable
{
    private const string Schema =
        "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
        + "CREATE TABLE IF NOT EXISTS gossip (id INTEGER PRIMARY KEY CHECK (id = 1), message TEXT NOT NULL);"
        + "CREATE TABLE IF NOT EXISTS intents (disk TEXT PRIMARY KEY, replicas INTEGER, move_to TEXT, former TEXT);";

    private readonly Lock _gate = new();
    private readonly SqliteConnection _connection;

    private PeerStore(SqliteConnection connection) => _connection = connection;

    /// <summary>Opens it, or makes it anew; what was damaged is kept beside it, and told. Null path: in memory.</summary>
    /// <exception cref="SqliteException">It can't be made, either.</exception>
    public static PeerStore Open(string? path, EventLog log)
    {
        if (path is null)
        {
            return new PeerStore(Connect(":memory:"));
        }

        try
        {
            return new PeerStore(Connect(path));
        }
        catch (SqliteException broken) when (broken.SqliteErrorCode is 11 or 26 && File.Exists(path))
        {
            // SQLITE_CORRUPT and SQLITE_NOTADB. Nothing in it was the only copy of anything.
            var aside = path + ".damaged";
            File.Move(path, aside, overwrite: true);
            foreach (var rest in new[] { path + "-wal", path + "-shm" }.Where(File.Exists))
            {
                File.Delete(rest);
            }

            log.Warn($"the database {path} is damaged ({broken.Message}): it is set aside as {aside} and made anew");
            return new PeerStore(Connect(path));
        }
    }

    public string? GetFact(string name)
    {
        lock (_gate)
        {
            using var command = Command("SELECT value FROM facts WHERE name = $name", ("$name", name));
            return command.ExecuteScalar() as string;
        }
    }

    public void SetFact(string name, string value)
    {
        lock (_gate)
        {
            using var command = Command("INSERT OR REPLACE INTO facts VALUES ($name, $value)", ("$name", name), ("$value", value));
            command.ExecuteNonQuery();
        }
    }

    /// <summary>The peers and marks of the last run; null for none.</summary>
    public GossipMessage? LoadPeers()
    {
        lock (_gate)
        {
            using var command = Command("SELECT message FROM gossip");
            try
            {
                var message = command.ExecuteScalar() is string text
                    ? JsonSerializer.Deserialize(text, GossipJson.Default.GossipMessage) : null;
                return message is not null && GossipRules.FindFault(message) is null ? message : null;
            }
            catch (JsonException)
            {
                // Of another version, say: it will be learned anew.
                return null;
            }
        }
    }

    public void SavePeers(GossipMessage message)
    {
        lock (_gate)
        {
            using var command = Command(
                "INSERT OR REPLACE INTO gossip VALUES (1, $message)",
                ("$message", JsonSerializer.Serialize(message, GossipJson.Default.GossipMessage)));
            command.ExecuteNonQuery();
        }
    }

    public Dictionary<string, DiskIntent> LoadIntents()
    {
        lock (_gate)
        {
            var intents = new Dictionary<string, DiskIntent>();
            using var command = Command("SELECT disk, replicas, move_to, former FROM intents");
            using var reader = command.ExecuteReader();
            while (reader.Read())
            {
                intents[reader.GetString(0)] = new DiskIntent(
                    reader.IsDBNull(1) ? null : reader.GetInt32(1), reader.IsDBNull(2) ? null : reader.GetString(2),
                    reader.IsDBNull(3) ? null : reader.GetString(3));
            }

            return intents;
        }
    }

    public void SaveIntent(string disk, DiskIntent? intent)
    {
        lock (_gate)
        {
            using var command = intent is null
                ? Command("DELETE FROM intents WHERE disk = $disk", ("$disk", disk))
                : Command(
                    "INSERT OR REPLACE INTO intents VALUES ($disk, $replicas, $move, $former)", ("$disk", disk),
                    ("$replicas", intent.Replicas), ("$move", intent.MoveTo), ("$former", intent.Former));
            command.ExecuteNonQuery();
        }
    }

    public void Dispose() => _connection.Dispose();

    private static SqliteConnection Connect(string path)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = path, Pooling = false, DefaultTimeout = 2,
        }.ToString());
        try
        {
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA quick_check(1);" + Schema;
            command.ExecuteNonQuery();
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private SqliteCommand Command(string text, params ReadOnlySpan<(string Name, object? Value)> values)
    {
        var command = _connection.CreateCommand();
#pragma warning disable CA2100 // Every text is a constant of this class.
        command.CommandText = text;
#pragma warning restore CA2100
        foreach (var (name, value) in values)
        {
            command.Parameters.AddWithValue(name, value ?? DBNull.Value);
        }

        return command;
    }
}
