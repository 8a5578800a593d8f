"""The servers that are compared: how each is started, with its own best ordinary settings, how it is watched, and ended."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import nbd
from processes import (BENCH, cpu_seconds, drop_caches, family, free_port, resident_bytes, run, run_fio, stat_of)
from workloads import FioError


class Server:
    """One server with one disk: started anew for each transport, its data stays."""

    export, ceiling = "", False

    def __init__(self, place, name, data=None):
        self.place, self.name, self.data = place, name, data and os.path.join(place.work, data)
        self.size, self.pid, self.process, self.flags = place.size, None, None, 0

    def words(self, transport):
        raise NotImplementedError

    def make(self):
        """The disk's file, before the first start."""
        if self.data:
            with open(self.data, "wb") as file:
                file.truncate(self.size)

    def start(self, transport):
        self.transport = transport
        self.socket = os.path.join(self.place.work, self.name + ".sock")
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.socket)
        self.port = free_port()
        self.address = self.socket if transport == "unix" else ("127.0.0.1", self.port)
        with open(os.path.join(self.place.work, self.name + ".log"), "ab") as log:
            # A session of its own: Ctrl-C is for the suite, which ends its servers in order.
            self.process = subprocess.Popen(self.words(transport), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.place.alive.append(self)
        self.known_as(self.process.pid)
        self.wait_until_up()
        return self

    def known_as(self, pid):
        self.pid, fields = pid, stat_of(pid)
        self.born = fields and fields[19]

    def is_there(self):
        """Still the process that was started: a pid can be given again, and a stranger must not be signalled."""
        fields = stat_of(self.pid)
        return fields is not None and fields[0] != "Z" and fields[19] == self.born

    def wait_until_up(self, limit=60):
        began = time.monotonic()
        while True:
            try:
                client = nbd.Nbd(self.address, self.export, timeout=10)
                self.flags = client.flags
                client.close()
                return
            except OSError as why:
                if not self.is_up() or time.monotonic() - began > limit:
                    raise FioError("%s does not come up: %s; %s" % (self.name, why, self.tail())) from None
                time.sleep(0.02)

    def is_up(self):
        return self.process.poll() is None

    def tail(self):
        with open(os.path.join(self.place.work, self.name + ".log"), errors="replace") as log:
            return log.read()[-400:].strip()

    def uri(self):
        if self.transport == "unix":
            return "nbd+unix:///%s?socket=%s" % (self.export, self.socket)
        return "nbd://127.0.0.1:%d/%s" % (self.port, self.export)

    @property
    def flushes(self):
        return bool(self.flags & nbd.SEND_FLUSH)

    def flush_costs(self, times=32):
        """Microseconds for a page and a flush: one that only says yes would be far faster than any disk."""
        client = nbd.Nbd(self.address, self.export)
        client.one(nbd.FLUSH)
        page, began = os.urandom(4096), time.monotonic()
        for _ in range(times):
            if any(error for error, _ in client.batch([(nbd.WRITE, 0, 0, 4096, page)]) + client.batch([(nbd.FLUSH, 0, 0, 0, b"")])):
                raise FioError(self.name + " refuses a write or a flush")
        client.close()
        return (time.monotonic() - began) / times * 1e6

    def load(self, words):
        return run_fio(("--ioengine=nbd", "--uri=" + self.uri(), *words))

    def cpu(self):
        return cpu_seconds(self.pid)

    def resident(self):
        return resident_bytes(self.pid)

    def measure(self, words):
        """A run of fio with what it cost the server: CPU over the run, the most memory during it."""
        most, done = [self.resident()], threading.Event()

        def watch():
            while not done.wait(0.2):
                most.append(self.resident())

        watcher = threading.Thread(target=watch, daemon=True)
        before = self.cpu()
        watcher.start()
        try:
            found = self.load(words)
            time.sleep(0.05)  # a process for one connection needs a moment to end, and its time is counted there
        finally:
            done.set()
            watcher.join()
        found["server_cpu_seconds"] = self.cpu() - before
        found["cpu_s_per_gib"] = found["server_cpu_seconds"] / (found["bytes"] / 2**30)
        found["rss_mib"] = max(most) / 2**20
        return found

    def settle(self):
        """What it still owes the disk is written now, not in the next one's time."""
        time.sleep(0.2)
        if self.data:
            with open(self.data, "rb") as file:
                os.fsync(file.fileno())

    def hold(self):
        """Held still while others are measured."""
        self.signal_one(signal.SIGSTOP)

    def go_on(self):
        self.signal_one(signal.SIGCONT)

    def signal_one(self, number):
        if self.is_there():
            os.kill(self.pid, number)

    def forget(self):
        """Nothing of the disk is in memory any more."""
        self.settle()
        drop_caches(self.data)

    def rest(self):
        """Work that it had put off is done with, where it does such things by itself."""

    def stop(self):
        self.signal_all(signal.SIGTERM)
        self.wait_gone(60)

    def kill(self):
        self.signal_all(signal.SIGKILL)
        self.wait_gone(10)

    def signal_all(self, number):
        for member in list(family(self.pid)) if self.is_there() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)
                os.kill(member, signal.SIGCONT)

    def wait_gone(self, limit):
        until = time.monotonic() + limit
        while self.process.poll() is None or self.is_there():
            if time.monotonic() > until:
                raise FioError("%s does not end" % self.name)
            time.sleep(0.02)
        if self in self.place.alive:
            self.place.alive.remove(self)


class QemuNbd(Server):
    def __init__(self, place, kind):
        super().__init__(place, "qemu-" + kind, kind + ".img")
        self.kind = kind

    def make(self):
        run(["qemu-img", "create", "-q", "-f", self.kind, self.data, str(self.size)])

    def words(self, transport):
        where = ["--socket", self.socket] if transport == "unix" else ["--bind", "127.0.0.1", "--port", str(self.port)]
        # --aio is left as it is: native wants another cache mode, one without the page cache that the others have.
        return ["qemu-nbd", "--format", self.kind, "--cache=writeback", "--persistent", "--shared=64", *where, self.data]


class NbdKit(Server):
    def __init__(self, place, plugin):
        super().__init__(place, "nbdkit-" + plugin, "nbdkit.img" if plugin == "file" else None)
        self.plugin, self.ceiling = plugin, plugin == "memory"

    def words(self, transport):
        where = ["--unix", self.socket] if transport == "unix" else ["--ipaddr", "127.0.0.1", "--port", str(self.port)]
        what = ["file", self.data] if self.plugin == "file" else ["memory", "size=%d" % self.size]
        return ["nbdkit", "--foreground", *where, *what]


class NbdServer(Server):
    """Off the shelf it knows no flush; it goes to the background, and tells its pid in a file."""

    export = "disk"

    def __init__(self, place):
        super().__init__(place, "nbd-server", "nbd-server.img")

    def words(self, transport):
        config, self.pid_file = (os.path.join(self.place.work, "nbd-server." + end) for end in ("conf", "pid"))
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.pid_file)
        with open(config, "w") as file:
            file.write("[generic]\nlistenaddr = 127.0.0.1\nport = %d\n%s[disk]\nexportname = %s\nflush = true\nfua = true\n" % (
                self.port, "unixsock = %s\n" % self.socket if transport == "unix" else "", self.data))
        return ["nbd-server", "-C", config, "-p", self.pid_file]

    def wait_until_up(self, limit=60):
        self.process.wait(limit)
        until = time.monotonic() + 5
        while not self.find() and time.monotonic() < until:
            time.sleep(0.02)
        super().wait_until_up(limit)

    def find(self):
        with contextlib.suppress(OSError, ValueError):
            with open(self.pid_file) as file:
                self.known_as(int(file.read()))
            return True
        return False

    def kill(self):
        # Interrupted just after its start, it is not yet known by its own pid.
        if self.pid == self.process.pid:
            self.find()
        super().kill()

    def is_up(self):
        return self.is_there()


class CloudFs(Server):
    """Our daemon: on a device of the same file system, or (a ceiling) on one in memory, with a smaller disk."""

    export = "disk"

    def __init__(self, place, name="cloudfs", device=None, size=None, in_memory=False, options=None):
        super().__init__(place, name)
        self.data = os.path.join(place.memory if in_memory else place.work, name + ".dev")
        self.device, self.size, self.ceiling = device or place.device, size or place.size, in_memory
        self.options = place.option("--read-cache", place.read_cache) if options is None else options
        self.buffers = os.path.join(place.memory, name)
        os.makedirs(self.buffers)

    def make(self):
        """The daemon makes its device itself."""

    def words(self, transport):
        self.http = "http://127.0.0.1:%d" % free_port()
        return [os.path.join(self.place.dist, "cloudfsd"), "--device", self.data, "--size", str(self.device), "--http",
                self.http[7:], "--nbd", "127.0.0.1:%d" % self.port if transport == "tcp" else "none", "--nbd-socket",
                self.socket, "--buffer-dir", self.buffers, *self.options, *self.place.daemon_words]

    def wait_until_up(self, limit=60):
        until = time.monotonic() + limit
        while True:
            try:
                self.get("/healthz")
                break
            except OSError:
                if not self.is_up() or time.monotonic() > until:
                    raise FioError("%s does not come up: %s" % (self.name, self.tail())) from None
                time.sleep(0.02)
        if self.export in [disk.get("name") for disk in json.loads(self.get("/disks"))]:
            super().wait_until_up(limit)

    def get(self, path, method="GET", body=None):
        request = urllib.request.Request(self.http + path, method=method, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()

    def new_disk(self, name, size):
        self.get("/disks", "POST", json.dumps({"name": name, "size": size}).encode())

    def lay_out(self):
        """
        Each segment is dearer to write the first time, as a file that grows is: all of them are written once, by a disk that
        goes again. The peers' files are written whole as well.
        """
        self.new_disk("spare", self.device * 2)
        run([sys.executable, os.path.join(BENCH, "load.py"), "--socket", self.socket, "--disks", "spare", "full"])
        self.get("/disks/spare", "DELETE")
        self.rest()

    def prepare(self):
        self.lay_out()
        self.new_disk(self.export, self.size)
        Server.wait_until_up(self)

    def metrics(self):
        lines = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in lines}

    def written(self):
        """Bytes to the device by kind, since it started."""
        start = "cloudfs_device_written_bytes_total{"
        return {name.split('"')[1]: value for name, value in self.metrics().items() if name.startswith(start)}

    def rest(self, limit=60):
        until, still = time.monotonic() + limit, 0
        while still < 3 and time.monotonic() < until:
            still = 0 if self.metrics().get("cloudfs_compaction_running", 0) else still + 1
            time.sleep(0.1)

    def forget(self):
        transport = self.transport
        self.stop()
        drop_caches(self.data)
        self.start(transport)

    def remove(self):
        os.remove(self.data)
        shutil.rmtree(self.buffers)


PEERS = {"qemu-raw": lambda place: QemuNbd(place, "raw"), "qemu-qcow2": lambda place: QemuNbd(place, "qcow2"),
         "nbdkit-file": lambda place: NbdKit(place, "file"), "nbd-server": NbdServer,
         "nbdkit-memory": lambda place: NbdKit(place, "memory"),
         "cloudfs-memory": lambda place: CloudFs(place, "cloudfs-memory", device=place.size, size=place.size // 4, in_memory=True)}
PROGRAM = {"qemu-raw": "qemu-nbd", "qemu-qcow2": "qemu-nbd", "nbdkit-file": "nbdkit", "nbdkit-memory": "nbdkit",
           "nbd-server": "nbd-server"}
