#!/usr/bin/env python3
"""SET with every reply after stable storage, beside peers that do the same.

    durable.py [--quoring PATH] [--peers redis-7.0,redis-8.2,valkey-9.1] [--rounds 3] [--shapes 1x1,50x1] [--keys 1000000]
               [--flags "--poll-us 300"]… [--scale 1.0]

Each server runs alone, pinned to processor 0 (Quoring with one core and --durability sync, peers with appendfsync always
and no rewrites of their AOF, which is short anyway), in a fresh directory of $BENCH_DIR, which is on the disk that is
meant (else the usual place for temporary files, which may be memory); redis-benchmark runs on the other processor and sets
random ones of so many keys, none of which is there at first, to values of 64 bytes. A shape is clients x pipeline. In each
round all servers take their turns, one after the other. Each `--flags` adds Quoring with these flags to them (without a
space: `--flags=--poll-us=300`). Peers are found by their names in $PEERS_DIR, or else in ~/.cache/quoring-peers.

Printed are medians: requests a second, p50 and p99, and the server's CPU microseconds a request (user and system time of
its process); behind Quoring's figures each one divided by that of the best peer in this column.
"""
import argparse, os, shlex, statistics, tempfile

from large import benchmark, times
from logbytes import start, stop
from saving import PEERS

# Requests of a client alone, and of several, for each command of a pipeline.
REQUESTS_ALONE, REQUESTS = 10_000, 100_000
# How a column is named, written, and which of several is the best.
COLUMNS = {"rate": ("requests/s", ",.0f", max), "p50": ("p50 ms", ".3f", min), "p99": ("p99 ms", ".3f", min), "cpu": ("CPU us a request", ".2f", min)}


def measure(server, options):
    """Figures by shape."""
    name, path, flags = server
    found = {}
    with tempfile.TemporaryDirectory(prefix="quoring-durable-", dir=os.environ.get("BENCH_DIR")) as folder:
        directory = os.path.join(folder, "data")
        os.mkdir(directory)
        process, port, _ = start(name, path, directory, ["--durability", "sync", *flags])
        try:
            for shape in options.shapes.split(","):
                clients, pipeline = shape.split("x")
                requests = int((REQUESTS_ALONE if clients == "1" else REQUESTS) * int(pipeline) * options.scale)
                arguments = ["-c", clients, "-P", pipeline, "-r", str(options.keys), "-d", "64", "-t", "set"]
                found[shape] = benchmark(process, port, requests, *arguments)
        finally:
            stop(process)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--peers", default="redis-7.0,redis-8.2,valkey-9.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", default="1x1,50x1")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--flags", action="append", default=[], help="for Quoring once more")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests")
    options = parser.parse_args()
    servers = {"quoring": ("quoring", options.quoring, [])}
    servers |= {f"quoring {flags}": ("quoring", options.quoring, shlex.split(flags)) for flags in options.flags}
    servers |= {name: (name, os.path.join(PEERS, name), []) for name in options.peers.split(",") if name}
    rounds = {label: [] for label in servers}
    for _ in range(options.rounds):
        for label, server in servers.items():
            rounds[label].append(measure(server, options))
    print("| shape | server | " + " | ".join(head for head, _, _ in COLUMNS.values()) + " |")
    print("| --- " * (len(COLUMNS) + 2) + "|")
    for shape in options.shapes.split(","):
        medians = {label: {key: statistics.median(one[shape][key] for one in rounds[label]) for key in COLUMNS} for label in servers}
        peers = [medians[label] for label, (name, _, _) in servers.items() if name != "quoring"]
        for label, (name, _, _) in servers.items():
            cells = []
            for key, (_, form, best) in COLUMNS.items():
                figure = medians[label][key]
                ratio = f" ({times(figure, best(peer[key] for peer in peers))})" if peers and name == "quoring" else ""
                cells.append(f"{figure:{form}}{ratio}")
            print(f"| {shape} | {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
