"""What is measured: the rows, fio's words for each, and what of fio's answer counts."""

import collections
import json
import re

# 4 GiB, 1 GiB of which fits every cache; the last eighth is where servers warm up for cold reads, unread by those.
CACHED_PART, COLD_PART = 0.25, 0.75

# ends: "time" runs for BENCH_SECONDS; "half" moves half of the disk and flushes; "once" reads no place twice, so that cold
# stays cold. area: "disk", "cached" (read before, untimed) or "cold" (nobody has any of it in memory).
Row = collections.namedtuple("Row", "key name words area ends flushed limits")

FILE, RAW, QCOW2 = "nbdkit-file", "qemu-raw", "qemu-qcow2"
PAGE_WRITES, LARGE_WRITES, READS = {RAW: (1.7, 3.0)}, {RAW: (1.0, 1.3)}, {RAW: (1.5, 3.0)}


def row(key, name, words, least=None, goal=None, others=None, area="disk", ends="time", flushed=False):
    limits = {FILE: (least, goal)} if least else {}
    return Row(key, name, tuple(words.split()), area, ends, flushed, {**limits, **(others or {})})


ROWS = (
    row("write-d1", "4 KiB random write, depth 1", "--rw=randwrite --bs=4k --iodepth=1", 1.2, 1.8, PAGE_WRITES),
    row("write-d32", "4 KiB random write, depth 32", "--rw=randwrite --bs=4k --iodepth=32", 1.1, 1.5, PAGE_WRITES),
    row("flush-d1", "4 KiB random write, flush after each, depth 1", "--rw=randwrite --bs=4k --iodepth=1 --fsync=1",
        1.2, 1.5, PAGE_WRITES, flushed=True),
    row("flush-d16", "4 KiB random write, flush after each, depth 16", "--rw=randwrite --bs=4k --iodepth=16 --fsync=1",
        1.8, 2.5, {RAW: (4.0, 6.0), QCOW2: (4.0, 6.0)}, flushed=True),
    row("flush-32", "4 KiB random write, flush after every 32, depth 1", "--rw=randwrite --bs=4k --iodepth=1 --fsync=32",
        1.4, 2.0, PAGE_WRITES, flushed=True),
    row("mixed-d32", "4 KiB random, 70 % read, 30 % write, depth 32", "--rw=randrw --rwmixread=70 --bs=4k --iodepth=32",
        1.2, 1.8, READS, area="cached"),
    row("read-d1", "4 KiB random read, cached, depth 1", "--rw=randread --bs=4k --iodepth=1", 1.3, 2.2, READS, area="cached"),
    row("read-d32", "4 KiB random read, cached, depth 32", "--rw=randread --bs=4k --iodepth=32", 1.3, 1.8, READS, area="cached"),
    row("seqwrite-128k", "128 KiB sequential write, depth 8, final flush", "--rw=write --bs=128k --iodepth=8",
        0.85, 1.2, LARGE_WRITES, ends="half", flushed=True),
    row("seqwrite-1m", "1 MiB sequential write, depth 8, final flush", "--rw=write --bs=1m --iodepth=8",
        0.85, 1.2, LARGE_WRITES, ends="half", flushed=True),
    row("seqread-1m", "1 MiB sequential read, cached, depth 8", "--rw=read --bs=1m --iodepth=8", 1.0, 1.5, READS, area="cached"),
    row("write-4x8", "4 KiB random write, 4 connections at depth 8", "--rw=randwrite --bs=4k --iodepth=8 --numjobs=4", 1.0, 1.5),
    row("write-16x1", "4 KiB random write, 16 connections at depth 1", "--rw=randwrite --bs=4k --iodepth=1 --numjobs=16",
        1.0, 1.5),
    row("read-4x8", "4 KiB random read, cached, 4 connections at depth 8", "--rw=randread --bs=4k --iodepth=8 --numjobs=4",
        1.0, 1.5, area="cached"),
    row("read-16x1", "4 KiB random read, cached, 16 connections at depth 1", "--rw=randread --bs=4k --iodepth=1 --numjobs=16",
        1.0, 1.5, area="cached"),
    row("cold-read-d1", "4 KiB random read, cold, depth 1", "--rw=randread --bs=4k --iodepth=1", area="cold", ends="once"),
    row("cold-read-d32", "4 KiB random read, cold, depth 32", "--rw=randread --bs=4k --iodepth=32", area="cold", ends="once"),
    row("cold-seqread-1m", "1 MiB sequential read, cold, depth 8", "--rw=read --bs=1m --iodepth=8", area="cold", ends="once"),
)

# The disk without any server: O_DIRECT on a file that has been written whole.
DISK_ROWS = (
    ("disk-append", "4 KiB sequential write, depth 1", "--ioengine=psync --rw=write --bs=4k"),
    ("disk-append-flush", "4 KiB sequential write, fdatasync after each", "--ioengine=psync --rw=write --bs=4k --fdatasync=1"),
    ("disk-write-d1", "4 KiB random write, depth 1", "--ioengine=psync --rw=randwrite --bs=4k"),
    ("disk-write-d32", "4 KiB random write, depth 32", "--ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k"),
    ("disk-write-flush", "4 KiB random write, fdatasync after each", "--ioengine=psync --rw=randwrite --bs=4k --fdatasync=1"),
    ("disk-append-128k-flush", "128 KiB sequential write, fdatasync after each",
     "--ioengine=psync --rw=write --bs=128k --fdatasync=1"),
    ("disk-seqwrite-1m", "1 MiB sequential write, depth 8", "--ioengine=libaio --iodepth=8 --rw=write --bs=1m"),
    ("disk-read-d1", "4 KiB random read, depth 1", "--ioengine=psync --rw=randread --bs=4k"),
    ("disk-read-d32", "4 KiB random read, depth 32", "--ioengine=libaio --iodepth=32 --rw=randread --bs=4k"),
    ("disk-seqread-1m", "1 MiB sequential read, depth 8", "--ioengine=libaio --iodepth=8 --rw=read --bs=1m"),
)

# The same data must not come twice, or a server that looks for that would have it easy.
COMMON = ("--thread", "--group_reporting", "--refill_buffers", "--randrepeat=0", "--lat_percentiles=1",
          "--clat_percentiles=0", "--output-format=json")


def command(words):
    """
    fio's whole command. Of many connections, eight begin at once and eight more a tenth of a second later: nbd-server lets no
    more than ten wait, and turns the others away.
    """
    jobs = sum(int(word.split("=")[1]) for word in words if word.startswith("--numjobs=")) or 1
    shared = [word for word in words if not word.startswith("--numjobs=")]
    parts = []
    for number, begin in enumerate(range(0, jobs, 8)):
        parts += ["--name=bench", "--numjobs=%d" % min(8, jobs - begin)] + ["--startdelay=%dms" % (100 * number)] * (number > 0)
    return ["fio", *COMMON, *shared, *parts]


def wanted(pattern, key, name):
    return not pattern or re.search(pattern, key) is not None or pattern in name


def aligned(number):
    return int(number) >> 20 << 20


def row_words(chosen, size, seconds):
    """fio's words for a row, on a disk of that size."""
    span = {"disk": size, "cached": aligned(size * CACHED_PART), "cold": aligned(size * COLD_PART)}[chosen.area]
    ends = {"time": ("--time_based", "--runtime=%g" % seconds),
            "half": ("--io_size=%d" % aligned(size / 2), "--end_fsync=1"),
            "once": ("--runtime=%g" % seconds,)}[chosen.ends]
    return chosen.words + ("--size=%d" % span,) + ends


def fill_words(size):
    return "--rw=write", "--bs=1m", "--iodepth=8", "--size=%d" % size, "--end_fsync=1"


def warm_words(size):
    """Reads the area of the cached rows once."""
    return "--rw=read", "--bs=1m", "--iodepth=8", "--size=%d" % aligned(size * CACHED_PART)


def tail_words(chosen, size):
    """The same reads for a second where cold rows never read: a server that has just started has code to get ready."""
    return chosen.words + ("--offset=%d" % aligned(size * 7 / 8), "--size=%d" % aligned(size / 8), "--time_based", "--runtime=1")


class FioError(Exception):
    """fio, or the server behind it, did not do it."""


def microseconds(part):
    """Mean and 99th percentile."""
    return part["mean"] / 1000, part.get("percentile", {}).get("99.000000", 0) / 1000


def parse(text):
    """fio's JSON (it may say words of its own before it), as figures of one run."""
    try:
        job = json.loads(text[text.index("{\n"):])["jobs"][0]
    except (ValueError, KeyError, IndexError):
        raise FioError("fio said no JSON: " + text[-300:]) from None
    if job["error"]:
        raise FioError("fio's job ended with error %d" % job["error"])
    sides = [job[side] for side in ("read", "write") if job[side]["total_ios"]]
    if not sides:
        raise FioError("fio did nothing")
    count = sum(side["total_ios"] for side in sides)
    latencies = [(side["total_ios"], *microseconds(side["lat_ns"])) for side in sides]
    found = {
        "iops": sum(side["iops"] for side in sides),
        "mbs": sum(side["bw_bytes"] for side in sides) / 1e6,
        "bytes": sum(side["io_bytes"] for side in sides),
        "seconds": max(side["runtime"] for side in sides) / 1000,
        "mean_us": sum(number * mean for number, mean, _ in latencies) / count,
        # Percentiles of two kinds can't be added; the worse one is no praise.
        "p99_us": max(p99 for _, _, p99 in latencies),
        "client_cpu_percent": job["usr_cpu"] + job["sys_cpu"],
    }
    if job["sync"]["total_ios"]:
        found["flush_mean_us"], found["flush_p99_us"] = microseconds(job["sync"]["lat_ns"])
    return found
