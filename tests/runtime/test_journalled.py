"""A run that was cut off goes on where its journal ends, as the same trace (SEMANTICS, Journal)."""

import json

import anyio
import pytest

from runner.errors import FencedError, FlowError, SurroundingsError
from runner.runtime.http import HttpSettings
from runner.runtime.journal import Journal
from runner.runtime.loading import LoadSettings
from runner.runtime.queue import Queue
from runner.runtime.run import RunSettings
from runner.runtime.state import Again, LocalState, Surroundings, restored, retry
from tests.servers import ApiServer, Reply

AROUND = Surroundings(HttpSettings())


@pytest.fixture
def api():
    with ApiServer(lambda request: Reply(body={"n": 7, "path": request.path})) as server:
        yield server


@pytest.fixture
def local(state):
    opened = LocalState(*state)
    yield opened
    opened.close()


def call(step_id, api, **keys):
    return {"id": step_id, "method": "POST", "url": f"{api.origin}/{step_id}", "idempotencyKey": True, **keys}


def document(api):
    """Every kind of thing that a journal has rows of, or must find again without one."""
    return {
        "name": "F",
        "version": "1.0",
        "flow_inputs": [{"name": "pw", "type": "password"}],
        "config": {"parallel": True, "maxConcurrency": 3, "stopOnError": False},
        "steps": [
            call("a", api, outputs={"n": "response.body.n"}, body={"id": "{{$uuid}}", "pw": "{{input.pw}}"}),
            {"id": "off", "condition": "{{a.n}} === 8", "set": {"x": "1"}},
            {"id": "loop", "forEach": ["p", "q", "r"], "set": {"v": "{{item}}{{a.n}}"}},
            {"id": "big", "condition": "{{a.n}} > 5"},
            {"id": "yes", "set": {"v": "{{loop.v}}"}},
            {"id": "no", "set": {"v": "never"}},
            call("poll", api, until={"condition": "response.body.n === 7", "interval": 1}, dependsOn=["a"]),
            call("bad", api, expectedStatus=404, dependsOn=["loop"], outputs={"x": "response.body.n"}),
            {"id": "needs", "set": {"v": "{{bad.x}}"}},
        ],
        "edges": [
            {"from": "big", "to": "yes", "when": "true"},
            {"from": "big", "to": "no", "when": "false"},
        ],
    }


def write(folder, value, name="flow.json"):
    path = folder / name
    path.write_text(json.dumps(value))
    return str(path)


def taken_in(local, path, run_id="run-1", **settings):
    return local.take_in(path, {"pw": "sEcret-pw-1"}, RunSettings(run_id=run_id, **settings))


def spans_by_id(store, run_id="run-1"):
    return {span["spanContext"]["spanId"]: span for span in json.loads(store.trace(run_id))["spans"]}


def cut_off(store, rows, run_id="run-1"):
    """Bring the database to where a process left it that died after so many rows."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE flowspan_runs SET state = 'running', owner = '', ended = NULL")
        connection.exec_driver_sql(f"DELETE FROM flowspan_rows WHERE seq >= {rows}")


@pytest.mark.anyio
async def test_a_run_that_died_anywhere_ends_as_it_would_have_and_repeats_nothing(tmp_path, local, api):
    path = write(tmp_path, document(api))
    whole = await taken_in(local, path).execute()
    store, first = local.store, spans_by_id(local.store)
    count = len(store.kept("run-1"))
    assert whole.status == "failed"
    assert count > 8
    for rows in (count, count // 2, 1):
        cut_off(store, rows)
        done = [kept.path for kept in store.kept("run-1") if kept.kind == "leaf"]
        api.requests.clear()
        again = await local.claimed("run-1", AROUND).execute()
        assert (again.status, again.outputs) == (whole.status, whole.outputs)
        sent = {request.path.strip("/") for request in api.requests}
        assert sent == {"a", "poll", "bad"} - {name.partition("~")[0] for name in done}
        now = spans_by_id(store)
        kept = {name for name, span in first.items() if span["attributes"].get("task.id") in done}
        assert {name: now[name] for name in kept} == {name: first[name] for name in kept}
        roots = [span for span in now.values() if "parentSpanContext" not in span]
        assert len(roots) == 1
        assert {one["parentSpanContext"]["spanId"] for one in now.values() if one not in roots} <= set(now)


@pytest.mark.anyio
async def test_a_repeated_request_is_the_same_to_the_byte_with_the_same_key(tmp_path, local, api):
    path = write(tmp_path, document(api))
    await taken_in(local, path).execute()
    [first] = [request for request in api.requests if request.path == "/a"]
    cut_off(local.store, 0)
    await local.claimed("run-1", AROUND).execute()
    second = [request for request in api.requests if request.path == "/a"][1]
    assert second.body == first.body
    assert second.header("idempotency-key") == first.header("idempotency-key")


@pytest.mark.anyio
async def test_the_trace_of_a_run_is_what_it_is_by_now(tmp_path, local, api):
    path = write(tmp_path, document(api))
    await taken_in(local, path).execute()
    cut_off(local.store, 3)
    run = local.claimed("run-1", AROUND)
    run.replay()
    spans = list(run.recorder.spans())
    assert spans[0]["name"] == "flow-F"
    assert spans[0]["ended"] is False
    assert sum(span["ended"] for span in spans) >= 3


@pytest.mark.anyio
async def test_whoever_was_overtaken_writes_nothing_more_and_tells_nobody(tmp_path, local, api):
    gate = api.hold("/a")
    path = write(tmp_path, document(api))
    run = taken_in(local, path)
    told = []
    run.recorder._listeners = (Listening(told),)
    async with anyio.create_task_group() as group:
        caught = []

        async def go():
            with pytest.raises(FencedError) as error:
                await run.execute()
            caught.append(error)

        group.start_soon(go)
        await gate.arrived(1)
        claim = local.store.claim("run-1", "somebody else")
        gate.release()
    assert caught
    assert told == []
    assert local.store.kept("run-1") == []
    other = restored(Journal(local.store), claim, AROUND)
    assert (await other.execute()).status == "failed"


class Listening:
    def __init__(self, told):
        self.told = told

    def opened(self, record):
        pass

    def ended(self, record):
        pass

    def sealed(self, record):
        self.told.append(record.name)


@pytest.mark.anyio
async def test_an_interruption_is_not_kept_and_the_run_has_ended(tmp_path, local, api):
    gate = api.hold("/a")
    run = taken_in(local, write(tmp_path, document(api)))
    results = []

    async def go():
        results.append(await run.execute())

    async with anyio.create_task_group() as group:
        group.start_soon(go)
        await gate.arrived(1)
        run.interrupt("cancelled")
    gate.release()
    assert results[0].status == "cancelled"
    assert [kept.path for kept in local.store.kept("run-1") if kept.kind == "leaf"] == []
    with pytest.raises(FlowError, match="has ended: cancelled"):
        local.claimed("run-1", AROUND)


def test_a_run_that_somebody_alive_carries_on_is_not_taken(tmp_path, state, local, api):
    taken_in(local, write(tmp_path, document(api)))
    other = LocalState(*state)
    with pytest.raises(SurroundingsError, match="by a process that is alive"):
        other.claimed("run-1", AROUND)
    other.close()


def test_an_id_is_taken_once_and_an_unknown_one_is_told(tmp_path, local, api):
    path = write(tmp_path, document(api))
    taken_in(local, path)
    with pytest.raises(FlowError, match="there is a run 'run-1' already"):
        taken_in(local, path)
    with pytest.raises(FlowError, match="there is no run 'zz'"):
        local.claimed("zz", AROUND)


@pytest.mark.anyio
async def test_a_journal_that_belongs_to_another_flow_is_refused(tmp_path, local, api):
    await taken_in(local, write(tmp_path, document(api))).execute()
    cut_off(local.store, 2)
    with local.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE flowspan_rows SET path = 'elsewhere' WHERE path = 'a'")
    with pytest.raises(SurroundingsError, match="has a row at 'elsewhere'"):
        local.claimed("run-1", AROUND).replay()


# --- files that go along


@pytest.mark.anyio
async def test_a_run_takes_its_files_along(tmp_path, local, api):
    (tmp_path / "data.bin").write_bytes(b"\0data")
    write(
        tmp_path,
        {"version": "1.0", "flow_inputs": [], "steps": [{"id": "x", "set": {"v": "in"}}]},
        "inner.json",
    )
    flow = {
        "version": "1.0",
        "flow_inputs": [],
        "steps": [
            call("up", api, bodyFile="data.bin"),
            {"id": "sub", "flow": "inner.json"},
            call("dyn", api, bodyFile="{{sub.x.v}}.txt"),
        ],
    }
    path = write(tmp_path, flow)
    with pytest.raises(FlowError, match="only the run knows which file"):
        local.take_in(path, {}, RunSettings(run_id="x"))
    with pytest.raises(FlowError, match=r"there is no file 'in\.txt'"):
        local.take_in(path, {}, RunSettings(run_id="x"), ["in.txt"])
    (tmp_path / "in.txt").write_bytes(b"text")
    run = local.take_in(path, {}, RunSettings(run_id="x"), ["in.txt"])
    for name in ("data.bin", "inner.json", "in.txt", "flow.json"):
        (tmp_path / name).unlink()
    result = await run.execute()
    assert result.status == "succeeded", [step.error for step in result.steps]
    assert [request.body for request in api.requests] == [b"\0data", b"text"]


# --- again


@pytest.mark.anyio
async def test_what_failed_is_done_again_and_the_rest_is_kept(tmp_path, local, api):
    path = write(tmp_path, document(api))
    await taken_in(local, path).execute()
    row = retry(local.store, Queue(local.store), "run-1", Again(failed=True), LoadSettings())
    api.requests.clear()
    await local.claimed(row.id, AROUND).execute()
    assert [request.path for request in api.requests] == ["/bad"]
    spans = json.loads(local.store.trace(row.id))["spans"]
    root = spans[0]
    assert root["attributes"]["runner.previous_run.id"] == "run-1"
    old = spans_by_id(local.store)
    [link] = json.loads(root["attributes"]["otel.links"])
    assert old[link["spanId"]]["name"] == "flow-F"
    kept = next(span for span in spans if span["name"] == "http-a")
    assert (kept["duration"], kept["startTime"]) == (0.0, root["startTime"])
    assert kept["attributes"]["execution.id"] == row.execution
    assert {span["spanContext"]["traceId"] for span in spans} == {row.trace}


@pytest.mark.anyio
async def test_a_step_that_was_answered_is_repeated_under_another_key(tmp_path, local, api):
    await taken_in(local, write(tmp_path, document(api))).execute()
    row = retry(local.store, Queue(local.store), "run-1", Again(start=True, run_id="run-2"), LoadSettings())
    assert row.id == "run-2"
    await local.claimed("run-2", AROUND).execute()
    keys = [one.header("idempotency-key") for one in api.requests if one.path == "/a"]
    assert len(set(keys)) == 2


@pytest.mark.anyio
async def test_an_edited_flow_must_fit_what_is_kept(tmp_path, local, api):
    flow = document(api)
    await taken_in(local, write(tmp_path, flow)).execute()
    flow["steps"][0]["body"]["more"] = 1
    flow["steps"][7]["expectedStatus"] = 200
    edited = write(tmp_path, flow, "edited.json")
    with pytest.raises(FlowError, match=r"^a: body .* -> "):
        retry(local.store, Queue(local.store), "run-1", Again(failed=True, flow=edited), LoadSettings())
    row = retry(local.store, Queue(local.store), "run-1", Again(from_step="a", flow=edited), LoadSettings())
    assert local.store.kept(row.id) == []
    flow["steps"][0]["body"].pop("more")
    edited = write(tmp_path, flow, "edited.json")
    row = retry(local.store, Queue(local.store), "run-1", Again(failed=True, flow=edited), LoadSettings())
    result = await local.claimed(row.id, AROUND).execute()
    assert {step.path: step.status for step in result.steps}["bad"] == "succeeded"


def test_only_an_ended_run_is_done_again(tmp_path, local, api):
    taken_in(local, write(tmp_path, document(api)))
    with pytest.raises(FlowError, match="has not ended"):
        retry(local.store, Queue(local.store), "run-1", Again(start=True), LoadSettings())
    with pytest.raises(FlowError, match="there is no run 'zz'"):
        retry(local.store, Queue(local.store), "zz", Again(start=True), LoadSettings())


@pytest.mark.anyio
async def test_a_step_that_the_flow_has_not_cannot_be_done_again(tmp_path, local, api):
    await taken_in(local, write(tmp_path, document(api))).execute()
    with pytest.raises(FlowError, match="the flow has no step 'nope'"):
        retry(local.store, Queue(local.store), "run-1", Again(from_step="nope"), LoadSettings())
    with pytest.raises(FlowError, match="there is a run 'run-1' already"):
        retry(local.store, Queue(local.store), "run-1", Again(start=True, run_id="run-1"), LoadSettings())
