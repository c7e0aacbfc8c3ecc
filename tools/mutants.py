#!/usr/bin/env python3
"""Plants one fault at a time in the laws of admission and balancing, and sees that a test catches it.

    mutants.py [--list] [WORD...]

A test that never failed may be a test that cannot. So each fault below, which someone might well write,
is planted in a copy of the source; the recorded traces and then the unit tests run against the copy until
one of them fails. Prints who caught it, or SURVIVED. With words, only the faults whose names have one of
them. Exit status: 0 all caught; 1 a survivor, or a fault whose place is no longer in the source; 2 the
tests fail without any fault.
"""
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ["admit", "balance"]
REPLAYED = ["sizing/sizing.c", "tokens/prefix.c"]  # which no fault touches, but traces do
CC = shlex.split(os.environ.get("CC", "cc"))
FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-O1", "-w", f"-I{TOP / 'src'}", f"-I{TOP / 'tests'}"]
SECONDS = 20  # a fault may also make a loop endless

# source: (name, the text at its place, the text of the fault). The text stands there exactly once.
FAULTS = {
    "admit/bucket.c": [
        ("admits at exactly 100 %", "if (level >= e.depth_mt) {", "if (level > e.depth_mt) {"),
        ("refuses a call for its size", "if (level >= e.depth_mt) {", "if (level + cost_mt > e.depth_mt) {"),
        ("charges refused calls", "if (level >= e.depth_mt) {",
         "if (level >= e.depth_mt) {\n            atomic_fetch_add(&b->finish_mt, cost_mt);"),
        ("rounds retry-after down", "i128_div_ceil(wait, NS_PER_MS)", "i128_div_floor(wait, NS_PER_MS)"),
        ("waits until 100 % instead of below", "v - e->depth_mt + 1", "v - e->depth_mt"),
        ("waits from the epoch, not from now", "epoch_reach(e, v - e->depth_mt + 1) - t_ns",
         "epoch_reach(e, v - e->depth_mt + 1) - e->t0_ns"),
        ("forgets the fraction when it predicts", " * NS_PER_MIN - e->rem, e->rate)", " * NS_PER_MIN, e->rate)"),
        ("divides by a rate of zero", "if (e->rate == 0)", "if (e->rate < 0)"),
        ("cuts a refund off at empty", "    if (delta_mt <= 0) {\n",
         "    if (delta_mt <= 0) {\n        delta_mt = i64_max(delta_mt, -bucket_level_mt(b, clock_now_ns(clock)));\n"),
        ("banks idle time as credit", "__builtin_add_overflow(i64_max(v, s), cost_mt, &sum)",
         "__builtin_add_overflow(v, cost_mt, &sum)"),
        ("wraps instead of stopping", "cost_mt, &sum) ? INT64_MAX : sum;", "cost_mt, &sum) ? sum : sum;"),
        ("lets the level go below zero", "return v <= s ? 0 : v - s;", "return v - s;"),
        ("rounds utilization up", "i128_to_i64((i128)level_mt * 1000000 / e->depth_mt)",
         "i128_to_i64(i128_div_ceil((i128)level_mt * 1000000, e->depth_mt))"),
        ("multiplies in 64 bits", "i128 dt = (i128)t_ns - e->t0_ns;\n    return dt <= 0 ? e->rem : e->rate * dt + e->rem;",
         "int64_t dt = (int64_t)((uint64_t)t_ns - (uint64_t)e->t0_ns);\n"
         "    return dt <= 0 ? e->rem : (int64_t)((uint64_t)e->rate * (uint64_t)dt) + e->rem;"),
        ("runs back with the clock", "return dt <= 0 ? e->rem : e->rate * dt", "return e->rate * dt"),
        ("drops the fraction at a rebase", ".rem = (int64_t)(work % NS_PER_MIN),", ".rem = 0,"),
        ("starts an epoch before the last", ".t0_ns = i64_max(e.t0_ns, t_ns),", ".t0_ns = t_ns,"),
        ("forgets the service of the last epoch", ".s0_mt = epoch_served(&e, t_ns),", ".s0_mt = e.s0_mt,"),
        ("takes the default window at a resize", ".rate = rate,\n        .depth_mt = depth_of(rate, b->window_ms),",
         ".rate = rate,\n        .depth_mt = depth_of(rate, BUCKET_WINDOW_MS_DEFAULT),"),
        ("keeps the old depth at a resize", ".rate = rate,\n        .depth_mt = depth_of(rate, b->window_ms),",
         ".rate = rate,\n        .depth_mt = e.depth_mt,"),
        ("restores from zero instead of now", "epoch_served(&e, t_ns) + level_mt,", "level_mt,"),
    ],
    "admit/reservation.c": [
        ("gives no credit for cached tokens", "uncached_mt(w, prompt - cached)", "uncached_mt(w, prompt)"),
        ("never charges cached tokens", " + price(cached, w->w_cached);", ";"),
        ("believes more cached tokens than there are", "cached = clamp(cached, 0, prompt);", ";"),
        ("lets a call be free", "return i64_max(least, in_mt + ", "return (in_mt + "),
        ("prices a whole prompt in its last tier", "return total + price(tokens - from, weight);",
         "return price(tokens, weight);"),
        ("rounds a block down", "(generated - r->out_tokens + block - 1) / block", "(generated - r->out_tokens) / block"),
        ("charges past the limit", "if (r->out_cap >= 0)\n        want", "if (false)\n        want"),
        ("charges less than was generated", "i64_max(i64_min(want, r->out_cap), generated)", "i64_min(want, r->out_cap)"),
        ("gives back while it streams", "if (r->is_final || generated <= r->out_tokens)", "if (r->is_final)"),
        ("ends twice", "    r->is_final = true;\n", ""),
        ("charges what never ran", "generated) : 0;", "generated) : r->weights.min_cost;"),
        ("posts a correction of the input twice", "    r->in_mt = in_mt;\n", ""),
        ("corrects after the end", "if (r->is_final)\n        return 0;\n    if (prompt_tokens", "if (prompt_tokens"),
        ("multiplies hostile numbers", "return tokens_of(tokens) *", "return tokens *"),
    ],
    "admit/output.c": [
        ("ignores best_of", "i64_max(r->n, r->best_of)", "r->n"),
        ("takes the first limit, not the largest", "i64_max(r->max_tokens, i64_max(", "i64_max(-1, i64_max("),
        ("charges embeddings for output", "case OUTPUT_EMBEDDINGS:\n        break;", "case OUTPUT_EMBEDDINGS:\n        return 1;"),
    ],
    "admit/estimator.c": [
        ("learns too slowly", "INT64_C(3277)", "INT64_C(327)"),
        ("counts a cut call as a whole one", "if (is_lower_bound && !is_above)", "if (false)"),
        ("rounds the estimate down", "(q + ONE - 1) / ONE", "q / ONE"),
        ("trusts a class late", "n >= OUTPUT_MODEL_TRUSTED", "n > OUTPUT_MODEL_TRUSTED"),
        ("mixes the classes", "if (prompt < 256)", "if (prompt <= 256)"),
    ],
    "admit/standard.c": [
        ("admits once more at the token limit", "if (v->tokens >= v->tpm)", "if (v->tokens > v->tpm)"),
        ("refuses what just fits", "est_tokens > v->tpm - v->tokens", "est_tokens >= v->tpm - v->tokens"),
        ("never lets an oversize request pass", "s->is_strict && v->tokens > 0 &&", "s->is_strict &&"),
        ("admits once more in a window", "v->requests >= allowance", "v->requests > allowance"),
        ("shares the requests unevenly", "i128_div_ceil((i128)k * v->rpm", "i128_div_floor((i128)k * v->rpm"),
        ("counts a window on into the next", "if ((word >> 42 & 63) == (uint64_t)v.window)", "if (true)"),
        ("counts a minute on into the next", "if (word >> 48 == ((uint64_t)v.minute & 0xffff)) {", "if (true) {"),
        ("resets all deployments together", "(i128)t_ns + s->phase_ns", "(i128)t_ns"),
        ("returns in a window that allows nothing", "v->n_windows && allowance(v, k) == 0", "false"),
        ("rounds a reset down", ".reset_tokens_s = div_ceil(to_minute, NS_PER_S)", ".reset_tokens_s = to_minute / NS_PER_S"),
        ("reads the clock before the word",
         "uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);\n"
         "        struct view v = view_at(s, word, clock_now_ns(clock));",
         "int64_t now = clock_now_ns(clock);\n"
         "        uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);\n"
         "        struct view v = view_at(s, word, now);"),
        ("overwrites another's count",
         "        if (atomic_compare_exchange_weak_explicit(&s->word, &word, next, memory_order_acq_rel,\n"
         "                                                  memory_order_relaxed))",
         "        atomic_store(&s->word, next);"),
        ("ignores best_of of a rate limit", "i64_max(1, i64_max(best_of, n))", "i64_max(1, n)"),
    ],
    "admit/minute.c": [
        ("forgets a debt at the end of its minute", "carry_mt = i64_min(0, net);", "carry_mt = 0;"),
        ("reports a minute below zero", "(i128)i64_max(0, net) * 1000000", "(i128)net * 1000000"),
        ("starts a minute with the old one's posts", "delta_mt -= old;", ";"),
    ],
    "balance/balance.c": [
        ("asks a backend twice for one call", "if (ask->tried >> i & 1 || ", "if ("),
        ("asks a backend too early", "if (now < get(&b->blocked_until_ns))", "if (now < get(&b->blocked_until_ns) - 1)"),
        ("shortens a wait", "i64_max(get(&b->blocked_until_ns),\n", "i64_max(0,\n"),
        ("wastes the last of a quota", "v->remaining < ask->estimate)", "v->remaining <= ask->estimate)"),
        ("mixes the priorities", "if (n_ok && v.priority > ok[0].priority)\n            continue;", ""),
        ("sends every call to the cache", "return load_of(best) <= most ? best : NULL;", "return best;"),
        ("ignores the weights when it draws", "r < (uint64_t)chosen->weight", "r < 1"),
        ("takes the busier of two", "return load_c < load_a ? c : a;", "return load_c > load_a ? c : a;"),
        ("lets a quota perish", "tokens_c * ns_a > tokens_a * ns_c", "tokens_c * ns_a < tokens_a * ns_c"),
        ("sends two probes at once",
         "if (v->open_ms && (now < get(&b->open_until_ns) ||\n"
         "                       atomic_load_explicit(&b->is_probing, memory_order_relaxed)))\n        return false;",
         "if (v->open_ms && now < get(&b->open_until_ns))\n        return false;\n"
         "    atomic_store((atomic_bool *)&b->is_probing, false);"),
        ("opens after a failure too few", "fails < BALANCE_FAILS_TO_OPEN", "fails < BALANCE_FAILS_TO_OPEN - 1"),
        ("never opens for longer", "i64_min(BALANCE_OPEN_MS_MAX, last * 2)", "i64_min(BALANCE_OPEN_MS_MAX, last)"),
        ("counts failures over successes", "        set(&b->fails, 0);\n", ""),
        ("leaves work in flight", "    take_off_inflight(b, estimate);\n", ""),
        ("answers with the last re-entry", "first = i64_min(first, t);", "first = t;"),
    ],
}


def run(args, **more):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def compiled(source, obj):
    done = run([*CC, *FLAGS, "-c", str(source), "-o", str(obj)])
    if done.returncode:
        sys.exit(f"{source} does not compile:\n{done.stdout}")
    return obj


class Bench:
    """The objects that no fault touches, compiled once, and the tests that judge a fault."""

    def __init__(self, folder):
        self.folder = folder
        self.rooms = {f"{p.parent.name}/{p.name}": self.object(p)
                      for room in ROOMS for p in sorted((TOP / "src" / room).glob("*.c"))}
        self.base = [self.object(p) for p in sorted((TOP / "src" / "base").glob("*.c"))]
        self.traces = sorted(str(p) for p in (TOP / "tests" / "traces").glob("*.jsonl"))
        tests = TOP / "tests"
        sources = (tests / "replay" / "replay.c", tests / "support" / "jsonl.c", *(TOP / "src" / p for p in REPLAYED))
        self.programs = {"replay": [self.object(p) for p in sources]}
        for room in ROOMS:
            for p in sorted((tests / "unit" / room).glob("*_test.c")):
                self.programs[f"{room}/{p.stem}"] = [self.object(p)]

    def object(self, source):
        return compiled(source, self.folder / (str(source.relative_to(TOP)).replace("/", "_") + ".o"))

    def order(self, place):
        """All programs: the traces, then the tests of the faulty file, of its room, and the rest."""
        room, own = place.split("/")[0], place.replace(".c", "_test")
        return sorted(self.programs, key=lambda n: (n != "replay", n != own, n.split("/")[0] != room, n))

    def passes(self, name, swap):
        """True when the program passes with the objects in `swap` in place of the true ones."""
        program = self.folder / "program"
        objects = [str(o) for o in (*self.programs[name], *{**self.rooms, **swap}.values(), *self.base)]
        linked = run([*CC, *objects, "-o", str(program), "-lcmocka", "-pthread"])
        if linked.returncode:
            sys.exit(f"{name} does not link:\n{linked.stdout}")
        try:
            return run([str(program), *(self.traces if name == "replay" else [])], timeout=SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def catcher(self, place, text):
        """The first program that fails with `text` as that source file, or None."""
        source = self.folder / "fault.c"
        source.write_text(text)
        swap = {place: compiled(source, self.folder / "fault.o")}
        return next((n for n in self.order(place) if not self.passes(n, swap)), None)


def main():
    words = [a for a in sys.argv[1:] if a != "--list"]
    chosen = [(place, *fault) for place, faults in FAULTS.items() for fault in faults
              if not words or any(w in fault[0] for w in words)]
    if "--list" in sys.argv[1:]:
        print("\n".join(f"{place}: {name}" for place, name, _, _ in chosen))
        return 0
    bad = caught = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(pathlib.Path(folder))
        for name in bench.programs:
            if not bench.passes(name, {}):
                print(f"{name} fails without any fault")
                return 2
        for place, name, old, new in chosen:
            text = (TOP / "src" / place).read_text()
            if text.count(old) != 1:
                print(f"{place}: {name}: its place is there {text.count(old)} times, not once", flush=True)
                bad += 1
                continue
            by = bench.catcher(place, text.replace(old, new))
            print(f"{place}: {name}: " + (f"caught by {by}" if by else "SURVIVED"), flush=True)
            caught += by is not None
            bad += by is None
    print(f"{len(chosen)} mutants, {caught} caught")
    return 1 if bad or not chosen else 0


sys.exit(main())
