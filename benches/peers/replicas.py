#!/usr/bin/env python3
"""Writes that a majority has on its disks: three nodes of Quoring beside a Valkey primary with two replicas, all on one
machine.

    replicas.py [--quoring PATH] [--writers PATH] [--valkey valkey-9.1] [--rounds 3] [--seconds 6] [--keys 100000]
                [--shards 1]

Quoring answers a write once a majority of its nodes has it on stable storage. Valkey runs with appendfsync always on all
three; its clients send behind each pipeline WAIT 1 or 2 (so many replicas have it in memory; the primary on its disk), or
WAITAOF 1 2 (all have it on their disks; a client alone waits a second for that, because a replica says what its disk has
once a second or when asked, and is asked before it has it). `benches/src/bin/writers.rs` is the client: blocking sockets,
random keys, values of 64 bytes. Rounds alternate between the servers; printed are medians. CPU is that of all three
processes, per acknowledged write.
"""
import argparse, json, os, signal, statistics, subprocess, tempfile, time

from hits import await_client, Client, free_port
from saving import JEMALLOC, PEERS, info

SHAPES = [(1, 1), (50, 1), (50, 16)]
TOKEN = "the secret of a bench"


class Nodes:
    """Three processes; `port` is the one that takes writes."""

    def __init__(self, argvs, env, folder):
        self.processes = []
        for number, argv in enumerate(argvs):
            log = open(os.path.join(folder, f"out{number}"), "w")
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log, env=env))

    def cpu_s(self):
        ticks = 0
        for process in self.processes:
            with open(f"/proc/{process.pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def quoring(options, folder):
    ports, peers = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    named = ",".join(f"{n + 1}=127.0.0.1:{peers[n]}" for n in range(3))
    argvs = []
    for n in range(3):
        directory = os.path.join(folder, str(n))
        argvs.append([options.quoring, "--port", str(ports[n]), "--dir", directory, "--cores", "1", "--shards", str(options.shards),
                      "--cluster-token", TOKEN, "--node", str(n + 1), "--nodes", named])
    nodes = Nodes(argvs, os.environ, folder)
    clients = [await_client(port, "quoring") for port in ports]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for port, client in zip(ports, clients):
            if info(client).get("role") == "master":
                nodes.port = port
                return nodes
        time.sleep(0.05)
    nodes.stop()
    raise SystemExit("no node of Quoring leads")


def valkey(options, folder):
    ports, argvs = [free_port() for _ in range(3)], []
    path = os.path.join(PEERS, options.valkey)
    for n in range(3):
        directory = os.path.join(folder, str(n))
        os.mkdir(directory)
        argv = [path, "--port", str(ports[n]), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "yes", "--appendfsync",
                "always", "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"]
        argvs.append(argv + (["--replicaof", "127.0.0.1", str(ports[0])] if n else []))
    nodes = Nodes(argvs, dict(os.environ, LD_PRELOAD=JEMALLOC), folder)
    nodes.port = ports[0]
    client = await_client(ports[0], options.valkey)
    until = time.monotonic() + 30
    # Once both count on their logs too.
    while time.monotonic() < until:
        client.run("SET", "probe", "x")
        if client.run("WAITAOF", "1", "2", "1000") == [b"1", b"2"]:
            return nodes
    nodes.stop()
    raise SystemExit("the replicas do not follow")


def measure(options, nodes, shape, after):
    clients, pipeline = shape
    argv = [options.writers, str(nodes.port), str(clients), str(pipeline), str(options.seconds), str(options.keys), *after]
    before = nodes.cpu_s()
    said = subprocess.run(argv, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr)
    said = json.loads(said.stdout)
    return {
        "rate": said["writes"] / said["seconds"],
        "p50": said["p50_us"] / 1000,
        "p99": said["p99_us"] / 1000,
        "cpu": (nodes.cpu_s() - before) * 1e6 / said["writes"],
    }


SERVERS = [
    ("Quoring", quoring, []),
    ("Valkey, WAIT 1", valkey, ["WAIT", "1", "0"]),
    ("Valkey, WAIT 2", valkey, ["WAIT", "2", "0"]),
    ("Valkey, WAITAOF 1 2", valkey, ["WAITAOF", "1", "2", "0"]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--writers", default="target/release/writers")
    parser.add_argument("--valkey", default="valkey-9.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=1)
    options = parser.parse_args()
    results = {}
    for _ in range(options.rounds):
        for name, start, after in SERVERS:
            with tempfile.TemporaryDirectory(prefix="quoring-replicas-", dir=os.environ.get("BENCH_DIR")) as folder:
                nodes = start(options, folder)
                try:
                    for shape in SHAPES:
                        results.setdefault((name, shape), []).append(measure(options, nodes, shape, after))
                finally:
                    nodes.stop()
    print("| shape | server | writes/s | p50 ms | p99 ms | CPU us a write, all nodes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        for name, _, _ in SERVERS:
            rounds = results[name, shape]
            median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
            cells = f"{median['rate']:,.0f} | {median['p50']:.3f} | {median['p99']:.3f} | {median['cpu']:.2f}"
            print(f"| {shape[0]}x{shape[1]} | {name} | {cells} |")


if __name__ == "__main__":
    main()
