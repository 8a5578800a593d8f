using System.Net;
using CloudFs.Core.Contracts;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Http;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;

namespace CloudFs.Replicator.Creation;

/// <summary>
/// Makes a disk on several hosts, in two phases (PROTOCOL.md, 23): each host votes with 100-continue, and only when a majority has, the
/// primary among them, is the first entry sent. What a minority got is taken back.
/// </summary>
internal sealed class DiskMaker(Node node, DiskFinder finder)
{
    private static readonly TimeSpan VotePatience = TimeSpan.FromSeconds(3);

    /// <summary>How long the others are waited for once a majority has the disk: its view is whole from the start then.</summary>
    private static readonly TimeSpan StragglerPatience = TimeSpan.FromSeconds(1);

    public async Task<NewDiskAnswer> MakeAsync(NewDiskRequest request, CancellationToken cancellation)
    {
        var wish = ReadWish(request);
        if (request.Name is { } name && await finder.FindAsync(name, cancellation) is { } taken && taken.Name == name)
        {
            throw new HttpRefusalException(409, $"the name '{name}' is taken by disk {taken.Id}");
        }

        var hosts = node.Table.Views();
        if (CreationSearch.FindRefusal(wish.Replicas, hosts) is { } refusal)
        {
            throw new HttpRefusalException(409, refusal);
        }

        var plan = CreationSearch.Search(wish, hosts, Id160.Parse(node.Self), Node.NewSecret, node.Time);
        Tell(plan, wish);
        await SendAsync(plan, request.Name, cancellation);
        Interlocked.Increment(ref node.Counters.DisksMade);
        node.AskDaemonSoon();
        return new NewDiskAnswer(plan.Entry.Id.ToString(), [.. plan.Hosts.Select(host => host.Record.Id)]);
    }

    private static DiskWish ReadWish(NewDiskRequest request)
    {
        var size = request.Size ?? DiskAttributes.DefaultSize;
        if (size == 0 || size % EntryLayout.SectorSize != 0 || size / EntryLayout.SectorSize > EntryLayout.MaxSector)
        {
            throw new HttpRefusalException(400, $"a disk's size is a positive multiple of {EntryLayout.SectorSize} bytes, not {size}");
        }

        var durability = Durability.Flush;
        if (request.Durability is not null && !DurabilityText.TryParse(request.Durability, out durability))
        {
            throw new HttpRefusalException(400, $"durability is flush, write or async, not '{request.Durability}'");
        }

        if (request.Name is not null && !EntryName.IsValid(request.Name))
        {
            throw new HttpRefusalException(
                400,
                $"'{request.Name}' is no name for a disk: 1 to {EntryName.MaxLength} letters, digits, '.', '_' and '-', no 40 hex digits");
        }

        var attributes = AttributesBody.Empty.WithSize(size).WithDurability(durability);
        return new DiskWish(request.Replicas ?? 3, request.Name is null ? attributes : attributes.WithName(request.Name));
    }

    private void Tell(CreationPlan plan, DiskWish wish)
    {
        var id = plan.Entry.Id.ToString()[..8];
        if (plan.Overlap < wish.Replicas)
        {
            node.Log.Warn(
                $"disk {id}: no id was found in {plan.Tries} tries that calls for its hosts; {plan.Overlap} of {wish.Replicas} fit");
        }

        if (wish.Replicas == 2 && plan.Witness is null)
        {
            node.Log.Warn($"disk {id}: there is no third host for a witness: the disk stops when one of its two hosts is gone");
        }
    }

    private async Task SendAsync(CreationPlan plan, string? name, CancellationToken cancellation)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation, node.Stopping);
        var ballots = plan.Hosts.Select(host => new Ballots(host)).ToList();
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var sent = ballots.ConvertAll(ballot => PutAsync(plan, ballot, name, go.Task, deadline.Token));
        var majority = (ballots.Count / 2) + 1;

        var votes = Task.WhenAll(ballots.Zip(sent, (ballot, reply) => Task.WhenAny(ballot.Voted.Task, reply)));
        await Task.WhenAny(votes, Task.Delay(VotePatience, node.Time, deadline.Token));
        var hasPrimary = ballots[0].Voted.Task.IsCompleted;
        if (!hasPrimary || ballots.Count(ballot => ballot.Voted.Task.IsCompleted) < majority)
        {
            await deadline.CancelAsync();
            throw await RefuseAsync(plan, sent, "voted for it");
        }

        go.SetResult();
        var done = await CountAsync(sent, majority);
        if (!done)
        {
            throw await RefuseAsync(plan, sent, "has it");
        }

        await Task.WhenAny(Task.WhenAll(sent), Task.Delay(StragglerPatience, node.Time, cancellation));
    }

    /// <summary>True once a majority has the entry durable, the primary (the first) too; false when that can't be any more.</summary>
    private static async Task<bool> CountAsync(List<Task<Reply>> sent, int majority)
    {
        List<Task<Reply>> open = [.. sent];
        while (true)
        {
            if (sent.Count(IsGood) >= majority && IsGood(sent[0]))
            {
                return true;
            }

            if (open.Count == 0)
            {
                return false;
            }

            open.Remove(await Task.WhenAny(open));
        }
    }

    private static bool IsGood(Task<Reply> sent) => AnswerOf(sent).IsGood;

    private static Reply AnswerOf(Task<Reply> sent) =>
        sent.IsCompletedSuccessfully ? sent.Result : new Reply(0, [], "no answer in time");

    /// <summary>Takes back what a minority may have got, and says who refused and why.</summary>
    private async Task<HttpRefusalException> RefuseAsync(CreationPlan plan, List<Task<Reply>> sent, string what)
    {
        Interlocked.Increment(ref node.Counters.DisksRefused);
        List<string> lines = [];
        var status = 503;
        for (var i = 0; i < sent.Count; i++)
        {
            var reply = AnswerOf(sent[i]);
            status = reply.Status is 409 or 507 ? reply.Status : status;
            if (!reply.IsGood)
            {
                lines.Add($"{plan.Hosts[i].Name}: {reply.Line}");
            }
        }

        var disk = plan.Entry.Id.ToString();
        await Task.WhenAll(plan.Hosts.Select(host => node.Peers.UnmakeAsync(host.Record.Address, disk, node.Stopping)));
        return new HttpRefusalException(status, $"the disk was not made: no majority with its primary {what}: {string.Join("; ", lines)}");
    }

    private async Task<Reply> PutAsync(CreationPlan plan, Ballots ballot, string? name, Task go, CancellationToken cancellation)
    {
        var record = ballot.Host.Record;
        using var request = new HttpRequestMessage(HttpMethod.Put, $"http://{record.Address}/log?{plan.Entry.Id}&{default(Id160)}");
        request.Headers.ExpectContinue = true;
        request.Headers.Add(CreationHeaders.Host, record.Id);
        request.Headers.Add(CreationHeaders.Device, record.Device);
        if (name is not null)
        {
            request.Headers.Add(CreationHeaders.Name, name);
        }

        if (ballot.Host == plan.Hosts[0])
        {
            request.Headers.Add(CreationHeaders.Secret, plan.Entry.Secret.ToString());
        }

        request.Content = new VotedContent(plan.Entry.Bytes, ballot.Voted, go);
        try
        {
            return await node.Peers.SendAsync(request, HttpCaller.LongPatience, cancellation);
        }
        catch (OperationCanceledException)
        {
            return new Reply(0, [], "it was given up");
        }
    }

    private sealed record Ballots(HostView Host)
    {
        public TaskCompletionSource Voted { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>The entry, which goes out only after the host's vote (100) and the majority's.</summary>
    private sealed class VotedContent(byte[] bytes, TaskCompletionSource voted, Task go) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            voted.TrySetResult();
            await go.WaitAsync(cancellationToken);
            await stream.WriteAsync(bytes, cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = bytes.Length;
            return true;
        }
    }
}
