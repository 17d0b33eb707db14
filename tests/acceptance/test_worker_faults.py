"""Workers that are killed, frozen, stopped and cut off from their database: nothing is lost, nothing is done twice."""

import json
import signal

import pytest

from runner.runtime.store import Store
from tests.command import flow_file, here
from tests.integration_flow_schema import violations
from tests.servers import ApiServer, Reply
from tests.workers import PATIENCE, Workers, all_ended, asked, call, check_traces, repeats, submit, until

pytestmark = pytest.mark.timeout(120)  # each starts several processes
STEPS = ("one", "two", "three", "four")
RUN_INPUT = [{"name": "n", "type": "string", "required": True}]


@pytest.fixture
def api():
    with ApiServer(lambda _: Reply(body={"ok": True}, delay=0.15)) as server:
        yield server


@pytest.fixture
def workers(tmp_path, state):
    with Workers(tmp_path, *state) as started:
        yield started


@pytest.fixture
def flow(tmp_path):
    return flow_file(tmp_path, *map(call, STEPS), flow_inputs=RUN_INPUT)


def test_a_frozen_worker_is_overtaken_and_its_late_writes_are_refused(api, workers, store, flow):
    ids = submit(store, flow, 6, api)
    frozen = workers.start("--concurrency", 6)
    until(lambda: len(api.requests) >= 6)
    frozen.send_signal(signal.SIGSTOP)
    workers.start("--concurrency", 6)
    until(lambda: all_ended(store, 6))
    assert store.counts() == {"succeeded": 6}
    told = {run_id: store.trace(run_id) for run_id in ids}
    count = len(api.requests)
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(PATIENCE) == 75
    assert len(api.requests) == count
    assert {run_id: store.trace(run_id) for run_id in ids} == told
    assert repeats(store, api, ids) <= len(ids)
    check_traces(store, ids, STEPS)


def test_a_worker_that_is_asked_to_stop_ends_its_runs(api, workers, store, flow):
    submit(store, flow, 10, api)
    process = workers.start("--concurrency", 5)
    until(lambda: len(api.requests) >= 7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    ended = store.counts()["succeeded"]
    assert 5 <= ended < 10
    assert store.counts() == {"succeeded": ended, "queued": 10 - ended}
    assert set(asked(api).values()) == {1}
    workers.start()
    until(lambda: all_ended(store, 10))
    assert set(asked(api).values()) == {1}


def test_what_does_not_end_in_time_is_handed_over(api, workers, store, flow):
    gate = api.hold("/two")
    submit(store, flow, 3, api)
    process = workers.start("--drain", 0.2)
    gate.wait_for(3)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    rows = store.runs()
    assert {(row.state, row.owner, row.epoch, row.handovers) for row in rows} == {("queued", "", 1, 1)}
    gate.release()
    workers.start()
    until(lambda: all_ended(store, 3))
    counts = asked(api)
    assert {step: {counts[f"r{number}", step] for number in range(3)} for step in STEPS} == {
        "one": {1}, "two": {2}, "three": {1}, "four": {1},
    }  # fmt: skip


def test_the_second_signal_hands_over_at_once(api, workers, store, flow):
    gate = api.hold("/one")
    submit(store, flow, 2, api)
    process = workers.start("--drain", 3600)
    gate.wait_for(2)
    process.send_signal(signal.SIGTERM)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert store.counts() == {"queued": 2}
    gate.release()


def test_a_run_that_kills_its_workers_is_ended_with_a_trace(api, workers, store, flow, state, tmp_path):
    gate = api.hold("/two")
    submit(store, flow, 1, api)
    for number in range(1, 3):
        process = workers.start("--max-deaths", 2)
        gate.wait_for(number)
        process.kill()
        process.wait()
    last = workers.start("--max-deaths", 2)
    assert last.stdout.readline() == "r0 failed\n"
    row = store.get("r0")
    assert (row.state, row.reason) == ("failed", "run.dead_letter")
    message = store.result("r0")["error"]["message"]
    assert message.startswith("2 workers died")
    assert message.endswith("it stands at two")
    trace = json.loads(store.trace("r0"))
    assert violations(trace) == []
    assert [span["name"] for span in trace["spans"]] == [
        "flow-flow", *["process flows"] * 3, "http-one", "POST /one",
    ]  # fmt: skip
    ends = [span["attributes"].get("runner.claim.end") for span in trace["spans"][1:4]]
    assert ends == ["lost", "lost", None]
    assert trace["spans"][0]["status"]["code"] == 1
    listed = here("runs", "--state", state[0], cwd=tmp_path, **state[1])
    assert "failed" in listed.stdout
    assert "run.dead_letter" in listed.stdout
    gate.release()


def test_a_run_that_cannot_be_opened_is_ended_apart(api, workers, store, flow):
    submit(store, flow, 3, api)
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE flowspan_files SET path = 'other.json' WHERE run = 'r0'")
        damaged = store.vault.seal(b"{}")[:-9] + b"damaged00"
        connection.execute(
            store.tables.runs.update().where(store.tables.runs.c.id == "r1").values(given=damaged)
        )
    workers.start()
    until(lambda: all_ended(store, 3))
    assert {row.id: (row.state, row.reason) for row in store.runs()} == {
        "r0": ("failed", "run.unreadable"),
        "r1": ("failed", "run.unreadable"),
        "r2": ("succeeded", ""),
    }
    for run_id in ("r0", "r1"):
        trace = json.loads(store.trace(run_id))
        assert violations(trace) == []
        [span] = trace["spans"]
        assert (span["name"], span["status"]["code"]) == ("flow-flow", 1)


def test_no_secret_of_a_run_stands_in_the_files_of_the_queue(tmp_path, api):
    canary = "canary-Zq77-secret"
    flow = flow_file(
        tmp_path, call("one", headers={"Authorization": "Bearer {{env.API_KEY}}"}), flow_inputs=RUN_INPUT
    )
    words = (
        "-i",
        f"n={canary}",
        "-e",
        f"API={api.origin}",
        "-e",
        f"API_KEY={canary}",
        "--header",
        f"X: {canary}",
    )
    assert here("submit", flow, *words, "--state", "sqlite:///s.db", cwd=tmp_path).returncode == 0
    assert (
        here("submit", flow, *words, "--delay", 3600, "--state", "sqlite:///s.db", cwd=tmp_path).returncode
        == 0
    )

    def leaks():
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return [path for path in files if canary.encode() in path.read_bytes()]

    assert leaks() == []
    with Workers(tmp_path, "sqlite:///s.db", {}) as workers:
        process = workers.start()
        assert process.stdout.readline().endswith("succeeded\n")
        assert leaks() == []
    store = Store(f"sqlite:///{tmp_path / 's.db'}", {})
    assert store.counts() == {"queued": 1, "succeeded": 1}
    store.close()
    assert leaks() == []
