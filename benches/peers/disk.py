#!/usr/bin/env python3
"""What a disk allows: how long one small write takes until it is stable, the way Quoring's log does it and the way an
append-only file does, alone and with others beside it.

    disk.py [--directory .] [--writes 600]

Quoring overwrites blocks of a file that has its full size (O_DIRECT, O_DSYNC); an append-only file grows by a few bytes
and is synced (`fdatasync`). A server's latency for one client with one write at a time is this and the way there and
back, which costs every server much the same: no server can be further ahead than its disk lets it. Three writers at once
are three nodes that share one disk.
"""
import argparse, mmap, os, tempfile, threading, time

BLOCK = 4096
FILE_BYTES = 16 << 20


def percentiles(act, count):
    times = []
    for number in range(count):
        began = time.perf_counter()
        act(number)
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return "  ".join(f"{name} {times[int(count * share)]:6.0f} µs" for name, share in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)])


def log_file(path):
    """A file every block of which has been written."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT | os.O_DSYNC, 0o600)
    os.posix_fallocate(file, 0, FILE_BYTES)
    zeros = mmap.mmap(-1, 1 << 20)
    for offset in range(0, FILE_BYTES, 1 << 20):
        os.pwrite(file, zeros, offset)
    return file


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", default=".")
    parser.add_argument("--writes", type=int, default=600)
    options = parser.parse_args()
    block = mmap.mmap(-1, BLOCK)
    blocks = FILE_BYTES // BLOCK
    with tempfile.TemporaryDirectory(prefix="quoring-disk-", dir=options.directory) as directory:
        files = [log_file(os.path.join(directory, str(number))) for number in range(3)]
        overwrite = lambda file: lambda number: os.pwrite(file, block, number % blocks * BLOCK)
        print("a block overwritten, stable    ", percentiles(overwrite(files[0]), options.writes))
        growing = os.open(os.path.join(directory, "aof"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

        def append(_):
            os.write(growing, b"x" * 40)
            os.fdatasync(growing)
        print("40 bytes appended and synced   ", percentiles(append, options.writes))
        begin, lines = threading.Barrier(3), [None] * 3

        def write_beside(place):
            begin.wait()
            lines[place] = percentiles(overwrite(files[place]), options.writes)
        threads = [threading.Thread(target=write_beside, args=(place,)) for place in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for line in lines:
            print("one of three that overwrite    ", line)


if __name__ == "__main__":
    main()
