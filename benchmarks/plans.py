"""Reading, checking and compiling a long flow, and what its run keeps in mind about each step."""

import gc
import json
import time
import tracemalloc
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.flows import long, many, write
from runner.core.actions import Start
from runner.core.commands import Outcome
from runner.core.progress import Progress
from runner.core.redact import Masker
from runner.core.request import RunTerms
from runner.core.scope import RunValues, Scope, SecretNames
from runner.runtime.loading import load, plan_of


def loading(steps: int, rounds: int) -> dict:
    """CPU seconds of json.loads and of everything up to the plan, a list of rounds each."""
    found: dict[str, list[float]] = {"json": [], "load": [], "plan": []}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "long.json", long(steps))
        for number in range(rounds + 1):
            took = {"json": _json(path)} | _load(path)
            for name, seconds in took.items():
                found[name] += [seconds] if number else []
        return {**found, "bytes": path.stat().st_size}


def _json(path: Path) -> float:
    text = path.read_bytes()
    gc.collect()
    began = time.process_time()
    json.loads(text)
    return time.process_time() - began


def _load(path: Path) -> dict[str, float]:
    gc.collect()
    began = time.process_time()
    flow = load(path)
    loaded = time.process_time()
    plan = plan_of(flow)
    ended = time.process_time()
    assert not plan.errors, plan.errors[0]
    return {"load": loaded - began, "plan": ended - loaded}


def state(steps: int, parallel: bool) -> dict:
    """Bytes that `Progress` takes at most while the steps of a plan start and end; they output nothing."""
    plan = plan_of(load(many(steps, parallel=parallel)))
    assert not plan.errors, plan.errors[0]
    gc.collect()
    tracemalloc.start()
    scope = Scope(run=RunValues("run"), secret=SecretNames())
    progress = Progress(plan, scope, RunTerms("run", Masker()))
    ended = _play(progress)
    peak = tracemalloc.get_traced_memory()[1]
    assert ended == steps
    return {"bytes": peak}


def _play(progress: Progress) -> int:
    running: deque[Start] = deque()
    outcome, ended = Outcome("succeeded"), 0
    actions = progress.start()
    while True:
        running += (action for action in actions if isinstance(action, Start))
        if not running:
            return ended
        start = running.popleft()
        start.program.close()
        actions = progress.done(start.spot.path, outcome)
        ended += 1
