#!/usr/bin/env python3
"""Hit rates under `maxmemory`: a zipfian trace of a cache, the same for every server.

    hits.py [--quoring PATH] [--peers PATH,PATH] [--policies allkeys-lru,allkeys-lfu] [--cores 1]
            [--keys 200000] [--held 20000] [--requests 3000000] [--skew 0.99] [--samples 5]

Every request is a GET and, where it finds nothing, a SET of 100 bytes. A server's bytes a key are its own affair, so each
gets the `maxmemory` at which it holds the wanted number of keys: found by filling it and trying again. The first third of
the trace warms up. Printed are the hit rates of the rest and how many keys were held at the end.
"""
import argparse, itertools, os, random, signal, socket, subprocess, tempfile, time

VALUE = b"x" * 100
BATCH = 64


def await_client(port, name):
    """A client of a server that is starting, once that answers."""
    for _ in range(200):
        try:
            client = Client(port)
            if client.run("PING") == b"PONG":
                return client
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{name} did not answer")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Client:
    def __init__(self, port, wait_s=60):
        self.socket = socket.create_connection(("127.0.0.1", port), wait_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", 1 << 16)

    def send(self, commands):
        self.socket.sendall(b"".join(commands))

    def reply(self):
        line = self.reader.readline()
        if line[:1] == b"$":
            length = int(line[1:])
            return None if length < 0 else self.reader.read(length + 2)[:-2]
        if line[:1] == b"*":
            return [self.reply() for _ in range(int(line[1:]))]
        if line[:1] == b"-":
            raise SystemExit(line.decode())
        return line[1:-2]

    def run(self, *words):
        self.send([encode(*(word.encode() for word in words))])
        return self.reply()


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def key(number):
    return b"key:%012d" % number


def fetch(client, numbers):
    """Reads keys and sets those that are missing; how many were there."""
    client.send([encode(b"GET", key(number)) for number in numbers])
    missing = [number for number in numbers if client.reply() is None]
    if missing:
        client.send([encode(b"SET", key(number), VALUE) for number in missing])
        for _ in missing:
            client.reply()
    return len(numbers) - len(missing)


def start(path, cores, directory):
    port = free_port()
    if "quoring" in os.path.basename(path):
        argv = [path, "--port", str(port), "--dir", directory, "--cores", str(cores), "--durability", "none"]
    else:
        argv = [path, "--port", str(port), "--dir", directory, "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            client = Client(port)
            if client.run("PING") == b"PONG":
                return process, client
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not answer")


def used_bytes(client):
    fields = dict(line.split(b":", 1) for line in client.run("INFO", "memory").split(b"\r\n") if b":" in line)
    return int(fields[b"used_memory"])


def find_limit(client, wanted):
    """The maxmemory at which so many keys are held."""
    client.run("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    empty = used_bytes(client)
    limit = empty + wanted * 200
    for _ in range(5):
        client.run("CONFIG", "SET", "maxmemory", str(limit))
        for first in range(0, 3 * wanted, BATCH):
            fetch(client, range(first, first + BATCH))
        held = int(client.run("DBSIZE"))
        client.run("FLUSHALL")
        while used_bytes(client) > empty + (1 << 20):
            pass
        if abs(held - wanted) * 200 < wanted:
            break
        limit = empty + (limit - empty) * wanted // held
    return limit


def measure(client, policy, samples, limit, trace):
    client.run("CONFIG", "SET", "maxmemory-policy", policy)
    client.run("CONFIG", "SET", "maxmemory-samples", str(samples))
    client.run("CONFIG", "SET", "maxmemory", str(limit))
    client.run("FLUSHALL")
    warm = len(trace) // 3 // BATCH * BATCH
    began = time.time()
    hits = 0
    for first in range(0, len(trace), BATCH):
        found = fetch(client, trace[first:first + BATCH])
        if first >= warm:
            hits += found
    return 100 * hits / (len(trace) - warm), int(client.run("DBSIZE")), time.time() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--peers", default="/usr/bin/redis-server")
    parser.add_argument("--policies", default="allkeys-lru,allkeys-lfu")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--held", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=3_000_000)
    parser.add_argument("--skew", type=float, default=0.99)
    parser.add_argument("--samples", type=int, default=5)
    options = parser.parse_args()
    dice = random.Random(7)
    numbers = list(range(options.keys))
    dice.shuffle(numbers)
    weights = list(itertools.accumulate((rank + 1) ** -options.skew for rank in range(options.keys)))
    trace = dice.choices(numbers, cum_weights=weights, k=options.requests)
    for path in [options.quoring, *filter(None, options.peers.split(","))]:
        with tempfile.TemporaryDirectory(prefix="quoring-hits-") as directory:
            process, client = start(path, options.cores, directory)
            limit = find_limit(client, options.held)
            for policy in options.policies.split(","):
                rate, held, seconds = measure(client, policy, options.samples, limit, trace)
                print(f"{path} {policy}: {rate:.2f} % hits, {held} keys held in {limit} bytes, {seconds:.0f} s", flush=True)
            process.send_signal(signal.SIGTERM)
            process.wait(20)


if __name__ == "__main__":
    main()
