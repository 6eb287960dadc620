#!/usr/bin/env python3
"""A follower that was away while much was written: what clients of the leader notice while it catches up.

    catchup.py [--quoring PATH] [--writers PATH] [--away-bytes 2000000000] [--value 16384] [--keys 20000] [--seconds 3]
               [--clients 50] [--pipeline 1] [--shards 1] [--rate BYTES] [--log-bytes BYTES]

Three nodes; `writers` (`benches/src/bin/writers.rs`) writes in windows of some seconds before anything happens, then a follower
is killed, so many bytes are written, and it is started again. Windows go on until it has what the leader has, and some more
after that. Printed are p50 and p99 of each window's writes, and the worst and the median of those during the catch-up beside the
median of those before; and how the leader brought the follower up to date, as it says. `--rate` is its
`catch-up-bytes-per-second`, `--log-bytes` its `catch-up-log-bytes`: with 0 it sends a checkpoint.
"""
import argparse, json, os, signal, statistics, subprocess, tempfile, time

from hits import Client, encode
from replicas import quoring
from saving import info

BATCH = 16


def window(options, nodes):
    argv = [options.writers, str(nodes.port), str(options.clients), str(options.pipeline), str(options.seconds), "100000"]
    said = subprocess.run(argv, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr)
    said = json.loads(said.stdout)
    return {"rate": said["writes"] / said["seconds"], "p50": said["p50_us"] / 1000, "p99": said["p99_us"] / 1000}


def find_leader(nodes):
    """Whoever leads now; `nodes.port` is its port."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for process in nodes.processes:
            try:
                if process.poll() is None and info(Client(port_of(process)))["role"] == "master":
                    nodes.port = port_of(process)
                    return Client(nodes.port)
            except OSError:
                pass
        time.sleep(0.02)
    raise SystemExit("nobody leads")


def load(options, nodes, amount):
    """Writes so many bytes of values, some commands at a time; how often the lead changed meanwhile."""
    client, value, number, changes = find_leader(nodes), b"x" * options.value, 0, 0
    while number * options.value < amount:
        try:
            client.send([encode(b"SET", b"large:%d" % ((number + n) % options.keys), value) for n in range(BATCH)])
            if any(client.reply() != b"OK" for _ in range(BATCH)):
                raise OSError("cut off")
            number += BATCH
        except OSError:
            changes += 1
            client = find_leader(nodes)
    return changes


def port_of(process):
    return int(process.args[process.args.index("--port") + 1])


def show(name, windows):
    for one in windows:
        print(f"| {name} | {one['rate']:,.0f} | {one['p50']:.3f} | {one['p99']:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--writers", default="target/release/writers")
    parser.add_argument("--away-bytes", type=int, default=2_000_000_000)
    parser.add_argument("--value", type=int, default=16384)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--rate", default="64mb")
    parser.add_argument("--log-bytes", default="4gb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quoring-catchup-", dir=os.environ.get("BENCH_DIR")) as folder:
        nodes = quoring(options, folder)
        try:
            measure(options, nodes)
        finally:
            nodes.stop()


def measure(options, nodes):
    away = next(n for n, process in enumerate(nodes.processes) if port_of(process) != nodes.port)
    argv = nodes.processes[away].args
    for process in nodes.processes:
        for name, value in (("bytes-per-second", options.rate), ("log-bytes", options.log_bytes)):
            Client(port_of(process)).run("CONFIG", "SET", f"catch-up-{name}", value)
    print("| window | writes/s | p50 ms | p99 ms |\n| --- | --- | --- | --- |")
    # As much data as later, so that what it costs to have it counts before too.
    load(options, nodes, options.keys * options.value)
    before = [window(options, nodes) for _ in range(5)]
    show("before", before)
    nodes.processes[away].send_signal(signal.SIGKILL)
    nodes.processes[away].wait()
    began = time.monotonic()
    changes = load(options, nodes, options.away_bytes)
    took = time.monotonic() - began
    print(f"{options.away_bytes / 1e9:.1f} GB written in {took:.0f} s while it was away; the lead changed {changes} times")
    without = [window(options, nodes) for _ in range(3)]
    show("away", without)
    began = time.monotonic()
    nodes.processes[away] = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    during, took = [], None
    while took is None:
        during.append(window(options, nodes))
        show("catching up", during[-1:])
        try:
            said = info(Client(port_of(nodes.processes[away])))
        except OSError:
            continue
        leader = info(Client(nodes.port))
        if int(said["quoring_applied"]) + 1000 >= int(leader["quoring_committed"]) > 1000:
            took = time.monotonic() - began
    named = f"node={argv[argv.index('--node') + 1]},"
    said = [value for name, value in leader.items() if name.startswith("quoring_peer") and value.startswith(named)]
    after = [window(options, nodes) for _ in range(3)]
    show("after", after)
    print(f"the leader says: {' '.join(said)}")
    usual = statistics.median(one["p99"] for one in before)
    p99 = sorted(one["p99"] for one in during)
    print(f"caught up within {took:.1f} s: p99 {statistics.median(p99):.2f} ms (median of windows), {p99[-1]:.2f} at most; before "
          f"{usual:.2f}: {statistics.median(p99) / usual:.2f} and {p99[-1] / usual:.2f} times")


if __name__ == "__main__":
    main()
