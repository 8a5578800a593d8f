"""From runs to medians, ratios, verdicts and a table."""

import collections
import os
import platform
import statistics
import subprocess

# Over TCP the limit is this part of the row's own, and the goal is the row's limit.
TCP_PART = 0.8
US = "cloudfs"

Verdict = collections.namedtuple("Verdict", "what value least goal verdict")


def summarize(runs):
    """Median, least and most of each figure over the runs of one server in one row."""
    keys = {key for run in runs for key in run}
    values = {key: [run[key] for run in runs if key in run] for key in keys}
    return {key: {"median": statistics.median(found), "min": min(found), "max": max(found)} for key, found in values.items()}


def ratio(ours, peer, key="iops"):
    """Of medians; None where there is nothing to divide."""
    if not ours or not peer or not peer.get(key, {}).get("median"):
        return None
    return ours[key]["median"] / peer[key]["median"]


def limits_of(row, peer, transport):
    """(at least, goal) of a row against a peer, or None."""
    if peer not in row.limits:
        return None
    least, goal = row.limits[peer]
    if transport == "unix":
        return least, goal
    return (round(TCP_PART * least, 3), least) if peer == "nbdkit-file" else None


def verdict(value, least, goal, smaller=False):
    """PASS, "PASS goal", or FAIL; what could not be measured has not passed."""
    if value is None:
        return "FAIL"
    if smaller:
        value, least, goal = -value, -least, -goal
    return "FAIL" if value < least else "PASS goal" if value >= goal else "PASS"


def judge_row(row, transport, servers, flushes):
    """Ratios to each peer, with a verdict where a limit is set. A peer that does not flush is left out of flushed rows."""
    found = {}
    for peer in servers:
        if peer == US or (row.flushed and not flushes.get(peer, True)):
            continue
        value, limits = ratio(servers.get(US), servers[peer]), limits_of(row, peer, transport)
        found[peer] = {"ratio": value}
        if limits:
            found[peer].update(least=limits[0], goal=limits[1], verdict=verdict(value, *limits))
    return found


def spread(found, key, form="%.0f"):
    if key not in found:
        return "-"
    return "%s (%s..%s)" % tuple(form % found[key][part] for part in ("median", "min", "max"))


def middle(found, key, form="%.0f"):
    return form % found[key]["median"] if key in found else "-"


HEAD = "  %-14s %26s %20s %9s %9s %9s %9s %7s %7s  %s" % (
    "", "IOPS (least..most)", "MB/s", "mean us", "p99 us", "flush us", "flush p99", "CPU/GiB", "RSS MiB", "ours to it")


def row_lines(row, transport, result):
    """A row's part of the table."""
    yield "%s, %s [%s]" % (row.name, {"unix": "Unix socket", "tcp": "TCP"}[transport], row.key)
    yield HEAD
    for name, found in result["servers"].items():
        against = result["ratios"].get(name, {})
        text = "" if against.get("ratio") is None else "%.2f" % against["ratio"]
        if "verdict" in against:
            text += " (at least %g, goal %g) %s" % (against["least"], against["goal"], against["verdict"])
        if name in result["errors"]:
            text += " " + result["errors"][name]
        elif name != US and name not in result["ratios"]:
            text = "does not flush: not compared"
        yield "  %-14s %26s %20s %9s %9s %9s %9s %7s %7s  %s" % (
            name, spread(found, "iops"), spread(found, "mbs"), middle(found, "mean_us"), middle(found, "p99_us"),
            middle(found, "flush_mean_us"), middle(found, "flush_p99_us"), middle(found, "cpu_s_per_gib", "%.2f"),
            middle(found, "rss_mib"), text)


def verdicts_of(transport, rows, results):
    for row in rows:
        for peer, against in results[row.key]["ratios"].items():
            if "verdict" in against:
                yield Verdict("%s, %s, to %s" % (row.name, transport, peer), against["ratio"], against["least"],
                              against["goal"], against["verdict"])


def verdict_lines(verdicts):
    for found in verdicts:
        value = "not measured" if found.value is None else "%.3g" % found.value
        yield "%-9s  %-74s %12s  (limit %g, goal %g)" % (found.verdict, found.what, value, found.least, found.goal)


def first_line(words):
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        return done.stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return None


def field(path, name):
    try:
        with open(path) as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return None


def machine(folder):
    """What it ran on; no names of hosts or places."""
    return {"cpu": field("/proc/cpuinfo", "model name"), "cores": len(os.sched_getaffinity(0)),
            "memory": field("/proc/meminfo", "MemTotal"), "kernel": platform.release(), "arch": platform.machine(),
            "file_system": first_line(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", folder]),
            "load_before": os.getloadavg()[0]}


def versions(dist):
    repository = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    git = ["git", "-C", repository]
    return {"commit": first_line(git + ["rev-parse", "HEAD"]),
            "changed": first_line(git + ["status", "--porcelain", "--untracked-files=no"]) is not None,
            "cloudfsd": first_line([os.path.join(dist, "cloudfsd"), "--version"]), "fio": first_line(["fio", "--version"]),
            "qemu-nbd": first_line(["qemu-nbd", "--version"]), "nbdkit": first_line(["nbdkit", "--version"]),
            "nbd-server": first_line(["nbd-server", "-V"]), "python": platform.python_version()}
