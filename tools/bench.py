#!/usr/bin/env python3
"""Measures Weir beside nginx and HAProxy on this machine: `make bench`, or tools/bench.py --help.

Weir runs in its default configuration (keys, JSON, admission, settlement, access log to a file) with
1,000 deployments, on one loop; nginx and HAProxy pass bytes through and check nothing. Each has core
0 for itself, load and model server share core 1. CPU time is what the kernel says the process
had (schedstat), over what it did. The three take turns, forwards and backwards, so that whatever
disturbs the machine disturbs all; a figure is the median of the rounds' ratios with its 95 %
bootstrap interval. docs/performance.md tells how to read it.
"""
import argparse
import datetime
import http.client
import itertools
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
GATEWAY_CORE, LOAD_CORE = 0, 1
N_ACCOUNTS, DEPLOYMENTS_EACH = 100, 10
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-00000000be9c"


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- what is configured and what is sent ---

def account_id(a):
    return (f"{SUBSCRIPTION}/resourceGroups/bench/providers/Microsoft.CognitiveServices"
            f"/accounts/bench-{a:03}")


def account_key(a):
    return random.Random(f"key {a}").randbytes(16).hex()


def write_resources(path, upstream_port):
    """Half of the deployments provisioned, half standard, all far too large to refuse anything."""
    rows = [
        {"id": "/providers/Weir.Capacity/locations/here", "properties": {"displayName": "Here"}},
        {"id": "/providers/Weir.Capacity/pools/bench", "location": "here",
         "properties": {"ptus": 100000000, "models": [{"name": "gpt-4o-mini"}]}},
        {"id": "/providers/Weir.Capacity/pools/bench/backends/upstream",
         "properties": {"url": f"http://127.0.0.1:{upstream_port}"}},
    ]
    for a in range(N_ACCOUNTS):
        rows.append({"id": account_id(a), "kind": "OpenAI", "location": "here", "sku": {"name": "S0"},
                     "properties": {"customSubDomainName": f"bench-{a:03}",
                                    "keys": {"key1": account_key(a)}}})
        for d in range(DEPLOYMENTS_EACH):
            sku = "ProvisionedManaged" if d % 2 else "Standard"
            rows.append({"id": f"{account_id(a)}/deployments/chat-{d}",
                         "sku": {"name": sku, "capacity": 100000},
                         "properties": {"model": {"format": "OpenAI", "name": "gpt-4o-mini"}}})
    path.write_text(json.dumps(rows))


WORDS = ("weir water level river gate flow capacity token stream model answer question system the of "
         "and to in is that for with as by on at from this which when it be are was not can will "
         "\\\"quoted\\\" line\\nbreak caf\\u00e9 Zürich 東京 hold spill basin").split()


FRESH = "########"  # bench/requests.lua puts another number there in each request
FRESH_A_RUN = 500_000  # numbers that a run may use up


def make_body(rng, size, name, is_stream, max_tokens, is_fresh=False):
    """A chat request of exactly `size` bytes."""
    start = (f'{{"model":"{name}","messages":[{{"role":"system","content":"You answer briefly."}},'
             f'{{"role":"user","content":"').encode()
    stream = b',"stream":true' if is_stream else b""
    end = f'"}}],"max_tokens":{max_tokens or rng.randrange(50, 500)},"temperature":0.7'.encode() + stream + b"}"
    text = f"{FRESH} ".encode() if is_fresh else b""
    room = size - len(start) - len(end)
    while len(text) < room:
        word = (rng.choice(WORDS) + " ").encode()
        text += word if len(text) + len(word) <= room else b"." * (room - len(text))
    return start + text + end


def make_request(rng, a, d, size, is_stream=False, max_tokens=None, is_fresh=False):
    """As the official clients send it: half by Azure's paths and api-key, half by v1 and a bearer key."""
    name = f"chat-{d}"
    body = make_body(rng, size, name, is_stream, max_tokens, is_fresh)
    if (a + d // 2) % 2:
        path = f"/openai/deployments/{name}/chat/completions?api-version=2024-10-21"
        key = f"api-key: {account_key(a)}"
    else:
        path, key = "/openai/v1/chat/completions", f"Authorization: Bearer {account_key(a)}"
    head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nUser-Agent: AzureOpenAI/JS 5.10.1\r\n"
            f"X-Stainless-Lang: js\r\nX-Stainless-Package-Version: 5.10.1\r\n"
            f"{key}\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def make_requests(size, is_stream=False, max_tokens=None, is_fresh=False):
    rng = random.Random(f"{size} {is_stream}")
    places = [(a, d) for a in range(N_ACCOUNTS) for d in range(DEPLOYMENTS_EACH)]
    rng.shuffle(places)
    return [make_request(rng, a, d, size, is_stream, max_tokens, is_fresh) for a, d in places]


def write_requests(path, requests):
    with open(path, "wb") as f:
        for r in requests:
            f.write(b"%d\n" % len(r) + r)


# --- processes ---

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, name):
    for _ in range(500):
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended at once with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"bench: {name} does not listen on port {port}")


class Server:
    """A process on one core, with the CPU time and memory that the kernel has booked for it."""

    def __init__(self, name, argv, core, port=None, log=None, **more):
        self.name, self.port = name, port
        self.stderr = open(log, "wb") if log else subprocess.DEVNULL
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                        stderr=self.stderr,
                                        preexec_fn=lambda: os.sched_setaffinity(0, {core}), **more)
        if port:
            wait_for_port(port, self.process, name)

    @property
    def pid(self):
        return self.process.pid

    def cpu_ns(self):
        total = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total

    def memory(self, field="RssAnon"):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def between_rounds(self):
        pass

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Weir(Server):
    def __init__(self, bench, upstream_port, core=GATEWAY_CORE, wrapper=(), extra=(), tls=None):
        self.data = bench.folder / "weir"
        shutil.rmtree(self.data, ignore_errors=True)
        resources = bench.folder / "resources.json"
        write_resources(resources, upstream_port)
        port = free_port()
        self.tls_port = free_port()
        if tls:
            extra = [*extra, "--tls-listen", f"127.0.0.1:{self.tls_port}", "--tls-cert", tls / "cert.pem",
                     "--tls-key", tls / "key.pem"]
        super().__init__(
            "weir", [*wrapper, bench.weir, "serve", "--resources", resources, "--data-dir", self.data,
                     "--listen", f"127.0.0.1:{port}", "--ops-listen", "127.0.0.1:0",
                     "--loops", "1", *extra],
            core, port, bench.folder / "weir.stderr")

    def between_rounds(self):
        """Else the access log would fill the disk: 20 MB a second at full load."""
        (self.data / "access.log").unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)


def fill_in(bench, template, name, **values):
    text = (TOP / "bench" / template).read_text()
    values["folder"] = bench.folder
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = bench.folder / name
    path.write_text(text)
    return path


def start_nginx(bench, upstream_port, is_stream=False, wrapper=()):
    port = free_port()
    config = fill_in(bench, "nginx.conf", "nginx.conf", port=port, upstream=upstream_port,
                     buffering="off" if is_stream else "on")
    return Server("nginx", [*wrapper, bench.nginx, "-p", bench.folder, "-e", bench.folder / "nginx.error",
                            "-c", config], GATEWAY_CORE, port)


def start_haproxy(bench, upstream_port, wrapper=()):
    port = free_port()
    config = fill_in(bench, "haproxy.cfg", "haproxy.cfg", port=port, upstream=upstream_port)
    return Server("haproxy", [*wrapper, bench.haproxy, "-db", "-f", config], GATEWAY_CORE, port)


def start_upstream(bench, *options, mode=("bench", "upstream")):
    s = Server("upstream", [bench.weir, *mode, "--listen", "127.0.0.1:0", *options], LOAD_CORE,
               stdout=subprocess.PIPE)
    s.port = int(json.loads(s.process.stdout.readline())["endpoint"].rsplit(":", 1)[1])
    return s


class Together:
    """Several servers that end with the block."""

    def __init__(self):
        self.servers = []

    def add(self, server):
        self.servers.append(server)
        return server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in reversed(self.servers):
            s.stop()


# --- figures ---

def interval(values, seed=1, n=10000):
    """Median and its 95 % bootstrap interval (percentiles of n resampled medians)."""
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(n))
    return statistics.median(values), medians[int(n * 0.025)], medians[int(n * 0.975) - 1]


def verdict(low, high, bar, is_least):
    if is_least:
        low, high, bar = -high, -low, -bar
    return "met" if high <= bar else "missed" if low > bar else "undecided"


WRITES = ("write", "writev", "sendto", "sendmsg", "splice", "pwrite64")


def count_writes(server, run):
    """Calls that write, per event, during run() -> (result, events). perf counts nearly for free; strace
    slows the process down, so that events wait for each other and share writes."""
    if shutil.which("perf"):
        events = ",".join(f"syscalls:sys_enter_{w}" for w in WRITES)
        counter = subprocess.Popen(["perf", "stat", "-x", ",", "-e", events, "-p", str(server.pid)],
                                   stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        if counter.poll() is None:
            r, n = run()
            counter.send_signal(signal.SIGINT)
            lines = [line.split(",") for line in counter.communicate()[1].splitlines()]
            total = sum(int(x[0]) for x in lines if len(x) > 2 and x[0].isdigit())
            # Each stream's request is a write too.
            return {"per_event": (total - r["begun"]) / n, "by": "perf"}
    counter = subprocess.Popen(["strace", "-f", "-c", "-e", "trace=" + ",".join(WRITES), "-p",
                                str(server.pid)], stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    r, n = run()
    counter.send_signal(signal.SIGINT)
    total = sum(int(line.split()[3]) for line in counter.communicate()[1].splitlines()
                if line.split() and line.split()[-1] in WRITES)
    return {"per_event": (total - r["begun"]) / n, "by": "strace"}


def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder


def hold_connections(port, requests, n, is_tls, look):
    """look() while n connections are open that have had one answer each."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    try:
        for i in range(n):
            s = socket.create_connection(("127.0.0.1", port))
            if is_tls:
                s = context.wrap_socket(s)
            held.append(s)
            s.sendall(requests[i % len(requests)])
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += s.recv(65536)
            head, body = answer.split(b"\r\n\r\n", 1)
            if not head.startswith(b"HTTP/1.1 200"):
                sys.exit(f"bench: {answer.decode()}")
            length = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
            while len(body) < length:
                body += s.recv(65536)
        time.sleep(0.5)
        return look()
    finally:
        for s in held:
            s.close()


class Bench:
    def __init__(self, args):
        self.weir = pathlib.Path(args.weir).resolve()
        self.nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
        self.seconds, self.pairs, self.is_quick = args.seconds, args.pairs, args.quick
        self.rows, self.items, self.n_runs = [], {}, 0

    # Every row that a bar stands over: shown, and written to the JSON.
    def row(self, item, what, value, unit, bar=None, low=None, high=None, note="", is_least=False):
        row = {"item": item, "what": what, "value": value, "unit": unit, "bar": bar}
        if is_least:
            row["bar_is_least"] = True
        if low is not None:
            row |= {"low": low, "high": high}
        if bar is not None:
            row["verdict"] = verdict(value if low is None else low, value if high is None else high, bar,
                                     is_least)
        if note:
            row["note"] = note
        self.rows.append(row)
        say("  " + format_row(row))

    def ratios(self, item, what, runs, key, bars):
        """One row for each pair of names in `bars`: {(above, below): bar or None}."""
        for (above, below), bar in bars.items():
            values = [a[key] / b[key] for a, b in zip(runs[above], runs[below])]
            middle, low, high = interval(values)
            self.row(item, f"{what}, {above} / {below}", middle, "x", bar, low, high)

    # --- loads, on the other core ---

    def load(self, argv, is_checked=True):
        """Runs a load and reads the JSON line that it ends with."""
        out = subprocess.run(["taskset", "-c", str(LOAD_CORE), *map(str, argv)], capture_output=True,
                             text=True)
        lines = [line for line in out.stdout.splitlines() if line.startswith("{")]
        if not lines or (is_checked and out.returncode):
            sys.exit(f"bench: {' '.join(map(str, argv))}\n{out.stdout}{out.stderr}")
        return json.loads(lines[-1])

    def wrk(self, port, requests, seconds):
        self.n_runs += 1
        r = self.load(["wrk", "-t", 1, "-c", 64, "-d", f"{seconds}s",
                       "-s", TOP / "bench" / "requests.lua", f"http://127.0.0.1:{port}", "--", requests,
                       self.n_runs * FRESH_A_RUN])
        if r["not_2xx"] or r["failed"] or not r["requests"]:
            sys.exit(f"bench: failed requests: {r}")
        return r

    def weir_load(self, mode, port, requests, *options, is_checked=True):
        return self.load([self.weir, "bench", mode, "--url", f"http://127.0.0.1:{port}/",
                          "--requests", requests, "--json", "--silent", *options], is_checked)

    def requests_file(self, name, *args, **more):
        path = self.folder / f"{name}.requests"
        write_requests(path, make_requests(*args, **more))
        return path

    def rounds(self, servers):
        """All take their turn, forwards and then backwards."""
        for i in range(self.pairs):
            yield i, servers if i % 2 == 0 else servers[::-1]

    # --- items ---

    def json_item(self, item, size, bar=1.0, is_fresh=False):
        requests = self.requests_file(item, size, is_fresh=is_fresh)
        with Together() as t:
            up = t.add(start_upstream(self))
            servers = [t.add(Weir(self, up.port)), t.add(start_nginx(self, up.port)),
                       t.add(start_haproxy(self, up.port))]
            runs = {s.name: [] for s in servers}
            for s in servers:
                self.wrk(s.port, requests, 1)  # warm: connections, caches, memory
            for i, order in self.rounds(servers):
                for s in order:
                    cpu, begin = s.cpu_ns(), time.monotonic_ns()
                    r = self.wrk(s.port, requests, self.seconds)
                    cpu, wall = s.cpu_ns() - cpu, time.monotonic_ns() - begin
                    s.between_rounds()
                    runs[s.name].append({"us": cpu / 1000 / r["requests"],
                                         "rps": r["requests"] * 1e6 / r["us"], "busy": cpu / wall,
                                         "p50_us": r["p50_us"], "p99_us": r["p99_us"]})
                say(f"  {i + 1}/{self.pairs} us a request: "
                    + ", ".join(f"{n} {v[-1]['us']:.2f}" for n, v in runs.items()))
        self.items[item] = runs
        self.ratios(item, "CPU per request", runs, "us",
                    {("weir", "nginx"): bar, ("weir", "haproxy"): None})
        for name, values in runs.items():
            self.row(item, f"CPU per request, {name}", statistics.median(v["us"] for v in values), "us")
            self.row(item, f"throughput on one core, {name}",
                     statistics.median(v["rps"] for v in values), "/s",
                     note=f"core {statistics.median(v['busy'] for v in values):.0%} busy")

    def json1k(self):
        """1 KB request, 1 KB JSON answer, 64 connections"""
        self.json_item("json1k", 1024)

    def json8k(self):
        """8 KB request, 1 KB JSON answer, 64 connections"""
        self.json_item("json8k", 8192)

    def cold1k(self):
        """1 KB request whose text nobody has seen before, else as json1k"""
        self.json_item("cold1k", 1024, bar=1.5, is_fresh=True)

    def cold8k(self):
        """8 KB request whose text nobody has seen before, else as json8k"""
        self.json_item("cold8k", 8192, bar=None, is_fresh=True)

    def long(self):
        """Calls of 1 KB at one connection, while prompts of 128,000 tokens arrive, 4 a second"""
        calls = self.requests_file("calls", 1024)
        rng = random.Random("long")
        big = [make_request(rng, a, 1, 128000 * 5, max_tokens=1) for a in range(4)]
        with Together() as t:
            up = t.add(start_upstream(self))
            s = t.add(Weir(self, up.port))
            runs = {"with": [], "without": []}
            for i, order in self.rounds(["without", "with"]):
                for which in order:
                    stop = threading.Event()
                    sender = threading.Thread(target=self.send_steadily, args=(s.port, big, 0.25, stop))
                    if which == "with":
                        sender.start()
                    r = self.weir_load("requests", s.port, calls, "--duration", f"{self.seconds}s")
                    stop.set()
                    if which == "with":
                        sender.join()
                    runs[which].append(r["latency"])
        self.items["long"] = runs
        for p in ("p50", "p99"):
            self.ratios("long", f"{p} of calls, with long prompts / without", runs, f"{p}_us",
                        {("with", "without"): None})
            for name, values in runs.items():
                self.row("long", f"{p} {name} them", statistics.median(v[f"{p}_us"] for v in values), "us")

    @staticmethod
    def send_steadily(port, requests, every_s, stop):
        """One request after another over connections of their own, by the clock, each with a text of its own."""
        for i in itertools.count():
            if stop.wait(every_s):
                break
            request = requests[i % len(requests)]
            number = b"%08d " % random.randrange(10**8)
            at = request.index(b'"user","content":"') + len(b'"user","content":"')
            with socket.create_connection(("127.0.0.1", port)) as c:
                c.sendall(request[:at] + number + request[at + len(number):])
                c.recv(1 << 16)

    def sse(self):
        """Streams of 100 events, at least 0.2 ms apart, 8 at once"""
        requests = self.requests_file("sse", 1024, is_stream=True)

        def run(s, seconds):
            r = self.weir_load("streams", s.port, requests, "--streams", 8, "--duration", f"{seconds}s",
                               "--expect-events", 101)
            return r, r["whole"] * 100

        with Together() as t:
            up = t.add(start_upstream(self, "--events", 100, "--gap-us", 200))
            servers = [t.add(Weir(self, up.port)), t.add(start_nginx(self, up.port, is_stream=True)),
                       t.add(start_haproxy(self, up.port))]
            runs = {s.name: [] for s in servers}
            for s in servers:
                run(s, 1)
            for i, order in self.rounds(servers):
                for s in order:
                    cpu, begin = s.cpu_ns(), time.monotonic_ns()
                    r, events = run(s, self.seconds)
                    cpu, wall = s.cpu_ns() - cpu, time.monotonic_ns() - begin
                    runs[s.name].append({"us": cpu / 1000 / events, "events": events, "busy": cpu / wall,
                                         "reads": r["reads"], "added_p50_us": r["added"]["p50_us"],
                                         "added_p99_us": r["added"]["p99_us"]})
                say(f"  {i + 1}/{self.pairs} us an event: "
                    + ", ".join(f"{n} {v[-1]['us']:.2f}" for n, v in runs.items()))
            writes = {s.name: count_writes(s, lambda s=s: run(s, 2)) for s in servers}
        self.items["sse"] = runs | {"writes": writes}
        self.ratios("sse", "CPU per event", runs, "us",
                    {("weir", "nginx"): 1.05, ("weir", "haproxy"): None})
        for name, values in runs.items():
            rate = statistics.median(v["events"] for v in values) / self.seconds
            self.row("sse", f"CPU per event, {name}", statistics.median(v["us"] for v in values), "us",
                     note=f"{rate:,.0f} events/s, core "
                          f"{statistics.median(v['busy'] for v in values):.0%} busy")
        for name, w in writes.items():
            self.row("sse", f"writes per event, {name}", w["per_event"], "",
                     0.95 if name == "weir" else None, note=f"by {w['by']}", is_least=True)
        for name, values in runs.items():
            for p in ("p50", "p99"):
                self.row("sse", f"upstream's write to arrival {p}, {name}",
                         statistics.median(v[f"added_{p}_us"] for v in values), "us")

    def latency(self):
        """Added latency at one connection, 1 KB request, 1 KB JSON answer"""
        requests = self.requests_file("latency", 1024)
        with Together() as t:
            up = t.add(start_upstream(self))
            servers = [t.add(Weir(self, up.port)), t.add(start_nginx(self, up.port)),
                       t.add(start_haproxy(self, up.port)), up]
            runs = {s.name: [] for s in servers}
            for s in servers:
                self.weir_load("requests", s.port, requests, "--duration", "1s")
            for i, order in self.rounds(servers):
                for s in order:
                    r = self.weir_load("requests", s.port, requests, "--duration", f"{self.seconds}s")
                    runs[s.name].append(r["latency"])
                # What the direct way takes is not the proxy's. Of the slow ones it cannot be told
                # which part was slow, so all above the direct median counts.
                direct = runs["upstream"][-1]["p50_us"]
                for name in ("weir", "nginx", "haproxy"):
                    v = runs[name][-1]
                    v["added_p50"], v["added_p99"] = v["p50_us"] - direct, v["p99_us"] - direct
                say(f"  {i + 1}/{self.pairs} p50, p99 in us: " + ", ".join(
                    f"{n} {v[-1]['p50_us']:.1f} {v[-1]['p99_us']:.1f}" for n, v in runs.items()))
        self.items["latency"] = runs
        for p, bar in (("p50", 1.10), ("p99", 1.25)):
            self.ratios("latency", f"added {p}", runs, f"added_{p}",
                        {("weir", "nginx"): bar, ("weir", "haproxy"): None})
        for name, values in runs.items():
            what = "direct" if name == "upstream" else f"through {name}"
            for p in ("p50", "p99"):
                self.row("latency", f"{p} {what}", statistics.median(v[f"{p}_us"] for v in values), "us")

    def memory(self):
        """Memory of Weir per idle connection and per open stream, 2,000 of them"""
        n = 200 if self.is_quick else 2000
        tls = make_certificate(self.folder)
        requests = make_requests(1024)
        streams = self.requests_file("memory", 1024, is_stream=True)
        for is_tls, idle_bar, stream_bar in ((False, 2048, 8192), (True, 40960, 40960)):
            suffix = " with TLS" if is_tls else ""
            with Together() as t:
                up = t.add(start_upstream(self))
                servers = [t.add(Weir(self, up.port, tls=tls))]
                if not is_tls:
                    servers += [t.add(start_nginx(self, up.port)), t.add(start_haproxy(self, up.port))]
                for s in servers:
                    port = s.tls_port if is_tls else s.port
                    hold_connections(port, requests, 20, is_tls, lambda: None)
                    before = s.memory()
                    each = (hold_connections(port, requests, n, is_tls, s.memory) - before) / n
                    self.row("memory", f"idle connection{suffix}, {s.name}", each, "B",
                             idle_bar if s.name == "weir" else None)
            with Together() as t:
                up = t.add(start_upstream(self, "--events", 60, "--gap-us", 500000))
                servers = [t.add(Weir(self, up.port, tls=tls))]
                if not is_tls:
                    servers += [t.add(start_nginx(self, up.port, is_stream=True)),
                                t.add(start_haproxy(self, up.port))]
                for s in servers:
                    port = s.tls_port if is_tls else s.port
                    hold_connections(port, requests, 20, is_tls, lambda: None)
                    before = s.memory()
                    url = f"{'https' if is_tls else 'http'}://127.0.0.1:{port}/"
                    load = t.add(Server("load", [self.weir, "bench", "streams", "--url", url,
                                                 "--insecure", "--requests", streams, "--streams", n,
                                                 "--ramp", "4s", "--silent"], LOAD_CORE,
                                        stdout=subprocess.DEVNULL))
                    time.sleep(8)
                    each = (s.memory() - before) / n
                    if load.process.poll() is not None:
                        sys.exit(f"bench: the streams through {s.name} ended early")
                    load.stop()
                    self.row("memory", f"open stream{suffix}, {s.name}", each, "B",
                             stream_bar if s.name == "weir" else None)

    def streams8k(self):
        """8,000 streams at once, 2 tokens/s each, for 60 s; simulator and generator on the other core"""
        n, hold, ramp = (500, 4, 2) if self.is_quick else (8000, 60, 10)
        # Each lasts from its beginning in the ramp until all have been open together for long enough.
        tokens = 2 * (hold + ramp + 1)
        requests = self.requests_file("streams8k", 1024, is_stream=True, max_tokens=tokens)
        with Together() as t:
            up = t.add(start_upstream(self, "--profile", "instant", "--decode-tps", 2, "--json",
                                      "--output-tokens", 100000, "--queue", 100000, mode=["simulate"]))
            s = t.add(Weir(self, up.port))
            before, cpu = s.memory("VmRSS"), s.cpu_ns()
            # A first chunk with the role, a last one with the finish reason, and [DONE].
            load = subprocess.Popen(
                ["taskset", "-c", str(LOAD_CORE), self.weir, "bench", "streams", "--url",
                 f"http://127.0.0.1:{s.port}/", "--requests", requests, "--json", "--streams", str(n),
                 "--ramp", f"{ramp}s", "--expect-events", str(tokens + 3)], stdout=subprocess.PIPE,
                stderr=sys.stderr, text=True)
            peak = 0
            while load.poll() is None:
                peak = max(peak, s.memory("VmRSS"))
                time.sleep(0.2)
            lines = load.stdout.read().splitlines()
            cpu = s.cpu_ns() - cpu
        if not lines:
            sys.exit("bench: the generator of streams ended without a report")
        r = json.loads(lines[-1])
        self.items["streams8k"] = r | {"rss_before": before, "rss_peak": peak, "cpu_ns": cpu}
        if r["problem"]:
            say(f"  problem: {r['problem']}")
        self.row("streams8k", "streams at once", r["most_at_once"], "", n, is_least=True)
        self.row("streams8k", "streams lost or refused", r["lost"] + r["refused"], "", 0)
        self.row("streams8k", "events lost", r["events_lost"], "", 0, note=f"of {r['events']:,}")
        self.row("streams8k", "RSS of Weir, peak", peak / 1e6, "MB", 80, note=f"{before / 1e6:.1f} idle")
        self.row("streams8k", "events a second of one core's time", r["events"] / (cpu / 1e9), "/s",
                 note=f"Weir used {cpu / r['elapsed_us'] / 1000:.0%} of its core, "
                      f"{cpu / 1000 / r['events']:.1f} us an event")
        self.row("streams8k", "gap between events p50", r["gap"]["p50_us"] / 1000, "ms")
        self.row("streams8k", "gap between events p99", r["gap"]["p99_us"] / 1000, "ms")

    def control_requests(self, name, token, port, method, targets, bodies=("",)):
        """Requests to the control plane in a file: each target with each body in turn."""
        path = self.folder / f"{name}.requests"
        write_requests(path, [
            (f"{method} {target} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n"
             f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()
            for body in bodies for target in targets])
        return path

    def control(self):
        """The control plane over TLS, 1,000 deployments, changes on the disk before they are answered"""
        port = free_port()
        with Together() as t:
            up = t.add(start_upstream(self))
            s = t.add(Weir(self, up.port, extra=["--control-listen", f"127.0.0.1:{port}"]))
            operator = json.loads((s.data / "operator.json").read_text())
            form = urllib.parse.urlencode({
                "grant_type": "client_credentials", "client_id": operator["clientId"],
                "client_secret": operator["clientSecret"], "scope": f"https://localhost:{port}/.default"})
            tls = ssl.create_default_context(cafile=operator["caFile"])
            with urllib.request.urlopen(f"https://localhost:{port}/adfs/oauth2/token", form.encode(),
                                        context=tls) as answer:
                token = json.load(answer)["access_token"]
            version = "?api-version=2025-09-01"
            deployments = [f"{account_id(a)}/deployments/chat-{d}" for a in range(N_ACCOUNTS)
                           for d in range(DEPLOYMENTS_EACH)]
            # Sizes of the provisioned ones: each change makes a new snapshot of all deployments.
            sizable = [d + version for d in deployments[1::2]]
            size_of = '{{"sku":{{"name":"ProvisionedManaged","capacity":{}}}}}'.format
            usages = (SUBSCRIPTION + "/providers/Microsoft.CognitiveServices/locations/here/usages" +
                      version)
            loads = {
                "reads of a deployment": ("GET", [d + version for d in deployments], [""], 10000),
                "reads of all usages": ("GET", [usages], [""], 10000),
                "changes of a size": ("PATCH", sizable, [size_of(99900), size_of(100000)], 500),
            }
            for what, (method, targets, bodies, bar) in loads.items():
                requests = self.control_requests("control", token, port, method, targets, bodies)
                rates = []
                for _ in range(self.pairs):
                    r = self.load(["wrk", "-t", 1, "-c", 64, "-d", f"{self.seconds}s", "-s",
                                   TOP / "bench" / "requests.lua", f"https://127.0.0.1:{port}", "--",
                                   requests])
                    if r["not_2xx"] or r["failed"]:
                        sys.exit(f"bench: failed requests: {r}")
                    rates.append(r["requests"] * 1e6 / r["us"])
                middle, low, high = interval(rates)
                self.row("control", f"{what}, 64 connections", middle, "/s", bar, low, high, is_least=True)
            calls = self.requests_file("calls", 1024)
            runs, took = {"busy": [], "rest": []}, []
            for i, order in self.rounds(["rest", "busy"]):
                for which in order:
                    stop = threading.Event()
                    writer = threading.Thread(target=self.write_steadily, args=(
                        port, tls, token, sizable, size_of, stop, took))
                    if which == "busy":
                        writer.start()
                    r = self.weir_load("requests", s.port, calls, "--duration", f"{self.seconds}s")
                    stop.set()
                    if which == "busy":
                        writer.join()
                    runs[which].append(r["latency"])
            self.ratios("control", "p99 of calls, with 100 changes a second / without", runs, "p99_us",
                        {("busy", "rest"): 1.25})
            took.sort()
            self.row("control", "one change until it is obeyed and answered, p99, meanwhile",
                     took[len(took) * 99 // 100] * 1000, "ms", 100, note=f"of {len(took):,}")
        self.swaps()

    def swaps(self):
        """How long a loop stands still while a snapshot of 1,000 deployments is swapped."""
        out = subprocess.run(["taskset", "-c", str(GATEWAY_CORE), self.weir, "bench", "swaps", "--swaps",
                              "50" if self.is_quick else "500"], capture_output=True, text=True, check=True)
        r = json.loads(out.stdout)
        self.items["swaps"] = r
        for kind, what in (("oneAccount", "one account differs"), ("everything", "everything differs")):
            for which in ("median", "longest"):
                self.row("control", f"a swap's stall of a loop, {what}, {which}",
                         r[kind]["stallUs"][which] / 1000, "ms", 1.0 if which == "longest" else None,
                         note=f"prepared off the loops in {r[kind]['prepareUs']['median'] / 1000:.1f} ms")

    @staticmethod
    def write_steadily(port, tls, token, targets, size_of, stop, took):
        """A hundred changes a second over one connection, one after another; `took` gets their seconds. This
        thread of Python keeps off the gateway's core, and gives way to the load of the calls: what it would
        take from them is not the gateway's doing."""
        os.sched_setaffinity(0, {LOAD_CORE})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        c = http.client.HTTPSConnection("localhost", port, context=tls)
        next_at = time.monotonic()
        for i in itertools.count(len(targets)):
            if stop.is_set():
                break
            begin = time.monotonic()
            c.request("PATCH", targets[i % len(targets)], size_of(100000 - i // len(targets) % 2 * 100),
                      {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            answer = c.getresponse()
            if answer.status != 200:
                sys.exit(f"bench: a change was answered with {answer.status}: {answer.read()}")
            if answer.read() and stop.is_set():
                break
            took.append(time.monotonic() - begin)
            next_at += 0.01
            stop.wait(max(0, next_at - time.monotonic()))
        c.close()

    def instructions(self):
        """Instructions per request in user space, counted by callgrind"""
        n = 300 if self.is_quick else 3000
        for size in (1024, 8192):
            requests = self.requests_file("instructions", size)
            with Together() as t:
                up = t.add(start_upstream(self))
                for start in (Weir, start_nginx, start_haproxy):
                    out = self.folder / "callgrind.out"
                    for old in self.folder.glob("callgrind.out*"):
                        old.unlink()
                    s = t.add(start(self, up.port, wrapper=[
                        "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]))
                    self.weir_load("requests", s.port, requests, "--connections", 8, "--count", 200)
                    subprocess.run(["callgrind_control", "-z", str(s.pid)], check=True,
                                   capture_output=True)
                    self.weir_load("requests", s.port, requests, "--connections", 8, "--count", n)
                    subprocess.run(["callgrind_control", "-d", str(s.pid)], check=True,
                                   capture_output=True)
                    total = sum(int(m[1]) for f in self.folder.glob("callgrind.out.*")
                                for m in re.finditer(r"^totals: (\d+)", f.read_text(), re.M))
                    s.stop()
                    self.row("instructions", f"{size // 1024} KB request, {s.name}", total / n, "")


ITEMS = ["json1k", "json8k", "cold1k", "cold8k", "long", "sse", "latency", "memory", "streams8k", "control", "instructions"]


def format_value(r):
    v = r["value"]
    text = f"{v:,}" if isinstance(v, int) else f"{v:.2f}" if v < 100 else f"{v:,.0f}"
    return f"{text} {r['unit']}".strip()


def format_row(r):
    between = f" [{r['low']:.2f} .. {r['high']:.2f}]" if "low" in r else ""
    sign = ">=" if r.get("bar_is_least") else "<="
    bar = f"  bar {sign} {r['bar']:g}: {r['verdict']}" if r["bar"] is not None else ""
    note = f"  ({r['note']})" if r.get("note") else ""
    return f"{r['what']:<46} {format_value(r) + between:<28}{bar}{note}"


def format_markdown(out):
    """The rows as tables, for docs/performance.md."""
    m, v = out["machine"], out["versions"]
    flags = "--quick" if out["quick"] else f"--pairs {out['pairs']} --seconds {out['seconds']}"
    command = f"make bench BENCH_FLAGS='{flags}'"
    lines = [f"Measured {out['date'][:10]} by `{command}`: {out['pairs']} rounds, {out['seconds']} s a run, "
             f"{out['took_s'] // 60} minutes in all.",
             f"{m['cpu']}, {m['cores']} cores, {m['memory_mb'] // 1024} GB, Linux {m['kernel']}; "
             f"{v['weir']}; {v['nginx']}; {v['haproxy']}; {v['wrk']}."]
    for item in dict.fromkeys(r["item"] for r in out["rows"]):
        lines += ["", f"### {getattr(Bench, item).__doc__}", "", "| what | measured | 95 % | bar | |",
                  "|---|---|---|---|---|"]
        for r in out["rows"]:
            if r["item"] == item:
                between = f"{r['low']:.2f} to {r['high']:.2f}" if "low" in r else ""
                sign = "≥" if r.get("bar_is_least") else "≤"
                bar = f"{sign} {r['bar']:,g}" if r["bar"] is not None else ""
                tail = f"**{r['verdict']}**" if "verdict" in r else r.get("note", "")
                lines.append(f"| {r['what']} | {format_value(r)} | {between} | {bar} | {tail} |")
    return "\n".join(lines) + "\n"


def write_docs(path, out):
    """Puts the tables between the marks of a page."""
    begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
    text = path.read_text()
    head, rest = text.split(begin, 1)
    path.write_text(head + begin + format_markdown(out) + end + rest.split(end, 1)[1])


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.M)
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(), "nice": os.nice(0),
            "kernel": platform.release(),
            "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20}


def versions(bench):
    def first(*argv):
        out = subprocess.run(argv, capture_output=True, text=True)
        return (out.stdout or out.stderr).splitlines()[0].strip()
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty"], capture_output=True,
                            text=True).stdout.strip()
    return {"weir": f"{first(str(bench.weir), 'version')} {commit}".strip(),
            "nginx": first(bench.nginx, "-v"), "haproxy": first(bench.haproxy, "-v"),
            "wrk": first("wrk", "-v")}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                epilog="items: " + ", ".join(ITEMS))
    p.add_argument("--weir", default=TOP / "build" / "weir", help="the binary [build/weir]")
    p.add_argument("--only", action="append", choices=ITEMS, help="this item alone; may be repeated")
    p.add_argument("--pairs", type=int, help="rounds in which all take their turn [15]")
    p.add_argument("--seconds", type=int, help="of one run [2]")
    p.add_argument("--quick", action="store_true", help="a short run that shows that all works")
    p.add_argument("--out", default=TOP / "build" / "bench.json", help="the figures [build/bench.json]")
    p.add_argument("--docs", type=pathlib.Path, help="put the tables into this page, between its marks")
    args = p.parse_args()
    args.pairs = args.pairs or (2 if args.quick else 15)
    args.seconds = args.seconds or (1 if args.quick else 2)
    if os.cpu_count() < 2:
        sys.exit("bench: needs two cores, one for the gateway and one for the load")
    try:
        os.nice(-15)  # whatever else runs on this machine waits; for all alike
    except PermissionError:
        say("bench: not root, so other programs on this machine disturb the figures more")
    bench = Bench(args)
    for name, path in (("nginx", bench.nginx), ("haproxy", bench.haproxy), ("wrk", shutil.which("wrk"))):
        if not path:
            sys.exit(f"bench: there is no {name}; tools/setup.sh bench installs it")
    begin = time.monotonic()
    try:
        for name in args.only or ITEMS:
            item = getattr(bench, name)
            say(f"{name}: {item.__doc__}")
            item()
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    out = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
           "machine": machine(), "versions": versions(bench), "quick": args.quick,
           "pairs": args.pairs, "seconds": args.seconds,
           "took_s": round(time.monotonic() - begin), "rows": bench.rows, "items": bench.items}
    pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.out).write_text(json.dumps(out, indent=1) + "\n")
    if args.docs:
        write_docs(args.docs, out)
    for item in dict.fromkeys(r["item"] for r in bench.rows):
        print(f"\n{getattr(Bench, item).__doc__}")
        for r in bench.rows:
            if r["item"] == item:
                print("  " + format_row(r))
    print(f"\n{args.out}: all figures")


main()
