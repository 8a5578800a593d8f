"""
A disk under the soak's load, and the model of what it must hold.

The model holds for each sector the 64-bit word with which the whole sector is filled: number of the write, disk, and
place; 0 for zeroes. A write that was never answered because of a kill must be there whole or not at all.
"""

import array
import json
import os
import random
import subprocess
import sys
import time
import urllib.error

import nbd

SECTOR, WORDS = 512, 64
CHUNK = 2048  # sectors: the largest write, and what is verified at once
SLOWEST = 30  # seconds for a batch; more is a stall
REPLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts", "replay.py")
NAMES = {nbd.WRITE: "write", nbd.TRIM: "trim", nbd.WRITE_ZEROES: "zero"}


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
            elif answer[0] == nbd.ESHUTDOWN:
                # The daemon was told to stop: it may have been written, or not.
                self.unanswered.append(request)
            elif answer[0] == nbd.ENOSPC and request[0] == nbd.WRITE:
                full = True
            else:
                self.soak.violation("disk %s: %s of %d sectors at %d is answered with error %d" % (
                    self.name(), NAMES[request[0]], request[2], request[1], answer[0]))
        if flush and answers[-1] and answers[-1][0] not in (0, nbd.ESHUTDOWN):
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
        oldest, overtaken = self.oldest(), True
        while overtaken:
            failure = self.replay(oldest)
            # Room is short: what ended while it was sent was history, and the server breaks off. From what is left, then.
            overtaken = bool(failure) and self.oldest() > oldest
            oldest = self.oldest() if overtaken else oldest
        if failure:
            self.soak.violation("disk %s (%s): /stream from LSN %d: %s" % (self.name(), self.id, oldest, failure))

    def oldest(self):
        return json.loads(self.daemon.get("/disks/" + self.id))["oldestLsn"]

    def replay(self, oldest):
        """None when the stream from there was proved, else what was wrong."""
        out = self.daemon.path("replayed")
        words = [sys.executable, REPLAY, "--json"] + (["--out", out] if oldest <= 1 else ["--tail"])
        with subprocess.Popen(["curl", "-sSfN", "%s/stream?%s&%d&once" % (self.daemon.http, self.id, max(oldest, 1) - 1)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            replay = subprocess.run(words, stdin=curl.stdout, capture_output=True, text=True)
            curl.stdout.close()
            told = curl.stderr.read().decode().strip()
        if curl.returncode or replay.returncode:
            return "curl %d %s; %s" % (curl.returncode, told, replay.stderr.strip()[-300:])
        self.soak.count("streams replayed" if oldest <= 1 else "streams replayed from the middle")
        if oldest <= 1:
            bad = []
            with open(out, "rb") as file:
                for first in range(0, self.sectors, CHUNK):
                    data = file.read(CHUNK * SECTOR)
                    self.compare(first, array.array("Q", data), bad)
            os.remove(out)
            self.complain("replayed from its stream", bad)
        return None
