#!/usr/bin/env python3
"""ledger.py - an auditor of the gateway's books: recomputes every charge and compares the sums.

    ledger.py FOLDER      what drive.mjs left there

Reads the access log, samples of /debug/deployments and the driver's journal, and has its own arithmetic
and its own list of prices: nothing of the gateway's code takes part. Prints a line for each check and
"N passed, N failed" last; exits with 1 when anything failed.

All money is whole thousandths of a token (mt). Rules are quoted from the admission specification.
"""
import bisect
import collections
import datetime
import functools
import json
import pathlib
import sys

MIN_COST = 1000  # "so that no request is free" (1.2)
BLOCK = 128      # output tokens that are charged ahead (1.6)

# Price of a token in mt, and tokens a minute that one PTU carries. The soak's own models are drive.mjs's; gpt-4o
# is as Microsoft prices it: 2,500 tokens a minute, an output token as 3.
Price = collections.namedtuple("Price", "tiers cached out per_ptu")
PRICES = {
    "soak-deep": Price([(0, 1000)], 250, 3000, 30000),
    "soak-tiers": Price([(0, 1000), (500, 1500), (3000, 2000)], 0, 4000, 50000),
    "soak-alone": Price([(0, 1000)], 0, 3000, 60000),
    "gpt-4o": Price([(0, 1000)], 0, 3000, 2500),
}
MODEL_NAMES = {"soak-deep": "soak-deep", "soak-tiers": "soak-tiers", "soak-alone": "soak-alone",
               "gpt-4o-2024-08-06": "gpt-4o", "gpt-4o-2024-11-20": "gpt-4o"}
WINDOW_MS = 60000  # what 100 % stands for unless the deployment says otherwise (1.7)

# Outcomes that say no before anything was admitted, and those of a server's failure.
LIMITS = {"deployment_full", "token_limit", "call_limit"}
NEVER_ADMITTED = LIMITS | {"bad_json", "unauthorized", "no_deployment", "not_found", "no_backend",
                           "operation_not_supported", "method_not_allowed", "context_length"}
FAILURES = {"upstream_busy", "upstream_failed", "upstream_garbage", "upstream_timeout"}
OUTCOMES = NEVER_ADMITTED | FAILURES | {"ok", "bad_request", "client_gone", "shutting_down"}
OPERATIONS = {"chat": "chat.completions", "chatV1": "chat.completions", "chatPlain": "chat.completions",
              "completions": "completions", "responses": "responses", "embeddings": "embeddings"}
# In prompts and keys of the driver; never in a log.
SECRETS = ("unspeakable", "key-of-the-end", "nobodys-key")
SLACK_MS = 100     # between two processes' readings of one clock, on a busy machine
# A killed process had not handed over the lines of its last moments, nor written those of calls whose callers had
# left and whose servers were to finish; these are given up after 2.5 s of silence.
LOST_MS, LOST_LEFT_MS = 2000, 12000


def ceil_div(a, b):
    return -(-a // b)


def input_cost(price, prompt, cached):
    """cost_in(p, c) of 1.2, with tiers over the uncached part."""
    cached = min(max(cached, 0), prompt)
    fresh, total = prompt - cached, cached * price.cached
    for i, (begin, weight) in enumerate(price.tiers):
        end = price.tiers[i + 1][0] if i + 1 < len(price.tiers) else fresh
        total += max(0, min(end, fresh) - begin) * weight
    return total


def cost(price, prompt, cached, output):
    return max(MIN_COST, input_cost(price, prompt, cached) + output * price.out)


class Books:
    """Everything that the folder holds, in memory."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.runs = json.loads((self.folder / "runs.json").read_text())
        self.journal = self.read_lines("journal.jsonl")
        self.samples = self.read_lines("samples.jsonl")
        self.configs = self.read_configs()
        self.by_run = collections.defaultdict(list)
        for c in self.configs:
            self.by_run[c[2]].append(c)
        self.lines, self.broken, self.raw_secrets = [], [], []
        for n, run in enumerate(self.runs, 1):
            for path in sorted(self.folder.glob(f"run-{n}.access.log*")):
                self.read_log(path, n, run)
        self.by_id = {}
        for line in self.lines:
            self.by_id.setdefault(line["id"], line)

    def read_lines(self, name):
        return [json.loads(text) for text in (self.folder / name).read_text().splitlines()]

    def read_log(self, path, n, run):
        for number, text in enumerate(path.read_text().split("\n"), 1):
            if not text:
                continue
            try:
                line = json.loads(text)
            except ValueError:
                self.broken.append(f"{path.name}:{number}: {text[:80]}")
                continue
            if any(secret in text for secret in SECRETS):
                self.raw_secrets.append(f"{path.name}:{number}")
            line["run"] = n
            end = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
            line["end"] = end.timestamp() * 1000
            line["start"] = line["end"] - line["durationUs"] / 1000
            line["at"] = line["start"] + line.get("admissionUs", 0) / 1000  # of the decision
            self.lines.append(line)

    def read_configs(self):
        """[(sent, acting, run, deployments)] in order; a configuration is in force some time between."""
        configs = []
        for c in self.read_lines("config.jsonl"):
            if "sent" in c:
                configs.append([c["sent"], float("inf"), c["run"], c["deployments"]])
            else:
                configs[-1][1] = c["acting"]
        return configs

    def terms(self, run, name, at):
        """{(rate in mt a minute, depth in mt)} that may have been in force for a deployment at a moment."""
        mine = self.by_run[run]
        i = bisect.bisect(mine, at + SLACK_MS, key=lambda c: c[0]) - 1
        found = set()
        while i >= 0:
            had = next((c[3] for c in reversed(mine[:i + 1]) if name in c[3]), None)
            if had:
                found.add(terms_of(had[name]))
            if mine[i][1] + SLACK_MS < at:
                break  # it was in force by then, so none before it was
            i -= 1
        return found

    def terms_between(self, run, name, asked, got):
        """The same of any moment between two."""
        changes = [at for c in self.by_run[run] for at in c[:2] if asked < at < got]
        return set().union(*(self.terms(run, name, at) for at in [asked, *changes, got]))

    def all_terms(self, run, name):
        return {terms_of(c[3][name]) for c in self.configs if c[2] == run and name in c[3]}

    @functools.lru_cache(maxsize=None)
    def lives(self, run, name):
        """When a deployment came back after it had been gone: middles of the gaps between its lives."""
        gaps, gone = [], None
        for sent, acting, n, deployments in self.configs:
            if n != run:
                continue
            if name not in deployments:
                gone = gone or acting
            elif gone:
                gaps.append((gone + sent) / 2)
                gone = None
        return gaps

    def life_of(self, line):
        return bisect.bisect(self.lives(line["run"], line["deployment"]), line["start"])

    def quiet(self):
        return [s for s in self.samples if s["kind"] == "quiet"]

    def start(self, run):
        return next(s for s in self.samples if s["run"] == run and s["kind"] == "start")

    def settled(self, sample, name=None):
        """The lines that a quiet sample has behind it; of one deployment: of its latest life."""
        lines = [l for l in self.lines if l["run"] == sample["run"] and l["end"] < sample["asked"]]
        if name is None:
            return lines
        lines = [l for l in lines if l.get("deployment") == name]
        life = bisect.bisect(self.lives(sample["run"], name), sample["asked"])
        return [l for l in lines if self.life_of(l) == life]


def terms_of(deployment):
    price = PRICES.get(deployment["model"])
    rate = deployment["capacity"] * price.per_ptu * 1000 if price else 0
    return rate, max(1, rate * (deployment.get("windowMs") or WINDOW_MS) // 60000)


def price_of(line):
    return PRICES[MODEL_NAMES[line["model"]]]


def is_provisioned(line):
    return "Provisioned" in line.get("sku", "")


def is_admitted(line):
    if line["outcome"] in NEVER_ADMITTED or "deployment" not in line:
        return False
    return line.get("estimateMt", 0) > 0 if is_provisioned(line) else line.get("countedTokens", 0) > 0


def charge(line):
    return line.get("chargeMt", 0)


# --- the checks; each yields what is wrong ---

def lines_are_whole(b):
    """every line of the log is whole, says what became of its call, and is the only one of it"""
    yield from b.broken
    for id_, n in collections.Counter(l["id"] for l in b.lines).items():
        if n > 1:
            yield f"{id_} has {n} lines"
    for l in b.lines:
        if l["outcome"] not in OUTCOMES:
            yield f"{l['id']}: outcome {l['outcome']}"
        if not 0 <= l.get("admissionUs", 0) <= l["durationUs"] or l["status"] < 200:
            yield f"{l['id']}: {l['status']}, admitted at {l.get('admissionUs')} of {l['durationUs']} us"


def log_tells_no_secrets(b):
    """no prompt, answer or key stands in the log"""
    yield from b.raw_secrets


def estimates_are_recomputed(b):
    """each estimate is max(min_cost, cost_in(p, c_pred) + o_est * w_out)"""
    for l in b.lines:
        if is_provisioned(l) and l.get("estimateMt"):
            want = cost(price_of(l), l["promptEstimate"], l["cachedPredicted"], l["outputEstimate"])
            if l["estimateMt"] != want:
                yield f"{l['id']}: estimate {l['estimateMt']}, not {want}"


def output_estimates_follow_the_request(b):
    """o_est is the largest limit given times the choices, or the interface's own, or the learned value"""
    for e, l in answered(b):
        if "outputEstimate" not in l or not (is_admitted(l) or l["outcome"] in LIMITS):
            continue
        ask = e["ask"]
        choices = max(ask.get("n", 1), ask.get("best_of", 1), 1)
        given = [ask[k] for k in ("max_tokens", "max_completion_tokens", "max_output_tokens") if k in ask]
        got = l["outputEstimate"]
        if given:
            good = got == max(given) * choices
        elif ask["api"] == "completions":
            good = got == 16 * choices
        elif ask["api"] == "embeddings":
            good = got == 0
        else:
            good = got % choices == 0 and 16 <= got // choices <= 4096
        if not good:
            yield f"{l['id']}: {got} output tokens estimated for {ask}"


def charges_are_recomputed(b):
    """each charge is max(min_cost, cost_in(p, c) + generated * w_out), or 0 when nothing was executed"""
    for l in b.lines:
        executed = "promptTokens" in l
        if not is_admitted(l) and (charge(l) or executed or l.get("correctionMt")):
            yield f"{l['id']}: {l['outcome']}, and yet {charge(l)} charged"
        if not is_admitted(l):
            continue
        if l["outcome"] == "ok" and not executed:
            yield f"{l['id']}: ok without counts"
        if l["outcome"] in FAILURES and executed != (l["status"] // 100 == 2):
            yield f"{l['id']}: {l['outcome']} with status {l['status']}, executed: {executed}"
        if not is_provisioned(l):
            if "chargeMt" in l:
                yield f"{l['id']}: a standard call is charged"
            continue
        want = cost(price_of(l), l["promptTokens"], l["cachedTokens"], l["outputTokens"]) if executed else 0
        if charge(l) != want or l["correctionMt"] != want - l["estimateMt"]:
            yield f"{l['id']}: charge {charge(l)}, correction {l['correctionMt']}, but it is {want}"


def tokens_are_those_that_callers_saw(b):
    """the counts of a line are those of the answer: its usage, else its pieces of text"""
    for e, l in answered(b):
        if e["end"] != "whole" or l["outcome"] != "ok" or "promptTokens" not in l:
            continue
        mine = l["promptTokens"], l["cachedTokens"], l["outputTokens"]
        usage = e["usage"]
        if usage and mine != (usage["prompt"], usage["cached"], usage["output"]):
            yield f"{l['id']}: {mine} logged, {usage} answered"
        if l["counts"] == "counted" and (usage or l["outputTokens"] != e.get("deltas")):
            yield f"{l['id']}: {l['outputTokens']} counted, {e.get('deltas')} pieces and usage {usage} answered"
        if l["counts"] == "estimated" and (usage or l["outputTokens"] != l["outputEstimate"]):
            yield f"{l['id']}: {l['outputTokens']} kept of {l['outputEstimate']} estimated, usage {usage} answered"


def levels_decide(b):
    """admitted iff the level was below the depth; the level rises by the estimate, else not at all; the
    utilization and the time to return are those of the level"""
    for l in b.lines:
        if not is_provisioned(l) or not l.get("estimateMt"):
            continue
        full = l["outcome"] == "deployment_full"
        before, after = l["levelBeforeMt"], l["levelAfterMt"]
        if after != (before if full else before + l["estimateMt"]):
            yield f"{l['id']}: level {before} -> {after}, estimate {l['estimateMt']}, {l['outcome']}"
        terms = b.terms(l["run"], l["deployment"], l["at"])
        if not any(agrees(l, full, before, after, *t) for t in terms):
            yield (f"{l['id']}: {l['outcome']} at {before} -> {after}, {l['utilizationPpm']} ppm, "
                   f"{l.get('retryAfterMs')} ms; (rate, depth) was one of {sorted(terms)}")


def agrees(l, full, before, after, rate, depth):
    if (before >= depth) != full or l["utilizationPpm"] != after * 1000000 // depth:
        return False
    if not full:
        return True
    # ceil((reach(v - depth + 1) - t) / 1e6); the clock has a fraction of one mt that the log does not tell.
    work = (before - depth + 1) * 60 * 10**9
    most = max(1, ceil_div(ceil_div(work, rate), 10**6))
    least = max(1, ceil_div(ceil_div(work - 60 * 10**9 + 1, rate), 10**6))
    return least <= l["retryAfterMs"] <= most


def answered(b):
    """(entry of the journal, line) of every call whose answer began"""
    for e in b.journal:
        if e["id"] in b.by_id:
            yield e, b.by_id[e["id"]]


def may_be_lost(b, e):
    run = b.runs[e["run"] - 1]
    return run["signal"] == "SIGKILL" and e["done"] >= run["sent"] - (LOST_MS if e["end"] == "whole" else LOST_LEFT_MS)


def every_answer_has_its_line(b):
    """whoever got an answer finds one line that says the same"""
    for e in b.journal:
        if e["id"] is None:
            continue
        l = b.by_id.get(e["id"])
        if l is None:
            if not may_be_lost(b, e):
                yield f"{e['id']}: answered {e['status']}, no line"
            continue
        if l["status"] != e["status"] or (e["deployment"] and l.get("deployment", e["deployment"]) != e["deployment"]):
            yield f"{l['id']}: {e['status']} of {e['deployment']} answered, {l['status']} of {l.get('deployment')} logged"
        if is_admitted(l) and (l["operation"] != OPERATIONS[e["op"]] or l["stream"] != e["stream"]):
            yield f"{l['id']}: {l['operation']}, stream {l['stream']}, was asked as {e['op']}"
        if e["end"] == "whole" and e["status"] == 429 and l.get("retryAfterMs", 1) != e.get("retryAfterMs", 1):
            yield f"{l['id']}: told {e.get('retryAfterMs')} ms, logged {l.get('retryAfterMs')}"


def every_line_has_its_call(b):
    """a line without an answer belongs to a call that got none, of the same connection"""
    known = {e["id"] for e in b.journal if e["id"]}
    silent = collections.Counter((e["run"], e["port"]) for e in b.journal if e["id"] is None)
    for l in b.lines:
        if l["id"] in known:
            continue
        place = l["run"], int(l["client"].rsplit(":", 1)[1])
        if silent[place] == 0:
            yield f"{l['id']}: {l['outcome']} {l['status']} from {l['client']}, where nobody called"
        silent[place] -= 1


def counters_are_sums_of_lines(b):
    """quiet: the counters of the process and of each deployment are sums over the log"""
    for s in b.quiet():
        lines = b.settled(s)
        m = s["metrics"]
        if m["weir_calls_in_flight"] != 0 or m["weir_access_log_lines_total"] != len(lines):
            yield f"run {s['run']}: {m}, but {len(lines)} lines"
        for outcome, n in collections.Counter(l["outcome"] for l in lines).items():
            if m.get(f'weir_calls_total{{status="{outcome}"}}') != n:
                yield f"run {s['run']}: {n} lines of {outcome}, counted {m.get(f'weir_calls_total{{status=%s}}' % outcome)}"
        if sum(v for k, v in m.items() if k.startswith("weir_calls_total")) != len(lines):
            yield f"run {s['run']}: calls of outcomes without lines"
        for name, d in s["deployments"].items():
            own = b.settled(s, name)
            admitted = [l for l in own if is_admitted(l)]
            want = {
                "inFlight": 0, "admitted": len(admitted), "refused": sum(l["outcome"] in LIMITS for l in own),
                "promptTokens": sum(l.get("promptTokens", 0) for l in admitted),
                "outputTokens": sum(l.get("outputTokens", 0) for l in admitted),
            }
            if "chargedMt" in d:
                want["chargedMt"] = sum(charge(l) for l in own)
            for key, value in want.items():
                if d[key] != value:
                    yield f"run {s['run']}, {name}: {key} is {d[key]}, the lines make {value}"


def bucket_moved_by_the_charges(b):
    """quiet: the bucket that never ran empty moved by the sum of the charges, to the last mt"""
    for s in b.quiet():
        first = next((x for x in b.samples if x["run"] == s["run"] and x["kind"] == "filled"), b.start(s["run"]))
        lines = [l for l in b.settled(s, "deep") if l["start"] > first["asked"]]
        empty = [l["id"] for l in lines if is_admitted(l) and l["levelBeforeMt"] == 0]
        if empty or first["deployments"]["deep"]["levelMt"] == 0:
            yield f"run {s['run']}: the bucket ran empty, so nothing is proved"
        moved = s["deployments"]["deep"]["finishMt"] - first["deployments"]["deep"]["finishMt"]
        total = sum(charge(l) for l in lines)
        b.say(f"run {s['run']}: {len(lines)} calls of deep cost {total} mt; the bucket moved by {moved}")
        if moved != total or total == 0:
            yield f"run {s['run']}: the bucket moved by {moved}, {len(lines)} calls cost {total}: {moved - total} too much"


def empty_buckets_are_lifted_only(b):
    """quiet: any bucket moved by the charges and what passed while it was empty, which is never negative"""
    for s in b.quiet():
        for name, d in s["deployments"].items():
            if "finishMt" not in d:
                continue
            has_lives = bool(b.lives(s["run"], name))
            first = {"finishMt": 0} if has_lives else b.start(s["run"])["deployments"][name]
            moved = d["finishMt"] - first["finishMt"]
            lifted = moved - sum(charge(l) for l in b.settled(s, name))
            if not 0 <= lifted <= max(0, d["servedMt"] - first["finishMt"]):
                yield f"run {s['run']}, {name}: moved by {moved}, of which {lifted} by no charge"


def samples_hold_together(b):
    """W = max(0, V - S) stays below B + c + P; S never steps back; rate and depth are as configured"""
    served = {}
    for s in b.samples:
        for name, d in s["deployments"].items():
            if "finishMt" not in d:
                continue
            if d["levelMt"] != max(0, d["finishMt"] - d["servedMt"]):
                yield f"{name}: level {d['levelMt']} of {d['finishMt']} - {d['servedMt']}"
            key = s["run"], name, bisect.bisect(b.lives(s["run"], name), s["asked"])
            if d["servedMt"] < served.get(key, 0):
                yield f"{name}: served fell from {served[key]} to {d['servedMt']}"
            served[key] = d["servedMt"]
            if (d["rateMtPerMinute"], d["depthMt"]) not in b.terms_between(s["run"], name, s["asked"], s["got"]):
                yield f"{name}: rate {d['rateMtPerMinute']} and depth {d['depthMt']} were not configured then"
    for run, name in {(s["run"], name) for s in b.samples for name in s["deployments"]}:
        own = [l for l in b.lines if l["run"] == run and l.get("deployment") == name and is_provisioned(l) and is_admitted(l)]
        if not own:
            continue
        depth = max(t[1] for t in b.all_terms(run, name))
        largest = max(l["estimateMt"] for l in own)
        over = sum(max(0, l["chargeMt"] - l["estimateMt"]) + BLOCK * price_of(l).out for l in own)
        highest = max(s["deployments"][name]["levelMt"] for s in b.samples if s["run"] == run and name in s["deployments"])
        # The run before may have left more, of a time when the deployment was larger.
        inherited = b.start(run)["deployments"].get(name, {}).get("levelMt", 0) if run > 1 else 0
        if highest >= depth + largest + over and highest > inherited:
            yield f"run {run}, {name}: level {highest}, depth {depth}, largest estimate {largest}, corrections {over}, inherited {inherited}"


def no_interval_admits_too_much(b):
    """any (a, b]: what was admitted, net of refunds, is at most R (b - a) + B + c"""
    groups = collections.defaultdict(list)
    for l in b.lines:
        if is_provisioned(l) and is_admitted(l):
            groups[l["run"], l["deployment"], b.life_of(l)].append(l)
    for (run, name, _), own in groups.items():
        terms = b.all_terms(run, name)
        rate, depth = max(t[0] for t in terms), max(t[1] for t in terms)
        largest = max(l["estimateMt"] for l in own)
        own.sort(key=lambda l: l["at"])
        total, low, worst = 0, 0, 0
        for l in own:
            drained = rate * (l["at"] - own[0]["at"]) / 60000
            low = min(low, total - drained)  # the interval may begin just before this call
            total += min(l["estimateMt"], l["chargeMt"])
            worst = max(worst, total - drained - low)
        if worst > depth + largest + rate * SLACK_MS / 60000:
            yield f"run {run}, {name}: {worst:.0f} admitted beyond the rate; depth {depth}, largest estimate {largest}"


def who_returns_when_told_is_admitted(b):
    """alone with a deployment: a call at retry-after-ms is not refused again"""
    told = [(e, l) for e, l in answered(b) if e.get("mark") == "told"]
    b.say(f"{len(told)} callers returned when told")
    if not told:
        yield "nobody was told to return"
    for e, l in told:
        if l["outcome"] == "deployment_full":
            yield f"{l['id']}: refused again at {l['levelBeforeMt']}"


def levels_survive_the_end(b):
    """what deep owed at the end of a run is what it owes at the start of the next, less what was served"""
    for n in range(1, len(b.runs)):
        saved, at = saved_level(b, n)
        first = b.start(n + 1)
        d = first["deployments"]["deep"]
        rate = d["rateMtPerMinute"]
        left = saved - rate * (first["asked"] - at) / 60000
        if abs(d["levelMt"] - left) > rate * (SLACK_MS + first["got"] - first["asked"]) / 60000:
            yield f"run {n + 1} begins with {d['levelMt']}; {saved} was saved, of which {left:.0f} were left"
        last = [s for s in b.samples if s["run"] == n][-1]
        d = last["deployments"]["deep"]
        passed = rate * (at - last["asked"]) / 60000
        wobble = rate * (SLACK_MS + last["got"] - last["asked"]) / 60000
        own = [l for l in b.lines if l["run"] == n and l.get("deployment") == "deep"]
        if b.runs[n - 1]["signal"] == "SIGTERM":
            # Every call is settled then, so the mark is known to the last mt; the moment to some ms.
            first = next((x for x in b.samples if x["run"] == n and x["kind"] == "filled"), b.start(n))
            mark = first["deployments"]["deep"]["finishMt"] + sum(charge(l) for l in own if l["start"] > first["asked"])
            want = mark - d["servedMt"] - passed
            if abs(saved - want) > wobble:
                yield f"run {n}: {saved} saved, the lines make {want:.0f}"
        else:
            # Saved within the last second or two; what moved the level meanwhile is in the lines, or is lost.
            near = [l for l in own if l["end"] > last["asked"] - 1000]
            moved = sum(l.get("estimateMt", 0) + charge(l) for l in near) + 50 * max(l.get("estimateMt", 0) for l in own)
            if abs(saved - (d["levelMt"] - passed)) > wobble + moved:
                yield f"run {n}, killed: {saved} saved, {d['levelMt']} before"


def saved_level(b, n):
    level, at = 0, None
    for text in (b.folder / f"run-{n}.levels.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line.get("id", "").endswith("/deployments/deep"):
            level = line["levelMt"]
        at = line.get("savedAtUs", 0) / 1000 or at
    return level, at


def runs_ended_as_told(b):
    """SIGTERM ends with 0, nothing else but a SIGKILL ends a gateway or a server, and no sanitizer complained"""
    for death in json.loads((b.folder / "servers.json").read_text()):
        yield f"server {death['name']} ended with {death['code']} {death['signal']}: {death['stderr'][-1500:]}"
    for n, run in enumerate(b.runs, 1):
        good = run["by"] == "SIGKILL" if run["signal"] == "SIGKILL" else run["code"] == 0
        if not good or run["hasComplaint"]:
            yield f"run {n}: {run['signal']} ended with {run['code']} {run['by']}, complaint: {run['hasComplaint']}"


def holdings_keep_their_level(b):
    """descriptors and threads return to what they were; memory does not grow"""
    for s in b.quiet():
        first, last = b.start(s["run"])["holdings"], s["holdings"]
        busy = [x["holdings"]["rssKib"] for x in b.samples if x["run"] == s["run"] and x["kind"] == "busy"
                and x["asked"] < s["asked"]]
        third = len(busy) // 3
        early, late = max(busy[third:2 * third] or [0]), max(busy[2 * third:] or [0])
        b.say(f"run {s['run']}: KiB {first['rssKib']} at start, {early} in the middle, {late} late, {last['rssKib']} quiet; "
              f"descriptors {first['descriptors']} and {last['descriptors']}, threads {first['threads']} and {last['threads']}")
        if last["descriptors"] > first["descriptors"]:
            yield f"run {s['run']}: descriptors {first['descriptors']} -> {last['descriptors']}"
        if last["threads"] > max(x["holdings"]["threads"] for x in b.samples if x["run"] == s["run"]):
            yield f"run {s['run']}: threads {last['threads']}"
        if third > 5 and not b.runs[s["run"] - 1]["isSanitized"] and late > early * 1.1 + 4096:
            yield f"run {s['run']}: memory grew from {early} to {late} KiB"


def all_of_it_was_tried(b):
    """nothing above is true for want of cases"""
    tried = {
        "calls well answered": sum(l["outcome"] == "ok" for l in b.lines) >= 50,
        "refusals": any(l["outcome"] == "deployment_full" for l in b.lines),
        "callers that left": any(l["outcome"] == "client_gone" for l in b.lines),
        "failures of servers": any(l["outcome"] in FAILURES and l["outcome"] != "upstream_busy" for l in b.lines),
        "calls cut off at the end": any(l["outcome"] == "shutting_down" for l in b.lines),
        "refunds": any(l.get("correctionMt", 0) < 0 for l in b.lines),
        "debits": any(l.get("correctionMt", 0) > 0 and l["estimateMt"] < 10**9 for l in b.lines),
        "cached prompts": any(l.get("cachedTokens", 0) > 0 and charge(l) for l in b.lines),
        "usage reported": any(l.get("counts") == "reported" for l in b.lines),
        "usage missing": any(l.get("counts") in ("counted", "estimated") for l in b.lines),
        "retries": any(l.get("retries", 0) > 0 for l in b.lines),
        "resizes": len({s["deployments"]["deep"]["depthMt"] for s in b.samples if s["run"] == 1}) > 1,
        "answers with usage": any(e.get("usage") for e in b.journal),
        "every operation": {l["operation"] for l in b.lines if charge(l)} >= {"chat.completions", "completions", "responses"},
        "quiet moments": len(b.quiet()) >= 2,
    }
    yield from (f"no {what}" for what, was in tried.items() if not was)


CHECKS = [
    lines_are_whole, log_tells_no_secrets, estimates_are_recomputed, output_estimates_follow_the_request,
    charges_are_recomputed, tokens_are_those_that_callers_saw, levels_decide, every_answer_has_its_line,
    every_line_has_its_call, counters_are_sums_of_lines, bucket_moved_by_the_charges,
    empty_buckets_are_lifted_only, samples_hold_together, no_interval_admits_too_much,
    who_returns_when_told_is_admitted, levels_survive_the_end, runs_ended_as_told,
    holdings_keep_their_level, all_of_it_was_tried,
]


def audit(b, say=print):
    """Makes every check; returns {name: [what is wrong]}."""
    b.say = lambda text: say(f"# {text}")
    found = {}
    for check in CHECKS:
        wrong = list(check(b))
        title = " ".join(check.__doc__.split())
        say(f"{'not ok' if wrong else 'ok'} - {title}")
        for text in wrong[:5]:
            say(f"#   {text}")
        if len(wrong) > 5:
            say(f"#   and {len(wrong) - 5} more")
        found[check.__name__] = wrong
    return found


def main(args):
    if len(args) != 1:
        print(__doc__)
        return 2
    b = Books(args[0])
    print(f"# {len(b.journal)} calls, {len(b.lines)} lines, {sum(charge(l) for l in b.lines)} mt charged")
    found = audit(b)
    failed = sum(bool(wrong) for wrong in found.values())
    print(f"{len(found) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
