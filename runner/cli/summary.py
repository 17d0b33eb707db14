"""The end of a report: how the run went, what it failed of and what to do, where its trace is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from runner.core import names
from runner.core.compiled import FlowWork, Plan
from runner.core.result import RunResult
from runner.errors import Place
from runner.report.waterfall import Role, Row, Signs, Waterfall, clean, duration

_TURN: Final = re.compile(r"\[[0-9]+\]|~[0-9]+|#[0-9]+")
_REMEDIES: Final = {
    "http.connect": "is the server running, and are host and port of the url right?",
    "http.dns": "is the host of the url spelled right, and the value that it was made from?",
    "http.timeout": "a longer 'timeout' (milliseconds) gives the server more time, 'retry' another try",
    "http.status": "if this answer is expected, list it in 'expectedStatus'; --capture-bodies keeps its"
    " body in the trace",
    "until.exhausted": "raise 'maxAttempts' or 'interval' of 'until'",
    "flow.timeout": "raise 'flowTimeout' in the flow's config",
    "limit.text": "--max-text allows longer ones",
    "internal": "please report it with what RUNNER_DEBUG=1 prints",
}
_HINTS: Final = {
    names.EVENT_RETRY_WITHHELD: "not sent again after",
    names.EVENT_OUTPUT_MISSING: "an output is missing:",
}
_ROLES: Final[dict[str, Role]] = {"succeeded": "ok"}


def summary(
    result: RunResult, waterfall: Waterfall, plan: Plan, signs: Signs, trace_file: str | None
) -> list[Row]:
    """Return the closing rows of a run; every text in them is masked."""
    role = _ROLES.get(result.status, "failed")
    sign = signs.states["ok" if result.ok else "failed"]
    status = result.status.replace("_", " ")
    first = f"{sign} {status} in {duration(result.duration_ms)}{_counted(result)}"
    rows: list[Row] = [((first, role),)]
    if not result.ok:
        rows += [((f"  {clean(text, signs)}", role),) for text in _failure(waterfall, plan)]
    rows += [((f"  {clean(text, signs)}", "skipped"),) for text in _hints(waterfall)]
    rows.append(((f"  run {result.run_id}, trace {result.trace_id}", "faint"),))
    if trace_file is not None:
        rows.append(((f"  the trace is in {clean(trace_file, signs)}", "faint"),))
    return rows


def _counted(result: RunResult) -> str:
    """Return how the flow's own steps ended; what is inside a loop or another flow counts with it."""
    steps = [step for step in result.steps if not re.search(r"[/\[~]", step.path)]
    counts = Counter("ok" if step.status == "succeeded" else step.status for step in steps)
    shown = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f": {shown}" if shown else ""


def _failure(waterfall: Waterfall, plan: Plan) -> Iterator[str]:
    line = waterfall.failure
    if line is None:
        return
    if line.state in ("cancelled", "timed_out"):
        if waterfall.cut:
            yield f"cut off: {', '.join(waterfall.cut)}"
        return
    yield f"step {line.path}: {line.text}"
    place = place_of(plan, line.path, line.where)
    where = " ".join(str(one) for one in (place, line.where) if one)
    yield f"  at {where} ({line.code})" if where else f"  ({line.code})"
    if line.code in _REMEDIES:
        yield f"  {_REMEDIES[line.code]}"


def _hints(waterfall: Waterfall) -> Iterator[str]:
    for hint in waterfall.hints:
        yield f"step {hint.step}: {_HINTS[hint.event]} {hint.text}"


def place_of(plan: Plan, path: str, where: str) -> Place | None:
    """Return where in its file a step's failure stands; `where` belongs to the flow that `path` is in."""
    at = plan
    for segment in path.split("/")[:-1]:
        step_id = unquote(_TURN.sub("", segment))
        work = next((step.work for step in at.steps if step.id == step_id), None)
        if not isinstance(work, FlowWork):
            return None
        at = work.plan
    document = at.flow.document
    return document.locate(at.flow.prefix + where) if document is not None and where else None
