"""Runs behind a queue, as a user has them: submitted, worked off by processes, killed, stopped, looked at."""

import json
import signal

import pytest

from runner.runtime.vault import KEY_VARIABLE
from tests.command import flow_file, get, here, start
from tests.servers import ApiServer, echo
from tests.workers import PATIENCE, Workers, until


@pytest.fixture
def api():
    with ApiServer(echo) as server:
        yield server


@pytest.fixture
def runner(tmp_path, state):
    """How to call `runner` on the database of the test."""
    url, environ = state
    return lambda *words: here(*words, "--state", url, cwd=tmp_path, **environ)


@pytest.fixture
def workers(tmp_path, state):
    with Workers(tmp_path, *state) as started:
        yield started


def test_a_submitted_run_is_worked_off_and_can_be_looked_at(tmp_path, api, runner, workers):
    flow = flow_file(tmp_path, get("a"), get("b"))
    words = ("submit", flow, "--id", "one", "-e", f"API={api.origin}")
    first = runner(*words)
    assert (first.returncode, first.stdout, first.stderr) == (0, "one\n", "")
    again = runner(*words)
    assert (again.returncode, again.stdout) == (0, "one\n")
    assert "there is a run 'one' already (queued)" in again.stderr
    process = workers.start("--concurrency", 2)
    assert process.stdout.readline() == "one succeeded\n"
    assert [request.path for request in api.requests] == ["/a", "/b"]
    shown = runner("runs", "show", "one")
    assert "http-b" in shown.stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_env_that_a_run_lacks_is_told_and_given_by_the_worker(tmp_path, api, runner, workers):
    flow = flow_file(tmp_path, get("a"), get("b", headers={"X-Who": "{{headers.who}}"}))
    assert runner("submit", flow).stderr.count("no header 'who'") == 1
    submitted = runner("submit", flow, "--id", "one", "--header", "who: ada")
    assert (submitted.returncode, submitted.stdout) == (0, "one\n")
    assert "no env value 'API'; a worker has to give it: runner worker -e API=…" in submitted.stderr
    assert runner("submit", flow, "--header", "who: ada", "--quiet").stderr == ""
    process = workers.start("-e", f"API={api.origin}")
    assert process.stdout.readline() == "one succeeded\n"


def test_whoever_waits_leaves_as_run_does_and_may_go_away(tmp_path, api, runner, workers, state):
    url, environ = state
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow", expectedStatus=404))
    words = ("submit", flow, "--id", "w", "-e", f"API={api.origin}", "--wait", "--state", url)
    waiting = start(*words, cwd=tmp_path, **environ)
    assert waiting.stderr.readline() == "run w is in the queue; Ctrl-C leaves it there\n"
    workers.start()
    gate.wait_for(1)
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, out) == (4, "")
    assert "the run goes on; look at it: runner runs show w" in err
    gate.release()
    again = runner(*words[:-2], "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["status"] == "failed"
    shown = runner(*words[:-2])
    assert "http-slow" in shown.stdout


def test_a_run_is_cancelled_while_it_waits_and_while_it_runs(tmp_path, api, runner, workers):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("slow"), get("after"))
    for run_id in ("running", "waiting"):
        runner("submit", flow, "--id", run_id, "-e", f"API={api.origin}")
    process = workers.start("--concurrency", 1)
    gate.wait_for(1)
    assert runner("runs", "cancel", "waiting").stdout == "waiting cancelled\n"
    assert runner("runs", "cancel", "running").stdout == "running is asked to end\n"
    assert process.stdout.readline() == "running cancelled\n"
    gate.release()
    listed = json.loads(runner("runs", "--json").stdout)
    assert {run["runId"]: run["status"] for run in listed} == {"running": "cancelled", "waiting": "cancelled"}
    assert [request.path for request in api.requests] == ["/slow"]


def test_a_run_that_never_began_can_be_looked_at_and_done_again(tmp_path, api, runner):
    flow = flow_file(tmp_path, get("a"))
    runner("submit", flow, "--id", "one", "-e", f"API={api.origin}")
    assert "run one (queued)" in runner("runs", "show", "one").stdout
    cancelled = runner("runs", "cancel", "one", "--json")
    assert [run["status"] for run in json.loads(cancelled.stdout)] == ["cancelled"]
    assert "run one (cancelled)" in runner("runs", "show", "one").stdout
    assert len(json.loads(runner("runs", "trace", "one").stdout)["spans"]) == 1
    again = runner("runs", "retry", "one", "--failed", "--id", "two")
    assert (again.returncode, again.stdout[:5]) == (0, "two: ")
    deleted = runner("runs", "delete", "one", "--json")
    assert json.loads(deleted.stdout) == {"deleted": ["one"]}
    listed = runner("runs", "--before", "one")
    assert (listed.returncode, listed.stderr[:26]) == (2, "one: there is no such run ")


def test_what_is_wrong_is_told_and_nothing_is_taken_in(tmp_path, runner):
    flow = flow_file(
        tmp_path, {"id": "a", "set": {"x": "{{input.n}}"}}, flow_inputs=[{"name": "n", "required": True}]
    )
    nul = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}}, name="nul.json")
    (tmp_path / nul).write_text(
        '{"version": "1.0",\n "name": "a\\u0000b", "steps": [{"id": "a", "set": {"x": "1"}}]}'
    )
    for refused in (runner("submit", nul), runner("run", nul, "--quiet")):
        assert refused.returncode == 2
        assert "nul.json:2:10 name: has the character \\u0000" in refused.stderr
    wrong = ("--traceparent", "zz", "--id", "bad id")
    for more, told in (
        (("-i", "ms=x"), "inputs.ms: Input ms: no such input"), (("-i", "n"), "-i: needs the form"), (("-i", "n=1"), "bad id"),
    ):  # fmt: skip
        all_of_it = runner("submit", flow, *wrong, *more)
        assert all_of_it.returncode == 2
        for one in ("--traceparent: is no W3C traceparent", "'bad id' is no run id", told):
            assert all_of_it.stderr.count(one) == 1, all_of_it.stderr
    missing = runner("submit", flow, "--traceparent", "00-nothing")
    assert missing.returncode == 2
    assert "--traceparent: is no W3C traceparent" in missing.stderr
    assert runner("submit", flow).returncode == 2
    assert runner("submit", flow, "-i", "n=1", "--priority", "urgent").returncode == 2
    off = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}}, name="off.json", is_active=False)
    refused = runner("submit", off)
    assert (refused.returncode, "not active; --inactive" in refused.stderr) == (2, True)
    assert runner("runs", "stats").stdout == ""
    assert runner("submit", off, "--inactive", "--quiet", "--max-queued", 1).returncode == 0
    full = runner("submit", flow, "-i", "n=1", "--max-queued", 1)
    assert full.returncode == 3
    assert "1 runs wait already (--max-queued 1); try again later" in full.stderr


def test_a_run_of_a_local_database_and_a_queued_one_live_side_by_side(tmp_path, api, runner, workers):
    flow = flow_file(tmp_path, get("a"))
    env = ("-e", f"API={api.origin}")
    assert runner("run", flow, "--run-id", "local", *env, "--quiet").returncode == 0
    assert runner("submit", flow, "--id", "queued", *env).returncode == 0
    assert runner("runs", "retry", "local", "--start", "--id", "again").returncode == 0
    workers.start()
    until(lambda: runner("runs", "stats").stdout == "succeeded  3\n")


def test_a_new_key_is_printed(tmp_path):
    assert len(here("worker", "--new-key", cwd=tmp_path).stdout.strip()) == 44


def test_a_worker_without_the_key_of_the_runs_names_it_and_ends(tmp_path, state):
    url, environ = state
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}})
    assert here("submit", flow, "--state", url, cwd=tmp_path, **environ).returncode == 0
    other = here("worker", "--new-key", cwd=tmp_path).stdout.strip()
    for command in (
        ["worker"], ["submit", flow], ["run", flow], ["resume", "it"], ["runs"], ["runs", "retry", "it", "--start"],
    ):  # fmt: skip
        wrong = here(*command, "--state", url, cwd=tmp_path, **{KEY_VARIABLE: other})
        assert wrong.returncode == 3, command
        assert "the state was encrypted with key" in wrong.stderr
    assert len(here("runs", "--state", url, cwd=tmp_path, **environ).stdout.splitlines()) == 1
