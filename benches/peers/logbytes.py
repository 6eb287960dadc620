#!/usr/bin/env python3
"""Bytes of the log a server writes for each byte that clients gave it, beside the AOF of Redis and Valkey; and how much
disk a steady load takes.

    logbytes.py [--quoring PATH] [--peers redis-7.0,redis-8.2,valkey-9.1] [--seconds 4]
    logbytes.py --steady MINUTES [--quoring PATH] [--keys 2000000] [--checkpoint-log-bytes 64mb]

The first form starts each server alone, pinned to processor 0, where every reply waits for the disk (Quoring with
--durability sync and one core, peers with appendfsync always and no rewrites), and runs redis-benchmark on the other
processor: a load for some seconds, between two readings of what was written. A payload is what the commands change: key
and value, field and value, element; INCR is a key and no value. Printed for each load, per byte of payload:

- quoring: bytes of log writes with headers and what fills up blocks, and effects alone (`log_bytes_written`,
  `log_payload_bytes` of INFO persistence);
- quoring, device: what the kernel charges to the process (`write_bytes` of /proc/PID/io), which has the zeros that a
  segment is made of too: no file of the log grows while it is written. Segments are made ahead, and used again only once
  checkpoints have what they hold, of which there are none here: a short load counts some zeros more than it uses;
- each peer: growth of its AOF, and the device's figure.

The second form writes at random over a fixed space of keys for so many minutes (50 clients, pipelines of 16, values of 64
bytes that do not compress) with checkpoints as they come due, and looks at the disk use of the data directory (blocks, as
du counts them) every second. Printed are the size of the data (keys and values), and the most and the last disk use as
multiples of it, with the log's and the checkpoints' share of each; and the bytes of the log, and of everything on the
device, for each byte of payload.
"""
import argparse, os, random, signal, subprocess, sys, tempfile, time

from hits import await_client, Client, encode, free_port
from saving import JEMALLOC, PEERS, info

# Name, clients, pipeline, words of the command, bytes of payload a command.
KEYS = 100_000
KEY = "key:__rand_int__"
KEY_BYTES = len("key:") + 12
LOADS = [
    ("SET 64 bytes", 1, 1, ["SET", KEY, "v" * 64], KEY_BYTES + 64),
    ("SET 64 bytes", 50, 1, ["SET", KEY, "v" * 64], KEY_BYTES + 64),
    ("SET 64 bytes", 50, 16, ["SET", KEY, "v" * 64], KEY_BYTES + 64),
    ("LPUSH 64 bytes", 50, 16, ["LPUSH", "list", "v" * 64], 4 + 64),
    ("HSET, a field of 100,000", 50, 16, ["HSET", "hash", "field:__rand_int__", "v" * 64], 4 + 6 + 12 + 64),
    ("INCR", 50, 16, ["INCR", KEY], KEY_BYTES),
    ("SET 100 KB", 50, 1, ["SET", KEY, "v" * 100_000], KEY_BYTES + 100_000),
]


def start(name, path, directory, more=()):
    port, env = free_port(), dict(os.environ)
    if name == "quoring":
        argv = [path, "--port", str(port), "--dir", directory, "--cores", "1", *more]
    else:
        argv = [path, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "yes",
                "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
        if name.startswith("valkey"):
            env["LD_PRELOAD"] = JEMALLOC
    with open(os.path.join(directory, "..", "out"), "w") as log:
        process = subprocess.Popen(["taskset", "-c", "0", *argv], stdout=log, stderr=log, env=env)
    return process, port, await_client(port, name)


def stop(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def device_bytes(pid):
    with open(f"/proc/{pid}/io") as io:
        return next(int(line.split()[1]) for line in io if line.startswith("write_bytes"))


def benchmark(port, clients, pipeline, words, keys=KEYS):
    argv = ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-c", str(clients), "-P", str(pipeline)]
    argv += ["-n", "1000000000", "-r", str(keys), *words]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def aof_bytes(directory):
    found = 0
    for folder, _, files in os.walk(directory):
        found += sum(os.path.getsize(os.path.join(folder, name)) for name in files if ".aof" in name and "manifest" not in name)
    return found


def reading(name, client, pid, command, directory):
    """Calls of the command so far; bytes in the log, effects in it (None for peers), bytes on the device."""
    figures = info(client)
    stats = figures.get("cmdstat_" + command.lower(), "") if name != "quoring" else ""
    calls = int(stats.split("calls=")[1].split(",")[0]) if stats else int(figures["total_commands_processed"])
    if name == "quoring":
        return calls, int(figures["log_bytes_written"]), int(figures["log_payload_bytes"]), device_bytes(pid)
    return calls, aof_bytes(directory), None, device_bytes(pid)


def measure(name, path, load, seconds):
    _, clients, pipeline, words, payload_bytes = load
    with tempfile.TemporaryDirectory(prefix="quoring-logbytes-", dir=os.environ.get("BENCH_DIR")) as folder:
        directory = os.path.join(folder, "data")
        os.mkdir(directory)
        more = ["--durability", "sync", "--checkpoint-log-bytes", "64gb"]
        process, port, client = start(name, path, directory, more)
        try:
            if words[0] == "HSET":
                fields = [b"field:%012d" % number for number in range(KEYS)]
                for first in range(0, KEYS, 1_000):
                    client.send([encode(b"HSET", b"hash", *(word for field in fields[first:first + 1_000] for word in (field, b"v" * 64)))])
                    client.reply()
            running = benchmark(port, clients, pipeline, words)
            try:
                time.sleep(1)
                before = reading(name, client, process.pid, words[0], directory)
                time.sleep(seconds)
                after = reading(name, client, process.pid, words[0], directory)
            finally:
                running.kill()
                running.wait()
        finally:
            stop(process)
    calls, log, effects, device = (None if b is None else a - b for a, b in zip(after, before))
    payload = calls * payload_bytes
    return calls / seconds, log / payload, None if effects is None else effects / payload, device / payload


def compare(options):
    servers = {"quoring": options.quoring}
    servers |= {name: os.path.join(PEERS, name) for name in options.peers.split(",") if name}
    heads = ["quoring log", "effects", "device"] + [f"{name}{what}" for name in list(servers)[1:] for what in (" AOF", " device")]
    print("| load | shape | " + " | ".join(heads) + " |")
    print("| --- " * (len(heads) + 2) + "|", flush=True)
    for load in LOADS:
        cells = []
        for name, path in servers.items():
            rate, log, effects, device = measure(name, path, load, options.seconds)
            print(f"{name}: {load[0]} {load[1]}x{load[2]}, {rate / 1000:.1f} k/s", file=sys.stderr, flush=True)
            cells += [log, device] if effects is None else [log, effects, device]
        print(f"| {load[0]} | {load[1]}x{load[2]} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


def disk_bytes(directory):
    """What the log's segments and everything else take on the disk."""
    log = rest = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                used = os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
            if "checkpoints" in folder:
                rest += used
            else:
                log += used
    return log, rest


def fill(client, keys):
    """Every key once, with text of its own: lists of random bytes, cut at random places."""
    dice = random.Random(7)
    pool = dice.randbytes(1 << 20)
    for first in range(0, keys, 500):
        batch = []
        for number in range(first, min(first + 500, keys)):
            at = dice.randrange(len(pool) - 64)
            batch.append(encode(b"SET", b"key:%012d" % number, pool[at:at + 64]))
        client.send(batch)
        for _ in batch:
            client.reply()


def writers(port, keys, count):
    """redis-benchmark sends one value again and again, which would compress; this writes others."""
    return [subprocess.Popen(["taskset", "-c", "1", sys.executable, os.path.abspath(__file__), "--writer", str(port), "--keys", str(keys)]) for _ in range(count)]


def write(port, keys):
    dice = random.Random()
    client, pool = Client(port), dice.randbytes(1 << 20)
    while True:
        places = [(dice.randrange(keys), dice.randrange(len(pool) - 64)) for _ in range(800)]
        client.send([encode(b"SET", b"key:%012d" % number, pool[at:at + 64]) for number, at in places])
        for _ in places:
            client.reply()


def steady(options):
    with tempfile.TemporaryDirectory(prefix="quoring-steady-", dir=os.environ.get("BENCH_DIR")) as folder:
        directory = os.path.join(folder, "data")
        os.mkdir(directory)
        process, port, client = start("quoring", options.quoring, directory, ["--checkpoint-log-bytes", options.checkpoint_log_bytes])
        running = []
        try:
            fill(client, options.keys)
            data = options.keys * (KEY_BYTES + 64)
            began, before, device = time.monotonic(), info(client), device_bytes(process.pid)
            running = writers(port, options.keys, 1)
            samples = []
            while time.monotonic() - began < options.steady * 60:
                time.sleep(1)
                samples.append(disk_bytes(directory))
                if any(writer.poll() is not None for writer in running):
                    raise SystemExit("a writer has ended")
            took, after, device = time.monotonic() - began, info(client), device_bytes(process.pid) - device
        finally:
            for writer in running:
                writer.kill()
                writer.wait()
            stop(process)
    writes = int(after["total_commands_processed"]) - int(before["total_commands_processed"])
    written = int(after["log_bytes_written"]) - int(before["log_bytes_written"])
    print(f"{took / 60:.1f} minutes, {writes / took / 1000:.0f} k SET/s, {written / took / 1e6:.0f} MB/s of log, "
          f"{int(after['rdb_saves']) - int(before['rdb_saves'])} checkpoints of {after['shards']} shards; data {data / 1e6:.0f} MB")
    payload = writes * (KEY_BYTES + 64)
    print(f"per byte of payload: log {written / payload:.2f}, device with checkpoints {device / payload:.2f}")
    half = samples[len(samples) // 2:]
    for what, (log, rest) in [("most", max(samples, key=sum)), ("most of the second half", max(half, key=sum)), ("end", samples[-1])]:
        print(f"{what}: {(log + rest) / 1e6:.0f} MB on disk, {(log + rest) / data:.2f} of the data (log {log / data:.2f}, checkpoints {rest / data:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--peers", default="redis-7.0,redis-8.2,valkey-9.1")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--steady", type=float, metavar="MINUTES")
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--checkpoint-log-bytes", default="64mb")
    parser.add_argument("--writer", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        write(options.writer, options.keys)
    elif options.steady:
        steady(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
