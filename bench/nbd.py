"""An NBD client over a Unix socket or TCP, in nothing but the standard library: batches of requests, simple replies."""

import socket
import struct

READ, WRITE, DISC, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FUA = 1
SEND_FLUSH, SEND_FUA = 4, 8  # among the transmission flags
EIO, ENOSPC, ESHUTDOWN = 5, 28, 108
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")


class Gone(Exception):
    """The server went away in the middle; .answers tells what it said before."""

    def __init__(self, answers):
        super().__init__("the server went away")
        self.answers = answers


class Nbd:
    def __init__(self, address, export, timeout=120):
        """The address: a socket's path, or (host, port)."""
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(address)
            self._take(18)
            name = export.encode()
            data = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
            self.socket.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, len(data)) + data)
            kind = 0
            while kind != 1:
                _, _, kind, length = struct.unpack(">QIII", self._take(20))
                data = self._take(length)
                if kind >> 31:
                    raise ConnectionError("export %s is refused: %s" % (export, data.decode(errors="replace")))
                if kind == 3 and struct.unpack(">H", data[:2])[0] == 0:
                    self.size, self.flags = struct.unpack(">QH", data[2:12])
        except BaseException:
            self.socket.close()
            raise

    def _take(self, length):
        data = bytearray(length)
        view = memoryview(data)
        while view:
            got = self.socket.recv_into(view)
            if not got:
                raise ConnectionError("the connection was closed")
            view = view[got:]
        return data

    def batch(self, requests):
        """
        Sends (kind, flags, offset, length, payload) each, then takes the answers, whatever their order: for each (error,
        data), None when there was none before the server went away (raised as Gone).
        """
        answers = [None] * len(requests)
        try:
            parts = []
            for number, (kind, flags, offset, length, payload) in enumerate(requests):
                parts += (REQUEST.pack(0x25609513, flags, kind, number, offset, length), payload)
            try:
                self.socket.sendall(b"".join(parts))
            except ConnectionError:
                pass  # what it answered before can still be had
            for _ in requests:
                _, error, number = REPLY.unpack(self._take(16))
                kind, _, _, length, _ = requests[number]
                answers[number] = (error, self._take(length) if kind == READ and not error else b"")
        except TimeoutError:
            raise
        except OSError:
            raise Gone(answers) from None
        return answers

    def one(self, kind, offset=0, length=0, payload=b"", flags=0):
        (answer,) = self.batch([(kind, flags, offset, length, payload)])
        return answer

    def close(self):
        try:
            self.socket.sendall(REQUEST.pack(0x25609513, 0, DISC, 0, 0, 0))
        except OSError:
            pass  # it is gone already
        self.socket.close()
