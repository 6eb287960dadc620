#!/usr/bin/env python3
"""Stalls: how long the longest turns are while something large goes on, and how long a client waits.

    stalls.py [--quoring PATH] [--cores 1] [--durability sync] [--only load,flushall,…] [--scale 1.0]

Each scenario has a server of its own. While it runs, one light client sends a GET about every half millisecond, on a
connection of its own, and measures each. Figures are read from INFO turns after each, CONFIG RESETSTAT before: the
longest turn by the clock and by the thread's CPU time (what the machine ran meanwhile is not in the latter; what is told
is an upper bound to within a millisecond), how many turns were over 5 ms by either, the 99.9th and 99.99th percentile,
and the light client's percentiles, which have the machine's own stalls in them. Server and clients share the processors.

On a virtual machine the first use of a page may wait for the host, which counts as CPU time: `--warm-gib` has the server
take memory first, and its allocator keep it, so that what is measured is the server.
"""
import argparse, os, signal, subprocess, tempfile, threading, time

from hits import await_client, Client, encode, free_port


def start(options, directory, *flags):
    port = free_port()
    argv = [options.quoring, "--port", str(port), "--dir", directory, "--cores", str(options.cores),
            "--durability", options.durability, "--enable-debug-command", "yes", *flags]
    keep = {"MIMALLOC_PURGE_DELAY": "-1"} if options.warm_gib else {}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **keep})
    return process, await_client(port, "the server"), port


class Light(threading.Thread):
    """The light load, and what it sees."""

    def __init__(self, port):
        super().__init__()
        self.port, self.ended, self.ms = port, threading.Event(), []

    def run(self):
        client = Client(self.port)
        command = encode(b"GET", b"key:000000000007")
        while not self.ended.is_set():
            began = time.perf_counter()
            client.send([command])
            client.reply()
            self.ms.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.0005)

    def finish(self):
        self.ended.set()
        self.join()
        times = sorted(self.ms) or [0.0]
        return [times[min(len(times) - 1, int(len(times) * share))] for share in (0.999, 1)]


def fields(client, section):
    lines = client.run("INFO", section).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def load(port, count, pattern, clients=20, pipeline=64):
    """Runs a command for keys in order; `__rand_int__` of redis-benchmark would leave gaps."""
    threads = [threading.Thread(target=load_part, args=(port, range(at, count, clients), pattern, pipeline)) for at in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def load_part(port, numbers, pattern, pipeline):
    client = Client(port)
    for first in range(0, len(numbers), pipeline):
        batch = numbers[first:first + pipeline]
        client.send([b"".join(pattern % n for n in batch)])
        for _ in batch:
            client.reply()


def populate(client, count, bytes_each=16, port=None, cores=1):
    """Keys by DEBUG POPULATE, in parts: it is one command. Where there are several cores, by clients instead, so that
    each core has allocated what it will free: about so many, as redis-benchmark draws them at random."""
    if cores > 1:
        return benchmark(port, "-c", "20", "-P", "64", "-n", str(int(2.32 * count)), "-r", str(int(1.16 * count)), "-d", str(bytes_each), "-t", "set")
    part = 20_000
    for first in range(0, count, part):
        client.run("DEBUG", "POPULATE", str(min(part, count - first)), f"key{first}", str(bytes_each))


def benchmark(port, *arguments):
    subprocess.run(["redis-benchmark", "-p", str(port), "-q", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def warm(client, gib, port, cores):
    """With several cores by clients, so that each core has memory of its own. After DEBUG POPULATE of 4 GiB by one of two
    cores, and FLUSHALL by both, one turn of a load took 90 ms."""
    populate(client, gib << 20, 960, port, cores)
    client.run("FLUSHALL")
    await_freed(client)


def await_freed(client):
    """Until next to nothing is used: a core tells the others ten times a second what it has to free."""
    await_true("the memory to be freed", lambda: int(fields(client, "memory")["used_memory"]) < 4 << 20)


def write_small_keys(port, count, space):
    benchmark(port, "-c", "20", "-P", "64", "-n", str(count), "-r", str(space), "-d", "16", "-t", "set")


def await_true(what, condition, seconds=600):
    until = time.time() + seconds
    while not condition():
        if time.time() > until:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)


def scenario_load(client, port, options):
    """20 M random small keys are set, 20 clients with pipelines of 64."""
    count = int(20e6 * options.scale)
    return lambda: write_small_keys(port, count, 100 * count)


def scenario_checkpoint(client, port, options):
    """Checkpoints of all of 20 M small keys while 20 clients set a million others, again and again."""
    count = int(20e6 * options.scale)
    populate(client, count, port=port, cores=options.cores)
    client.run("CONFIG", "SET", "checkpoint-bytes-per-second", "256mb")

    def act():
        save = threading.Thread(target=Client(port, 600).run, args=("SAVE",))
        save.start()
        while save.is_alive():
            write_small_keys(port, 1_000_000, 1_000_000)
    return act


def scenario_flushall(client, port, options):
    """FLUSHALL of 10 M small keys, until all is freed."""
    populate(client, int(10e6 * options.scale), port=port, cores=options.cores)

    def act():
        client.run("FLUSHALL")
        await_freed(client)
    return act


def scenario_del_set(client, port, options):
    """DEL of a set of 5 M members, until all is freed."""
    count = int(5e6 * options.scale)
    for first in range(0, count, 200):
        client.send([encode(b"SADD", b"set", *(b"member:%012d" % n for n in range(first, first + 200)))])
        client.reply()

    def act():
        client.run("DEL", "set")
        await_freed(client)
    return act


def scenario_del_zset(client, port, options):
    """DEL of a sorted set of 2 M members, until all is freed."""
    count = int(2e6 * options.scale)
    for first in range(0, count, 200):
        pairs = [word for n in range(first, first + 200) for word in (b"%d" % (n * 7919 % count), b"member:%012d" % n)]
        client.send([encode(b"ZADD", b"zset", *pairs)])
        client.reply()

    def act():
        client.run("DEL", "zset")
        await_freed(client)
    return act


def scenario_sadd(client, port, options):
    """SADD of 5 M members to one set, 200 a command."""
    count = int(5e6 * options.scale)

    def act():
        for first in range(0, count, 200):
            client.send([encode(b"SADD", b"set", *(b"member:%012d" % n for n in range(first, first + 200)))])
            client.reply()
    return act


def scenario_expiry(client, port, options):
    """1 M keys expire at one instant."""
    count = int(1e6 * options.scale)
    at_s = int(time.time()) + max(5, int(20 * options.scale) + 5)
    pattern = b"*5\r\n$3\r\nSET\r\n$12\r\nexp:%08d\r\n$5\r\nvalue\r\n$4\r\nEXAT\r\n$10\r\n" + b"%d\r\n" % at_s
    load(port, count, pattern, clients=4, pipeline=512)
    if time.time() >= at_s:
        raise SystemExit("loading took too long")

    def act():
        await_true("the instant", lambda: time.time() > at_s)
        began = time.time()
        await_true("the keys to go", lambda: int(client.run("DBSIZE")) == 0)
        return f"gone after {time.time() - began:.1f} s"
    return act


def scenario_eviction(client, port, options):
    """2 M keys of 100 bytes are set where 1 GB is full (allkeys-lru)."""
    limit = int(1e9 * options.scale)
    client.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    client.run("CONFIG", "SET", "maxmemory", str(limit))
    populate(client, int(7e6 * options.scale), 100, port, options.cores)

    def act():
        benchmark(port, "-c", "20", "-P", "64", "-n", str(int(2e6 * options.scale)), "-r", "1000000000", "-d", "100", "-t", "set")
        if int(fields(client, "stats")["evicted_keys"]) == 0:
            raise SystemExit("nothing was evicted")
    return act


def scenario_pipelines(client, port, options):
    """50 clients with pipelines of 1,000 GET."""
    return lambda: benchmark(port, "-c", "50", "-P", "1000", "-n", str(int(10e6 * options.scale)), "-r", "1000000", "-t", "get")


SCENARIOS = {name[9:]: function for name, function in globals().items() if name.startswith("scenario_")}


def run(name, options):
    with tempfile.TemporaryDirectory(prefix="quoring-stalls-", dir=options.directory) as directory:
        process, client, port = start(options, directory)
        try:
            if options.warm_gib:
                warm(client, options.warm_gib, port, options.cores)
            act = SCENARIOS[name](client, port, options)
            light = Light(port)
            light.start()
            client.run("CONFIG", "RESETSTAT")
            began = time.time()
            note = act() or ""
            seconds = time.time() - began
            turns = fields(client, "turns")
            seen = light.finish()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    ms = [float(turns[f"turn_usec_{part}"]) / 1e3 for part in ("longest", "longest_cpu", "p99.9", "p99.99")]
    print(f"{name:11} {seconds:6.1f} {int(turns['turn_count']):9} {ms[0]:9.2f} {ms[1]:9.2f} {turns['turns_over_5ms']:>6} "
          f"{turns['turns_over_5ms_cpu']:>6} {ms[2]:8.2f} {ms[3]:8.2f} {seen[0]:9.2f} {seen[1]:9.2f}  {note}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--durability", default="sync")
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of keys")
    parser.add_argument("--warm-gib", type=int, default=0, help="memory that the process has and keeps before")
    parser.add_argument("--directory", help="where the data directories are made")
    options = parser.parse_args()
    print(f"{'':11} {'s':>6} {'turns':>9} {'longest':>9} {'by CPU':>9} {'>5 ms':>6} {'by CPU':>6} {'p99.9':>8} {'p99.99':>8} "
          f"{'client':>9} {'client':>9}  (ms; the client's p99.9 and longest)")
    for name in options.only.split(","):
        run(name, options)


if __name__ == "__main__":
    main()
