"""What is measured beside no peer: the disk itself, bytes written for each byte, a disk that has aged, a daemon at rest."""

import os
import time

import nbd
from processes import cpu_seconds, drop_caches, resident_bytes, run_fio, written_by_process, written_to_disk
from report import Verdict, summarize, verdict
from servers import CloudFs
from workloads import DISK_ROWS, ROWS, fill_words, row_words, tail_words, wanted

AMPLIFICATION, AGED, REST = "amplification", "aged", "rest"
NAMES = {AMPLIFICATION: "bytes written to the device for each byte of 4 KiB writes",
         AGED: "cold reads of an aged disk, to those of a fresh one", REST: "the daemon at rest with 100 disks"}


def disk_rows(pattern):
    return [found for found in DISK_ROWS if wanted(pattern, found[0], found[1])]


def own_rows(pattern):
    return [key for key in NAMES if wanted(pattern, key, NAMES[key])]


def measure_disk(place, rows, rounds, seconds):
    """fio on a file, O_DIRECT, no server: what the disk would give."""
    path = os.path.join(place.work, "itself")
    common = ("--filename=" + path, "--direct=1", "--size=%d" % place.size)
    run_fio((*common, "--ioengine=libaio", "--iodepth=4", "--rw=write", "--bs=4m", "--end_fsync=1"))
    runs = {key: [] for key, _, _ in rows}
    for _ in range(rounds):
        for key, _, words in rows:
            drop_caches(path)
            runs[key].append(run_fio((*common, *words.split(), "--time_based", "--runtime=%g" % seconds)))
    os.remove(path)
    return {key: {"name": name, "options": words, "runs": runs[key], "summary": summarize(runs[key])} for key, name, words in rows}


def settled(server, limit=60):
    """Bytes written by kind, once nothing more is being written; then what the kernel and the disk counted."""
    last, until = None, time.monotonic() + limit
    while True:
        now = server.written()
        if now == last or time.monotonic() > until:
            return now, written_by_process(server.pid), written_to_disk(server.data)
        last = now
        time.sleep(3)


def written_during(server, words):
    """Bytes to the device for each that fio wrote, by kind."""
    before, process_before, disk_before = settled(server)
    done = server.load(words)
    after, process, disk = settled(server)
    kinds = {kind: (after[kind] - before.get(kind, 0)) / done["bytes"] for kind in after}
    return {"client_bytes": done["bytes"], "iops": done["iops"], "all": sum(kinds.values()), "kinds": kinds,
            "by_process": (process - process_before) / done["bytes"],
            "by_disk": disk and (disk - disk_before) / done["bytes"]}


def measure_disks(place, chosen, rounds, seconds, say):
    """Amplification and age, on one daemon: the writes that age a disk are those that are counted."""
    found, verdicts = {}, []
    server = CloudFs(place, "cloudfs-own")
    server.start("unix").prepare()
    server.load(fill_words(server.size))
    server.rest()
    page = ("--bs=4k", "--size=%d" % server.size, "--norandommap", "--rw=randwrite")
    # Overwriting twice its size: what ages it, and enough log for checkpoints to be among what is counted.
    cases = {"depth 32": ((*page, "--iodepth=32", "--io_size=%d" % (2 * server.size)), (1.15, 1.05))}
    if AMPLIFICATION in chosen:
        cases["flushed one by one"] = (*page, "--iodepth=1", "--fsync=1", "--io_size=%d" % (server.size // 8)), (2.2, 1.4)
    for name, (words, (least, goal)) in cases.items():
        figures = written_during(server, words)
        say("%s: %.3f bytes for each (%s); counted by the process %.3f, by the disk %.3f" % (name, figures["all"], ", ".join(
            "%s %.3f" % pair for pair in figures["kinds"].items() if pair[1]), figures["by_process"], figures["by_disk"] or 0))
        if AMPLIFICATION in chosen:
            found.setdefault(AMPLIFICATION, {})[name] = figures
            verdicts.append(Verdict("device bytes for each byte, " + name, figures["all"], least, goal,
                                    verdict(figures["all"], least, goal, smaller=True)))
    if AGED in chosen:
        server.rest()
        server.new_disk("fresh", server.size)
        server.export = "fresh"
        server.load(fill_words(server.size))
        found[AGED] = measure_age(server, rounds, seconds)
        for key, figures in found[AGED].items():
            least, goal = (0.25, 0.6) if "seq" in key else (0.8, 0.95)
            verdicts.append(Verdict("aged to fresh, " + figures["name"], figures["ratio"], least, goal,
                                    verdict(figures["ratio"], least, goal)))
            say("%s: aged %.0f, fresh %.0f IOPS" % (figures["name"], *(
                figures["summary"][which]["iops"]["median"] for which in ("disk", "fresh"))))
    server.stop()
    server.remove()
    return found, verdicts


def measure_age(server, rounds, seconds):
    found = {}
    for chosen in (row for row in ROWS if row.area == "cold"):
        runs = {"fresh": [], "disk": []}
        for _ in range(rounds):
            for server.export, done in runs.items():
                server.forget()
                server.load(tail_words(chosen, server.size))
                done.append(server.measure(row_words(chosen, server.size, seconds)))
        summary = {which: summarize(done) for which, done in runs.items()}
        found[chosen.key] = {"name": chosen.name, "runs": runs, "summary": summary,
                             "ratio": summary["disk"]["iops"]["median"] / summary["fresh"]["iops"]["median"]}
    return found


def measure_rest(place, seconds, say, disks=100):
    """With the options that it has by itself, and a MiB in each disk."""
    server = CloudFs(place, "cloudfs-rest", device=4 << 30, options=[])
    server.start("unix")
    for number in range(disks):
        server.new_disk("rest-%d" % number, 1 << 30)
        client = nbd.Nbd(server.socket, "rest-%d" % number)
        if any(error for error, _ in client.batch([(nbd.WRITE, 0, 0, 1 << 20, os.urandom(1 << 20)), (nbd.FLUSH, 0, 0, 0, b"")])):
            raise OSError("a write was refused")
        client.close()
    server.settle()
    time.sleep(min(seconds, 15))
    before, began = cpu_seconds(server.pid), time.monotonic()
    time.sleep(seconds)
    cpu = 100 * (cpu_seconds(server.pid) - before) / (time.monotonic() - began)
    memory = resident_bytes(server.pid) / 2**20
    server.stop()
    server.remove()
    say("at rest with %d disks: %.2f %% of a core over %d s, %.0f MiB" % (disks, cpu, seconds, memory))
    return ({"disks": disks, "seconds": seconds, "cpu_percent": cpu, "rss_mib": memory},
            [Verdict("at rest with 100 disks, % of a core", cpu, 1.0, 0.2, verdict(cpu, 1.0, 0.2, smaller=True)),
             Verdict("at rest with 100 disks, MiB resident", memory, 150, 80, verdict(memory, 150, 80, smaller=True))])
