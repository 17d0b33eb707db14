import logging

import pytest

import runner
from runner.runtime.http import Transport
from runner.runtime.policy import Route
from runner.runtime.run import RunSettings, run
from runner.runtime.tracing import Listener
from tests.servers import ApiServer, Reply

log = logging.getLogger("app")


class Logging(Listener):
    """Logs the end of each span, from within the task that has worked for it."""

    def ended(self, record):
        log.warning(record.name)


class LoggingRouter:
    """Logs while a request is on its way."""

    async def route(self, scheme, host, port):
        log.warning("routing")
        return Route(host, port)


@pytest.fixture
def lines():
    """Return what is logged: message, run id, trace id and span id."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(
        (record.getMessage(), record.run_id, record.trace_id, record.span_id)
    )
    handler.addFilter(runner.TraceFilter())
    log.addHandler(handler)
    yield found
    log.removeHandler(handler)


def flow(*names):
    steps = [{"id": name, "method": "GET", "url": f"{{{{env.API}}}}/{name}"} for name in names]
    return {
        "name": "f",
        "flow_inputs": [],
        "flow_data": {"version": "1.0", "steps": steps, "config": {"parallel": True}},
    }


@pytest.mark.anyio
async def test_a_log_record_has_the_ids_of_the_step_at_work_also_beside_others(lines):
    with ApiServer(lambda _: Reply(200)) as api:
        settings = RunSettings(run_id="run-7", listeners=[Logging()])
        result = await run(flow("a", "b"), env={"API": api.origin}, settings=settings)
    spans = {span.name: f"{span.span_id:016x}" for span in result.integration_flow().spans}
    requests = sorted(line for line in lines if line[0].startswith("GET"))
    assert requests == [
        (f"GET /{name}", "run-7", result.trace_id, spans[f"http-{name}"]) for name in ("a", "b")
    ]


@pytest.mark.anyio
async def test_what_is_logged_while_a_request_is_on_its_way_belongs_to_the_attempt(lines):
    with ApiServer(lambda _: Reply(200)) as api:
        async with Transport(router=LoggingRouter()) as transport:
            settings = RunSettings(run_id="run-7", transport=transport)
            result = await run(flow("a"), env={"API": api.origin}, settings=settings)
    (attempt,) = [span for span in result.integration_flow().spans if span.kind == "client"]
    assert lines == [("routing", "run-7", result.trace_id, f"{attempt.span_id:016x}")]


@pytest.mark.anyio
async def test_outside_of_a_run_the_ids_are_empty(lines):
    log.warning("before")
    await run({"version": "1.0", "flow_inputs": [], "steps": [{"id": "a", "set": {"x": 1}}]})
    log.warning("after")
    assert lines == [("before", "", "", ""), ("after", "", "", "")]
