"""Trace files with fixed ids and times, as this package and as other software write them."""

import json
from pathlib import Path

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
MS = 1_000_000
CLIENT, SERVER, CONSUMER = 3, 2, 5
ERROR = 2


def span(name, start, end, *, number, parent=None, kind=1, error=None, trace=1, events=(), **attributes):
    """Return a span of OTLP/JSON; times are milliseconds after `START`, `__` in a key stands for a dot."""
    values = {key.replace("__", "."): value for key, value in attributes.items()}
    shown = {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(START + int(start * MS)),
        "endTimeUnixNano": str(START + int(end * MS)),
        "attributes": [{"key": key, "value": _value(value)} for key, value in values.items()],
        "events": [
            {
                "name": event,
                "timeUnixNano": str(START + int(end * MS)),
                "attributes": [{"key": key, "value": _value(value)} for key, value in more.items()],
            }
            for event, more in events
        ],
    }
    if parent is not None:
        shown["parentSpanId"] = f"{parent:016x}"
    if error is not None:
        shown["status"] = {"code": ERROR} | ({"message": error} if error else {})
    return shown


def _value(value):
    kinds = {bool: "boolValue", int: "intValue", str: "stringValue"}
    return {kinds[type(value)]: str(value) if type(value) is int else value}


def otlp(**services):
    """Return an OTLP/JSON document of lists of spans by service; `runner` stands for this package."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": _value(service)}]},
                "scopeSpans": [{"scope": {"name": service}, "spans": spans}],
            }
            for service, spans in services.items()
        ]
    }


def write(folder: Path, document, name="trace.json"):
    """Write a document, or a list of them as lines, and return its name."""
    lines = document if isinstance(document, list) else [document]
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return name


def step(name, start, end, *, kind="http", number, parent=1, result="success", error=None, **more):
    """Return the span of a step as this package records it."""
    return span(
        f"{kind}-{name}",
        start,
        end,
        number=number,
        parent=parent,
        error=error,
        task__id=name,
        task__type=kind,
        workflow__execution__result=result,
        **({"error__message": error} if error else {}),
        **more,
    )


def send(name, start, end, *, number, parent, status, **more):
    """Return the span of one attempt of a step."""
    return span(
        f"GET /{name}",
        start,
        end,
        number=number,
        parent=parent,
        kind=CLIENT,
        error="" if status >= 400 else None,
        task__id=name,
        task__type="http",
        http__response__status_code=status,
        **more,
    )


def failed_run():
    """Return a run in which something of everything happened: a fork, a retry, a skip, a failure."""
    return otlp(
        runner=[
            span(
                "flow-orders",
                0,
                100,
                number=1,
                task__id="orders",
                task__type="flow",
                workflow__execution__result="failure",
                error="the server answered 500, expected 2xx",
                error__message="the server answered 500, expected 2xx",
                runner__failure__code="http.status",
                runner__failure__place="steps[3].expectedStatus",
            ),
            step("quick", 0, 20, number=2),
            send("quick", 1, 19, number=3, parent=2, status=200),
            step("slow", 0, 60, number=4, runner__step__attempts=2),
            send("slow", 1, 10, number=5, parent=4, status=503),
            send("slow", 40, 59, number=6, parent=4, status=200, http__request__resend_count=1),
            step(
                "admin",
                60,
                60,
                number=7,
                result="skip",
                runner__skip__reason="condition",
                runner__skip__detail="{{input.user}} is not root",
            ),
            step(
                "pay",
                60,
                95,
                number=8,
                result="failure",
                error="the server answered 500, expected 2xx",
                runner__failure__code="http.status",
                runner__failure__place="steps[3].expectedStatus",
                events=[("retry.withheld", {"runner.reason": "500: the server may have acted"})],
            ),
            send("pay", 61, 94, number=9, parent=8, status=500),
        ]
    )
