"""Probes of a worker, asked as those do who watch over it."""

import re
import signal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.cli.options import parse
from runner.runtime.store import Store
from tests.command import PATIENCE, flow_file, get, here
from tests.servers import ApiServer, echo
from tests.workers import Workers, submit, until


@pytest.fixture
def api():
    with ApiServer(echo) as server:
        yield server


def numbers(place):
    families = text_string_to_metric_families(httpx.get(f"{place}/metrics").text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_worker_tells_whether_it_takes_runs_and_how_many(tmp_path, api, state):
    store = Store(*state)
    flow = flow_file(
        tmp_path, get("a", url="{{env.API}}/a?n={{input.n}}"), flow_inputs=[{"name": "n", "type": "string"}]
    )
    with Workers(tmp_path, *state) as workers:
        process = workers.start("--http", ":0", "--concurrency", 3)
        place = re.fullmatch(r"probes: (http://127\.0\.0\.1:\d+)/healthz.*\n", process.stderr.readline())[1]
        assert httpx.get(f"{place}/healthz").text == "ok\n"
        until(lambda: httpx.get(f"{place}/readyz").status_code == 200)
        submit(store, flow, 4, api)
        until(lambda: numbers(place).get(("flowspan_runs_ended_total", "succeeded")) == 4)
        gate = api.hold("/a")
        submit(store, flow, 5, api, prefix="held")
        gate.wait_for(3)
        shown = numbers(place)
        assert (shown["flowspan_worker_runs",], shown["flowspan_worker_concurrency",]) == (3, 3)
        assert (shown["flowspan_runs", "queued"], shown["flowspan_runs", "running"]) == (2, 3)
        assert shown["flowspan_run_duration_seconds_count", "succeeded"] == 4
        process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{place}/readyz").text == "it is stopping\n")
        assert httpx.get(f"{place}/healthz").status_code == 200
        assert numbers(place)["flowspan_worker_ready",] == 0
        gate.release()
        assert process.wait(PATIENCE) == 0
    store.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), (":80", ("127.0.0.1", 80)), ("[::]:0", ("::", 0))],
)
def test_addresses_are_read(text, found):
    assert parse(["worker", "--http", text]).http == found


@pytest.mark.parametrize("text", ["8080", "a:b", "1.2.3.4:70000", "http://a:1", ""])
def test_what_is_no_address_is_told(text, tmp_path):
    done = here("worker", "--http", text, cwd=tmp_path)
    assert (done.returncode, "is no HOST:PORT; write 127.0.0.1:8080" in done.stderr) == (2, True)


def test_an_address_that_is_taken_is_told(tmp_path, api):
    taken = here("worker", "--http", f"127.0.0.1:{api.port}", "--quiet", cwd=tmp_path)
    assert taken.returncode == 3
    assert taken.stderr.startswith(f"nothing can listen at 127.0.0.1:{api.port}: ")
