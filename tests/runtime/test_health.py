"""What a worker tells its probes, asked over HTTP on both event loops."""

import threading
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.errors import SurroundingsError
from runner.runtime import health as module
from runner.runtime.health import Health, Probes

pytestmark = pytest.mark.anyio


class Body:
    """The vitals of a worker that is made up."""

    at_work, room = 3, 100

    def __init__(self):
        self.wrong, self.down, self.held = "", "", None

    def trouble(self):
        return self.wrong

    def counts(self):
        if self.held is not None:
            self.held.wait()
        if self.down:
            raise SurroundingsError(self.down)
        return {"queued": 7}


@pytest.fixture
def body():
    return Body()


@pytest.fixture
def health(body):
    return Health(body)


@asynccontextmanager
async def serving(health):
    probes = await Probes.listen(health, ("127.0.0.1", 0))
    async with anyio.create_task_group() as group:
        group.start_soon(probes.serve)
        yield probes.place
        group.cancel_scope.cancel()


async def ask(health, *paths, method="GET"):
    async with serving(health) as where, httpx.AsyncClient() as client:
        return [await client.request(method, f"http://{where}{path}") for path in paths]


async def test_a_worker_that_works_is_live_and_ready(health):
    live, ready, queried = await ask(health, "/healthz", "/readyz", "/healthz?verbose")
    assert [(one.status_code, one.text) for one in (live, ready)] == [(200, "ok\n"), (200, "ready\n")]
    assert queried.status_code == 200
    assert live.headers["content-type"] == "text/plain; charset=utf-8"


async def test_one_that_takes_no_runs_is_live_and_says_why(health, body):
    body.wrong = "it is draining"
    live, ready = await ask(health, "/healthz", "/readyz")
    assert (live.status_code, ready.status_code, ready.text) == (200, 503, "it is draining\n")


async def test_one_whose_database_is_away_is_not_ready(health, body):
    body.down = "no database at db.internal for user ada"
    ready, numbers = await ask(health, "/readyz", "/metrics")
    assert (ready.status_code, ready.text) == (
        503, "the state database does not answer; the log says why\n",
    )  # fmt: skip
    assert "flowspan_worker_ready 0.0" in numbers.text
    assert "flowspan_runs{" not in numbers.text


async def test_a_database_that_hangs_holds_no_probe_up(health, body, monkeypatch):
    monkeypatch.setattr(module, "_DATABASE", 0.05)
    body.held = threading.Event()
    live, ready = await ask(health, "/healthz", "/readyz")
    body.held.set()
    assert (live.status_code, ready.status_code) == (200, 503)
    assert "has not answered" in ready.text


async def test_the_numbers_are_those_of_prometheus(health):
    health.ended("succeeded", 0.2)
    health.ended("succeeded", 70)
    health.ended("failed", 1)
    [answer] = await ask(health, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert all(family.documentation for family in families.values())
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
        if family.name != "flowspan_build"
    }
    assert values["flowspan_worker_ready",] == 1
    assert values["flowspan_worker_runs",] == 3
    assert values["flowspan_worker_concurrency",] == 100
    assert values["flowspan_runs", "queued"] == 7
    assert values["flowspan_runs", "running"] == 0
    assert values["flowspan_runs_ended_total", "succeeded"] == 2
    assert values["flowspan_runs_ended_total", "failed"] == 1
    assert values["flowspan_run_duration_seconds_count", "succeeded"] == 2
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families["flowspan_run_duration_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["status"] == "succeeded"
    }
    assert (buckets["0.25"], buckets["60.0"], buckets["300.0"], buckets["+Inf"]) == (1, 1, 2, 2)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/readyz", 405)])
async def test_what_is_not_there_is_told(health, method, path, status):
    [answer] = await ask(health, path, method=method)
    assert answer.status_code == status


async def test_a_head_has_no_body(health):
    [answer] = await ask(health, "/healthz", method="HEAD")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "3")


@pytest.mark.parametrize(
    "sent", [b"no http\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"]
)
async def test_what_is_no_request_is_refused(health, sent):
    async with serving(health) as where:
        host, _, port = where.rpartition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(sent)
            assert (await stream.receive()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


async def test_whoever_says_nothing_or_leaves_holds_nobody_up(health, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    async with serving(health) as where, httpx.AsyncClient() as client:
        host, _, port = where.rpartition(":")
        async with await anyio.connect_tcp(host, int(port)) as silent:
            async with await anyio.connect_tcp(host, int(port)):
                pass
            with pytest.raises(anyio.EndOfStream):
                await silent.receive()
        assert (await client.get(f"http://{where}/healthz")).status_code == 200


async def test_an_address_that_is_taken_is_told(health):
    async with serving(health) as where:
        port = int(where.rpartition(":")[2])
        with pytest.raises(SurroundingsError, match=f"nothing can listen at 127.0.0.1:{port}: "):
            await Probes.listen(health, ("127.0.0.1", port))
