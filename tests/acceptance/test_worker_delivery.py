"""The traces of a worker's runs go to OpenTelemetry and to Versori as each run ends."""

import json
import signal

import pytest

from runner.runtime.database import StateError
from runner.runtime.state import new_row
from runner.runtime.store import End
from runner.runtime.uploads import MOST_TRIES, Uploads
from tests.command import flow_file, here
from tests.emulators.versori import ORG, PROJECT, TOKEN, Versori
from tests.otlp_receiver import otlp_receiver
from tests.servers import ApiServer, echo
from tests.workers import PATIENCE, Workers, call, submit, until

pytestmark = pytest.mark.timeout(120)  # each starts several processes
INPUTS = [{"name": "n", "type": "string", "required": True}]
TARGET = ("--push", "versori", "--org", ORG, "--project", PROJECT)


@pytest.fixture
def api():
    with ApiServer(echo) as server:
        yield server


@pytest.fixture
def workers(tmp_path, state):
    with Workers(tmp_path, *state) as started:
        yield started


@pytest.fixture
def flow(tmp_path):
    return flow_file(tmp_path, call("a"), flow_inputs=INPUTS)


def due(store):
    return Uploads(store, lambda *_: "").due(2**62)


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    return process.stderr.read()


def test_every_span_of_every_run_arrives_at_a_collector(api, workers, store, flow):
    ids = submit(store, flow, 3, api)
    with otlp_receiver() as receiver:
        process = workers.start("--otlp-endpoint", receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
        until(lambda: store.counts().get("succeeded") == 3)
        assert "not delivered" not in stop(process)
        sent = {(span.trace_id.hex(), span.span_id.hex()) for span in receiver.spans}
    stored = [span for run_id in ids for span in json.loads(store.trace(run_id))["spans"]]
    assert len(stored) == len(receiver.spans) == 12
    assert {(one["spanContext"]["traceId"], one["spanContext"]["spanId"]) for one in stored} == sent


def test_what_a_worker_left_behind_is_still_one_trace_in_the_collector(api, workers, store, tmp_path):
    gate = api.hold("/b")
    flow = flow_file(tmp_path, call("a"), call("b"), flow_inputs=INPUTS)
    submit(store, flow, 1, api)
    with otlp_receiver() as receiver:
        words = ("--otlp-endpoint", receiver.url)
        first = workers.start(*words, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
        gate.wait_for(1)
        first.kill()
        first.wait()
        second = workers.start(*words, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
        gate.wait_for(2)
        gate.release()
        until(lambda: store.counts() == {"succeeded": 1})
        stop(second)
        ids = {span.span_id.hex() for span in receiver.spans}
        roots = {span.span_id.hex() for span in receiver.spans if not span.parent_span_id}
    spans = json.loads(store.trace("r0"))["spans"]
    assert {span["spanContext"]["spanId"] for span in spans} == ids
    assert len(roots) == 1


def test_each_trace_is_pushed_and_a_failing_push_is_tried_again(api, workers, store, flow):
    submit(store, flow, 2, api)
    with Versori() as platform:
        words = (*TARGET, "--push-url", platform.api)
        process = workers.start(*words, VERSORI_TOKEN="wrong", HOME=str(workers.folder))
        line = process.stderr.readline()
        assert "was not taken" in line
        assert "it is tried again" in line
        assert store.counts() == {"succeeded": 2}
        stop(process)
        process = workers.start(*words, VERSORI_TOKEN=TOKEN, HOME=str(workers.folder))
        until(lambda: due(store) == [])
        out = stop(process)
        assert TOKEN not in out
        told = process.stdout.read()
        assert "r0 pushed: flow: created" in told or "r1 pushed: flow: created" in told


def test_what_is_wrong_with_the_flags_of_a_push_is_told_before_any_work(tmp_path):
    done = here("worker", "--push", "versori", "--org", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / ".runner").exists()


@pytest.mark.anyio
async def test_an_upload_is_given_up_in_the_end_and_somebody_elses_left_alone(store, state):
    for run_id in ("a", "gone"):
        store.add(new_row(run_id, "f", None), {}, {})
        store.claim(run_id, "me")
        assert store.finish(End(run_id, 1, "succeeded", {}, b"{}", upload=True))
    [(_, at, _), _] = sorted(due(store))
    tried = []

    def refuse(row, trace):
        tried.append((row.id, trace))
        return "no"

    uploads = Uploads(store, refuse)
    await uploads._try("a", at - 1, 0)  # somebody else has moved it
    assert tried == []
    await uploads._try("a", at, MOST_TRIES - 1)
    assert tried == [("a", b"{}")]
    assert [run_id for run_id, _, _ in due(store)] == ["gone"]
    store.delete(["gone"])
    assert uploads._send("gone") == ""


@pytest.mark.anyio
@pytest.mark.parametrize("why", [ZeroDivisionError("x"), StateError("the state database: it is away")])
async def test_an_upload_that_breaks_is_told_and_tried_again(store, caplog, why):
    store.add(new_row("a", "f", None), {}, {})
    store.claim("a", "me")
    assert store.finish(End("a", 1, "succeeded", {}, b"{}", upload=True))

    def broken(row, trace):
        raise why

    await Uploads(store, broken).once()
    told = [record.getMessage() for record in caplog.records if "it is tried again" in record.getMessage()]
    assert len(told) == 1
    assert "ZeroDivisionError" in told[0] or "it is away" in told[0]
    assert [(run_id, tries) for run_id, _, tries in due(store)] == [("a", 1)]
