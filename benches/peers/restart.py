#!/usr/bin/env python3
"""How long a restart takes, from exec to the first PONG with the right DBSIZE, beside Redis and Valkey.

    restart.py [--quoring PATH] [--keys 5000000] [--rounds 3] [--shards 2] [--peers redis-7.0,redis-8.2,valkey-9.1]
               [--binaries ~/.cache/quoring-peers] [--only checkpoint,log,orderly,rdb,aof] [--work DIR]

Keys of 16 bytes, values of 64 that do not compress. Quoring starts from a checkpoint and a short log (SAVE, some more
writes, kill -9), from the log alone (kill -9), and from an orderly stop; with one core on one processor and with two on
two, from the same directory. Peers start from their RDB and from their AOF (never rewritten) and may use both
processors. Each start gets a fresh copy of its directory, flushed, so that all of it is in the page cache. Servers take
turns within a round; printed are medians, of the rounds the least and the most, and the median of the CPU seconds (user and
system) that the process had taken until then: those a busy machine disturbs less.
"""
import argparse, base64, os, random, shutil, signal, socket, statistics, subprocess, tempfile, time

JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
START_SECONDS_MAX = 300
EXTRA = 50_000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, *words, seconds=START_SECONDS_MAX):
    """The first line of a reply; None while nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), seconds) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            return s.makefile("rb").readline().strip() or None
    except OSError:
        return None


class Server:
    def __init__(self, argv, processors, environment=None):
        self.port = free_port()
        argv = ["taskset", "-c", processors, *argv, "--port", str(self.port)]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})

    def wait(self):
        while time.monotonic() - self.begun < START_SECONDS_MAX and self.process.poll() is None:
            if ask(self.port, b"PING") == b"+PONG":
                return time.monotonic() - self.begun
            time.sleep(0.002)
        self.kill()
        raise SystemExit(f"{self.process.args} did not answer")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS_MAX)


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(port, first, last):
    """Sets keys first to last, some hundred to a pipeline, as many clients together would."""
    chance = random.Random(first)
    with socket.create_connection(("127.0.0.1", port)) as s:
        replies = s.makefile("rb")
        for start in range(first, last, 500):
            end = min(start + 500, last)
            text = base64.b64encode(chance.randbytes(48 * (end - start)))
            parts = [b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n%s\r\n" % (key, text[64 * at:64 * at + 64]) for at, key in enumerate(range(start, end))]
            s.sendall(b"".join(parts))
            expected = 5 * (end - start)
            if replies.read(expected) != b"+OK\r\n" * (end - start):
                raise SystemExit("a SET was refused")


def quoring(options, directory, cores):
    argv = [options.quoring, "--dir", directory, "--cores", str(cores), "--durability", "interval", "--checkpoint-log-bytes", str(1 << 40)]
    return argv


def make_quoring(options, work, what):
    directory = os.path.join(work, f"quoring-{what}")
    server = Server([*quoring(options, directory, 2), "--shards", str(options.shards)], "0,1")
    server.wait()
    fill(server.port, 0, options.keys)
    if what == "checkpoint":
        if ask(server.port, b"SAVE") != b"+OK":
            raise SystemExit("SAVE failed")
        fill(server.port, 0, min(EXTRA, options.keys))
    if what == "orderly":
        server.stop()
    else:
        time.sleep(1.5)  # what is acknowledged at intervals is on disk by then; DBSIZE checks it
        server.kill()
    return directory


def peer(options, name, directory, append):
    environment = {"LD_PRELOAD": JEMALLOC} if name.startswith("valkey") else None
    argv = [os.path.join(options.binaries, name), "--dir", directory, "--save", "", "--appendonly", append, "--appendfsync", "no",
            "--auto-aof-rewrite-percentage", "0"]
    return argv, environment


def make_peer(options, work, name):
    directory = os.path.join(work, name)
    os.mkdir(directory)
    argv, environment = peer(options, name, directory, "yes")
    server = Server(argv, "0,1", environment)
    server.wait()
    fill(server.port, 0, options.keys)
    if ask(server.port, b"SAVE") != b"+OK":
        raise SystemExit("SAVE failed")
    ask(server.port, b"SHUTDOWN", b"NOSAVE")
    server.process.wait(60)
    return directory


def timed(argv, processors, environment, source, work, keys):
    copy = os.path.join(work, "run")
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["cp", "-a", source, copy], check=True)
    os.sync()
    argv = [copy if word == source else word for word in argv]
    server = Server(argv, processors, environment)
    seconds = (server.wait(), cpu_seconds(server.process.pid))
    size = ask(server.port, b"DBSIZE")
    server.kill()
    shutil.rmtree(copy, ignore_errors=True)
    if size != b":%d" % keys:
        raise SystemExit(f"{argv}: DBSIZE says {size}, not {keys}")
    return seconds


def directory_bytes(directory):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(directory) for name in names)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--peers", default="redis-7.0,redis-8.2,valkey-9.1")
    parser.add_argument("--binaries", default=os.path.expanduser("~/.cache/quoring-peers"))
    parser.add_argument("--only", default="checkpoint,log,orderly,rdb,aof")
    parser.add_argument("--work", help="keep the directories here and use them again")
    options = parser.parse_args()
    only = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="quoring-restart-", dir=options.work) as scratch:
        work = options.work or scratch
        starts = []
        for what in ("checkpoint", "log", "orderly"):
            if what in only:
                kept = os.path.join(work, f"quoring-{what}")
                directory = kept if os.path.exists(kept) else make_quoring(options, work, what)
                print(f"quoring {what}: {directory_bytes(directory) / 1e6:.0f} MB", flush=True)
                for cores in (1, 2):
                    processors = "0" if cores == 1 else "0,1"
                    starts.append((f"quoring {what}, {cores} cores", quoring(options, directory, cores), processors, None, directory))
        for name in filter(None, options.peers.split(",")):
            if "rdb" in only or "aof" in only:
                kept = os.path.join(work, name)
                directory = kept if os.path.exists(kept) else make_peer(options, work, name)
                print(f"{name}: {directory_bytes(directory) / 1e6:.0f} MB", flush=True)
                for what, append in (("rdb", "no"), ("aof", "yes")):
                    if what in only:
                        argv, environment = peer(options, name, directory, append)
                        starts.append((f"{name} {what}", argv, "0,1", environment, directory))
        figures = {}
        for _ in range(options.rounds):
            for label, argv, processors, environment, source in starts:
                figures.setdefault(label, []).append(timed(argv, processors, environment, source, scratch, options.keys))
        for label, rounds in figures.items():
            seconds, cpu = zip(*rounds)
            print(f"{label}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
                  f"CPU {statistics.median(cpu):.2f} s")


if __name__ == "__main__":
    main()
