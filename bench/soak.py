#!/usr/bin/env python3
"""
The driver of bench/soak.sh: random load on several disks of a daemon that is killed again and again, and a model of what
must be there. Every violation is printed with its context; it goes on to the end all the same.

The model holds for each sector the 64-bit word with which the whole sector is filled: number of the write, disk, and
place; 0 for zeroes. A write that was never answered because of a kill must be there whole or not at all.
"""

import argparse
import array
import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import nbd

SECTOR, WORDS = 512, 64
CHUNK = 2048  # sectors: the largest write, and what is verified at once
SLOWEST = 30  # seconds for a batch; more is a stall
REPLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts", "replay.py")
NAMES = {nbd.WRITE: "write", nbd.TRIM: "trim", nbd.WRITE_ZEROES: "zero"}


class Soak:
    """What all share: options, findings, counters."""

    def __init__(self, options):
        self.options, self.began = options, time.monotonic()
        self.violations, self.counts, self.lock = [], {}, threading.Lock()
        self.disks, self.live_at_full = [], []

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def full(self):
        """ENOSPC was met; now and then it is noted how much of the device was in use then."""
        self.count("batches that met ENOSPC")
        if self.counts["batches that met ENOSPC"] % 20 == 1:
            live = sum(len(disk.model) - disk.model.count(0) for disk in self.disks) * SECTOR
            self.live_at_full.append(round(100 * live / self.options.size))

    def say(self, text):
        print("%7.1f  %s" % (time.monotonic() - self.began, text), flush=True)

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
        self.say("VIOLATION: " + text)


class Daemon:
    def __init__(self, soak):
        self.soak, self.options, self.process = soak, soak.options, None
        self.log = open(self.path("daemon.log"), "ab")
        self.expected = True  # its end would be our doing
        self.written, self.total = {}, {}  # bytes to the device by kind: in this life, in those before

    def path(self, name):
        return os.path.join(self.options.work, name)

    def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.http, self.socket = "http://127.0.0.1:%d" % port, self.path("nbd.sock")
        words = [os.path.join(self.options.dist, "cloudfsd"), "--device", self.path("device"), "--http", self.http[7:], "--nbd",
                 "none", "--nbd-socket", self.socket, "--buffer-dir", self.options.buffers, "--size", str(self.options.size)]
        self.process = subprocess.Popen(words + self.options.daemon.split(), stderr=self.log)
        began = time.monotonic()
        while True:
            try:
                health = json.loads(self.get("/healthz"))
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 60:
                    self.soak.violation("the daemon does not come back (%s): %s" % (self.process.poll(), self.tail()))
                    raise SystemExit(1)
                time.sleep(0.02)
        took = time.monotonic() - began
        for reason in health["reasons"]:
            if reason["code"] not in self.options.harmless:
                self.soak.violation("/healthz after a start: %s" % reason)
        self.started, self.expected = time.monotonic(), False
        return took

    def end(self, how):
        self.sample()
        self.expected = True
        self.process.send_signal(how)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.soak.violation("it did not end within 120 s of signal %d" % how)
            self.process.kill()
            self.process.wait()
        for kind, number in self.written.items():
            self.total[kind] = self.total.get(kind, 0) + number
        self.written = {}

    def died(self):
        return not self.expected and self.process.poll() is not None

    def tail(self):
        with open(self.path("daemon.log"), "rb") as log:
            return log.read()[-1500:].decode(errors="replace")

    def get(self, path, method="GET", body=None):
        request = urllib.request.Request(self.http + path, method=method, data=body)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()

    def sample(self):
        """Memory in KiB, descriptors, and metrics by their names; what the device was written is remembered."""
        found = {"rss": 0, "anon": 0, "shmem": 0, "fds": 0}
        try:
            with open("/proc/%d/status" % self.process.pid) as status:
                for line in status:
                    for key, name in (("rss", "VmRSS:"), ("anon", "RssAnon:"), ("shmem", "RssShmem:")):
                        if line.startswith(name):
                            found[key] = int(line.split()[1])
            found["fds"] = len(os.listdir("/proc/%d/fd" % self.process.pid))
            metrics = dict(line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line[0] != "#")
        except (OSError, ValueError):
            return None  # it is just being killed
        found["metrics"] = metrics
        for name, value in metrics.items():
            if name.startswith("cloudfs_device_written_bytes_total"):
                self.written[name.split('"')[1] if '"' in name else "all"] = float(value)
        return found

    def written_in_all(self):
        return {kind: self.total.get(kind, 0) + self.written.get(kind, 0) for kind in {**self.total, **self.written}}


class Disk:
    """A disk's place: its model, and the worker that loads it. The disk in it is deleted and made anew at times."""

    def __init__(self, soak, daemon, slot):
        self.soak, self.daemon, self.slot = soak, daemon, slot
        self.random = random.Random("%d.%d" % (soak.options.seed, slot))
        self.sectors = soak.options.disk // SECTOR
        self.serial, self.sequence, self.id = 0, 0, None
        self.unanswered, self.unsure = [], None  # requests; "delete" or "create"
        self.model = array.array("Q", bytes(8 * self.sectors))

    def name(self):
        return "soak-%d-%d" % (self.slot, self.serial)

    def words(self, first, count):
        self.sequence += 1
        start = self.sequence << 32 | self.slot << 24 | first
        return array.array("Q", range(start, start + count))

    # ------------------------------------------------------------------------------------------------ load

    def work(self, until):
        """Loads the disk until the time comes or the daemon goes."""
        try:
            if self.id is None:
                self.create()
            elif self.random.random() < 0.1:
                self.delete()
                self.create()
            connection = nbd.Nbd(self.daemon.socket, self.id, timeout=SLOWEST * 4)
        except urllib.error.HTTPError as refused:
            self.refused("creating or deleting", refused)
            return
        except OSError:
            return  # killed
        except Exception as odd:
            self.soak.violation("disk %s: no connection: %r" % (self.name(), odd))
            return
        filling = self.random.randrange(self.sectors) if self.random.random() < 0.3 else None
        try:
            if self.random.random() < 0.15:
                self.step(connection, [self.request(nbd.TRIM, 0, self.sectors)], True)
            while time.monotonic() < until:
                if filling is not None:
                    requests = [self.request(nbd.WRITE, (filling + i * CHUNK) % self.sectors, CHUNK) for i in range(8)]
                    filling += 8 * CHUNK
                else:
                    requests = self.mixture()
                if not self.step(connection, requests, self.random.random() < 0.3):
                    # Full: something must go, at times all of it.
                    filling = None
                    if self.random.random() < 0.3:
                        self.step(connection, [self.request(nbd.TRIM, 0, self.sectors)], True)
                    else:
                        first = self.random.randrange(self.sectors)
                        self.step(connection, [self.request(nbd.TRIM, first, self.sectors // 4)], True)
                    time.sleep(0.2)
                elif self.soak.options.pause:
                    time.sleep(self.soak.options.pause)
            connection.close()
        except nbd.Gone:
            pass  # killed, or died by itself, which the main thread sees
        except TimeoutError:
            self.soak.violation("disk %s: no answer within %d s" % (self.name(), SLOWEST * 4))

    def refused(self, what, refusal):
        """An answer by HTTP that is not the one that was wanted."""
        text = refusal.read().decode(errors="replace")
        self.unsure = None
        if refusal.code == 507:
            self.soak.count("creations refused, full")
        else:
            self.soak.violation("disk %s: %s is answered %d: %s" % (self.name(), what, refusal.code, text))

    def request(self, kind, first, count):
        first = first // 8 * 8 if kind == nbd.WRITE and count >= 8 else first
        count = min(count, self.sectors - first)
        return kind, first, count, self.words(first, count) if kind == nbd.WRITE else None

    def mixture(self):
        chance, taken, requests = self.random, [], []
        for _ in range(chance.randint(1, 32)):
            dice, first = chance.random(), chance.randrange(self.sectors)
            if dice < 0.5:  # most of the pages that are written are often written
                first = chance.randrange(self.sectors // 5)
            if dice < 0.85:
                kind, count = nbd.WRITE, 8
            elif dice < 0.93:
                kind, count = nbd.WRITE, chance.randint(1, 64)
            elif dice < 0.95:
                kind, count = nbd.WRITE, chance.randint(64, CHUNK)
            else:
                kind, count = chance.choice((nbd.TRIM, nbd.WRITE_ZEROES)), chance.choice((8, 100, 4096, 40000))
            request = self.request(kind, first, count)
            first, last = request[1], request[1] + request[2]
            if all(last <= other[0] or first >= other[1] for other in taken):
                taken.append((first, last))
                requests.append(request)
        return requests

    def step(self, connection, requests, flush):
        """A batch of requests that don't overlap; False when the device was full."""
        batch = []
        for kind, first, count, words in requests:
            payload = b""
            if kind == nbd.WRITE:
                payload = array.array("Q", bytes(count * SECTOR))
                for word in range(WORDS):
                    payload[word::WORDS] = words
                payload = payload.tobytes()
            fua = nbd.FUA if self.random.random() < 0.02 else 0
            batch.append((kind, fua, first * SECTOR, count * SECTOR, payload))
        began = time.monotonic()
        try:
            answers, gone = connection.batch(batch + [(nbd.FLUSH, 0, 0, 0, b"")] * flush), None
        except nbd.Gone as died:
            answers, gone = died.answers, died
        except TimeoutError:
            self.unanswered = requests
            raise
        took = time.monotonic() - began
        with self.soak.lock:
            self.soak.counts["slowest batch, ms"] = max(self.soak.counts.get("slowest batch, ms", 0), int(took * 1000))
        if took > SLOWEST:
            self.soak.violation("disk %s: a batch took %.1f s" % (self.name(), took))
        full = False
        for request, answer in zip(requests, answers):
            if answer is None:
                self.unanswered.append(request)
            elif answer[0] == 0:
                self.apply(request)
                self.soak.count(NAMES[request[0]] + "s")
                self.soak.count("bytes written", request[2] * SECTOR if request[0] == nbd.WRITE else 0)
            elif answer[0] == nbd.ENOSPC and request[0] == nbd.WRITE:
                full = True
            else:
                self.soak.violation("disk %s: %s of %d sectors at %d is answered with error %d" % (
                    self.name(), NAMES[request[0]], request[2], request[1], answer[0]))
        if flush and answers[-1] and answers[-1][0]:
            self.soak.violation("disk %s: a flush is answered with error %d" % (self.name(), answers[-1][0]))
        if gone:
            raise gone
        if full:
            self.soak.full()
        return not full

    def apply(self, request):
        kind, first, count, words = request
        self.model[first:first + count] = words if kind == nbd.WRITE else array.array("Q", bytes(8 * count))

    def create(self):
        self.serial += 1
        self.unsure = "create"
        self.model = array.array("Q", bytes(8 * self.sectors))
        body = json.dumps({"name": self.name(), "size": self.soak.options.disk}).encode()
        self.id = json.loads(self.daemon.get("/disks", "POST", body))["id"]
        self.unsure = None
        self.soak.count("disks made")

    def delete(self):
        self.unsure = "delete"
        self.daemon.get("/disks/" + self.id, "DELETE")
        self.unsure, self.id = None, None
        self.soak.count("disks deleted")

    # ------------------------------------------------------------------------------------------------ checks

    def verify(self):
        """Everything that was acknowledged is there; what was not answered is there whole or not at all."""
        there = {disk["name"]: disk["id"] for disk in json.loads(self.daemon.get("/disks"))}
        found = there.get(self.name())
        if self.unsure == "create" or (self.unsure == "delete" and found is None):
            self.id = found
        elif self.id != found:
            self.soak.violation("disk %s should be %s and is %s" % (self.name(), self.id, found))
            self.id = found
        self.unsure = None
        if self.id is None:
            self.unanswered = []
            return
        connection = nbd.Nbd(self.daemon.socket, self.id)
        for request in self.unanswered:
            self.settle(connection, request)
        self.unanswered = []
        bad = []
        for first in range(0, self.sectors, CHUNK):
            self.compare(first, self.read(connection, first, min(CHUNK, self.sectors - first)), bad)
        self.complain("read", bad)
        connection.close()

    def read(self, connection, first, count):
        error, data = connection.one(nbd.READ, first * SECTOR, count * SECTOR)
        if error:
            self.soak.violation("disk %s: a read of %d sectors at %d is answered with error %d" % (
                self.name(), count, first, error))
            return None
        return array.array("Q", bytes(data))

    def settle(self, connection, request):
        kind, first, count, words = request
        wanted = words if kind == nbd.WRITE else array.array("Q", bytes(8 * count))
        new, old = 0, 0
        for at in range(0, count, CHUNK):
            part = min(CHUNK, count - at)
            data = self.read(connection, first + at, part)
            if data is None:
                return
            for i, word in enumerate(data[::WORDS]):
                before, after = self.model[first + at + i], wanted[at + i]
                new += before != after and word == after
                old += before != after and word == before
        if new and old:
            self.soak.violation("disk %s: %s of %d sectors at %d was never answered, and is there in part: %d sectors of it, "
                                "%d from before" % (self.name(), NAMES[kind], count, first, new, old))
        self.soak.count("requests cut off by a kill")
        if new:
            self.apply(request)

    def compare(self, first, data, bad):
        """Adds to bad what differs: (sector, expected, found); the model takes what was found, to tell each only once."""
        if data is None:
            return
        model = self.model[first:first + len(data) // WORDS]
        if all(data[word::WORDS] == model for word in range(WORDS)):
            return
        for i, word in enumerate(model):
            found = data[i * WORDS:(i + 1) * WORDS]
            if any(other != word for other in found):
                bad.append((first + i, word, found[0]))
                self.model[first + i] = found[0]

    def complain(self, how, bad):
        if bad:
            lines = ["sector %d: write %d expected, found %s" % (
                sector, word >> 32, "zeroes" if not found else "write %d of slot %d, sector %d" % (
                    found >> 32, found >> 24 & 255, found & 0xffffff)) for sector, word, found in bad[:5]]
            self.soak.violation("disk %s (%s), %s, %d sectors wrong: %s" % (
                self.name(), self.id, how, len(bad), "; ".join(lines)))

    def check_stream(self):
        """What /stream sends from the oldest LSN on must be proved by replay.py; where that is all, it must be the disk."""
        if self.id is None:
            return
        connection = nbd.Nbd(self.daemon.socket, self.id)
        connection.one(nbd.FLUSH)
        connection.close()
        oldest = json.loads(self.daemon.get("/disks/" + self.id))["oldestLsn"]
        out = self.daemon.path("replayed")
        words = [sys.executable, REPLAY, "--json"] + (["--out", out] if oldest <= 1 else ["--tail"])
        with subprocess.Popen(["curl", "-sSfN", "%s/stream?%s&%d&once" % (self.daemon.http, self.id, max(oldest, 1) - 1)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            replay = subprocess.run(words, stdin=curl.stdout, capture_output=True, text=True)
            curl.stdout.close()
            told = curl.stderr.read().decode().strip()
        if curl.returncode or replay.returncode:
            self.soak.violation("disk %s (%s): /stream from LSN %d: curl %d %s; %s" % (
                self.name(), self.id, oldest, curl.returncode, told, replay.stderr.strip()[-300:]))
            return
        self.soak.count("streams replayed" if oldest <= 1 else "streams replayed from the middle")
        if oldest <= 1:
            bad = []
            with open(out, "rb") as file:
                for first in range(0, self.sectors, CHUNK):
                    data = file.read(CHUNK * SECTOR)
                    self.compare(first, array.array("Q", data), bad)
            os.remove(out)
            self.complain("replayed from its stream", bad)


class Sampler(threading.Thread):
    """Every ten seconds a line of figures."""

    FIELDS = ("seconds", "pid", "age", "rss_kib", "anon_kib", "shmem_kib", "fds", "free", "live", "calm")

    def __init__(self, soak, daemon):
        super().__init__(daemon=True)
        self.soak, self.server, self.rows, self.calm = soak, daemon, [], 0

    def run(self):
        with open(self.soak.options.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.FIELDS)
            while True:
                time.sleep(10)
                found = None if self.server.expected else self.server.sample()
                if found is None:
                    continue
                metrics, now = found["metrics"], time.monotonic()
                space = [metrics.get('cloudfs_space_bytes{kind="%s"}' % kind, metrics.get("cloudfs_device_%s_bytes" % kind))
                         for kind in ("free", "live")]
                row = (round(now - self.soak.began, 1), self.server.process.pid, round(now - self.server.started, 1),
                       found["rss"], found["anon"], found["shmem"], found["fds"], *space, self.calm)
                self.rows.append(row)
                writer.writerow(row)
                file.flush()


def run_workers(disks, seconds):
    """Lets each disk be loaded for so long; gives the threads."""
    until = time.monotonic() + seconds
    workers = [threading.Thread(target=disk.work, args=(until,)) for disk in disks]
    for worker in workers:
        worker.start()
    return workers


def check_all(disks, streams):
    for disk in disks:
        disk.verify()
    for disk in streams:
        disk.check_stream()


def bring_back(soak, daemon):
    soak.violation("the daemon ended by itself with %s: %s" % (daemon.process.poll(), daemon.tail()))
    daemon.expected = True
    daemon.start()


def growth(rows, column):
    """What the straight line through the samples rises by from the first to the last."""
    if len(rows) < 3:
        return 0.0
    times, values = [row[0] for row in rows], [row[column] for row in rows]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    slope = sum((t - middle) * (v - mean) for t, v in zip(times, values)) / sum((t - middle) ** 2 for t in times)
    return slope * (times[-1] - times[0])


def soak_with_kills(soak, daemon, disks, chance, end):
    cycle = 0
    while time.monotonic() < end:
        cycle += 1
        life = min(chance.uniform(*soak.options.life), max(end - time.monotonic(), 5))
        workers = run_workers(disks, life + 60)
        deadline = time.monotonic() + life
        while time.monotonic() < deadline and not daemon.died():
            time.sleep(0.1)
        if daemon.died():
            bring_back(soak, daemon)
            how = "died"
        else:
            how = "SIGTERM" if chance.random() < 0.1 else "SIGKILL"
            daemon.end(signal.Signals[how])
            soak.count(how + "s")
        for worker in workers:
            worker.join()
        if how != "died":
            took = daemon.start()
        began = time.monotonic()
        check_all(disks, [disks[cycle // 4 % len(disks)]] if cycle % 4 == 0 else [])
        soak.say("%s after %.0f s; back in %.2f s, verified in %.1f s; %s" % (
            how, life, took if how != "died" else 0, time.monotonic() - began, summary(soak)))


def soak_in_peace(soak, daemon, disks, sampler, end):
    """The same load without kills: in one life a leak shows."""
    sampler.calm = 1
    while time.monotonic() < end:
        workers = run_workers(disks, min(60, end - time.monotonic()))
        for worker in workers:
            worker.join()
        if daemon.died():
            bring_back(soak, daemon)
        check_all(disks, [])
        soak.say("in peace; " + summary(soak))


def summary(soak):
    with soak.lock:
        return ", ".join("%s %d" % pair for pair in sorted(soak.counts.items()))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dist", required=True)
    options.add_argument("--work", required=True, help="a folder for device, socket and log")
    options.add_argument("--buffers", required=True)
    options.add_argument("--daemon", default="", help="more words for cloudfsd")
    options.add_argument("--csv", required=True)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--size", type=int, default=2 << 30, help="of the device; the disks together are larger")
    options.add_argument("--disks", type=int, default=6)
    options.add_argument("--disk", type=int, default=512 << 20, help="size of each")
    options.add_argument("--life", type=float, nargs=2, default=(20, 60), help="seconds between kills")
    options.add_argument("--pause", type=float, default=0, help="seconds between batches")
    options.add_argument("--harmless", nargs="*", default=["full"], help="codes of /healthz that are no violation")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    chosen = options.parse_args()
    soak = Soak(chosen)
    soak.say("seed %d" % chosen.seed)
    daemon, chance = Daemon(soak), random.Random(chosen.seed)
    sampler = Sampler(soak, daemon)
    disks = soak.disks = [Disk(soak, daemon, slot) for slot in range(chosen.disks)]
    try:
        daemon.start()
        sampler.start()
        end = soak.began + chosen.minutes * 60
        soak_with_kills(soak, daemon, disks, chance, end - chosen.minutes * 20)
        soak_in_peace(soak, daemon, disks, sampler, end)
        check_all(disks, disks)
        health = json.loads(daemon.get("/healthz"))
        daemon.end(signal.SIGTERM)
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.expected = True
            daemon.process.kill()
            daemon.process.wait()
    report(soak, daemon, sampler, health)


def report(soak, daemon, sampler, health):
    """PASS or FAIL for each claim; the exit status tells whether one failed."""
    calm = [row for row in sampler.rows if row[-1] and row[2] > 20]
    calm = calm[len(calm) // 4:]  # pools fill at first
    written = daemon.written_in_all()
    soak.say("%s; /healthz at the end: %s" % (summary(soak), json.dumps(health)))
    soak.say("written to the device: %s" % ", ".join("%s %d" % pair for pair in sorted(written.items())))
    if written.get("new"):
        soak.say("write amplification %.2f" % ((written["new"] + written.get("relocated", 0)) / written["new"]))
    elif written.get("all"):
        soak.say("device bytes to client bytes %.2f" % (written["all"] / max(soak.counts.get("bytes written", 0), 1)))
    if soak.live_at_full:
        soak.say("ENOSPC was told with %d to %d %% of the device in use by what disks read" % (
            min(soak.live_at_full), max(soak.live_at_full)))
    rss, fds = growth(calm, 3), growth(calm, 6)
    claims = (("nothing lost, nothing made up, nothing refused that should not be: %d violations" % len(soak.violations),
               not soak.violations),
              ("resident memory flat: %+.1f MiB over the last %d samples, at most %.0f" % (
                  rss / 1024, len(calm), max((row[3] for row in sampler.rows), default=0) / 1024), rss < 16 * 1024),
              ("descriptors flat: %+.1f, at most %d" % (fds, max((row[6] for row in sampler.rows), default=0)), fds < 3))
    for text, holds in claims:
        print("%s  %s" % ("PASS" if holds else "FAIL", text))
    for text in soak.violations[:20]:
        print("      " + text)
    sys.exit(not all(holds for _, holds in claims))


if __name__ == "__main__":
    main()
