#!/usr/bin/env python3
"""
The driver of bench/soak.sh: random load on several disks of a daemon that is killed again and again, and a model of what
must be there. Every violation is printed with its context; it goes on to the end all the same.
"""

import argparse
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
import urllib.request

from soak_disk import SECTOR, Disk


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
        sampler.calm = 0
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
    if len(calm) < 6:  # a line through a few points says nothing
        claims = (claims[0],)
        soak.say("too short to tell whether memory and descriptors are flat: %d samples in peace" % len(calm))
    for text, holds in claims:
        print("%s  %s" % ("PASS" if holds else "FAIL", text))
    for text in soak.violations[:20]:
        print("      " + text)
    sys.exit(not all(holds for _, holds in claims))


if __name__ == "__main__":
    main()
