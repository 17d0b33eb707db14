"""The figures, their bounds, and how each is made from what the measures find."""

import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.flows import one_step, write
from benchmarks.processes import cost, measured, without

_MB = 1e6
_JSON_OVER_ORJSON = 5.3  # json.dumps takes that much longer than orjson.dumps for such dicts
_BY_HAND = {"httpx2": 388e-6, "httpx": 444e-6}  # CPU seconds of a request where the bounds in µs were set
_RUNNER = "from runner.cli import main; main()"


@dataclass(frozen=True)
class Scale:
    """How much is measured. What the figures are called after is in `FULL`."""

    flows: int  # of one round
    rounds: int
    haul: int
    many_flows: int
    starts: int
    load_steps: int
    state_steps: int
    spans: int
    peak_steps: int
    queued: int
    peak_requests: int = 0


FULL = Scale(200, 9, 10_000, 2_000, 15, 10_000, 100_000, 100_000, 100_000, 20_000)
QUICK = Scale(50, 5, 2_000, 1_000, 5, 2_000, 10_000, 20_000, 10_000, 500)
TINY = Scale(2, 1, 100, 20, 1, 10, 10, 100, 10, 10)


@dataclass(frozen=True)
class Figure:
    """A figure and its bounds; it is better when it is small, unless it is a `floor`."""

    name: str
    title: str
    gate: float
    aim: float | None
    unit: str = "x"
    floor: bool = False


@dataclass(frozen=True)
class Found:
    """What a figure was measured to be; `library` is empty where no request is sent."""

    figure: Figure
    value: float
    note: str = ""
    library: str = ""

    @property
    def verdict(self) -> str:
        if self.figure.aim is not None and self._keeps(self.figure.aim):
            return "aim"
        return "gate" if self._keeps(self.figure.gate) else "MISSED"

    def _keeps(self, bound: float) -> bool:
        return self.value >= bound if self.figure.floor else self.value <= bound


FLOW = Figure("flow", "CPU per flow, against a loop by hand", 1.35, 1.15)
STEP = Figure("step", "CPU per step above that loop", 130, 60, "µs")
SPANS = Figure("spans", "CPU per flow with spans, against none", 1.30, 1.12)
FLAT = Figure("flat", "speed after 10 000 flows, against the first 500", 0.90, 0.97, floor=True)
MANY = Figure("many", "CPU per request with 1000 flows running, against 10", 2, 1.3)
COLD = Figure("cold", "CPU of `runner run`, against importing the library", 3, 2)
HELP = Figure("help", "CPU of `runner --help`, against `python -c pass`", 6, 3)
LOAD = Figure("load", "load, check and compile a flow, against json.loads", 8, 4)
CHAIN = Figure("chain", "memory of the scheduler per step, in a chain", 2, 0.5, "KiB")
WIDE = Figure("wide", "memory of the scheduler per step, independent", 2, 0.5, "KiB")
JSON = Figure("json", "open spans to an IntegrationFlow, against orjson.dumps", 20, 8)
KEPT = Figure("kept", "memory of a kept span, against its bytes as JSON", 1.3, 1.05)
WORKER = Figure("worker", "runs a second behind a queue, against a loop by hand", 0.5, None, floor=True)
WORKER_MEMORY = Figure("worker-memory", "memory after all runs, against that after a tenth", 1.1, None)
PEAK_CHAIN = Figure("peak-chain", "peak memory of 100 000 steps in a chain, of what is allowed", 1, None)
PEAK_WIDE = Figure("peak-wide", "peak memory of 100 000 independent steps, of what is allowed", 1, None)
PEAK_HTTP = Figure("peak-http", "peak memory of 100 000 requests, of what is allowed", 1, None)


def _ratio(over: list[float], under: list[float]) -> float:
    """Return the median of the rounds' ratios: what slows the machine down slows both halves of a round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def _micro(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e6:.0f}"


def flows(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    """FLOW, STEP and SPANS come from the same rounds."""
    got = measured(
        "requests.one_after_the_other", library, origin=origin, flows=scale.flows, rounds=scale.rounds
    )
    hand, ours, bare = got["hand"], got["ours"], got["bare"]
    yield Found(FLOW, _ratio(ours, hand), f"{_micro(ours)} µs, by hand {_micro(hand)} µs", library)
    above = [(a - b) / 3 for a, b in zip(ours, hand, strict=True)]
    scale_down = _BY_HAND[library] / statistics.median(one / 3 for one in hand)
    note = f"{_micro(above)} µs here, times {scale_down:.2f}; see README"
    yield Found(STEP, statistics.median(above) * 1e6 * scale_down, note, library)
    yield Found(SPANS, _ratio(ours, bare), f"without spans {_micro(bare)} µs", library)


def flat(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    piece = scale.haul // 100
    got = measured("requests.long_haul", library, origin=origin, flows=scale.haul, piece=piece)
    ratios = [ours / hand for ours, hand in zip(got["ours"], got["hand"], strict=True)]
    first, last = statistics.median(ratios[:5]), statistics.median(ratios[-5:])
    note = f"{first:.2f}x, then {last:.2f}x the loop beside it; {scale.haul} flows"
    yield Found(FLAT, first / last, note, library)


def many(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    got = measured(
        "requests.at_once", library, origin=origin, few=10, many=1000, flows=scale.many_flows, rounds=3
    )
    by_hand = got["hand many"][0] / got["hand few"][0]
    note = f"{_micro(got['ours few'])} -> {_micro(got['ours many'])} µs; the loop by hand {by_hand:.2f}x"
    yield Found(MANY, _ratio(got["ours many"], got["ours few"]), note, library)


def cold(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    # These are here for development alone, and the libraries import them where they find them.
    block = without("trio", "click", *(["httpx2"] if library == "httpx" else []))
    with TemporaryDirectory() as folder:
        flow = str(write(Path(folder) / "flow.json", one_step(origin)))
        ours = ("-c", block + _RUNNER, "run", flow)
        bare = ("-c", f"{block}import {library}; {library}.AsyncHTTPTransport()")
        yield Found(COLD, *_starts(scale, ours, bare), library)


def help_(scale: Scale, _origin: str, _library: str) -> Iterator[Found]:
    yield Found(HELP, *_starts(scale, ("-c", _RUNNER, "--help"), ("-c", "pass")))


def _starts(scale: Scale, ours: tuple[str, ...], bare: tuple[str, ...]) -> tuple[float, str]:
    """Start both in turn; returns the ratio of their CPU times and a note."""
    rounds = [
        (cost(sys.executable, *ours)[0], cost(sys.executable, *bare)[0]) for _ in range(scale.starts + 1)
    ]
    over, under = (list(times) for times in zip(*rounds[1:], strict=True))  # the first one compiled
    note = f"{statistics.median(over) * 1e3:.0f} against {statistics.median(under) * 1e3:.0f} ms"
    return _ratio(over, under), note


def load(scale: Scale, _origin: str, library: str) -> Iterator[Found]:
    steps = scale.load_steps
    got = measured("plans.loading", library, steps=steps, rounds=max(scale.rounds // 2, 1))
    whole = [a + b for a, b in zip(got["load"], got["plan"], strict=True)]
    parts = (f"{_micro([one / steps for one in got[name]])} µs" for name in ("json", "load", "plan"))
    note = "a step: json.loads {}, load {}, plan {}".format(*parts)
    yield Found(LOAD, _ratio(whole, got["json"]), note)


def state(scale: Scale, _origin: str, library: str) -> Iterator[Found]:
    for figure, parallel in ((CHAIN, False), (WIDE, True)):
        got = measured("plans.state", library, steps=scale.state_steps, parallel=parallel)
        yield Found(figure, got["bytes"] / 1024 / scale.state_steps, f"{scale.state_steps} steps")


def json_(scale: Scale, _origin: str, library: str) -> Iterator[Found]:
    got = measured("traces.written", library, count=scale.spans // 10, rounds=scale.rounds)
    value, note = _ratio(got["ours"], got["dumps"]), f"{_micro(got['ours'])} µs a span"
    if not got["orjson"]:
        note += f"; measured {value:.1f}x json.dumps, which takes {_JSON_OVER_ORJSON} times as long"
        value *= _JSON_OVER_ORJSON
    yield Found(JSON, value, note)


def kept(scale: Scale, _origin: str, library: str) -> Iterator[Found]:
    got = measured("traces.kept", library, count=scale.spans)
    note = f"{got['json'] / scale.spans:.0f} bytes as JSON, {scale.spans} spans"
    yield Found(KEPT, got["grown"] / got["json"], note)


def peaks(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    empty = _run_of(library, steps=1, parallel=False)["peak"]
    for figure, parallel in ((PEAK_CHAIN, False), (PEAK_WIDE, True)):
        yield _peak(figure, empty, _run_of(library, steps=scale.peak_steps, parallel=parallel))
    if scale.peak_requests:
        got = _run_of(library, steps=scale.peak_requests, parallel=True, origin=origin)
        yield _peak(PEAK_HTTP, empty, got)


def _run_of(library: str, **about) -> dict:
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "flow.json")
        measured("runs.document", library, path=path, **about)
        return measured("runs.peak", library, path=path)


def worker(scale: Scale, origin: str, library: str) -> Iterator[Found]:
    """WORKER on SQLite and, where RUNNER_BENCH_PG names an empty database, on PostgreSQL."""
    for name, url in (("SQLite", None), ("PostgreSQL", os.environ.get("RUNNER_BENCH_PG"))):
        if url is None and name != "SQLite":
            continue
        got = measured("queue.behind_a_queue", library, origin=origin, runs=scale.queued, url=url)
        [ours], hand = got["ours"], statistics.mean(got["hand"])
        note = f"{name}: {ours:.0f} of {hand:.0f}, submitted {got['submitted'][0]:.0f}/s"
        yield Found(WORKER, ours / hand, note)
        first, last = got["memory"][0], got["memory"][-1]
        sizes = f"{first / _MB:.0f} -> {last / _MB:.0f} MB, {scale.queued} runs"
        yield Found(WORKER_MEMORY, last / first, f"{name}: {sizes}")


def _peak(figure: Figure, empty: int, got: dict) -> Found:
    more, allowed = got["peak"] - empty, 1.3 * got["spans"] + 50 * _MB
    note = f"{more / _MB:.0f} of {allowed / _MB:.0f} MB (1.3 x {got['spans'] / _MB:.0f} MB of spans + 50)"
    return Found(figure, more / allowed, note)


Measure = Callable[[Scale, str, str], Iterator[Found]]

PER_LIBRARY: dict[Measure, tuple[Figure, ...]] = {
    flows: (FLOW, STEP, SPANS),
    flat: (FLAT,),
    many: (MANY,),
    cold: (COLD,),
}
ONCE: dict[Measure, tuple[Figure, ...]] = {
    help_: (HELP,),
    load: (LOAD,),
    state: (CHAIN, WIDE),
    json_: (JSON,),
    kept: (KEPT,),
    worker: (WORKER, WORKER_MEMORY),
    peaks: (PEAK_CHAIN, PEAK_WIDE, PEAK_HTTP),
}
NAMES = [figure.name for figures in (*PER_LIBRARY.values(), *ONCE.values()) for figure in figures]
