"""The end of a report: how the run went, what it failed of and what to do, where its trace is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote

from runner.core import names
from runner.core.compiled import FlowWork, Plan
from runner.core.result import RunResult
from runner.errors import Place
from runner.report.waterfall import (
    ROLES,
    Hint,
    Line,
    Role,
    Row,
    Signs,
    State,
    Waterfall,
    clean,
    duration,
)

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


def summary(
    result: RunResult, waterfall: Waterfall, plan: Plan, signs: Signs, told: Sequence[str]
) -> list[Row]:
    """Return the closing rows of a run, with what is `told` of files; every text in them is masked."""
    first = f"{result.status.replace('_', ' ')} in {duration(result.duration_ms)}{_counted(result)}"
    line = waterfall.failure
    failed: Iterable[str] = ()
    if line is not None and not result.ok:
        failed = failure_texts(line, waterfall.cut, place_of(plan, line.path, line.where))
    about = [f"run {result.run_id}, trace {result.trace_id}", *told]
    state: State = "ok" if result.ok else "failed"
    return [
        closing_row(state, first, signs),
        *further_rows(failed, ROLES[state], signs),
        *further_rows(hint_texts(waterfall.hints), "skipped", signs),
        *further_rows(about, "faint", signs),
    ]


def closing_row(state: State, text: str, signs: Signs) -> Row:
    """Return the row that says how it went."""
    return ((f"{signs.states[state]} {text}", ROLES[state]),)


def further_rows(texts: Iterable[str], role: Role, signs: Signs) -> list[Row]:
    """Return a row below it for each text."""
    return [((f"  {clean(text, signs)}", role),) for text in texts]


def _counted(result: RunResult) -> str:
    """Return how the flow's own steps ended; what is inside a loop or another flow counts with it."""
    steps = [step for step in result.steps if not re.search(r"[/\[~]", step.path)]
    counts = Counter("ok" if step.status == "succeeded" else step.status for step in steps)
    shown = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f": {shown}" if shown else ""


def failure_texts(line: Line, cut: Sequence[str], place: Place | None) -> Iterator[str]:
    """Yield what something failed of, where that stands, and what to do about it."""
    if line.state in ("cancelled", "timed_out"):
        if cut:
            yield f"cut off: {', '.join(cut)}"
        return
    told = f": {line.text}" * bool(line.text)
    yield f"step {line.path}{told}" if line.path else f"span {line.name}{told}"
    where = " ".join(str(one) for one in (place, line.where) if one)
    code = f" ({line.code})" * bool(line.code)
    if where or code:
        yield f"  at {where}{code}" if where else f" {code}"
    if line.code in _REMEDIES:
        yield f"  {_REMEDIES[line.code]}"


def hint_texts(hints: Iterable[Hint]) -> Iterator[str]:
    """Yield what did not fail anything and should be known all the same."""
    for hint in hints:
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
