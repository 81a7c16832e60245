using System.Text.Json;
using Microsoft.Data.Sqlite;

namespace Bayou.Core;

/// <summary>
/// What a run has learned so far, in one SQLite file of its folder: trials, measurements, curves, facts (seed, machine, options). Every write is a transaction
/// of its own, so a killed run loses nothing it had finished. Safe to use from several threads.
/// </summary>
public sealed class RunStore : IDisposable
{
    private static readonly JsonSerializerOptions Json =
        new() { NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private readonly SqliteConnection connection;
    private readonly Lock gate = new();

    private RunStore(string folder, SqliteConnection connection)
    {
        (Folder, this.connection) = (folder, connection);
        Trials = new Table(this, "trials");
        Measurements = new Table(this, "measurements");
        Facts = new Table(this, "facts");
    }

    /// <summary>The run's folder.</summary>
    public string Folder { get; }

    /// <summary>Finished trials by key.</summary>
    public Table Trials { get; }

    /// <summary>Measurements (latencies, sensitivities) by key: a resumed run uses them instead of measuring again.</summary>
    public Table Measurements { get; }

    /// <summary>Seed, machine, versions, options, chosen candidate.</summary>
    public Table Facts { get; }

    /// <summary>Opens or creates the store of a run folder.</summary>
    /// <exception cref="BayouException">The folder cannot be written, or run.db is no run store.</exception>
    public static RunStore Open(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            var connection = new SqliteConnection(new SqliteConnectionStringBuilder
            {
                DataSource = Path.Combine(folder, "run.db"),
                Pooling = false,
            }.ToString());
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = """
                PRAGMA journal_mode = WAL;
                PRAGMA synchronous = FULL;
                PRAGMA busy_timeout = 5000;
                CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, json TEXT NOT NULL, created TEXT NOT NULL);
                CREATE TABLE IF NOT EXISTS measurements (key TEXT PRIMARY KEY, json TEXT NOT NULL, created TEXT NOT NULL);
                CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, json TEXT NOT NULL, created TEXT NOT NULL);
                CREATE TABLE IF NOT EXISTS curves (series TEXT NOT NULL, step INTEGER NOT NULL, value REAL, PRIMARY KEY (series, step));
                """;
            command.ExecuteNonQuery();
            return new RunStore(folder, connection);
        }
        catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException)
        {
            throw new BayouException($"run folder '{folder}': {e.Message.TrimEnd('.')}. Use another folder (--out), or delete its run.db to begin anew", e);
        }
    }

    /// <summary>Adds or replaces a point of a curve.</summary>
    public void AddPoint(string series, long step, double value) =>
        Execute("INSERT OR REPLACE INTO curves VALUES ($a, $b, $c)", ("$a", series), ("$b", step), ("$c", double.IsFinite(value) ? value : DBNull.Value));

    /// <summary>A curve in order of steps; a value that was not finite comes back as NaN.</summary>
    public IReadOnlyList<(long Step, double Value)> Curve(string series)
    {
        lock (gate)
        {
            using var command = Command("SELECT step, value FROM curves WHERE series = $a ORDER BY step", ("$a", series));
            using var reader = command.ExecuteReader();
            var points = new List<(long, double)>();
            while (reader.Read()) points.Add((reader.GetInt64(0), reader.IsDBNull(1) ? double.NaN : reader.GetDouble(1)));
            return points;
        }
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => connection.Dispose();

    private void Execute(string sql, params (string, object)[] parameters)
    {
        lock (gate)
        {
            using var command = Command(sql, parameters);
            try
            {
                command.ExecuteNonQuery();
            }
            catch (SqliteException e)
            {
                throw new BayouException($"run store '{Path.Combine(Folder, "run.db")}': {e.Message}", e);
            }
        }
    }

    private SqliteCommand Command(string sql, params (string Name, object Value)[] parameters)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters) command.Parameters.AddWithValue(name, value);
        return command;
    }

    /// <summary>Values by key, stored as JSON.</summary>
    public sealed class Table
    {
        private readonly RunStore store;
        private readonly string name;

        internal Table(RunStore store, string name) => (this.store, this.name) = (store, name);

        /// <summary>Adds or replaces a value.</summary>
        public void Put<T>(string key, T value) =>
            store.Execute($"INSERT OR REPLACE INTO {name} VALUES ($a, $b, $c)", ("$a", key), ("$b", JsonSerializer.Serialize(value, Json)),
                ("$c", DateTime.UtcNow.ToString("O")));

        /// <summary>The value of a key, or default when there is none (or it no longer has the type's form).</summary>
        public T? Get<T>(string key)
        {
            lock (store.gate)
            {
                using var command = store.Command($"SELECT json FROM {name} WHERE key = $a", ("$a", key));
                return command.ExecuteScalar() is string json ? Parse<T>(json) : default;
            }
        }

        /// <summary>The stored value, or the one that <paramref name="make"/> computes, which is then stored: how a resumed run repeats nothing.</summary>
        public T GetOrAdd<T>(string key, Func<T> make)
            where T : class
        {
            if (Get<T>(key) is { } stored) return stored;
            var made = make();
            Put(key, made);
            return made;
        }

        /// <summary>All values in order of their creation.</summary>
        public IReadOnlyList<(string Key, T Value)> All<T>()
        {
            lock (store.gate)
            {
                using var command = store.Command($"SELECT key, json FROM {name} ORDER BY created, key");
                using var reader = command.ExecuteReader();
                var rows = new List<(string, T)>();
                while (reader.Read())
                {
                    if (Parse<T>(reader.GetString(1)) is { } value) rows.Add((reader.GetString(0), value));
                }
                return rows;
            }
        }

        private static T? Parse<T>(string json)
        {
            try
            {
                return JsonSerializer.Deserialize<T>(json, Json);
            }
            catch (JsonException)
            {
                return default;
            }
        }
    }
}
