using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;

namespace CloudFs.Replicator.Remote;

/// <summary>An answer, or the lack of one.</summary>
/// <param name="Status">HTTP status; 0 where there was no answer.</param>
/// <param name="Body">All of it.</param>
/// <param name="Line">Of a refusal: its line; where there was no answer: why.</param>
internal sealed record Reply(int Status, byte[] Body, string Line)
{
    public string? ETag { get; init; }

    public bool IsGood => Status is >= 200 and < 300;

    /// <summary>True if the host was not reached, or did not answer in time.</summary>
    public bool IsSilence => Status == 0;

    /// <summary>The body as JSON; null where it is not what was expected.</summary>
    public T? Read<T>(JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return IsGood ? JsonSerializer.Deserialize(Body, type) : null;
        }
        catch (JsonException)
        {
            // Whoever asked says that the answer can't be used.
            return null;
        }
    }
}

/// <summary>
/// All requests that go out: bounded in time and size, never an exception for what another host does. Safe from any thread.
/// </summary>
internal sealed class HttpCaller : IDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>For what waits until something is durable on a majority.</summary>
    public static readonly TimeSpan LongPatience = TimeSpan.FromSeconds(10);

    private const int MaxConnectionsPerHost = 16;

    private readonly HttpClient _client = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        MaxConnectionsPerServer = MaxConnectionsPerHost,
        ConnectTimeout = Patience,
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
        // A vote is waited for as long as the caller's own deadline allows: the entry is never sent without it.
        Expect100ContinueTimeout = Timeout.InfiniteTimeSpan,
    })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    public void Dispose() => _client.Dispose();

    public static HttpContent Json<T>(T value, JsonTypeInfo<T> type)
    {
        var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(value, type));
        content.Headers.ContentType = new("application/json");
        return content;
    }

    /// <summary>Sends and reads the answer, at most <paramref name="maxBytes"/> of it.</summary>
    public async Task<Reply> SendAsync(HttpRequestMessage request, TimeSpan patience, int maxBytes, CancellationToken cancellation)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(patience);
        try
        {
            using var response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, deadline.Token);
            using var body = new MemoryStream();
            await using var stream = await response.Content.ReadAsStreamAsync(deadline.Token);
            var buffer = new byte[16 << 10];
            for (int read; (read = await stream.ReadAsync(buffer, deadline.Token)) > 0;)
            {
                if (body.Length + read > maxBytes)
                {
                    return new Reply(0, [], $"{request.RequestUri} answered more than {maxBytes} bytes");
                }

                await body.WriteAsync(buffer.AsMemory(0, read), deadline.Token);
            }

            var bytes = body.ToArray();
            return new Reply((int)response.StatusCode, bytes, LineOf(response.StatusCode, bytes))
                { ETag = response.Headers.ETag?.ToString() };
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return new Reply(0, [], $"{request.RequestUri!.Authority} did not answer within {patience.TotalSeconds:0} s");
        }
        catch (Exception failed) when (failed is HttpRequestException or IOException or InvalidOperationException)
        {
            return new Reply(0, [], $"{request.RequestUri!.Authority} can't be reached: {failed.GetBaseException().Message}");
        }
    }

    private static string LineOf(HttpStatusCode status, byte[] body)
    {
        if ((int)status < 300)
        {
            return string.Empty;
        }

        try
        {
            if (body.AsSpan().StartsWith("{"u8)
                && JsonSerializer.Deserialize(body, HttpContractsJson.Default.ErrorJson)?.Error is { Length: > 0 } error)
            {
                return error;
            }
        }
        catch (JsonException)
        {
            // Not one of our refusals: its text will do.
            return $"answered {(int)status}";
        }

        var text = Encoding.UTF8.GetString(body.AsSpan(0, Math.Min(body.Length, 500))).ReplaceLineEndings(" ").Trim();
        return text.Length > 0 ? text : $"answered {(int)status}";
    }
}
