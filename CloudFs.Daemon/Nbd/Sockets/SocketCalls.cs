using System.Runtime.InteropServices;

namespace CloudFs.Daemon.Nbd.Sockets;

/// <summary>
/// The calls that .NET has no equal for: a receive that stays in the kernel, a gathering send that does not wait, a
/// wait that ends when the peer is gone, and what the kernel knows of files and limits. A socket used through them must
/// never be used asynchronously, because that would put it into non-blocking mode for good and wake a second thread
/// for each arrival.
/// </summary>
internal static unsafe partial class SocketCalls
{
    /// <summary>EINTR: try again.</summary>
    public const int Interrupted = 4;

    /// <summary>EAGAIN: the peer has not made room yet.</summary>
    public const int WouldBlock = 11;

    private const int DontWait = 0x40;
    private const int Peek = 0x2;
    private const int NoSignal = 0x4000;

    /// <summary>Receives at least a byte, waiting for it. 0 is the end of the stream, below 0 an error.</summary>
    public static int Receive(SafeHandle socket, Span<byte> into)
    {
        fixed (byte* start = into)
        {
            nint received;
            do
            {
                received = recv(socket, start, (nuint)into.Length, 0);
            }
            while (received < 0 && Marshal.GetLastPInvokeError() == Interrupted);

            return (int)received;
        }
    }

    /// <summary>Receives what is here, without waiting. 0 is the end of the stream; below 0: minus errno.</summary>
    public static int TryReceive(SafeHandle socket, Span<byte> into)
    {
        fixed (byte* start = into)
        {
            var received = recv(socket, start, (nuint)into.Length, DontWait);
            return received < 0 ? -Marshal.GetLastPInvokeError() : (int)received;
        }
    }

    /// <summary>
    /// Copies what is here and leaves it to be received, without waiting. 0 is the end of the stream; below 0: minus errno.
    /// </summary>
    public static int TryPeek(SafeHandle socket, Span<byte> into)
    {
        fixed (byte* start = into)
        {
            var received = recv(socket, start, (nuint)into.Length, DontWait | Peek);
            return received < 0 ? -Marshal.GetLastPInvokeError() : (int)received;
        }
    }

    /// <summary>Sends what the socket has room for, without waiting. Below 0: minus errno.</summary>
    public static nint TrySend(SafeHandle socket, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            nint sent;
            do
            {
                sent = send(socket, start, (nuint)bytes.Length, DontWait | NoSignal);
            }
            while (sent < 0 && Marshal.GetLastPInvokeError() == Interrupted);

            return sent < 0 ? -Marshal.GetLastPInvokeError() : sent;
        }
    }

    /// <summary>Sends what the socket has room for, without waiting. Below 0: minus errno.</summary>
    public static nint SendGather(SafeHandle socket, ReadOnlySpan<IoVector> pieces)
    {
        fixed (IoVector* start = pieces)
        {
            var message = new MessageHeader { Pieces = start, PieceCount = (nuint)pieces.Length };
            nint sent;
            do
            {
                sent = sendmsg(socket, &message, DontWait | NoSignal);
            }
            while (sent < 0 && Marshal.GetLastPInvokeError() == Interrupted);

            return sent < 0 ? -Marshal.GetLastPInvokeError() : sent;
        }
    }

    /// <summary>
    /// Waits until the socket can be written to or is broken; false when the time is over. Socket.Poll says false for
    /// the second, which made a sender turn in circles.
    /// </summary>
    public static bool WaitForRoom(SafeHandle socket, int milliseconds) => Wait(socket, 0x4, milliseconds);

    /// <summary>
    /// Waits until there is something to receive or the stream has ended; false when the time is over.
    /// </summary>
    public static bool WaitForBytes(SafeHandle socket, int milliseconds) => Wait(socket, 0x1, milliseconds);

    /// <summary>How many descriptors the process may have.</summary>
    public static ulong DescriptorLimit()
    {
        const int OpenFiles = 7;
        var limits = stackalloc ulong[2];
        return getrlimit(OpenFiles, limits) == 0 ? limits[0] : ulong.MaxValue;
    }

    /// <summary>True when the path names a socket, whether or not anybody listens on it.</summary>
    public static bool IsSocketFile(string path)
    {
        const int CurrentDirectory = -100;
        const uint WantType = 1;
        const int ModeOffset = 28;
        const ushort TypeMask = 0xf000;
        const ushort SocketType = 0xc000;

        // struct statx of Linux, the same on every architecture.
        var status = stackalloc byte[256];
        return statx(CurrentDirectory, path, 0, WantType, status) == 0
            && (*(ushort*)(status + ModeOffset) & TypeMask) == SocketType;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrlimit(int resource, ulong* limits);

    private static bool Wait(SafeHandle socket, short events, int milliseconds)
    {
        var isHeld = false;
        try
        {
            socket.DangerousAddRef(ref isHeld);
            var request = new PollRequest { Descriptor = (int)socket.DangerousGetHandle(), Events = events };

            // Interrupted counts as ready: the next call finds out.
            return poll(&request, 1, milliseconds) != 0;
        }
        finally
        {
            if (isHeld)
            {
                socket.DangerousRelease();
            }
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int poll(PollRequest* requests, nuint count, int milliseconds);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int directory, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(SafeHandle socket, byte* buffer, nuint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(SafeHandle socket, byte* buffer, nuint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(SafeHandle socket, MessageHeader* message, int flags);

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PollRequest
    {
        public int Descriptor;
        public short Events;
        public short Happened;
    }

    /// <summary>struct msghdr of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public nint Name;
        public uint NameLength;
        public IoVector* Pieces;
        public nuint PieceCount;
        public nint Control;
        public nuint ControlLength;
        public int Flags;
    }
}

/// <summary>struct iovec: a piece of pinned memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly unsafe struct IoVector
{
    private readonly byte* _start;
    private readonly nuint _length;

    /// <param name="array">An array from the pinned heap: its address holds as long as the array is reachable.</param>
    /// <param name="offset">Where the piece begins.</param>
    /// <param name="length">Its bytes.</param>
    public IoVector(byte[] array, int offset, int length)
    {
        _start = (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(array))
            + offset;
        _length = (nuint)length;
    }
}
