#!/usr/bin/env python3
"""What a second core costs: CPU a request of `--cores 2` beside `--cores 1`, random keys, one endpoint.

    cores.py [--quoring PATH] [--rounds 3] [--tests set,get] [--shapes 50x16] [--threads 1,2] [--durability none]

Half of all commands belong to the core that did not receive them. Both servers may use both of two processors, where
redis-benchmark runs too; they take turns within a round. One thread of redis-benchmark cannot keep two cores busy: they
sleep and wake each other the more often, which costs CPU that a busy server does not spend. Printed are medians: the
server's CPU microseconds a request (user and system time of its process), and requests a second, which on two
processors the client shares and so limits.
"""
import argparse, csv, io, itertools, os, signal, socket, statistics, subprocess, tempfile, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(path, cores, durability, directory):
    port = free_port()
    argv = ["taskset", "-c", "0,1", path, "--port", str(port), "--dir", directory, "--cores", str(cores), "--durability", durability]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.sendall(b"PING\r\n")
                if s.recv(7) == b"+PONG\r\n":
                    return process, port
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not answer")


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(process, port, test, clients, pipeline, threads):
    requests = 2_000_000 if pipeline > 1 else 300_000
    argv = ["redis-benchmark", "-p", str(port), "-c", str(clients), "-P", str(pipeline), "-n", str(requests), "-r", "1000000", "-d", "64",
            "--threads", str(threads), "--csv", "-t", test]
    before = cpu_seconds(process.pid)
    out = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    cpu_us = (cpu_seconds(process.pid) - before) * 1e6 / requests
    rows = [row for row in csv.reader(io.StringIO(out.stdout)) if len(row) >= 8 and row[0] != "test"]
    return cpu_us, float(rows[-1][1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quoring", default="target/release/quoring")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tests", default="set,get")
    parser.add_argument("--shapes", default="50x16")
    parser.add_argument("--threads", default="1,2", help="of redis-benchmark")
    parser.add_argument("--durability", default="none")
    options = parser.parse_args()
    tests, shapes, threads_of_clients = (text.split(",") for text in (options.tests, options.shapes, options.threads))
    figures = {}
    for _ in range(options.rounds):
        for cores in (1, 2):
            with tempfile.TemporaryDirectory(prefix="quoring-cores-") as directory:
                process, port = start(options.quoring, cores, options.durability, directory)
                for test, shape, threads in itertools.product(tests, shapes, threads_of_clients):
                    clients, pipeline = map(int, shape.split("x"))
                    figure = measure(process, port, test, clients, pipeline, threads)
                    figures.setdefault((test, shape, threads), {}).setdefault(cores, []).append(figure)
                process.send_signal(signal.SIGTERM)
                process.wait(20)
    for (test, shape, threads), by_cores in figures.items():
        one, two = ([statistics.median(column) for column in zip(*by_cores[cores])] for cores in (1, 2))
        print(f"{test} {shape}, {threads} client threads: CPU {one[0]:.2f} and {two[0]:.2f} us a request, ratio {two[0] / one[0]:.2f}; "
              f"{one[1] / 1000:.0f} k/s and {two[1] / 1000:.0f} k/s")


if __name__ == "__main__":
    main()
