"""Rates of hosts, as a user gives them: for one run, and for all that share a database."""

import json

import pytest

import runner
from runner.runtime.store import Store
from tests.command import PATIENCE, flow_file, get, here, start
from tests.servers import ApiServer, echo
from tests.workers import Workers, all_ended, submit, until


@pytest.fixture
def api():
    with ApiServer(echo) as server:
        yield server


def loop(count, **keys):
    return get("each", forEach=list(range(count)), maxConcurrency=count, **keys)


def test_two_processes_keep_to_one_rate(tmp_path, api, state):
    url, environ = state
    flow = flow_file(tmp_path, get("begin"), loop(9), config={"timeout": 60_000})
    gate = api.hold("/begin")
    words = ("run", flow, "--state", url, "--rate", "127.0.0.1=10/s", "-e", f"API={api.origin}")
    both = [
        start(*words, "--run-id", name, "--trace-out", f"{name}.json", cwd=tmp_path, **environ)
        for name in ("a", "b")
    ]
    gate.wait_for(2)
    gate.release()
    ended = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert len(api.requests) == 20
    assert max(request.at for request in api.requests) - min(request.at for request in api.requests) >= 1.8
    for name in ("a", "b"):
        spans = json.loads((tmp_path / f"{name}.json").read_bytes())["spans"]
        waits = [event for span in spans for event in span.get("events", ()) if event["name"] == "rate.wait"]
        assert len(waits) >= 8
        assert all(wait["attributes"]["runner.delay_ms"] >= 0 for wait in waits)


@pytest.mark.timeout(120)  # two workers, started one after the other, and five seconds
def test_two_workers_keep_to_one_rate(tmp_path, api, state):
    url, environ = state
    store = Store(url, environ)
    inputs = [{"name": "n", "type": "string"}]
    flow = flow_file(tmp_path, get("a", url="{{env.API}}/a?run={{input.n}}"), flow_inputs=inputs)
    submit(store, flow, 50, api)
    with Workers(tmp_path, url, environ) as workers:
        for _ in range(2):
            workers.start("--rate", "127.0.0.1=10/s")
        until(lambda: all_ended(store, 50))
    assert store.counts() == {"succeeded": 50}
    times = sorted(request.at for request in api.requests)
    assert len(times) == 50
    assert times[-1] - times[0] >= 4.5
    store.close()


def test_waiting_for_a_turn_is_no_part_of_the_request(tmp_path, api):
    flow = flow_file(tmp_path, loop(2, timeout=1_500))
    done = here("run", flow, "--rate", "*=30/m", "-e", f"API={api.origin}", "--trace-out", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    first, second = sorted(request.at for request in api.requests)
    assert second - first >= 1.9
    spans = json.loads((tmp_path / "t").read_bytes())["spans"]
    waits = [(span["name"], event) for span in spans for event in span.get("events", ())]
    [(name, event)] = [wait for wait in waits if wait[1]["name"] == "rate.wait"]
    assert name == "iteration-each"
    assert 1_500 < event["attributes"]["runner.delay_ms"] <= 2_000


def test_a_resumed_run_keeps_to_the_rate_too(tmp_path, api):
    flow = flow_file(tmp_path, get("first"), get("slow"), get("last"))
    gate = api.hold("/slow")
    common = ("--state", "sqlite:///s.db", "-e", f"API={api.origin}")
    process = start("run", flow, "--run-id", "k", *common, cwd=tmp_path)
    gate.wait_for(1)
    process.kill()
    process.communicate()
    gate.release()
    done = here("resume", "k", *common, "--rate", "*=2/s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    times = {request.path: request.at for request in api.requests}
    assert times["/last"] - times["/slow"] >= 0.45


def test_a_rate_that_is_none_is_told_with_everything_else(tmp_path):
    flow = flow_file(tmp_path, get("a", url="{{b.x}}"))
    done = here("run", flow.name, "--rate", "10/s", cwd=tmp_path)
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        "--rate", "flow.json:10:12 steps[0].url",
    ]  # fmt: skip
    assert "write api.example.com=10/s" in done.stderr
    resumed = here("resume", "k", "--rate", "*=0/s", cwd=tmp_path)
    assert (resumed.returncode, "--rate: '*=0/s' is no rate" in resumed.stderr) == (2, True)


def test_runs_of_the_library_share_what_they_are_given(api):
    document = {"version": "1.0", "flow_inputs": [], "steps": [get("a")]}
    settings = runner.RunSettings(pace=runner.Pace(["*=4/s"]))
    for _ in range(3):
        assert runner.run_sync(document, env={"API": api.origin}, settings=settings).ok
    times = [request.at for request in api.requests]
    assert times[2] - times[0] >= 0.45
