#!/usr/bin/env python3
"""
Loads disks over NBD, a connection and a process for each, in batches: 32 writes, then a flush, then all answers.

    load.py --socket PATH --disks a,b once --pages N [--stride 2]       each stride-th of N*stride pages once, in random order
    load.py --socket PATH --disks a,b over --pages N --count M          M random ones of those, again
    load.py --socket PATH --disks a full                                from the start on, in 256 KiB, until ENOSPC
    load.py --socket PATH --disks a trim                                the whole disk

Prints {"writes", "bytes", "seconds"} over all disks.
"""

import argparse
import array
import json
import multiprocessing
import os
import random
import sys
import time

import nbd

PAGE = 4096
PIECE = 256 << 10


def pages_of(chosen, chance):
    if chosen.mode == "once":
        order = array.array("I", range(chosen.pages))
        chance.shuffle(order)
        return order
    return (chance.randrange(chosen.pages) for _ in range(chosen.count))


def random_pages(disk, chosen, chance):
    noise = memoryview(os.urandom((1 << 20) + PAGE))
    batch, writes = [], 0

    def send():
        for error, _ in disk.batch(batch + [(nbd.FLUSH, 0, 0, 0, b"")] if chosen.flush else batch):
            if error:
                sys.exit("a write or a flush was refused: error %d after %d writes" % (error, writes))
        batch.clear()

    for page in pages_of(chosen, chance):
        at = chance.randrange(1 << 20)
        batch.append((nbd.WRITE, 0, page * chosen.stride * PAGE, PAGE, noise[at:at + PAGE]))
        writes += 1
        if len(batch) == chosen.depth:
            send()
    send()
    return writes, writes * PAGE


def fill(disk):
    done = 0
    while done + 8 * PIECE <= disk.size:
        batch = [(nbd.WRITE, 0, done + i * PIECE, PIECE, os.urandom(PIECE)) for i in range(8)]
        errors = [error for error, _ in disk.batch(batch)]
        done += errors.count(0) * PIECE
        if any(errors):
            if any(error not in (0, nbd.ENOSPC) for error in errors):
                sys.exit("errors %s after %d bytes" % (errors, done))
            return done // PIECE, done
    sys.exit("the disk is full, the device is not: make the disk larger")


def trim(disk):
    for at in range(0, disk.size, 1 << 31):
        error, _ = disk.one(nbd.TRIM, at, min(disk.size - at, 1 << 31))
        if error:
            sys.exit("a trim was refused: error %d" % error)
    error, _ = disk.one(nbd.FLUSH)
    return 0, error


def run(name, number, chosen):
    disk = nbd.Nbd(chosen.socket, name, timeout=600)
    modes = {"full": fill, "trim": trim}
    if chosen.mode in modes:
        done = modes[chosen.mode](disk)
    else:
        done = random_pages(disk, chosen, random.Random(chosen.seed * 1000 + number))
    disk.close()
    return done


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--socket", required=True)
    options.add_argument("--disks", required=True)
    options.add_argument("mode", choices=("once", "over", "full", "trim"))
    options.add_argument("--pages", type=int, default=0, help="for each disk")
    options.add_argument("--stride", type=int, default=1)
    options.add_argument("--count", type=int, default=0, help="for each disk")
    options.add_argument("--depth", type=int, default=32)
    options.add_argument("--no-flush", dest="flush", action="store_false")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    disks = chosen.disks.split(",")
    began = time.monotonic()
    with multiprocessing.Pool(len(disks)) as pool:
        done = pool.starmap(run, [(name, number, chosen) for number, name in enumerate(disks)])
    print(json.dumps({"writes": sum(pair[0] for pair in done), "bytes": sum(pair[1] for pair in done),
                      "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
