#!/usr/bin/env python3
"""Reads a CloudFS stream on standard input, checks it, and rebuilds the disk from it.

    wget -qO- 'http://127.0.0.1:8090/stream?ID&once' | replay.py [--out FILE] [--json] [--expect-head ID]
    wget -qO- 'http://127.0.0.1:8090/state?ID[&LSN&VERSION]&once' | replay.py --state [--after LSN:VERSION] …

A second opinion: written from the format's page alone, it shares no code with the daemon. It checks every rule
of the format that a reader can check with nothing secret, from the disk's first entry on, and stops at the first
entry that breaks one, with a line that names its LSN and the rule, and exit status 1.

With --tail a stream may begin in the middle of a disk's history, as it does where the beginning was given up: of what
came before, the first entry is taken at its word; everything else is checked the same.

With --state it reads what /state sends: what is left of a long history, entry by entry with gaps, then items that
restate view and attributes, then the stream. Each entry must still prove its own contents and id; the links across
gaps are taken on the word of the sender. With --after the file must hold the disk as it was at that point, and is
brought up to date.

For each disk it prints one line: base id, head, LSN. Only the standard library is needed; XXH64 goes through
libxxhash where that is installed, and is computed here (slowly) where it is not.
"""

import argparse
import ctypes
import hashlib
import json
import os
import re
import struct
import sys
import tempfile

SECTOR = 512
PAGE_SECTORS = 8
HEADER_MAX = 65536
BODY_MAX = 1 << 20
SECTORS_MAX = 1 << 55
UPDATE, VIEW, BRANCH, ATTRIBUTES = 1, 2, 3, 4
DATA, ZERO = 0, 1
COMPACTED = 1

HEADER = struct.Struct("<4s B B B B I I Q 20s 20s 20s 20s 20s H H Q 16s Q")
CHECK_AT = 152
EXTENT = struct.Struct("<Q I B 3s")
PAGE = struct.Struct("<20s Q B B 2s")
CONTENT = struct.Struct("<B Q Q 16s H H")
# What is kept of each entry until the secret of its view is known.
PROOF = struct.Struct("<Q 20s 20s")
PROOFS_IN_MEMORY = 64 << 20

NOTHING = bytes(20)
ZEROES = bytes(PAGE_SECTORS * SECTOR)
HEX40 = re.compile(r"[0-9a-f]{40}\Z")


class Refused(Exception):
    """An entry, or the stream, breaks a rule."""


def sha1(*parts):
    digest = hashlib.sha1()
    for part in parts:
        digest.update(part)
    return digest.digest()


# ---------------------------------------------------------------------------------------------------- XXH64

def xxh64_in_python(data):
    """XXH64 with seed 0, for machines without libxxhash: some MB/s."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
    mask = (1 << 64) - 1

    def rotate(x, n):
        return ((x << n) | (x >> (64 - n))) & mask

    def mix(lane, word):
        return rotate((lane + word * p2) & mask, 31) * p1 & mask

    length, at = len(data), 0
    if length >= 32:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        whole = length & ~31
        for words in struct.iter_unpack("<4Q", data[:whole]):
            lanes = [mix(lane, word) for lane, word in zip(lanes, words)]
        at = whole
        h = sum(rotate(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18))) & mask
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * p1 + p4) & mask
    else:
        h = p5
    h = (h + length) & mask
    while at + 8 <= length:
        (word,) = struct.unpack_from("<Q", data, at)
        h = (rotate(h ^ mix(0, word), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= length:
        (word,) = struct.unpack_from("<I", data, at)
        h = (rotate(h ^ (word * p1 & mask), 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ (byte * p5 & mask), 11) * p1 & mask
    h = ((h ^ (h >> 33)) * p2) & mask
    h = ((h ^ (h >> 29)) * p3) & mask
    return h ^ (h >> 32)


def choose_xxh64():
    """A function (buffer: bytes, offset, length) -> hash, which does not copy where libxxhash is there."""
    try:
        native = ctypes.CDLL("libxxhash.so.0").XXH64
    except (OSError, AttributeError):
        return lambda buffer, offset, length: xxh64_in_python(buffer[offset:offset + length])
    native.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64)
    native.restype = ctypes.c_uint64
    address = ctypes.pythonapi.PyBytes_AsString
    address.argtypes = (ctypes.py_object,)
    address.restype = ctypes.c_void_p
    return lambda buffer, offset, length: native(address(buffer) + offset, length, 0)


# ---------------------------------------------------------------------------------------------------- the disk's contents

class DiskFile:
    """The disk as a sparse file: nothing is written where nothing but zeroes ever was."""

    def __init__(self, path, keep=False):
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o644)
        self._end = os.fstat(self._fd).st_size

    def write(self, lba, data):
        at = lba * SECTOR
        while data:
            done = os.pwrite(self._fd, data, at)
            data, at = data[done:], at + done
        self._end = max(self._end, at)

    def zero(self, lba, sectors):
        at, end = lba * SECTOR, min((lba + sectors) * SECTOR, self._end)
        while at < end:
            # Only what the file holds needs zeroes; a discard of a terabyte of hole costs nothing.
            try:
                at = os.lseek(self._fd, at, os.SEEK_DATA)
                stop = min(os.lseek(self._fd, at, os.SEEK_HOLE), end)
            except OSError:
                return  # no data behind this place
            while at < stop:
                at += os.pwrite(self._fd, bytes(min(stop - at, BODY_MAX)), at)

    def finish(self, size):
        if size is not None:
            os.ftruncate(self._fd, size)
        os.close(self._fd)


class NoFile:
    def write(self, lba, data):
        pass

    def zero(self, lba, sectors):
        pass

    def finish(self, size):
        pass


class Unknown:
    """The sectors whose bytes compaction dropped and that nothing has covered since: page number -> bit mask."""

    def __init__(self):
        self._pages = {}

    def __bool__(self):
        return bool(self._pages)

    def first_sector(self):
        page = min(self._pages)
        mask = self._pages[page]
        return page * PAGE_SECTORS + (mask & -mask).bit_length() - 1

    def sectors(self):
        return sum(bin(mask).count("1") for mask in self._pages.values())

    def add(self, lba, sectors):
        while sectors:
            page, bit = divmod(lba, PAGE_SECTORS)
            count = min(sectors, PAGE_SECTORS - bit)
            self._pages[page] = self._pages.get(page, 0) | ((1 << count) - 1) << bit
            lba, sectors = lba + count, sectors - count

    def cover(self, lba, sectors):
        if not self._pages:
            return
        first, last = lba // PAGE_SECTORS, (lba + sectors - 1) // PAGE_SECTORS
        pages = range(first, last + 1)
        if len(pages) > len(self._pages):
            pages = [page for page in self._pages if first <= page <= last]
        for page in pages:
            mask = self._pages.get(page)
            if mask is None:
                continue
            low = max(lba - page * PAGE_SECTORS, 0)
            high = min(lba + sectors - page * PAGE_SECTORS, PAGE_SECTORS)
            mask &= ~(((1 << (high - low)) - 1) << low)
            if mask:
                self._pages[page] = mask
            else:
                del self._pages[page]


# ---------------------------------------------------------------------------------------------------- an entry

class Entry:
    """The fields of a header, and what is derived from them."""

    def __init__(self, raw):
        (self.magic, self.format, self.kind, self.digest, self.flags, self.header_length, self.body_length, self.lsn,
         self.disk, self.previous, self.parent, self.lock, self.id, self.extent_count, self.page_count, self.time,
         self.reserved, self.check) = HEADER.unpack_from(raw)
        self.raw = raw

    def parse(self):
        """Extents and pages, once the header's own hash is known to be right; then entropy."""
        extents_at = HEADER.size
        pages_at = extents_at + EXTENT.size * self.extent_count
        end = pages_at + PAGE.size * self.page_count
        require(self.header_length == -(-end // SECTOR) * SECTOR, "headerLength does not fit the counts")
        require(self.flags & ~COMPACTED == 0, "unknown flags")
        require(not any(self.reserved), "reserved bytes are not zero")
        require(not any(self.raw[end:]), "padding is not zero")
        self.extents = list(EXTENT.iter_unpack(self.raw[extents_at:pages_at]))
        self.pages = list(PAGE.iter_unpack(self.raw[pages_at:end]))
        for lba, sectors, kind, zero in self.extents:
            require(sectors >= 1 and lba + sectors <= SECTORS_MAX, "extent out of range")
            require(kind in (DATA, ZERO), "unknown kind of extent")
            require(not any(zero), "extent's zero bytes are not zero")
        for _, _, sectors, state, zero in self.pages:
            require(1 <= sectors <= PAGE_SECTORS, "page of %d sectors" % sectors)
            require(state in (0, 1), "unknown state of a page")
            require(not any(zero), "page's zero bytes are not zero")
        dropped = sum(page[3] for page in self.pages)
        require(bool(self.flags & COMPACTED) == bool(dropped), "the compacted flag does not fit the pages")
        held = sum(page[2] for page in self.pages if not page[3])
        require(self.body_length == held * SECTOR, "bodyLength does not fit the pages")
        if self.kind == UPDATE:
            require(self.extents, "an update without an extent")
        else:
            require(not self.extents, "an entry of kind %d with extents" % self.kind)
            require(self.pages and not dropped, "a body is missing or dropped")
            require(all(page[2] == PAGE_SECTORS for page in self.pages[:-1]), "the body's pages are not 8 sectors each")
        content = sha1(
            CONTENT.pack(self.kind, self.lsn, self.time, self.reserved, self.extent_count, self.page_count),
            self.raw[extents_at:pages_at], *(page[0] for page in self.pages))
        self.entropy = sha1(self.previous, self.parent, content)


def require(holds, rule):
    if not holds:
        raise Refused(rule)


def is_hex40(value):
    return isinstance(value, str) and HEX40.match(value) is not None


def is_u64(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def parse_body(body):
    def unique(pairs):
        keys = [key for key, _ in pairs]
        require(len(keys) == len(set(keys)), "a key twice in the JSON body")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(name)

    try:
        found = json.loads(body.decode("utf-8").rstrip(" "), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON in UTF-8, padded with spaces") from None
    require(isinstance(found, dict), "the body is not one JSON object")
    return found


# ---------------------------------------------------------------------------------------------------- a disk's chain

class Disk:
    """One disk as far as the stream has told it."""

    def __init__(self, out, tail=False):
        self.out = out
        self.tail = tail
        self.lsn = 0
        self.base = self.head = self.lock = self.view = self.origin = None
        self.time = 0
        self.ballot = None
        self.attributes = {}
        self.forced = []
        self.entries = self.stream_bytes = self.data_bytes = 0
        self.unknown = Unknown()
        self.whole_at = None
        self.proofs = tempfile.SpooledTemporaryFile(max_size=PROOFS_IN_MEMORY)

    def finish(self):
        """The stream ended: a plain one may, behind any entry."""

    def follows(self, entry):
        """The links to the entry before; what a view's body must say about them comes later."""
        if self.lsn == 0 and self.tail and entry.lsn > 1:
            require(entry.kind != BRANCH, "a branch in the middle of a disk")
            return
        if self.lsn == 0:
            require(entry.kind in (VIEW, BRANCH), "the first entry is neither a view nor a branch")
            require(entry.lsn == 1, "the first entry has not LSN 1")
            require(entry.parent == NOTHING, "parent: a first entry has one")
            require((entry.previous == NOTHING) == (entry.kind == VIEW), "previous: does not fit a first entry")
            require(entry.disk == entry.id, "disk: a first entry's is its own id")
            return
        require(not self.deleted(), "it comes after the disk was deleted")
        require(entry.kind != BRANCH, "a branch in the middle of a disk")
        require(entry.lsn == self.lsn + 1, "lsn: it follows LSN %d, so entries are missing or out of order" % self.lsn)
        require(entry.previous == self.head, "previous: a fork, it does not spring from the entry before")
        require(entry.time >= self.time, "time goes back")

    def token_fits(self, entry, forced):
        if self.lsn == 0:
            return
        if forced:
            require(entry.parent == NOTHING, "parent: a forced view has one")
        else:
            require(sha1(entry.parent) == self.lock, "parent: it is not the token of the entry before")

    def deleted(self):
        return self.attributes.get("deleted") is True

    def size(self):
        size = self.attributes.get("size")
        return size if is_u64(size) else None

    def new_view(self, entry, body):
        for key in ("view", "epoch", "primary", "replicas"):
            require(key in body, "view: it lacks %s" % key)
        require(is_hex40(body["view"]) and is_hex40(body["primary"]) and is_u64(body["epoch"])
                and isinstance(body["replicas"], list), "view: view, epoch, primary or replicas is malformed")
        forced, revoked = body.get("forced", False), body.get("revoked")
        require(isinstance(forced, bool), "view: forced is neither true nor false")
        require("revoked" not in body or is_hex40(revoked), "view: revoked is not 40 hex digits")
        view, ballot = bytes.fromhex(body["view"]), (body["epoch"], bytes.fromhex(body["primary"]))
        if entry.lsn == 1:
            require(not forced and revoked is None, "view: a first entry is forced or reveals a secret")
            if entry.kind == BRANCH:
                origin = body.get("origin")
                require(isinstance(origin, dict) and is_hex40(origin.get("disk")) and is_u64(origin.get("lsn")),
                        "branch: its origin is missing or malformed")
                require(origin.get("version") == entry.previous.hex(), "branch: origin and previous differ")
                self.origin = origin
        else:
            require(forced != (revoked is not None), "view: it must either reveal the secret before it or be forced")
            # What was before a tail is not known, but its secret proves the entries of the tail all the same.
            require(self.view is None or ballot > self.ballot, "view: its ballot does not rise")
            require(view != self.view, "view: it is the view in force once more")
            if revoked is not None:
                secret = bytes.fromhex(revoked)
                require(self.view is None or sha1(secret) == self.view, "view: the secret that it reveals is not that of the view in force")
                self.prove(secret)
        self.token_fits(entry, forced)
        if forced:
            self.forced.append({"lsn": entry.lsn, "id": entry.id.hex()})
        self.view, self.ballot = view, ballot
        # A forced view's predecessor is never revealed, so there is nothing to wait for.
        self.proofs = tempfile.SpooledTemporaryFile(max_size=PROOFS_IN_MEMORY)

    def prove(self, secret):
        """Every entry of the view that ends here must have been locked with its secret."""
        self.proofs.seek(0)
        while record := self.proofs.read(PROOF.size):
            lsn, entropy, lock = PROOF.unpack(record)
            require(sha1(sha1(secret, entropy)) == lock, "lock: LSN %d was not made with its view's secret" % lsn)

    def merge(self, body):
        for key, fits, name in (("disk", dict, "an object"), ("snapshots", dict, "an object")):
            require(body.get(key) is None or isinstance(body[key], fits), "%s is not %s" % (key, name))
        require(body.get("horizon") is None or is_u64(body["horizon"]), "horizon is not a number")
        if "disk" in body:
            merged = {**self.attributes, **body["disk"]} if body["disk"] is not None else {}
            self.attributes = {key: value for key, value in merged.items() if value is not None}

    def append(self, entry, body, xxh64):
        entry.parse()
        check_pages(entry, body, xxh64)
        require(entry.id == sha1(entry.entropy, entry.lock), "id: it is not H(entropy, lock)")
        self.follows(entry)
        if entry.kind == UPDATE:
            self.token_fits(entry, forced=False)
            self.apply(entry, body)
        else:
            found = parse_body(body)
            if entry.kind == ATTRIBUTES:
                require(set(found) <= {"disk", "snapshots", "horizon"},
                        "attributes hold something else than disk, snapshots and horizon")
                self.token_fits(entry, forced=False)
            else:
                self.new_view(entry, found)
            self.merge(found)
        self.proofs.write(PROOF.pack(entry.lsn, entry.entropy, entry.lock))
        self.base = entry.disk
        self.lsn, self.head, self.lock, self.time = entry.lsn, entry.id, entry.lock, entry.time
        self.entries += 1
        self.stream_bytes += entry.header_length + entry.body_length
        if self.unknown:
            self.whole_at = None
        elif self.whole_at is None:
            self.whole_at = self.lsn

    def apply(self, entry, body):
        body = memoryview(body)
        pages, at = iter(entry.pages), 0
        for lba, sectors, kind, _ in entry.extents:
            self.unknown.cover(lba, sectors)
            if kind == ZERO:
                self.out.zero(lba, sectors)
                continue
            # Present pages lie side by side, in the body as on the disk, so a run of them is one write.
            place, end, run_lba, run_at = lba, lba + sectors, lba, at
            while place < end:
                _, _, count, dropped, _ = next(pages)
                if dropped:
                    self.out.write(run_lba, body[run_at:at])
                    # What stood here before must not be taken for what was written.
                    self.out.zero(place, count)
                    self.unknown.add(place, count)
                    run_lba, run_at = place + count, at
                else:
                    at += count * SECTOR
                place += count
            self.out.write(run_lba, body[run_at:at])
            self.data_bytes += sectors * SECTOR


class LateDisk(Disk):
    """One disk as /state tells it: survivors with gaps, state items, and then the stream.

    The state is as of a version, its LSN `whole`. The stream begins at or before the entry behind it, and its entries up
    to that version are held against one another, but not against view and attributes: those hold from there on."""

    def __init__(self, out, point):
        super().__init__(out)
        self.point, self.point_id = point or (0, None)
        self.lsn = self.point
        self.whole = self.first = None
        self.views, self.survivors, self.in_items, self.seen_last = [], 0, False, False

    def append(self, entry, body, xxh64):
        if self.seen_last and self.lsn >= self.whole:
            super().append(entry, body, xxh64)
            return
        entry.parse()
        check_pages(entry, body, xxh64)
        if entry.kind == ATTRIBUTES and entry.lsn == 0:
            try:
                self.restate(entry, parse_body(body))
            except (KeyError, TypeError):
                raise Refused("state: something is missing or malformed") from None
            return
        require(entry.id == sha1(entry.entropy, entry.lock), "id: it is not H(entropy, lock)")
        require(self.base is None or entry.disk == self.base, "disk: this is about another one")
        self.base = entry.disk
        if not self.seen_last:
            require(not self.in_items, "an entry in the middle of the state items")
            require(entry.lsn > self.lsn, "lsn: what is left of the history does not ascend")
            self.survivors += 1
            self.take(entry, body)
        else:
            self.catch_up(entry, body)

    def take(self, entry, body):
        """What an entry says, where nothing before it is at hand to judge it by."""
        if entry.kind == UPDATE:
            self.apply(entry, body)
        else:
            parse_body(body)
        self.lsn = entry.lsn
        self.entries += 1
        self.stream_bytes += entry.header_length + entry.body_length

    def restate(self, entry, found):
        require(not self.seen_last, "a state item behind the last")
        require(not entry.flags and entry.disk != NOTHING and entry.time == 0
                and (entry.previous, entry.parent, entry.lock, entry.id) == (NOTHING,) * 4,
                "state: neither an entry of the chain nor a state item")
        require(self.base is None or entry.disk == self.base, "disk: this is about another one")
        self.base, self.in_items = entry.disk, True
        for view in found.get("views", []):
            require(is_u64(view["epoch"]) and is_u64(view["lsn"])
                    and all(is_hex40(view[key]) for key in ("primary", "id", "previous")), "state: a view is malformed")
            ballot = (view["epoch"], bytes.fromhex(view["primary"]))
            require(not self.views or self.views[-1]["ballot"] < ballot and self.views[-1]["lsn"] < view["lsn"],
                    "state: views do not ascend")
            self.views.append({**view, "ballot": ballot})
        for run in found.get("lost", []):
            require(is_u64(run["lba"]) and is_u64(run["sectors"]) and run["lba"] + run["sectors"] <= SECTORS_MAX,
                    "state: a lost run is malformed")
            require(is_u64(run["lsn"]), "state: a lost run is malformed")
            if 0 < run["lsn"] <= self.point:
                continue  # set before the point, as of which the file holds everything
            self.out.zero(run["lba"], run["sectors"])
            self.unknown.add(run["lba"], run["sectors"])
        if found.get("more") is True:
            return
        require(all(is_hex40(found.get(key)) for key in ("version", "lock", "view", "primary"))
                and all(is_u64(found.get(key)) for key in ("lsn", "time", "from", "epoch"))
                and isinstance(found.get("replicas"), list), "state: something is missing or malformed")
        require(self.point < found["from"] <= found["lsn"] + 1, "state: from lies beyond what it is whole at")
        require(self.lsn < found["from"], "state: the stream begins before what is left of the history ends")
        self.seen_last, self.whole, self.first = True, found["lsn"], found["from"]
        self.version, self.version_lock = bytes.fromhex(found["version"]), bytes.fromhex(found["lock"])
        self.view, self.ballot = bytes.fromhex(found["view"]), (found["epoch"], bytes.fromhex(found["primary"]))
        require(not self.views or self.views[-1]["ballot"] <= self.ballot, "state: a view is above the one in force")
        self.merge(found)
        self.proofs = tempfile.SpooledTemporaryFile(max_size=PROOFS_IN_MEMORY)
        self.whole_time = found["time"]
        if self.point_id and self.first == self.point + 1:
            self.head = self.point_id
        self.lsn = self.first - 1
        if self.lsn == self.whole:
            self.be_whole(found["time"])

    def catch_up(self, entry, body):
        """An entry of the stream that the restated version has behind it already."""
        require(entry.lsn == self.lsn + 1, "lsn: it follows LSN %d, so entries are missing or out of order" % self.lsn)
        require(self.head is None or entry.previous == self.head, "previous: it does not spring from the entry before")
        require(entry.time >= self.time, "time goes back")
        forced = entry.kind == VIEW and parse_body(body).get("forced") is True
        require(self.lock is None or forced or sha1(entry.parent) == self.lock,
                "parent: it is not the token of the entry before")
        if entry.kind in (VIEW, BRANCH):
            self.proofs = tempfile.SpooledTemporaryFile(max_size=PROOFS_IN_MEMORY)
            if forced:
                self.forced.append({"lsn": entry.lsn, "id": entry.id.hex()})
        self.proofs.write(PROOF.pack(entry.lsn, entry.entropy, entry.lock))
        self.take(entry, body)
        self.head, self.lock, self.time = entry.id, entry.lock, entry.time
        if entry.lsn == self.whole:
            require((entry.id, entry.lock) == (self.version, self.version_lock),
                    "id: it is not the version that the state was restated for")
            self.be_whole(entry.time)

    def be_whole(self, time):
        require(time == self.whole_time, "time: it is not that of the version that the state was restated for")
        self.head, self.lock, self.time = self.version, self.version_lock, time
        self.whole_at = None if self.unknown else self.whole

    def finish(self):
        require(self.seen_last, "the stream ends before the state items")
        require(self.lsn >= self.whole, "the stream ends at LSN %d, before the version %d that it was to reach"
                % (self.lsn, self.whole))


def check_pages(entry, body, xxh64):
    """Each page has the size that its place asks for; what is present has the hashes that its record states."""
    at, view = 0, memoryview(body)
    for expected, (digest, xxh, sectors, dropped, _) in zip(page_sizes(entry), entry.pages):
        require(sectors == expected, "a page of %d sectors where %d are due" % (sectors, expected))
        if dropped:
            continue
        length = sectors * SECTOR
        page = view[at:at + length]
        require(hashlib.sha1(page).digest() == digest, "sha1 of a page is wrong (byte %d of the body)" % at)
        require(xxh64 is None or xxh64(body, at, length) == xxh, "xxh64 of a page is wrong (byte %d of the body)" % at)
        require(entry.kind != UPDATE or page != ZEROES[:length], "a page of zeroes logged as data")
        at += length


def page_sizes(entry):
    """The sectors of each page, by the extents; refuses when their number is not the entry's."""
    if entry.kind != UPDATE:
        yield from (page[2] for page in entry.pages)
        return
    left = entry.page_count
    for lba, sectors, kind, _ in entry.extents:
        end = lba + sectors
        while kind == DATA and lba < end:
            require(left > 0, "fewer pages than the extents ask for")
            left -= 1
            count = min(PAGE_SECTORS - lba % PAGE_SECTORS, end - lba)
            yield count
            lba += count
    require(left == 0, "more pages than the extents ask for")


# ---------------------------------------------------------------------------------------------------- the stream

def read_entry(stream, xxh64):
    """The next entry and its body, or None at the end. The header is proved here, so that its LSN can be named."""
    raw = stream.read(SECTOR)
    if not raw:
        return None, None
    require(len(raw) == SECTOR, "the stream is cut within a header")
    entry = Entry(raw)
    require(entry.magic == b"CFSE", "magic: this is no entry")
    require(entry.format == 1, "format %d is unknown" % entry.format)
    require(entry.digest == 1, "digest %d is unknown" % entry.digest)
    require(UPDATE <= entry.kind <= ATTRIBUTES, "kind %d is unknown" % entry.kind)
    length = entry.header_length
    require(SECTOR <= length <= HEADER_MAX and length % SECTOR == 0, "headerLength %d is impossible" % length)
    require(entry.body_length <= BODY_MAX and entry.body_length % SECTOR == 0,
            "bodyLength %d is impossible" % entry.body_length)
    rest = stream.read(length - SECTOR)
    require(len(rest) == length - SECTOR, "the stream is cut within a header")
    entry.raw = raw + rest
    unchecked = entry.raw[:CHECK_AT] + bytes(8) + entry.raw[CHECK_AT + 8:]
    require(xxh64 is None or xxh64(unchecked, 0, length) == entry.check, "check: the header's xxh64 is wrong")
    body = stream.read(entry.body_length)
    require(len(body) == entry.body_length, "the stream is cut within a body")
    return entry, body


def replay(stream, xxh64, out, begin):
    """Reads the whole stream. With an output file it may hold one disk only."""
    disks, last_lsn, at = {}, 0, 0
    while True:
        lsn = last_lsn + 1  # until the header proved its own
        try:
            entry, body = read_entry(stream, xxh64)
            if entry is None:
                for disk in disks.values():
                    disk.finish()
                return disks
            lsn = entry.lsn
            disk = disks.get(entry.disk)
            if disk is None:
                require(not (disks and out), "a second disk, and one file for its contents")
                disk = begin(out or NoFile())
            disk.append(entry, body, xxh64)
            disks[entry.disk] = disk
        except Refused as refused:
            raise Refused("LSN %d (byte %d of the stream): %s" % (lsn, at, refused)) from None
        last_lsn, at = lsn, at + entry.header_length + entry.body_length


def report(disk):
    return {
        "disk": disk.base.hex(), "head": disk.head.hex(), "lsn": disk.lsn, "entries": disk.entries,
        "streamBytes": disk.stream_bytes, "dataBytes": disk.data_bytes, "time": disk.time,
        "view": disk.view and disk.view.hex(), "epoch": disk.ballot and disk.ballot[0],
        "primary": disk.ballot and disk.ballot[1].hex(), "forced": disk.forced,
        "origin": disk.origin, "attributes": disk.attributes, "deleted": disk.deleted(),
        "survivors": getattr(disk, "survivors", 0), "wholeAt": disk.whole_at, "unknownSectors": disk.unknown.sectors(),
    }


def main():
    options = argparse.ArgumentParser(
        description="Checks a CloudFS stream on standard input, and rebuilds the disk's contents from it.")
    options.add_argument("--out", metavar="FILE", help="write the disk's contents here, sparsely")
    options.add_argument("--json", action="store_true", help="print a JSON array instead of lines")
    options.add_argument("--expect-head", metavar="ID", help="fail unless the one disk's head is this version")
    options.add_argument("--tail", action="store_true", help="the stream may begin in the middle of a history")
    options.add_argument("--no-xxh", action="store_true", help="leave the xxh64 checks out; sha1 and the chain stay")
    options.add_argument("--state", action="store_true", help="read what /state sends, with gaps and state items")
    options.add_argument("--after", metavar="LSN:VERSION",
                         help="with --state: the point that /state was asked for; the file holds the disk as of it")
    chosen = options.parse_args()
    if chosen.tail and chosen.out:
        options.error("the tail of a history is not the whole disk: either --tail or --out")
    if chosen.tail and chosen.state:
        options.error("a state has no tail: either --tail or --state")

    point = None
    if chosen.after:
        lsn, _, version = chosen.after.partition(":")
        require(chosen.state and lsn.isdecimal() and is_hex40(version), "--after wants --state and LSN:VERSION")
        point = (int(lsn), bytes.fromhex(version))
    out = DiskFile(chosen.out, keep=point is not None) if chosen.out else None
    with open(sys.stdin.fileno(), "rb", buffering=BODY_MAX, closefd=False) as stream:
        xxh64 = None if chosen.no_xxh else choose_xxh64()
        begin = (lambda held: LateDisk(held, point)) if chosen.state else (lambda held: Disk(held, chosen.tail))
        disks = list(replay(stream, xxh64, out, begin).values())
    require(disks, "the stream holds no entry")
    for disk in disks:
        for view in disk.forced:
            print("replay: forced view: disk %s, LSN %d, id %s" % (disk.base.hex(), view["lsn"], view["id"]),
                  file=sys.stderr)
    if out:
        (disk,) = disks
        require(not disk.unknown, "sector %d was dropped by compaction, and nothing was written there since"
                % (disk.unknown.first_sector() if disk.unknown else 0))
        if disk.origin:
            print("replay: a branch: what it did not write itself reads as in its origin, and is zero here",
                  file=sys.stderr)
        out.finish(disk.size())
    if chosen.json:
        print(json.dumps([report(disk) for disk in disks], indent=2))
    else:
        for disk in disks:
            print(disk.base.hex(), disk.head.hex(), disk.lsn)
    if chosen.expect_head:
        heads = " ".join(disk.head.hex() for disk in disks)
        require(heads == chosen.expect_head.lower(), "the head is %s, not %s" % (heads, chosen.expect_head))


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        sys.exit("replay: %s" % refused)
    except (OSError, OverflowError) as failed:
        sys.exit("replay: %s" % failed)
