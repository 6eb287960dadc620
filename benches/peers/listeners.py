#!/usr/bin/env python3
"""What a message costs that is published: CPU of the server for each one that a listener gets, beside its peers.

    listeners.py [--quoring PATH] [--peers redis-7.0,redis-8.2,valkey-9.1] [--rounds 3] [--listeners 1,10,1000]
                 [--pipelines 16] [--messages 100000] [--bytes 64]

Each server runs alone, without persistence, pinned to processor 0 (Quoring with --cores 1); redis-benchmark publishes on the
other, one client with so many commands at once, where also a thread reads what the listeners of its one channel get. So
many messages reach listeners for each figure, and all are counted. Servers take turns within a round; printed are medians:
the server's CPU microseconds a message that a listener got (user and system time of its process), and messages a second.
"""
import argparse, os, select, signal, socket, statistics, subprocess, tempfile, threading, time

from cores import cpu_seconds
from large import times
from saving import PEERS, start


class Listeners:
    """Sockets that listen to one channel, and a thread that reads and counts bytes."""

    def __init__(self, port, count):
        self.got_bytes = 0
        self.poll = select.epoll()
        self.sockets = {}
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", port))
            s.sendall(b"SUBSCRIBE channel\r\n")
            answer = b""
            while not answer.endswith(b":1\r\n"):
                answer += s.recv(4096)
            s.setblocking(False)
            self.sockets[s.fileno()] = s
            self.poll.register(s, select.EPOLLIN)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            while True:
                for number, _ in self.poll.poll():
                    self.got_bytes += len(self.sockets[number].recv(1 << 20))
        except (OSError, ValueError):
            pass  # The server is gone.


def measure(name, path, options):
    """CPU and messages a second by listeners and pipeline."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="quoring-listeners-") as directory:
        for count in options.listeners:
            process, port, _ = start(name, path, options, directory)
            listeners = Listeners(port, count)
            one_bytes = len(b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n") + len(f"${options.bytes}\r\n") + options.bytes + 2
            try:
                for pipeline in options.pipelines:
                    published = max(1000, options.messages // count)
                    argv = ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-n", str(published), "-c", "1", "-P", str(pipeline), "-q"]
                    before, until = cpu_seconds(process.pid), listeners.got_bytes + published * count * one_bytes
                    began = time.monotonic()
                    subprocess.run(argv + ["PUBLISH", "channel", "x" * options.bytes], check=True, stdout=subprocess.DEVNULL)
                    while listeners.got_bytes < until:
                        if time.monotonic() > began + 300:
                            raise SystemExit(f"{name}: messages are lost")
                        time.sleep(0.001)
                    seconds = time.monotonic() - began
                    messages = published * count
                    cpu_us = (cpu_seconds(process.pid) - before) * 1e6 / messages
                    found[count, pipeline] = cpu_us, messages / seconds
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
    return found


def main():
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--peers", default="redis-7.0,redis-8.2,valkey-9.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listeners", type=numbers, default=[1, 10, 1000])
    parser.add_argument("--pipelines", type=numbers, default=[16])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=64)
    # What `saving.start` asks for besides.
    parser.set_defaults(durability="none", spread=False)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    peers = {name: os.path.join(PEERS, name) for name in options.peers.split(",") if name}
    rounds = {}
    for _ in range(options.rounds):
        for name, path in {"quoring": options.quoring, **peers}.items():
            rounds.setdefault(name, []).append(measure(name, path, options))
    print("| listeners | pipeline | " + " | ".join(f"{name}: CPU us, messages/s" for name in rounds) + " |")
    print("| --- " * (len(rounds) + 2) + "|")
    for count in options.listeners:
        for pipeline in options.pipelines:
            figures = [
                [statistics.median(one[count, pipeline][which] for one in of_server) for which in (0, 1)] for of_server in rounds.values()
            ]
            best = min((cpu_us for cpu_us, _ in figures[1:]), default=0)
            cells = [f"{cpu_us:.2f}, {rate / 1e3:.0f} k" for cpu_us, rate in figures]
            cells[0] += f" ({times(figures[0][0], best)})"
            print(f"| {count} | {pipeline} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
