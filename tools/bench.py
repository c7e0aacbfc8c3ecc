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
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

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


def make_body(rng, size, name, is_stream):
    """A chat request of exactly `size` bytes."""
    start = (f'{{"model":"{name}","messages":[{{"role":"system","content":"You answer briefly."}},'
             f'{{"role":"user","content":"').encode()
    stream = b',"stream":true' if is_stream else b""
    end = f'"}}],"max_tokens":{rng.randrange(50, 500)},"temperature":0.7'.encode() + stream + b"}"
    text = b""
    room = size - len(start) - len(end)
    while len(text) < room:
        word = (rng.choice(WORDS) + " ").encode()
        text += word if len(text) + len(word) <= room else b"." * (room - len(text))
    return start + text + end


def make_request(rng, a, d, size, is_stream=False):
    """As the official clients send it: half by Azure's paths and api-key, half by v1 and a bearer key."""
    name = f"chat-{d}"
    body = make_body(rng, size, name, is_stream)
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


def make_requests(size, is_stream=False):
    rng = random.Random(f"{size} {is_stream}")
    places = [(a, d) for a in range(N_ACCOUNTS) for d in range(DEPLOYMENTS_EACH)]
    rng.shuffle(places)
    return [make_request(rng, a, d, size, is_stream) for a, d in places]


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
    def __init__(self, bench, upstream_port, core=GATEWAY_CORE, wrapper=(), extra=()):
        self.data = bench.folder / "weir"
        shutil.rmtree(self.data, ignore_errors=True)
        resources = bench.folder / "resources.json"
        write_resources(resources, upstream_port)
        port = free_port()
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


def start_nginx(bench, upstream_port, is_stream=False, tls="", wrapper=(), core=GATEWAY_CORE):
    port = free_port()
    config = fill_in(bench, "nginx.conf", "nginx.conf", port=port, upstream=upstream_port, tls=tls,
                     buffering="off" if is_stream else "on")
    return Server("nginx", [*wrapper, bench.nginx, "-p", bench.folder, "-e", bench.folder / "nginx.error",
                            "-c", config], core, port)


def start_haproxy(bench, upstream_port):
    port = free_port()
    config = fill_in(bench, "haproxy.cfg", "haproxy.cfg", port=port, upstream=upstream_port)
    return Server("haproxy", [bench.haproxy, "-db", "-f", config], GATEWAY_CORE, port)


def start_upstream(bench, **options):
    argv = [bench.weir, "bench", "upstream"]
    for key, value in options.items():
        argv += [f"--{key.replace('_', '-')}", value]
    s = Server("upstream", argv, LOAD_CORE, stdout=subprocess.PIPE)
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


def verdict(low, high, bar):
    return "met" if high <= bar else "missed" if low > bar else "undecided"


class Bench:
    def __init__(self, args):
        self.weir = pathlib.Path(args.weir).resolve()
        self.nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
        self.seconds, self.pairs, self.is_quick = args.seconds, args.pairs, args.quick
        self.rows, self.items = [], {}

    # Every row that a bar stands over: shown, and written to the JSON.
    def row(self, item, what, value, unit, bar=None, low=None, high=None, note=""):
        row = {"item": item, "what": what, "value": value, "unit": unit, "bar": bar}
        if low is not None:
            row |= {"low": low, "high": high}
        if bar is not None:
            row["verdict"] = verdict(value if low is None else low, value if high is None else high, bar)
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

    def wrk(self, port, requests_file, connections, seconds):
        out = subprocess.run(
            ["taskset", "-c", str(LOAD_CORE), "wrk", "-t", "1", "-c", str(connections),
             "-d", f"{seconds}s", "-s", TOP / "bench" / "requests.lua", f"http://127.0.0.1:{port}",
             "--", requests_file], capture_output=True, text=True, check=True)
        lines = [line for line in out.stdout.splitlines() if line.startswith("{")]
        if not lines:
            sys.exit(f"bench: wrk says: {out.stdout}{out.stderr}")
        return json.loads(lines[-1])

    # --- items ---

    def json_item(self, item, size):
        requests = self.folder / f"{item}.requests"
        write_requests(requests, make_requests(size))
        with Together() as t:
            up = t.add(start_upstream(self))
            servers = [t.add(Weir(self, up.port)), t.add(start_nginx(self, up.port)),
                       t.add(start_haproxy(self, up.port))]
            runs = {s.name: [] for s in servers}
            for s in servers:
                self.wrk(s.port, requests, 64, 1)  # warm: connections, caches, memory
            for i in range(self.pairs):
                for s in servers if i % 2 == 0 else reversed(servers):
                    before = s.cpu_ns()
                    begin = time.monotonic_ns()
                    r = self.wrk(s.port, requests, 64, self.seconds)
                    cpu = s.cpu_ns() - before
                    wall = time.monotonic_ns() - begin
                    s.between_rounds()
                    if r["not_2xx"] or r["failed"] or not r["requests"]:
                        sys.exit(f"bench: {s.name} failed requests: {r}")
                    runs[s.name].append({"us": cpu / 1000 / r["requests"],
                                         "rps": r["requests"] * 1e6 / r["us"], "busy": cpu / wall,
                                         "p50_us": r["p50_us"], "p99_us": r["p99_us"]})
                now = ", ".join(f"{n} {v[-1]['us']:.2f}" for n, v in runs.items())
                say(f"  {item} {i + 1}/{self.pairs}: us a request: {now}")
        self.items[item] = runs
        self.ratios(item, "CPU per request", runs, "us",
                    {("weir", "nginx"): 1.0, ("weir", "haproxy"): None})
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


ITEMS = ["json1k", "json8k"]


def format_row(r):
    value = f"{r['value']:.2f}" if r["value"] < 100 else f"{r['value']:,.0f}"
    between = f" [{r['low']:.2f} .. {r['high']:.2f}]" if "low" in r else ""
    bar = f"  bar {r['bar']:g}: {r['verdict']}" if r["bar"] is not None else ""
    note = f"  ({r['note']})" if r.get("note") else ""
    return f"{r['what']:<46} {value + ' ' + r['unit'] + between:<28}{bar}{note}"


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
    for item in dict.fromkeys(r["item"] for r in bench.rows):
        print(f"\n{getattr(Bench, item).__doc__}")
        for r in bench.rows:
            if r["item"] == item:
                print("  " + format_row(r))
    print(f"\n{args.out}: all figures")


main()
