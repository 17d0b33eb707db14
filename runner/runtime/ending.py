"""Ending a run that nobody can carry on, with a trace that tells why."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from runner.core import names, spans
from runner.core.commands import Json
from runner.core.trace import iso_time
from runner.errors import FlowError, RunnerError, SurroundingsError
from runner.runtime.run import Run
from runner.runtime.store import End, RunRow
from runner.runtime.tracing import Recorder


class DeadLetterError(SurroundingsError):
    """Too many processes have died while they carried a run on."""

    def __init__(self, deaths: int) -> None:
        super().__init__(
            f"{deaths} workers died of the run, or by chance while they carried it on; it stands"
        )


def ending_of(row: RunRow, error: RunnerError, run: Run | None) -> End:
    """Return how a run which we have claimed ends, and why; `run` has what was done of it.

    Call it from the run's event loop.
    """
    code, message = _reason(error)
    recorder = Recorder(row.id, trace_id=int(row.trace, 16), execution=row.execution)
    if run is not None:
        with suppress(SurroundingsError):  # a journal that does not belong to the flow
            message += f" at {', '.join(run.replay()) or 'its end'}"
            recorder = run.recorder
    if not recorder.count:
        attributes = spans.flow_attributes(row.flow, "queue")
        recorder.open(names.flow_span_name(row.flow), attributes=attributes, start=row.started)
    recorder.cut_off(code, message)
    file = BytesIO()
    recorder.write(file, row.flow, "")
    now = recorder.now()
    result: dict[str, Json] = {
        "runId": row.id,
        "flow": row.flow,
        "status": "failed",
        "startTime": iso_time(row.started or now),
        "endTime": iso_time(now),
        "durationMs": (now - (row.started or now)) / 1e6,
        "traceId": row.trace,
        "inputs": {},
        "steps": [],
        "outputs": {},
        "error": {"code": code, "message": recorder.masker.mask(message), "place": ""},
    }
    return End(row.id, row.epoch, "failed", result, file.getvalue(), code)


def _reason(error: RunnerError) -> tuple[str, str]:
    if isinstance(error, DeadLetterError):
        return "run.dead_letter", str(error)
    if isinstance(error, FlowError):
        return error.problems[0].code, str(error)
    return "run.unreadable", str(error)
