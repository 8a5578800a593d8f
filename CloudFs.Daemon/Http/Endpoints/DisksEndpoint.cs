using CloudFs.Core.Contracts;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>/disks</c>: lists, makes, describes, changes and deletes disks, in JSON. In a path a disk is named by its id, by
/// a prefix of it that is unique, or by its name.
/// </summary>
internal static class DisksEndpoint
{
    public static Task ListAsync(Exchange exchange)
    {
        IReadOnlyList<DiskJson> disks =
            [.. exchange.Engine.ListDisks().Select(disk => Descriptions.Of(disk, exchange.Engine.Replication))];
        return exchange.JsonAsync(disks, HttpContractsJson.Plain.IReadOnlyListDiskJson);
    }

    public static Task GetAsync(Exchange exchange) => exchange.JsonAsync(
        Descriptions.Of(exchange.Engine.FindDisk(exchange.PathArgument), exchange.Engine.Replication), HttpContractsJson.Plain.DiskJson);

    public static async Task CreateAsync(Exchange exchange)
    {
        var wanted = await exchange.ReadJsonAsync(HttpContractsJson.Plain.NewDiskRequest);
        if (wanted.Replicas is not (null or 1))
        {
            throw new HttpRefusalException(409, exchange.Services.Cluster.Replicator is { } replicator
                ? $"{wanted.Replicas} replicas were asked for: ask the replicator, POST {replicator}/disks"
                : $"{wanted.Replicas} replicas were asked for, but there is one host: this one, without a replicator");
        }

        var spec = new DiskSpec(
            wanted.Size ?? DiskSpec.DefaultSizeBytes, wanted.Name, ReadDurability(wanted.Durability));
        var disk = await exchange.Engine.CreateDiskAsync(spec, exchange.Ended);
        exchange.Response.Headers.Location = $"/disks/{disk.Id}";
        var answer = new NewDiskAnswer(disk.Id.ToString(), [exchange.Engine.HostId.ToString()]);
        await exchange.JsonAsync(answer, HttpContractsJson.Plain.NewDiskAnswer, status: 201);
    }

    /// <summary>The size first: of the two it is the one that is refused where the device is full.</summary>
    public static async Task ChangeAsync(Exchange exchange)
    {
        var disk = exchange.Engine.FindDisk(exchange.PathArgument);
        var change = await exchange.ReadJsonAsync(HttpContractsJson.Plain.ChangeDiskRequest);
        if (change.Size is { } size)
        {
            await disk.ResizeAsync(size, exchange.Ended);
        }

        if (change.Name is { } name)
        {
            await exchange.Engine.RenameDiskAsync(disk, name.Length == 0 ? null : name, exchange.Ended);
        }

        if (change.Durability is { } durability)
        {
            await disk.ChangeDurabilityAsync(ReadDurability(durability), exchange.Ended);
        }

        if (change.Patience is { } patience)
        {
            await disk.ChangePatienceAsync(patience, exchange.Ended);
        }

        await exchange.JsonAsync(Descriptions.Of(disk, exchange.Engine.Replication), HttpContractsJson.Plain.DiskJson);
    }

    public static async Task DeleteAsync(Exchange exchange)
    {
        await exchange.Engine.FindDisk(exchange.PathArgument).DeleteAsync(exchange.Ended);
        exchange.NoContent();
    }

    private static Durability ReadDurability(string? word) =>
        word is null ? Durability.Flush
        : DurabilityText.TryParse(word, out var durability) ? durability
        : throw new HttpRefusalException(400, $"durability is flush, write or async, not '{word}'");
}
