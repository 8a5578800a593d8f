#!/usr/bin/env python3
"""
The suite behind ./build.sh bench: our daemon and its peers, driven in turn by one generator, on one file system. Its options are
variables of the environment; bench/README.md tells them, and how to read what comes out.
"""

import datetime
import json
import os
import shutil
import signal
import sys
import tempfile

import own
from processes import Place, say
from report import US, judge_row, machine, row_lines, spread, summarize, verdict_lines, verdicts_of, versions
from servers import PEERS, PROGRAM, CloudFs
from workloads import ROWS, FioError, fill_words, row_words, tail_words, wanted, warm_words

GIB = 1 << 30


def size_of(text):
    """4G, 512M or plain bytes."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    return int(text[:-1]) << units[text[-1].upper()] if text[-1].upper() in units else int(text)


def refuse(text):
    """Nothing was measured."""
    say(text)
    raise SystemExit(2)


class Options:
    def __init__(self, env):
        quick = env.get("BENCH_QUICK", "") not in ("", "0")
        self.rounds = int(env.get("BENCH_ROUNDS") or (1 if quick else 3))
        self.seconds = float(env.get("BENCH_SECONDS") or (2 if quick else 5))
        self.rest_seconds = 10 if quick else 30
        self.size = size_of(env.get("BENCH_SIZE") or "4G") >> 20 << 20
        self.device = size_of(env.get("BENCH_DEVICE") or str(4 * self.size))
        self.folder = env.get("BENCH_DIR") or "/var/tmp"
        self.pattern = env.get("BENCH_ROWS", "")
        self.peers = (env.get("BENCH_PEERS") or " ".join(PEERS)).split()
        self.transports = (env.get("BENCH_TRANSPORT") or "unix tcp").split()
        self.read_cache = env.get("BENCH_READ_CACHE") or "2G"
        self.daemon = env.get("BENCH_DAEMON", "").split()
        self.json = env.get("BENCH_JSON") or "bench-results.json"
        unknown = [word for word in self.peers if word not in PEERS] + [
            word for word in self.transports if word not in ("unix", "tcp")]
        if unknown or self.size < 64 << 20 or self.rounds < 1:
            refuse("not understood: %s; peers are %s, transports unix and tcp, the disk at least 64M" % (
                ", ".join(unknown) or "the environment", ", ".join(PEERS)))

    def room(self, rows, singles, disk):
        """Bytes on the file system at the worst moment; what is done with is removed before the next."""
        files = sum(name not in ("nbdkit-memory", "cloudfs-memory") for name in self.peers)
        # qcow2 has tables besides its data.
        peers = self.device + files * self.size + self.size // 50 if rows else 0
        # The daemon at rest has next to nothing written.
        return max(peers, self.device if set(singles) - {own.REST} else 0, self.size if disk else 0) + GIB


def here(options, name):
    """Whether a peer can be measured; if not, a line says why."""
    program = PROGRAM.get(name)
    if program and not shutil.which(program):
        say("(%s is not installed: measured without %s)" % (program, name))
        return False
    if name.endswith("-memory"):
        with open("/proc/meminfo") as file:
            available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
        # The peers' page cache must not suffer from it: what counts is what is left for that.
        if available < 3 * options.size + 2 * GIB:
            say("(too little memory: measured without %s)" % name)
            return False
    return True


def bring_up(place, options, transport, servers):
    """Starts all; what has no data yet is written whole, so that nobody reads holes, nor writes where no block is."""
    info = {}
    for server in list(servers):
        try:
            first = not hasattr(server, "transport")
            if first:
                server.make()
            server.start(transport)
            if first and isinstance(server, CloudFs):
                server.prepare()
            if first or not server.data:
                server.load(fill_words(server.size))
            server.settle()
            info[server.name] = {"flags": server.flags, "flush": server.flushes,
                                 "page_and_flush_us": round(server.flush_costs())}
            say("%-14s flags 0x%03x, %s; a page and a flush: %d us" % (
                server.name, server.flags, "flushes" if server.flushes else "DOES NOT FLUSH",
                info[server.name]["page_and_flush_us"]))
            server.hold()
        except FioError as why:
            if server.name == US:
                raise
            say("(measured without %s: %s)" % (server.name, why))
            if server in place.alive:
                server.kill()
            servers.remove(server)
    return info


def turn(server, row, options):
    """One run: made ready, untimed, then measured; the others are held still meanwhile."""
    server.go_on()
    try:
        if row.area == "cached":
            server.load(warm_words(server.size))
        if row.area == "cold":
            server.forget()
            server.load(tail_words(row, server.size))
        found = server.measure(row_words(row, server.size, options.seconds))
        server.settle()
        return found
    finally:
        server.hold()


def try_turn(server, row, options, times=3):
    """Where many connect at once, a short queue of a busy server turns some away; that says nothing about its speed."""
    for left in reversed(range(times)):
        try:
            return turn(server, row, options)
        except FioError as why:
            say("%s, %s: %s" % (server.name, row.key, why))
            if not left or not server.is_up():
                raise
    return None


def measure_row(row, transport, servers, options, flushes):
    taking_part = [server for server in servers if not (row.area == "cold" and server.ceiling)]
    runs, errors = {server.name: [] for server in taking_part}, {}
    for server in taking_part:
        server.go_on()
        server.rest()
        server.hold()
    for _ in range(options.rounds):
        for server in taking_part:
            try:
                runs[server.name].append(try_turn(server, row, options))
            except (FioError, OSError) as why:
                if server.name == US and not server.is_up():
                    raise FioError("the daemon ended in %s: %s" % (row.key, server.tail())) from None
                errors[server.name] = str(why)
    summaries = {name: summarize(found) for name, found in runs.items()}
    return {"name": row.name, "options": " ".join(row_words(row, options.size, options.seconds)), "runs": runs,
            "servers": summaries, "errors": errors, "ratios": judge_row(row, transport, summaries, flushes)}


def measure_transports(place, options, rows, results):
    """Against peers: each transport with the same data, servers started anew."""
    servers = [CloudFs(place)] + [PEERS[name](place) for name in options.peers if here(options, name)]
    verdicts = []
    for transport in options.transports:
        say("--- %s" % transport)
        part = results["transports"].setdefault(transport, {"rows": {}})
        part["servers"] = bring_up(place, options, transport, servers)
        flushes = {name: found["flush"] for name, found in part["servers"].items()}
        for row in rows:
            part["rows"][row.key] = measure_row(row, transport, servers, options, flushes)
            print("\n".join(row_lines(row, transport, part["rows"][row.key])), flush=True)
        verdicts += verdicts_of(transport, rows, part["rows"])
        for server in servers:
            server.stop()
    for server in servers:
        if server.data:
            os.remove(server.data)
    return verdicts


def measure_all(place, options, results):
    rows = [row for row in ROWS if wanted(options.pattern, row.key, row.name)]
    singles, disk = own.own_rows(options.pattern), own.disk_rows(options.pattern)
    if not (rows or singles or disk):
        refuse("BENCH_ROWS=%s fits no row" % options.pattern)
    needed, free = options.room(rows, singles, disk), shutil.disk_usage(place.work).free
    if free < needed:
        refuse("this needs %.1f GiB in %s, which has %.1f GiB: set BENCH_DIR, or a smaller BENCH_SIZE" % (
            needed / GIB, options.folder, free / GIB))
    verdicts = []
    if disk:
        say("--- the disk itself")
        results["disk"] = own.measure_disk(place, disk, options.rounds, options.seconds)
        for found in results["disk"].values():
            print("the disk itself: %-50s %24s IOPS %20s MB/s" % (
                found["name"], spread(found["summary"], "iops"), spread(found["summary"], "mbs")), flush=True)
    if rows:
        verdicts += measure_transports(place, options, rows, results)
    if own.AMPLIFICATION in singles or own.AGED in singles:
        say("--- bytes written, and age")
        found, told = own.measure_disks(place, singles, options.rounds, options.seconds, print)
        results["own"].update(found)
        verdicts += told
    if own.REST in singles:
        say("--- at rest")
        results["own"][own.REST], told = own.measure_rest(place, options.rest_seconds, print)
        verdicts += told
    return verdicts


def write_json(options, results, verdicts):
    results["verdicts"] = [found._asdict() for found in verdicts]
    with open(options.json, "w") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    say("all figures: %s" % options.json)


def end_on(number, _):
    # As Ctrl-C does: what was begun is ended, and the folder goes.
    raise SystemExit(128 + number)


def main():
    try:
        options = Options(os.environ)
    except ValueError as why:
        refuse("not understood: %s" % why)
    dist = os.path.abspath(os.environ.get("CLOUDFS_DIST") or os.path.join(os.path.dirname(__file__), "..", "dist"))
    if not os.path.exists(os.path.join(dist, "cloudfsd")):
        refuse("there is no dist: ./build.sh publish")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on)
    work = memory = place = None
    verdicts, status = [], 2
    try:
        work = tempfile.mkdtemp(prefix="cloudfs-bench.", dir=options.folder)
        # Write buffers, and the device of the ceiling; the only things that lie elsewhere, and they go as well.
        memory = tempfile.mkdtemp(prefix="cloudfs-bench.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else work)
        place = Place(work, memory, dist, options.size, options.device, options.read_cache, options.daemon)
        if not place.option("--read-cache", options.read_cache):
            say("(this daemon has no --read-cache: measured without)")
        results = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "complete": False,
                   "machine": machine(work), "versions": versions(dist), "transports": {}, "own": {},
                   "options": {key: value for key, value in vars(options).items() if key not in ("folder", "json")}}
        try:
            verdicts = measure_all(place, options, results)
            results["complete"] = True
        finally:
            if any(part["rows"] for part in results["transports"].values()) or results["own"] or results.get("disk"):
                write_json(options, results, verdicts)
        print("\n".join(verdict_lines(verdicts)))
        status = 1 if any(found.verdict == "FAIL" for found in verdicts) else 0
    except (FioError, OSError) as why:
        say(str(why))
    except KeyboardInterrupt:
        status = 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if place:
            place.end_all()
        for folder in (work, memory):
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
