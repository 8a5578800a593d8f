using System.Diagnostics;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// A client that writes a disk at random through some host while a test does something to the cluster, and in the end finds everything as it was
/// acknowledged. It fails when a request fails or its connection breaks.
/// </summary>
internal sealed class Load : IAsyncDisposable
{
    private readonly Cluster _cluster;
    private readonly Member _via;
    private readonly string _disk;
    private readonly SectorModel _model;
    private readonly Writer _writer;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _work;

    /// <param name="model">What the disk's first <paramref name="bytes"/> hold when it begins; null: zeroes.</param>
    public Load(Cluster cluster, Member via, string disk, int bytes, int seed, int pause = 1, SectorModel? model = null)
    {
        (_cluster, _via, _disk) = (cluster, via, disk);
        _model = model ?? new SectorModel(bytes);
        _writer = new Writer(_model, 0, _model.Sectors, seed, pause);
        _work = Task.Factory.StartNew(
            () => _writer.Run(via.Daemon.Socket, disk, stop: _stop.Token),
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    public int Acknowledged => _writer.Acknowledged;

    /// <summary>Returns once so many more requests were acknowledged than by now; gives how long that took.</summary>
    public async Task<TimeSpan> ProgressAsync(double seconds, int requests = 50)
    {
        var (clock, before) = (Stopwatch.StartNew(), Acknowledged);
        while (Acknowledged < before + requests)
        {
            if (_work.IsCompleted)
            {
                await _work;
                Assert.Fail($"the client's connection broke\n{_cluster.LogTails()}");
            }

            _cluster.Told(clock.Elapsed.TotalSeconds < seconds,
                $"within {seconds} s only {Acknowledged - before} of {requests} requests were acknowledged");
            await Task.Delay(10);
        }

        return clock.Elapsed;
    }

    /// <summary>Ends it, flushes, and reads what it wrote through this host and others; gives what is there.</summary>
    public async Task<SectorModel> EndAsync(params IEnumerable<Member> readers)
    {
        await _stop.CancelAsync();
        await Settled();
        foreach (var reader in readers.Prepend(_via).Distinct())
        {
            using var peer = NbdPeer.Connect(reader.Daemon.Socket, _disk);
            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
            var complaint = _model.Complaint(peer.ReadAll().AsSpan(0, _model.Sectors * SectorModel.Sector), 0);
            _cluster.Told(complaint is null, $"through host {reader.Number}: {complaint}");
        }

        return _model;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await ((Task)_work).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task Settled()
    {
        await _work;
        _cluster.Told(_writer.Unanswered.Count == 0, $"the client's connection broke, {_writer.Unanswered.Count} requests were not answered");
    }
}
