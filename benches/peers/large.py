#!/usr/bin/env python3
"""What large values cost: CPU of the server for a SET and for a GET, one client, no persistence, beside its peers.

    large.py [--quoring PATH] [--peers redis-7.0,redis-8.2,valkey-9.1] [--rounds 3] [--sizes 100000,1000000] [--keys 100]
             [--bytes 2000000000]

Each server runs alone, pinned to processor 0 (Quoring with --cores 1), and redis-benchmark on the other. Every key has a
value before anything is measured: each SET takes the place of one, each GET finds one. So many bytes of values are sent
or read for each figure. Peers are found by their names in $PEERS_DIR, or else in ~/.cache/quoring-peers. Servers take
turns within a round; printed are medians: the server's CPU microseconds a request (user and system time of its process),
and behind Quoring's how many times the least and how many times the most of its peers it is.
"""
import argparse, csv, io, os, signal, statistics, subprocess, tempfile

from cores import cpu_seconds
from hits import encode, key
from saving import PEERS, start

TESTS = ["set", "get"]


def benchmark(process, port, requests, *arguments):
    """Runs redis-benchmark on processor 1: requests a second, p50 and p99 in ms, and the server's CPU microseconds a request."""
    argv = ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-n", str(requests), "--csv", *arguments]
    before = cpu_seconds(process.pid)
    said = subprocess.run(argv, capture_output=True, text=True)
    cpu_us = (cpu_seconds(process.pid) - before) * 1e6 / requests
    rows = list(csv.DictReader(io.StringIO(said.stdout)))
    if said.returncode or len(rows) != 1:
        raise SystemExit(f"{' '.join(argv)}: {said.stdout}{said.stderr}")
    return {"rate": float(rows[0]["rps"]), "p50": float(rows[0]["p50_latency_ms"]), "p99": float(rows[0]["p99_latency_ms"]), "cpu": cpu_us}


def times(figure, other):
    """How many times the other it is."""
    return f"{figure / other:.2f}" if other else "-"


def measure(name, path, options):
    """CPU a request by size and test."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="quoring-large-") as directory:
        process, port, client = start(name, path, options, directory)
        try:
            for size in options.sizes:
                for number in range(options.keys):
                    client.send([encode(b"SET", key(number), b"x" * size)])
                    client.reply()
                requests = max(1, options.bytes // size)
                for test in TESTS:
                    arguments = ["-c", "1", "-r", str(options.keys), "-d", str(size), "-t", test]
                    found[size, test] = benchmark(process, port, requests, *arguments)["cpu"]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--peers", default="redis-7.0,redis-8.2,valkey-9.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[100_000, 1_000_000])
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--bytes", type=int, default=2_000_000_000)
    # What `saving.start` asks for besides.
    parser.set_defaults(durability="none", spread=False)
    options = parser.parse_args()
    peers = {name: os.path.join(PEERS, name) for name in options.peers.split(",") if name}
    rounds = {}
    for _ in range(options.rounds):
        for name, path in {"quoring": options.quoring, **peers}.items():
            rounds.setdefault(name, []).append(measure(name, path, options))
    print("| test | bytes | " + " | ".join(f"{name}, CPU us" for name in rounds) + " |")
    print("| --- " * (len(rounds) + 2) + "|")
    for size in options.sizes:
        for test in TESTS:
            ours, *others = (statistics.median(one[size, test] for one in of_server) for of_server in rounds.values())
            beside = f" ({times(ours, min(others))} to {times(ours, max(others))})" if others else ""
            cells = [f"{ours:.1f}{beside}"] + [f"{other:.1f}" for other in others]
            print(f"| {test.upper()} | {size} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
