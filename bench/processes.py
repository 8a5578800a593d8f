"""What the suite needs of the system: programs run, processes watched, caches emptied, and the place where all lies."""

import contextlib
import os
import socket
import subprocess
import sys

from workloads import FioError, command, parse

BENCH = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stat_of(pid):
    """Its state and the fields behind; None where it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def family(pid):
    """It and its descendants: nbd-server has a process for each connection."""
    yield pid
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                for child in file.read().split():
                    yield from family(int(child))


def cpu_seconds(pid):
    """User and system time of all threads, of children that live or wait to be reaped, and of those that were."""
    found = (stat_of(member) for member in family(pid))
    return sum(sum(map(int, fields[11:15])) for fields in found if fields) / TICKS


def resident_bytes(pid):
    found = (stat_of(member) for member in family(pid))
    return sum(int(fields[21]) for fields in found if fields) * os.sysconf("SC_PAGE_SIZE")


def written_by_process(pid):
    """
    The kernel's count. Exact for O_DIRECT; through the page cache it counts whole folios, up to 2 MiB for a page written anew,
    though no more than that page goes to the disk.
    """
    with open("/proc/%d/io" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))


def written_to_disk(path):
    """All that went to the block device below the file system, of neighbours as well; None where there is no such device."""
    place = os.stat(path).st_dev
    try:
        with open("/sys/dev/block/%d:%d/stat" % (os.major(place), os.minor(place))) as file:
            return int(file.read().split()[6]) * 512
    except OSError:
        return None


def run(words):
    """A program that must do it, quietly."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise FioError("%s: %s" % (words[0], (done.stderr or done.stdout).strip()[-300:]))
    return done.stdout


def run_fio(words, limit=900):
    fio = subprocess.Popen(command(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           stdin=subprocess.DEVNULL, cwd="/")
    try:
        out, err = fio.communicate(timeout=limit)
    except BaseException as why:
        fio.kill()
        fio.wait()
        if isinstance(why, subprocess.TimeoutExpired):
            raise FioError("fio did not end within %d s" % limit) from None
        raise
    if fio.returncode:
        # The first word of complaint says it all; the JSON and the rest is a screenful.
        lines = [line.strip() for line in err.splitlines() if line.strip() and "connected to NBD server" not in line]
        raise FioError(lines[0] if lines else "fio ended with %d" % fio.returncode)
    return parse(out)


class Place:
    """Where everything lies, and what all servers share."""

    def __init__(self, work, memory, dist, size, device, read_cache, daemon_words):
        self.work, self.memory, self.dist = work, memory, dist
        self.size, self.device, self.read_cache, self.daemon_words = size, device, read_cache, daemon_words
        self.help = subprocess.run([os.path.join(dist, "cloudfsd"), "--help"], capture_output=True, text=True).stdout
        self.alive = []  # servers to end whatever happens

    def option(self, name, value):
        """Both words if the daemon knows the option, otherwise none: an older build can be measured, too."""
        return [name, value] if name + "=" in self.help else []

    def end_all(self):
        for server in list(self.alive):
            with contextlib.suppress(OSError):
                server.kill()


def drop_caches(path):
    """All of the kernel's, where we may; otherwise those of one file."""
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
    except OSError:
        if path:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
