"""What a span costs once it has ended: memory while it is kept, time until it is JSON."""

import gc
import io
import json
import time
from collections.abc import Iterator

from benchmarks.processes import memory
from runner.core import names, spans
from runner.core.actions import Spot
from runner.core.commands import Outcome, Request, Response, SendRequest
from runner.core.trace import SpanRecord
from runner.runtime.tracing import Recorder

try:
    import orjson
except ImportError:  # it is no dependency; whoever has it compares with it
    orjson = None

_BODY = b'{"token":"tok-5d41402abc4b2a76","username":"ada"}'
_REQUEST = SendRequest(
    Request("POST", "http://127.0.0.1:8080/auth/register", (("Content-Type", "application/json"),), _BODY),
    30.0,
    template="/auth/register",
    shown_url="http://127.0.0.1:8080/auth/register",
)
_RESPONSE = Response(
    200, (("Content-Type", "application/json"), ("Content-Length", "81")), _BODY, peer=("127.0.0.1", 8080)
)
_SPOT = Spot("register", "", "http", "register", "Register a user", order=(0, 1))
_OUTPUTS = {"userId": 42, "activationToken": "tok-5d41402abc4b2a76", "userRole": "member"}
_OUTCOME = Outcome("succeeded", _OUTPUTS, attempts=1)


def _begin() -> tuple[Recorder, SpanRecord]:
    recorder = Recorder("01JD3Z7G0000000000000000AB")
    return recorder, recorder.open("flow-measured", attributes=spans.flow_attributes("measured", "library"))


def _steps(recorder: Recorder, root: SpanRecord, count: int) -> Iterator[SpanRecord]:
    """Record steps with one attempt each, as the engine does; yields each span before it ends."""
    for _ in range(count // 2):
        step = recorder.open(spans.spot_name(_SPOT), parent=root, attributes=spans.spot_attributes(_SPOT))
        about = spans.request_attributes(_REQUEST, "register", "http")
        attempt = recorder.open(names.attempt_span_name("POST", _REQUEST.template), "client", step, about)
        yield attempt
        recorder.end(attempt, "unset", attributes=spans.reply_attributes(_REQUEST, _RESPONSE), hold=True)
        yield step
        recorder.end(step, "unset", attributes=spans.outcome_attributes(_OUTCOME, outputs=True))


def kept(count: int) -> dict:
    """Bytes by which the process grows while it keeps spans, and their bytes as JSON."""
    recorder, root = _begin()
    for _ in _steps(recorder, root, 4000):
        pass  # the process has its usual size now
    recorder, root = _begin()
    gc.collect()
    before = memory()
    for _ in _steps(recorder, root, count):
        pass
    gc.collect()
    return {"grown": memory() - before, "json": recorder.size}


def written(count: int, rounds: int) -> dict:
    """CPU seconds per span from open records to a written document, and of dumping ready dicts."""
    found: dict[str, list[float]] = {"ours": [], "dumps": []}
    for number in range(rounds + 1):
        ours, ready = _write(count)
        for name, seconds in {"ours": ours, "dumps": _dump(ready)}.items():
            found[name] += [seconds / count] if number else []
    return {**found, "orjson": orjson is not None}


def _write(count: int) -> tuple[float, list[dict]]:
    """Return what it took, and the spans as dicts."""
    recorder, root = _begin()
    recorder.end(root)
    records = [_described(recorder, root, nth) for nth in range(count)]
    file = io.BytesIO()
    gc.collect()
    began = time.process_time()
    for record in records:
        recorder.end(record)
    recorder.write(file, "measured", "")
    return time.process_time() - began, list(recorder.spans())


def _described(recorder: Recorder, root: SpanRecord, nth: int) -> SpanRecord:
    """Open a span that has all its attributes, of a step and of an attempt in turn."""
    if nth % 2:
        name, kind = names.attempt_span_name("POST", _REQUEST.template), "client"
        attributes = spans.request_attributes(_REQUEST, "register", "http")
        attributes |= spans.reply_attributes(_REQUEST, _RESPONSE)
    else:
        name, kind = spans.spot_name(_SPOT), "internal"
        attributes = spans.spot_attributes(_SPOT) | spans.outcome_attributes(_OUTCOME, outputs=True)
    return recorder.open(name, kind, root, attributes)


def _dump(ready: list[dict]) -> float:
    file = io.BytesIO()
    gc.collect()
    began = time.process_time()
    document = {"name": "measured", "description": "", "spans": ready}
    file.write(json.dumps(document).encode() if orjson is None else orjson.dumps(document))
    return time.process_time() - began
