"""`runner run --dry-run`: prints what would be sent, as curl does, and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import anyio

from runner.cli.output import Output
from runner.cli.summary import place_of
from runner.core.commands import Json
from runner.core.trace import LONGEST_VALUE, to_bytes
from runner.runtime.dry_run import WouldDo, WouldSend, rehearse
from runner.runtime.run import Run

_FAILS: Final = 1


def show(run: Run, out: Output, *, as_json: bool, quiet: bool) -> int:
    """Print what the run would do; returns 1 if a step is bound to fail before it sends anything, else 0."""
    steps = anyio.run(rehearse, run)
    if as_json:
        out.write(_json_text(run, steps, out))
    elif not quiet:
        for line in _lines(run, steps):
            out.line(line)
    return _FAILS if any(step.failure is not None and step.decision == "runs" for step in steps) else 0


def _lines(run: Run, steps: Sequence[WouldDo]) -> Iterator[str]:
    for step in steps:
        yield from _step_lines(run, step)
    requests = sum(len(step.requests) for step in steps)
    perhaps = sum(len(step.requests) for step in steps if step.decision == "depends")
    failing = sum(step.failure is not None for step in steps)
    yield "".join(
        (
            f"nothing was sent; shown: {_count(requests, 'request')} of {_count(len(steps), 'step')}",
            f", {perhaps} of them only if an answer says so" if perhaps else "",
            f"; {_count(failing, 'step')} would fail" if failing else "",
        )
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _step_lines(run: Run, step: WouldDo) -> Iterator[str]:
    why = " and ".join(step.reasons)
    word = {"runs": "", "depends": " only if ", "skipped": " skipped, ", "unreached": " not reached, "}
    yield f"{step.type}-{step.path}{word[step.decision]}{why}"
    for note in step.notes:
        yield f"  {note}"
    for name, value in step.outputs.items():
        yield f"  {name} = {json.dumps(value, ensure_ascii=False)}"
    for request in step.requests:
        yield from _request_lines(request)
    if step.failure is not None:
        place = place_of(run.plan, step.path, step.failure.where)
        where = " ".join(str(one) for one in (place, step.failure.where) if one)
        yield f"  would fail: {step.failure.message} ({step.failure.code}){where and f' at {where}'}"


def _request_lines(request: WouldSend) -> Iterator[str]:
    to = f"  (connects to {request.to})" if request.to else ""
    yield f"  > {request.method} {request.url}{'  (for the token)' if request.role else ''}{to}"
    for name, value in request.headers:
        yield f"  > {name}: {value}"
    if request.body is not None:
        yield "  >"
        text = request.body[:LONGEST_VALUE]
        for line in text.splitlines():
            yield f"  > {line}".rstrip()
        if len(text) < len(request.body):
            yield f"  > … ({len(request.body) - len(text)} characters more; --json has them)"
    elif request.size:
        yield "  >"
        yield f"  > ({request.size} bytes that are not text)"


def _json_text(run: Run, steps: Sequence[WouldDo], out: Output) -> str:
    value = {
        "runId": run.run_id,
        "flow": run.masker.mask(run.plan.flow.label),
        "sent": False,
        "steps": [_entry(run, step) for step in steps],
    }
    text = json.dumps(value, ensure_ascii=out.signs.ascii, indent=2 if out.is_terminal else None)
    return to_bytes(text).decode("utf-8") + "\n"


def _entry(run: Run, step: WouldDo) -> dict[str, Json]:
    error = None
    if step.failure is not None:
        error = {"code": step.failure.code, "message": step.failure.message, "place": step.failure.where}
    return {
        "path": step.path,
        "id": step.id,
        "name": run.masker.mask(step.name),
        "type": step.type,
        "decision": step.decision,
        "reasons": list(step.reasons),
        "notes": step.notes,
        "outputs": dict(step.outputs),
        "requests": [_request(request) for request in step.requests],
        "error": error,
    }


def _request(request: WouldSend) -> dict[str, Json]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": [list(pair) for pair in request.headers],
        "body": request.body,
        "bodySize": request.size,
        "for": request.role or None,
        "connectTo": request.to or None,
        "refused": request.refused or None,
    }
