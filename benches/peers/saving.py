#!/usr/bin/env python3
"""What a checkpoint costs while it is made, beside Valkey's and Redis's BGSAVE.

    saving.py [--quoring PATH] [--keys 5000000] [--rounds 3] [--durability sync|none] [--spread] [--peers redis-8.2,valkey-9.1]

Each server runs alone, pinned to processor 0 (Quoring with --cores 1; a child that a peer forks is pinned there too, unless
--spread gives both processors, which the client then shares). It is filled with keys of 64-byte values; then
redis-benchmark (50 clients, pipelines of 16, SET on random keys) runs all the time, and the commands that the server
counts are read over some seconds without, and from BGSAVE to its end. Printed are medians: throughput without, during,
their ratio, how long the checkpoint took, and by how much memory grew during it (resident memory of the server and,
for what a fork copied, the copy-on-write figure that the peer itself gives), in per cent of the data's.
"""
import argparse, os, signal, statistics, subprocess, tempfile, time

from hits import await_client, Client, free_port

PEERS = os.environ.get("PEERS_DIR", os.path.expanduser("~/.cache/quoring-peers"))
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
QUIET_S = 4


def info(client):
    text = client.run("INFO", "everything").decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def start(name, path, options, directory):
    port = free_port()
    env = dict(os.environ)
    if name == "quoring":
        argv = [path, "--port", str(port), "--dir", directory, "--cores", "1", "--durability", options.durability]
        # No checkpoint but the one asked for.
        argv += ["--checkpoint-log-bytes", "64gb"]
    else:
        appends = {"none": ["--appendonly", "no"], "sync": ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]}[options.durability]
        argv = [path, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""] + appends
        if name.startswith("valkey"):
            env["LD_PRELOAD"] = JEMALLOC
    log = open(os.path.join(directory, "out"), "w")
    argv = ["taskset", "-c", "0,1" if options.spread else "0"] + argv
    process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
    return process, port, await_client(port, name)


def load(port, requests, keys):
    return ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-c", "50", "-P", "16", "-n", str(requests), "-r", str(keys), "-d", "64", "-q", "-t", "set"]


def rate(client, seconds):
    began, count = time.monotonic(), int(info(client)["total_commands_processed"])
    time.sleep(seconds)
    return (int(info(client)["total_commands_processed"]) - count) / (time.monotonic() - began)


def measure(name, path, options, directory):
    process, port, client = start(name, path, options, directory)
    try:
        subprocess.run(load(port, options.keys * 3, options.keys), check=True, stdout=subprocess.DEVNULL)
        running = subprocess.Popen(load(port, 1_000_000_000, options.keys), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            before = rate(client, QUIET_S)
            base_bytes = resident_bytes(process.pid)
            data_bytes = int(info(client)["used_memory"])
            began, count, peak, copied = time.monotonic(), int(info(client)["total_commands_processed"]), base_bytes, 0
            saves = int(info(client)["rdb_saves"])
            client.run("BGSAVE")
            while True:
                time.sleep(0.02)
                figures = info(client)
                peak = max(peak, resident_bytes(process.pid))
                copied = max(copied, int(figures.get("current_cow_size", 0)))
                if figures["rdb_bgsave_in_progress"] == "0" and int(figures["rdb_saves"]) > saves:
                    break
            took = time.monotonic() - began
            during = (int(figures["total_commands_processed"]) - count) / took
            copied = max(copied, int(figures.get("rdb_last_cow_size", 0)))
            return before, during, during / before, took, 100 * (peak - base_bytes + copied) / data_bytes
        finally:
            running.kill()
            running.wait()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durability", choices=["none", "sync"], default="sync")
    parser.add_argument("--spread", action="store_true")
    parser.add_argument("--peers", default="redis-8.2,valkey-9.1")
    options = parser.parse_args()
    servers = {name: os.path.join(PEERS, name) for name in options.peers.split(",") if name}
    servers["quoring"] = options.quoring
    figures = {}
    for _ in range(options.rounds):
        for name, path in servers.items():
            with tempfile.TemporaryDirectory(prefix="quoring-saving-") as directory:
                figures.setdefault(name, []).append(measure(name, path, options, directory))
    for name, rounds in figures.items():
        before, during, ratio, took, grown = (statistics.median(column) for column in zip(*rounds))
        print(f"{name}: {before / 1000:.0f} k/s without, {during / 1000:.0f} k/s during, ratio {ratio:.2f}; took {took:.1f} s; memory +{grown:.1f} %")


if __name__ == "__main__":
    main()
