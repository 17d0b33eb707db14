"""Worker processes for tests, and what their runs have asked an API for."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from runner.runtime.intake import Intake
from runner.runtime.queue import Queue
from runner.runtime.run import RunSettings
from runner.runtime.store import ENDED, Store
from tests.command import start
from tests.integration_flow_schema import violations

PATIENCE = 60


def call(step_id: str, **keys: object) -> dict:
    """Return a step that posts to /<step_id> with the run in its query and a key."""
    url = f"{{{{env.API}}}}/{step_id}?run={{{{input.n}}}}"
    return {"id": step_id, "method": "POST", "url": url, "idempotencyKey": True, **keys}


def submit(store: Store, flow: Path, count: int, api, *, prefix: str = "r", **how) -> list[str]:
    """Put runs of a flow into the queue; each knows its own id as `input.n`."""
    queue, intake = Queue(store), Intake(str(flow))
    ids = [f"{prefix}{number}" for number in range(count)]
    env = {"API": api.origin}
    for run_id in ids:
        intake.take(store, queue, {"n": run_id}, RunSettings(run_id=run_id, env=env), **how)
    return ids


def asked(api) -> Counter:
    """Return how often each (run, step) was asked for."""
    return Counter((request.query["run"][0], request.path.strip("/")) for request in api.requests)


def until(condition, patience: float = PATIENCE) -> float:
    """Look until something is so; returns the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, "it did not come"
        time.sleep(0.02)
    return time.monotonic() - started


def all_ended(store: Store, count: int) -> bool:
    """Tell whether so many runs have ended."""
    counts = store.counts()
    return sum(counts.get(state, 0) for state in ENDED) >= count


def check_traces(store: Store, ids: list[str], steps: Sequence[str]) -> None:
    """Each run is one trace with one root, and every step has its span once."""
    for run_id in ids:
        trace = json.loads(store.trace(run_id))
        assert violations(trace) == []
        roots = [span for span in trace["spans"] if "parentSpanContext" not in span]
        assert [span["name"] for span in roots] == ["flow-flow"]
        assert len({span["spanContext"]["traceId"] for span in trace["spans"]}) == 1
        names = [span["name"] for span in trace["spans"] if span["name"].startswith("http-")]
        assert sorted(names) == sorted(f"http-{step}" for step in steps)
        parts = [span for span in trace["spans"] if span["name"] == "process flows"]
        assert [span["attributes"]["runner.claim"] for span in parts] == [*range(1, len(parts) + 1)]
        assert len(parts) == store.get(run_id).epoch


def repeats(store: Store, api, ids: list[str]) -> int:
    """Return how many calls were repeated; none may be of a step that was completed, or have another key.

    Had a completed step been called again, its span, which is that of the row, would be over by then.
    """
    offset = time.time() - time.monotonic()
    calls: dict[tuple[str, str], list] = {}
    for request in api.requests:
        calls.setdefault((request.query["run"][0], request.path), []).append(request)
    for run_id in ids:
        for span in json.loads(store.trace(run_id))["spans"]:
            if not span["name"].startswith("POST "):
                continue
            made = calls.pop((run_id, span["name"].removeprefix("POST ")))
            assert len({one.header("idempotency-key") for one in made}) == 1
            ended = datetime.fromisoformat(span["endTime"][:26] + "+00:00").timestamp()
            assert made[-1].at + offset <= ended + 0.001, span["name"]
            calls[run_id, span["name"]] = made
    return sum(len(made) - 1 for made in calls.values())


class Workers:
    """Worker processes on one database; those that are left are killed at the end."""

    def __init__(self, folder: Path, url: str, environ: dict[str, str]) -> None:
        self.folder, self.url, self.environ = folder, url, environ
        self.all: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def start(self, *words: object, wait: bool = True, **env: str) -> subprocess.Popen[str]:
        """Start one, and return it once it works, or at once."""
        process = start("worker", "--state", self.url, *words, cwd=self.folder, **self.environ, **env)
        self.all.append(process)
        if not wait:
            return process
        line = process.stderr.readline()
        assert line.startswith("working on"), line + process.stderr.read()
        return process

    def __exit__(self, *_: object) -> None:
        for process in self.all:
            with suppress(OSError):
                process.kill()
            process.communicate()
