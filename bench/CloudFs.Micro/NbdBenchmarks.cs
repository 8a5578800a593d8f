using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Micro;

/// <summary>What a connection does with headers: requests that arrived together, read and judged, and their replies' headers.</summary>
public class NbdBenchmarks
{
    private const int Batch = 32;

    private static readonly NbdSession Session = new(1UL << 40, ReadOnly: false, Structured: true, Allocation: true);

    private readonly byte[] _requests = new byte[Batch * NbdRequest.Size];
    private readonly byte[] _replies = new byte[Batch * ReplyWriter.DataHeaderSize];

    [GlobalSetup]
    public void Setup()
    {
        var commands = new[] { NbdCommand.Read, NbdCommand.Write, NbdCommand.Read, NbdCommand.Flush, NbdCommand.Read, NbdCommand.Trim };
        for (var i = 0; i < Batch; i++)
        {
            var command = commands[i % commands.Length];
            var at = _requests.AsSpan(i * NbdRequest.Size);
            BinaryPrimitives.WriteUInt32BigEndian(at, NbdMagic.Request);
            BinaryPrimitives.WriteUInt16BigEndian(at[6..], (ushort)command);
            BinaryPrimitives.WriteUInt64BigEndian(at[8..], (ulong)i);
            BinaryPrimitives.WriteUInt64BigEndian(at[16..], command == NbdCommand.Flush ? 0 : (ulong)i << 20);
            BinaryPrimitives.WriteUInt32BigEndian(at[24..], command == NbdCommand.Flush ? 0u : 4096u);
        }

        if (ParseAndJudge() != Batch)
        {
            throw new InvalidOperationException("all of these requests are good ones");
        }
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public int ParseAndJudge()
    {
        var good = 0;
        for (var rest = _requests.AsSpan(); rest.Length > 0; rest = rest[NbdRequest.Size..])
        {
            var request = NbdRequest.Read(rest);
            good += RequestRules.Check(request, Session) == RequestFault.None ? 1 : 0;
        }

        return good;
    }

    [Benchmark(OperationsPerInvoke = Batch)]
    public int ReplyHeaders()
    {
        for (var i = 0; i < Batch; i++)
        {
            ReplyWriter.WriteDataHeader(
                _replies.AsSpan(i * ReplyWriter.DataHeaderSize), ChunkFlags.Done, (ulong)i, (ulong)i << 20, 4096);
        }

        return _replies.Length;
    }
}
