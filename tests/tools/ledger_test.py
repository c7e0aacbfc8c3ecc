"""ledger_test.py - the auditor of the soak: true books pass, and each fault that is planted in them is found."""
import copy
import datetime
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))
import ledger  # noqa: E402

BEGIN = 1_800_000_000_000  # of run 1, in ms of the wall clock
RUN_MS = 60000
DEEP = {"sku": "ProvisionedManaged", "capacity": 10, "model": "soak-deep", "windowMs": 3600000}
ALONE = {"sku": "ProvisionedManaged", "capacity": 1, "model": "soak-alone", "windowMs": 1000}
RATES = {"deep": 10 * 30000 * 1000, "alone": 60000 * 1000}
DEPTHS = {"deep": 60 * RATES["deep"], "alone": RATES["alone"] // 60}


def time_text(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat(timespec="milliseconds")[:23] + "Z"


class Maker:
    """Keeps two buckets and writes what a gateway and a driver would."""

    def __init__(self):
        self.books = {"runs": [], "journal": [], "config": [], "samples": [], "logs": {}, "levels": {}}
        self.n = 0

    def served(self, name, at):
        return RATES[name] * (at - self.begin) // 60000

    def level(self, name, at):
        return max(0, self.finish[name] - self.served(name, at))

    def begin_run(self, begin, levels):
        self.begin, self.run = begin, len(self.books["runs"]) + 1
        self.finish, self.lines = dict(levels), []
        self.books["logs"][self.run] = self.lines
        for key, at in (("sent", begin - 100), ("acting", begin - 10)):
            self.books["config"].append({"run": self.run, key: at, "deployments": {"deep": DEEP, "alone": ALONE}})
        self.sample("start", begin)

    def end_run(self, at):
        self.books["runs"].append({"signal": "SIGTERM", "sent": at, "code": 0, "by": None, "hasComplaint": False, "isSanitized": False})
        self.books["levels"][self.run] = {"deep": self.level("deep", at), "at": at}

    def sample(self, kind, at):
        own = {name: [l for l in self.lines if l["deployment"] == name] for name in RATES}
        outcomes = {f'weir_calls_total{{status="{o}"}}': sum(l["outcome"] == o for l in self.lines)
                    for o in {l["outcome"] for l in self.lines}}
        self.books["samples"].append({
            "run": self.run, "kind": kind, "asked": at, "got": at, "holdings": {"rssKib": 1, "threads": 1, "descriptors": 9},
            "metrics": {"weir_calls_in_flight": 0, "weir_access_log_lines_total": len(self.lines), **outcomes},
            "deployments": {name: {
                "admitted": sum(ledger.is_admitted(l) for l in own[name]), "inFlight": 0,
                "refused": sum(l["outcome"] == "deployment_full" for l in own[name]),
                "promptTokens": sum(l.get("promptTokens", 0) for l in own[name]),
                "outputTokens": sum(l.get("outputTokens", 0) for l in own[name]),
                "chargedMt": sum(l["chargeMt"] for l in own[name]),
                "finishMt": self.finish[name], "servedMt": self.served(name, at), "levelMt": self.level(name, at),
                "rateMtPerMinute": RATES[name], "depthMt": DEPTHS[name],
            } for name in RATES},
        })

    def call(self, name, at, prompt=100, output=20, limit=30, mark=None):
        """One chat call at a moment, ended 10 ms later; refused when the bucket is full."""
        self.n += 1
        before = self.level(name, at)
        estimate, charge = prompt * 1000 + limit * 3000, prompt * 1000 + output * 3000
        is_full = before >= DEPTHS[name]
        after = before if is_full else before + estimate
        line = {
            "time": time_text(at + 10), "event": "call", "id": f"id-{self.n}", "client": "127.0.0.1:5000", "deployment": name,
            "model": f"soak-{name}", "sku": "ProvisionedManaged", "operation": "chat.completions", "stream": False,
            "status": 429 if is_full else 200, "outcome": "deployment_full" if is_full else "ok", "estimateMt": estimate,
            "chargeMt": 0 if is_full else charge, "correctionMt": 0 if is_full else charge - estimate,
            "levelBeforeMt": before, "levelAfterMt": after, "utilizationPpm": after * 1000000 // DEPTHS[name],
            "promptEstimate": prompt, "cachedPredicted": 0, "outputEstimate": limit, "admissionUs": 0, "durationUs": 10000,
        }
        entry = {
            "run": self.run, "deployment": name, "op": "chat", "stream": False, "ask": {"api": "chat", "max_tokens": limit},
            "mark": mark, "sent": at, "done": at + 10, "port": 5000, "id": line["id"], "status": line["status"], "end": "whole", "usage": None,
        }
        if is_full:
            wait = (before - DEPTHS[name] + 1) * 60000
            line["retryAfterMs"] = entry["retryAfterMs"] = -(-wait // RATES[name])
        else:
            line.update(promptTokens=prompt, cachedTokens=0, outputTokens=output, counts="reported")
            entry["usage"] = {"prompt": prompt, "cached": 0, "output": output}
            self.finish[name] = max(self.finish[name], self.served(name, at)) + charge
        self.lines.append(line)
        self.books["journal"].append(entry)
        return line


def true_books():
    m = Maker()
    m.begin_run(BEGIN, {"deep": 10**9, "alone": 0})
    for i in range(50):
        m.call("deep", BEGIN + 100 + 100 * i)
    m.call("alone", BEGIN + 6000, output=400, limit=400)
    refusal = m.call("alone", BEGIN + 6010, limit=400)
    m.call("alone", BEGIN + 6010 + refusal["retryAfterMs"], limit=400, mark="told")
    m.sample("quiet", BEGIN + RUN_MS // 2)
    m.end_run(BEGIN + RUN_MS)
    m.begin_run(BEGIN + RUN_MS + 50, {"deep": m.level("deep", BEGIN + RUN_MS) - RATES["deep"] * 50 // 60000, "alone": 0})
    m.call("deep", BEGIN + RUN_MS + 500)
    m.sample("quiet", BEGIN + RUN_MS + 9000)
    m.end_run(BEGIN + RUN_MS + 10000)
    return m.books


def set_in(path, change):
    """A fault: replaces the value at a path of keys by change(value)."""
    def plant(books):
        at = books
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = change(at[path[-1]])
    return plant


def add(n):
    return lambda value: value + n


QUIET = ("samples", 1)
FAULTS = {
    "lines_are_whole": [
        lambda b: b["logs"][1].append(b["logs"][1][0]),
        lambda b: b["logs"][1].append('{"time":"2027'),
        set_in(("logs", 1, 3, "outcome"), lambda _: "lost"),
        set_in(("logs", 1, 3, "admissionUs"), add(20000)),
    ],
    "log_tells_no_secrets": [lambda b: b["logs"][1][3].update(note="an unspeakable word")],
    "estimates_are_recomputed": [set_in(("logs", 1, 3, "estimateMt"), add(1))],
    "output_estimates_follow_the_request": [set_in(("journal", 3, "ask", "max_tokens"), add(1))],
    "charges_are_recomputed": [
        set_in(("logs", 1, 3, "chargeMt"), add(1)),
        set_in(("logs", 1, 3, "correctionMt"), add(-1)),
        set_in(("logs", 1, 51, "chargeMt"), add(1000)),
        set_in(("logs", 1, 3, "cachedTokens"), add(50)),
    ],
    "tokens_are_those_that_callers_saw": [set_in(("journal", 3, "usage", "output"), add(1))],
    "levels_decide": [
        set_in(("logs", 1, 3, "levelAfterMt"), add(1)),
        set_in(("logs", 1, 3, "utilizationPpm"), add(1)),
        set_in(("logs", 1, 51, "levelBeforeMt"), add(-200000000)),
        set_in(("logs", 1, 51, "retryAfterMs"), add(1)),
        set_in(("logs", 1, 51, "retryAfterMs"), add(-2)),
    ],
    "every_answer_has_its_line": [lambda b: b["logs"][1].pop(), set_in(("logs", 1, 3, "status"), add(1))],
    "every_line_has_its_call": [lambda b: b["journal"].pop(4)],
    "counters_are_sums_of_lines": [
        set_in((*QUIET, "deployments", "deep", key), add(1)) for key in ("admitted", "refused", "promptTokens", "chargedMt", "inFlight")
    ] + [lambda b: b["logs"][1].pop(7)],
    "bucket_moved_by_the_charges": [
        set_in((*QUIET, "deployments", "deep", "finishMt"), add(1)),
        set_in((*QUIET, "deployments", "deep", "finishMt"), add(-1)),
        set_in(("logs", 1, 3, "levelBeforeMt"), lambda _: 0),
    ],
    "empty_buckets_are_lifted_only": [
        set_in((*QUIET, "deployments", "alone", "finishMt"), add(-10**8)),
        set_in((*QUIET, "deployments", "alone", "finishMt"), add(10**10)),
    ],
    "samples_hold_together": [
        set_in((*QUIET, "deployments", "deep", "levelMt"), add(1)),
        set_in((*QUIET, "deployments", "deep", "depthMt"), add(1)),
        set_in((*QUIET, "deployments", "deep", "servedMt"), lambda _: -1),
    ],
    "no_interval_admits_too_much": [
        lambda b: b["logs"][1].extend(dict(b["logs"][1][50], id=f"more-{i}") for i in range(9)),
    ],
    "who_returns_when_told_is_admitted": [set_in(("logs", 1, 52, "outcome"), lambda _: "deployment_full")],
    "levels_survive_the_end": [
        set_in(("levels", 1, "deep"), add(10**6)),
        set_in(("levels", 1, "deep"), add(-10**6)),
        set_in(("samples", 2, "deployments", "deep", "levelMt"), add(10**6)),
    ],
    "runs_ended_as_told": [
        set_in(("runs", 0, "code"), lambda _: 66), set_in(("runs", 1, "hasComplaint"), lambda _: True),
        lambda b: b.update(servers=[{"name": "steady", "code": None, "signal": "SIGSEGV", "stderr": ""}]),
    ],
    "holdings_keep_their_level": [set_in((*QUIET, "holdings", "descriptors"), add(5))],
    "all_of_it_was_tried": [lambda b: None],  # nobody left, no server failed ...
}


class LedgerTest(unittest.TestCase):
    def audit(self, books):
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            for name in ("journal", "config", "samples"):
                (top / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in books[name]))
            (top / "runs.json").write_text(json.dumps(books["runs"]))
            (top / "servers.json").write_text(json.dumps(books.get("servers", [])))
            for n, lines in books["logs"].items():
                (top / f"run-{n}.access.log").write_text(
                    "".join((l if isinstance(l, str) else json.dumps(l)) + "\n" for l in lines))
            for n, saved in books["levels"].items():
                (top / f"run-{n}.levels.jsonl").write_text(
                    json.dumps({"id": "/x/deployments/deep", "levelMt": saved["deep"]}) + "\n" +
                    json.dumps({"savedAtUs": saved["at"] * 1000, "levels": 1}) + "\n")
            return ledger.audit(ledger.Books(folder), say=lambda text: None)

    def test_true_books_pass(self):
        found = self.audit(true_books())
        found.pop("all_of_it_was_tried")
        self.assertEqual({name: wrong for name, wrong in found.items() if wrong}, {})

    def test_each_planted_fault_is_found(self):
        self.assertEqual(set(FAULTS), {check.__name__ for check in ledger.CHECKS})
        books = true_books()
        for name, faults in FAULTS.items():
            for i, plant in enumerate(faults):
                with self.subTest(check=name, fault=i):
                    planted = copy.deepcopy(books)
                    plant(planted)
                    self.assertTrue(self.audit(planted)[name], "the fault was not found")

    def test_tiers_price_the_tokens_that_lie_in_them(self):
        price = ledger.PRICES["soak-tiers"]
        self.assertEqual(ledger.input_cost(price, 499, 0), 499000)
        self.assertEqual(ledger.input_cost(price, 501, 0), 501500)
        self.assertEqual(ledger.input_cost(price, 4000, 0), 500000 + 2500 * 1500 + 1000 * 2000)
        self.assertEqual(ledger.input_cost(price, 4000, 3900), 100000)
        self.assertEqual(ledger.cost(ledger.PRICES["soak-deep"], 0, 0, 0), 1000)


if __name__ == "__main__":
    unittest.main()
