"""Runs in a state database, as a user has them: killed, resumed, looked at, done again, deleted."""

import json
import signal

import pytest

from runner.runtime.vault import KEY_VARIABLE, new_key
from tests.command import command, flow_file, get, here, start
from tests.emulators.versori import ORG, PROJECT, TOKEN, Versori
from tests.integration_flow_schema import violations

CANARY = "canary-Xq81-secret"


@pytest.fixture
def killed(tmp_path, api, state):
    """A run `k` whose process was killed in its second step; returns how to call `runner` after that."""
    url, environ = state
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("first"), get("slow"), get("last"))
    words = (
        "run",
        flow,
        "--run-id",
        "k",
        "--state",
        url,
        "-e",
        f"API={api.origin}",
        "-e",
        f"API_KEY={CANARY}",
    )
    process = start(*words, cwd=tmp_path, **environ)
    gate.wait_for(1)
    held = here("resume", "k", "--state", url, cwd=tmp_path, **environ)
    assert (held.returncode, "alive" in held.stderr) == (3, True)
    process.kill()
    process.communicate()
    gate.release()
    return lambda *more, **env: here(*more, "--state", url, cwd=tmp_path, **environ, **env)


def test_a_killed_run_goes_on_and_repeats_only_what_was_in_flight(tmp_path, api, killed):
    done = killed("resume", "k", "--trace-out", "t.json")
    assert done.returncode == 0, done.stderr
    assert [request.path for request in api.requests] == ["/first", "/slow", "/slow", "/last"]
    trace = json.loads((tmp_path / "t.json").read_text())
    assert violations(trace) == []
    assert [span["name"] for span in trace["spans"] if "parentSpanContext" not in span] == ["flow-flow"]
    again = killed("resume", "k")
    assert (again.returncode, "has ended: succeeded" in again.stderr) == (2, True)
    stored = killed("runs", "trace", "k")
    assert json.loads(stored.stdout) == trace


def test_the_trace_of_a_resumed_run_is_pushed(killed):
    with Versori() as platform:
        target = ("--push", "versori", "--push-url", platform.api, "--org", ORG, "--project", PROJECT)
        refused = killed("resume", "k", *target, "--names", "versori")
        assert (refused.returncode, "VERSORI_TOKEN" in refused.stderr) == (2, True)
        done = killed("resume", "k", *target, VERSORI_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "flow: created (7 spans)" in done.stdout
    assert [span["name"] for span in platform.flows["flow"]["spans"]].count("flow-flow") == 1


def test_runs_are_listed_shown_counted_and_deleted(killed):
    listed = json.loads(killed("runs", "--json").stdout)
    assert [(run["runId"], run["status"], run["claims"]) for run in listed] == [("k", "running", 1)]
    shown = killed("runs", "show", "k")
    assert shown.returncode == 0
    assert "http-first" in shown.stdout
    assert "run k (running)" in shown.stdout
    refused = killed("runs", "delete", "k")
    assert (refused.returncode, "has not ended" in refused.stderr) == (2, True)
    assert killed("resume", "k").returncode == 0
    assert killed("runs", "stats").stdout == "succeeded  1\n"
    assert json.loads(killed("runs", "stats", "--json").stdout) == {"succeeded": 1}
    assert "k  succeeded" in killed("runs").stdout
    assert killed("runs", "--status", "failed").stdout == ""
    assert killed("runs", "cancel", "k").stdout == "k has ended already: succeeded\n"
    assert killed("runs", "delete", "--older-than", "1h").stdout == "deleted 0 runs\n"
    assert killed("runs", "delete", "k").stdout == "deleted 1 run\n"
    missing = killed("runs", "show", "k")
    assert (missing.returncode, "there is no such run" in missing.stderr) == (2, True)


def test_a_part_of_a_run_is_done_again(tmp_path, api, killed):
    assert killed("resume", "k").returncode == 0
    again = killed("runs", "retry", "k", "--from", "last", "--id", "k2")
    assert again.stdout == "k2: a worker takes it, or: runner resume k2\n"
    api.requests.clear()
    assert killed("resume", "k2").returncode == 0
    assert [request.path for request in api.requests] == ["/last"]
    assert "(again k)" in killed("runs").stdout
    [waiting] = json.loads(f"[{killed('runs', 'retry', 'k', '--start', '--json').stdout}]")
    assert (waiting["status"], waiting["previousRunId"]) == ("queued", "k")
    assert killed("runs", "cancel", waiting["runId"]).stdout == f"{waiting['runId']} cancelled\n"
    killed("runs", "trace", "k", "-o", "k.json")
    assert json.loads((tmp_path / "k.json").read_text())["name"] == "flow"


def test_a_run_id_is_taken_once(tmp_path, state):
    url, environ = state
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": "1"}})
    words = ("run", flow, "--run-id", "one", "--state", url, "--quiet")
    assert here(*words, cwd=tmp_path, **environ).returncode == 0
    again = here(*words, cwd=tmp_path, **environ)
    assert (again.returncode, "there is a run 'one' already" in again.stderr) == (2, True)


def test_an_interrupted_run_has_ended(tmp_path, api, state):
    url, environ = state
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        gate = api.hold("/slow")
        flow = flow_file(tmp_path, get("slow"))
        words = ("run", flow, "--run-id", "c", "--state", url, "-e", f"API={api.origin}")
        process = start(*words, cwd=tmp_path, **environ)
        gate.wait_for(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=25)
    finally:
        signal.signal(signal.SIGINT, before)
        gate.release()
    assert process.returncode == 4
    listed = json.loads(here("runs", "--json", "--state", url, cwd=tmp_path, **environ).stdout)
    assert [run["status"] for run in listed] == ["cancelled"]


def test_the_usage_of_runs_is_told(tmp_path):
    neither = here("runs", "delete", cwd=tmp_path)
    assert (neither.returncode, "name runs, or give --older-than" in neither.stderr) == (2, True)
    assert here("runs", "delete", "--older-than", "soon", cwd=tmp_path).returncode == 2
    assert here("runs", "--help", cwd=tmp_path).returncode == 0


def test_no_secret_stands_in_the_files_of_the_state(tmp_path, api):
    flow = flow_file(tmp_path, get("a", headers={"Authorization": "Bearer {{env.API_KEY}}"}))
    words = ("run", flow, "--state", "sqlite:///s.db", "-e", f"API={api.origin}", "-e", f"API_KEY={CANARY}")
    assert command(*words, cwd=tmp_path).returncode == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"s.db", "s.db.key"} <= {path.name for path in files}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert (tmp_path / "s.db.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("place", "told"), [("file/x/s.db", "cannot make the folder"), ("folder", "unable to open database file")]
)
def test_a_database_that_cannot_be_made_is_named_in_one_line(tmp_path, place, told):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    done = here(
        "runs", "list", "--state", f"sqlite:///{tmp_path}/{place}", cwd=tmp_path, **{KEY_VARIABLE: new_key()}
    )
    assert done.returncode == 3
    assert told in done.stderr
    assert f"{tmp_path}/{place}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
