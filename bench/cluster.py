#!/usr/bin/env python3
"""
The suite of several hosts (BENCH_SUITE=cluster ./build.sh bench): our clusters of two and three replicas beside our single host and
replicated peers, all on this machine, in turns. Variables are those of suite.py; BENCH_PEERS chooses among NAMES below.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from processes import BENCH, Place, cpu_seconds, free_port, resident_bytes, run, say
from report import US, Verdict, ratio, row_lines, verdict, verdict_lines, verdicts_of
from servers import Server
from suite import Options, end_on, measure_row, refuse, write_json
from workloads import FioError, fill_words, row as make_row, wanted

SINGLE, THREE, QUORUM, GLUSTER, CEPH = "cloudfs-1", "cloudfs-3", "quorum", "gluster", "ceph"
NAMES = (US, THREE, SINGLE, QUORUM, GLUSTER, CEPH)
HOSTS = {US: 2, THREE: 3, SINGLE: 1}
CATCH_UP, MANY = "catch-up", "thousand"
GIB = 1 << 30


def limits(quorum=None, gluster=None, ceph=None, single=None):
    """Two replicas against each; the goal is twice the limit, except against ourselves."""
    found = {QUORUM: quorum, GLUSTER: gluster, CEPH: ceph}
    return {**{peer: (least, 2 * least) for peer, least in found.items() if least}, **({SINGLE: (single, 1.0)} if single else {})}


PAGES = "--rw=randwrite --bs=4k --iodepth="
ROWS = (
    make_row("flush-d1", "4 KiB random write, flush after each, depth 1", PAGES + "1 --fsync=1", flushed=True,
             others=limits(1.3, 2.3, 3.0, 0.45)),
    make_row("flush-d16", "4 KiB random write, flush after each, depth 16", PAGES + "16 --fsync=1", flushed=True,
             others=limits(4.0, 4.0, 4.0)),
    make_row("write-d32", "4 KiB random write, depth 32", PAGES + "32", others=limits(1.5, 4.0, 4.0, 0.4)),
    make_row("seqwrite-1m", "1 MiB sequential write, depth 8, final flush", "--rw=write --bs=1m --iodepth=8", ends="half",
             flushed=True, others=limits(0.8)),
)
THREE_TO_TWO = 0.65


class Group(Server):
    """A server of several processes, brought up and down by a program: pids() are all that serve it."""

    def pids(self):
        raise NotImplementedError

    def cpu(self):
        return sum(cpu_seconds(pid) for pid in self.pids())

    def resident(self):
        return sum(resident_bytes(pid) for pid in self.pids())

    def is_up(self):
        return bool(self.pids()) and all(os.path.exists("/proc/%d" % pid) for pid in self.pids())

    # Hosts that stand still are taken for dead by the others, and what is at rest costs next to nothing: they are left alone.
    def hold(self):
        pass

    def go_on(self):
        pass

    def settle(self):
        os.sync()

    def known(self):
        self.place.alive.append(self)
        self.pid = self.pids()[0]

    def gone(self):
        if self in self.place.alive:
            self.place.alive.remove(self)

    def kill(self):
        self.stop()


class Peer(Group):
    """One of bench/peers, behind a qemu-nbd."""

    def start(self, transport):
        self.transport, self.folder = transport, os.path.join(self.place.work, self.name)
        self.address = self.socket = self.folder + ".sock"
        self.place.alive.append(self)
        self.script("up")
        self.place.alive.remove(self)
        self.known()
        self.wait_until_up()
        return self

    def script(self, action):
        words = ["bash", os.path.join(BENCH, "peers", self.name + ".sh"), action, self.folder, self.socket, str(self.size)]
        try:
            done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                                  timeout=180)
        except subprocess.TimeoutExpired:
            raise FioError("%s: %s did not end within 180 s" % (self.name, action)) from None
        if done.returncode:
            raise FioError("%s does not go %s: %s; %s" % (self.name, action, done.stderr.strip()[-300:], self.tail()))

    def tail(self):
        path = self.folder + ".up.log"
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as log:
            return log.read()[-300:].strip()

    def pids(self):
        found = []
        for name in sorted(os.listdir(self.folder) if os.path.isdir(self.folder) else ()):
            if name.endswith(".pid"):
                with open(os.path.join(self.folder, name)) as file:
                    found.append(int(file.read()))
        return found

    def stop(self):
        self.script("down")
        self.gone()


class Cluster(Group):
    """Ours: cloudfs up brings up the hosts, and cloudfs newdisk makes the disk; durability is flush."""

    def __init__(self, place, name, hosts):
        super().__init__(place, name)
        self.hosts, self.folder = hosts, os.path.join(place.work, name)
        self.http = "http://127.0.0.1:%d" % free_port()

    def cloudfs(self, *words):
        return run([os.path.join(self.place.dist, "cloudfs"), *words])

    def up(self):
        more = ["--hosts", str(self.hosts)] if self.hosts > 1 else []
        self.cloudfs("up", "--dir", self.folder, "--size", str(self.place.device), "--http", self.http[7:],
                     "--nbd", "127.0.0.1:%d" % free_port(), *self.place.option("--read-cache", self.place.read_cache), *more)

    def start(self, transport):
        self.transport = transport
        self.place.alive.append(self)
        self.up()
        self.place.alive.remove(self)
        self.known()
        self.export = self.new_disk("disk", self.size)
        self.address = self.socket = self.socket_of(self.http)
        self.wait_until_up()
        return self

    def new_disk(self, name, size):
        return self.cloudfs("newdisk", "--daemon", self.http, "--size", str(size), "--name", name, str(self.hosts)).split()[0]

    def get(self, path, http=None):
        with urllib.request.urlopen((http or self.http) + path, timeout=60) as answer:
            return answer.read().decode()

    def socket_of(self, http):
        places = json.loads(self.get("/host", http))["nbd"]
        return next(place[5:] for place in places if place.startswith("unix:"))

    def pids(self):
        """Those that were given a path below our folder: daemons and replicators."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) in ("cloudfsd", "replicator") and any(self.folder + "/" in word for word in words):
                found.append(int(name))
        return sorted(found)

    def others(self):
        """HTTP addresses of the daemons of the other hosts."""
        replicator = json.loads(self.get("/host"))["replicator"]
        hosts = json.loads(self.get("/hosts", replicator))["hosts"]
        urls = [host["daemon"] if host["daemon"].startswith("http") else "http://" + host["daemon"] for host in hosts]
        return [url for url in urls if url.rstrip("/") != self.http]

    def tail(self):
        return ""

    def stop(self):
        self.cloudfs("down", "--dir", self.folder)
        self.gone()


def server_of(place, name):
    return Cluster(place, name, HOSTS[name]) if name in HOSTS else Peer(place, name)


def bring_up(place, names):
    servers = []
    for name in names:
        server = server_of(place, name)
        try:
            server.start("unix").load(fill_words(server.size))
            server.settle()
            say("%-14s %d processes, %s; a page and a flush: %d us" % (
                name, len(server.pids()), "flushes" if server.flushes else "DOES NOT FLUSH", server.flush_costs()))
            servers.append(server)
        except (FioError, OSError, StopIteration, KeyError) as why:
            say("(measured without %s: %s)" % (name, why))
            if server in place.alive:
                end_one(server)
    return servers


def end_one(server):
    try:
        server.stop()
    except (FioError, OSError) as why:
        say("(%s may not have ended: %s)" % (server.name, why))
        server.gone()


def three_to_two(results):
    for row in ROWS:
        if row.key in results:
            key = "mbs" if row.ends == "half" else "iops"
            servers = results[row.key]["servers"]
            value = ratio(servers.get(THREE), servers.get(US), key)
            yield Verdict("%s, three replicas to two" % row.name, value, THREE_TO_TWO, 1.0, verdict(value, THREE_TO_TWO, 1.0))


def loopback_bytes():
    with open("/proc/net/dev") as file:
        return next(int(line.split(":")[1].split()[0]) for line in file if line.strip().startswith("lo:"))


def measure_catch_up(place, size=1 << 30, limit=600):
    """
    A replica's host is ended, size bytes are overwritten, it returns: how fast its head is the primary's again, and what went over
    loopback meanwhile (all of it, so the machine must be at rest) for each byte that changed.
    """
    server = Cluster(place, "catch-up", 3)
    server.size = max(server.size, size)
    try:
        server.start("unix").load(fill_words(server.size))
        other = server.others()[0]
        os.kill(json.loads(server.get("/host", other))["pid"], signal.SIGTERM)
        server.load(("--rw=randwrite", "--bs=64k", "--iodepth=8", "--size=%d" % server.size, "--io_size=%d" % size, "--end_fsync=1"))
        head, moved, began = server.get("/heads"), loopback_bytes(), time.monotonic()
        server.up()
        while not same_heads(server, other, head):
            if time.monotonic() - began > limit:
                raise FioError("the replica has not caught up within %d s" % limit)
            time.sleep(0.02)
        seconds, moved = time.monotonic() - began, loopback_bytes() - moved
    finally:
        end_one(server)
    speed, part = size / seconds / 1e6, moved / size
    say("catch-up: %d MiB in %.1f s with the start of its processes, %.0f MB/s; %.2f bytes moved for each" % (
        size >> 20, seconds, speed, part))
    return ({"seconds": seconds, "mbs": speed, "moved": part},
            [Verdict("catch-up of 1 GiB, MB/s", speed, 300, 600, verdict(speed, 300, 600)),
             Verdict("catch-up, bytes moved for each changed", part, 1.1, 1.05, verdict(part, 1.1, 1.05, smaller=True))])


def same_heads(server, http, head):
    try:
        return sorted(server.get("/heads", http).split()) == sorted(head.split())
    except OSError:
        return False


def measure_many(place, seconds, disks=1000):
    """Disks that nobody uses, three replicas each: CPU of each process, and how long heads and a lookup take."""
    server = Cluster(place, "many", 3)
    try:
        server.transport = "unix"
        server.up()
        server.known()
        ids = [server.new_disk("many-%d" % number, 1 << 30) for number in range(disks)]
        time.sleep(min(seconds, 15))
        before, began = {pid: cpu_seconds(pid) for pid in server.pids()}, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        cpu = max(100 * (cpu_seconds(pid) - used) / took for pid, used in before.items())
        replicator = json.loads(server.get("/host"))["replicator"]
        heads = worst(lambda _: server.get("/heads"), range(100))
        lookup = worst(lambda each: server.get("/disks/" + each, replicator), ids[:100])
    finally:
        end_one(server)
    figures = (("busiest process at rest, % of a core", cpu, 5), ("/heads, p99 ms", heads, 10), ("lookup, p99 ms", lookup, 10))
    return ({name: value for name, value, _ in figures},
            [Verdict("%d disks on three hosts: %s" % (disks, name), value, most, most / 5, verdict(value, most, most / 5, smaller=True))
             for name, value, most in figures])


def worst(action, items):
    """The last but one of a hundred, in milliseconds."""
    times = []
    for item in items:
        began = time.monotonic()
        action(item)
        times.append(1000 * (time.monotonic() - began))
    return sorted(times)[-2]


def measure_all(place, options, names, results):
    verdicts, part = [], results["transports"].setdefault("unix", {"rows": {}})["rows"]
    rows = [row for row in ROWS if wanted(options.pattern, row.key, row.name)]
    servers = bring_up(place, names) if rows else []
    flushes = {server.name: server.flushes for server in servers}
    for row in rows if servers else ():
        part[row.key] = measure_row(row, "unix", servers, options, flushes)
        print("\n".join(row_lines(row, "unix", part[row.key])), flush=True)
    verdicts += verdicts_of("unix", [row for row in rows if row.key in part], part)
    verdicts += three_to_two(part) if {US, THREE} <= set(names) else ()
    for server in servers:
        end_one(server)
    for key, measure in ((CATCH_UP, lambda: measure_catch_up(place)), (MANY, lambda: measure_many(place, options.rest_seconds))):
        if US in names and wanted(options.pattern, key, key):
            try:
                results["own"][key], told = measure()
                verdicts += told
            except (FioError, OSError, KeyError, IndexError) as why:
                say("(%s was not measured: %s)" % (key, why))
                verdicts.append(Verdict(key, None, 0, 0, "FAIL"))
    return verdicts


def room(names, options):
    """Bytes that all may come to take: our devices fill up with history, the others hold the disk twice."""
    return sum(HOSTS[name] * options.device if name in HOSTS else 2 * options.size for name in names)


def main():
    chosen = (os.environ.pop("BENCH_PEERS", "") or " ".join(NAMES)).split()
    options = Options(os.environ)
    if set(chosen) - set(NAMES):
        refuse("BENCH_PEERS has what is not known; the cluster's are %s" % ", ".join(NAMES))
    dist = os.path.abspath(os.environ.get("CLOUDFS_DIST") or os.path.join(BENCH, "..", "dist"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on)
    names = [name for name in NAMES if name in chosen]
    needed, free = room(names, options), shutil.disk_usage(options.folder).free
    if free < needed:
        refuse("%.0f GiB are needed in %s, %.0f are free: choose a smaller BENCH_SIZE, fewer BENCH_PEERS or another BENCH_DIR" % (
            needed / GIB, options.folder, free / GIB))
    work = tempfile.mkdtemp(prefix="cloudfs-bench.", dir=options.folder)
    place = Place(work, work, dist, options.size, options.device, options.read_cache, options.daemon)
    results, verdicts, status = {"transports": {}, "own": {}}, [], 2
    try:
        verdicts = measure_all(place, options, names, results)
        write_json(options, results, verdicts)
        print("\n".join(verdict_lines(verdicts)))
        status = 1 if any(found.verdict == "FAIL" for found in verdicts) else 0
    except KeyboardInterrupt:
        status = 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in list(place.alive):
            end_one(server)
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
