"""What becomes of the spans of `runner run --otlp`, whatever the collector does, and of `runner trace push`."""

import json
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from runner.core.trace_document import read_traces
from runner.runtime.spool import append
from tests.command import command, environment, flow_file, get, here, start
from tests.otlp_receiver import Say, attributes, grpc_receiver, otlp_receiver

PROTOCOLS = ["http/protobuf", "http/json", "grpc"]
SOON = 20  # seconds for a process; the collector is given 30 for an answer, and 2 at the end of the run
NAMES = ["GET /a", "flow-flow", "http-a"]


@pytest.fixture
def flow(tmp_path):
    return flow_file(tmp_path, get("a"))


def run(flow, api, *words, by=here, **env):
    return by("run", flow.name, "-e", f"API={api.origin}", *words, cwd=flow.parent, **env)


def push(folder, *words, by=here, **env):
    return by("trace", "push", *words, cwd=folder, **env)


def receiver_for(protocol, answers=()):
    return (grpc_receiver if protocol == "grpc" else otlp_receiver)(answers)


def spools(folder):
    return sorted((folder / ".runner/spool").glob("*"))


def names_in(path):
    return sorted(span.name for trace in read_traces(path.read_bytes(), path.name) for span in trace.records)


# --- delivered


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_are_delivered(flow, api, protocol):
    with receiver_for(protocol) as receiver:
        done = run(flow, api, "--otlp-endpoint", receiver.url, "-q", OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(span.name for span in receiver.spans) == NAMES
        root = next(span for span in receiver.spans if span.name == "flow-flow")
    assert attributes(root.attributes)["workflow.trigger.type"] == "cli"
    assert not (flow.parent / ".runner").exists()


def test_the_endpoint_may_come_from_the_environment(flow, api):
    with otlp_receiver() as receiver:
        assert run(flow, api, "--otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url).returncode == 0
        assert len(receiver.spans) == 3


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        },
    ],
)
def test_the_standard_switches_keep_spans_from_being_sent_but_not_from_being_recorded(flow, api, env):
    with otlp_receiver() as receiver:
        done = run(flow, api, "--otlp-endpoint", receiver.url, "--trace-out", "t.json", **env)
        assert receiver.paths == []
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith(
        "no spans were sent: OTEL_SDK_DISABLED or OTEL_TRACES_SAMPLER"
    )
    assert len(json.loads((flow.parent / "t.json").read_text())["spans"]) == 3
    assert not (flow.parent / ".runner").exists()
    quiet = run(flow, api, "--otlp-endpoint", receiver.url, "--quiet", **env)
    assert quiet.stderr == ""


# --- not delivered


@contextmanager
def down():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def black_hole():
    with socket.create_server(("127.0.0.1", 0)) as hole:
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"


@contextmanager
def unavailable():
    """Says 503 and when to come back, over gRPC the same in its words."""
    later = Say(503, headers={"retry-after": "60"})
    with otlp_receiver([later] * 9) as receiver:
        yield receiver.url


@contextmanager
def dying():
    """Takes the beginning of every request and then resets the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def die():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(64)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()

        threading.Thread(target=die, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("collector", "says"),
    [
        (down, "connection refused"),
        (black_hole, "no answer came within 2 s"),
        (unavailable, "503 Service Unavailable"),
        (dying, ""),
    ],
)
def test_whatever_the_collector_does_the_run_ends_soon_and_no_span_is_lost(
    flow, api, tmp_path, protocol, collector, says
):
    with collector() as url:
        process = start(
            "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", url, cwd=tmp_path,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_TIMEOUT="30",
        )  # fmt: skip
        _, err = process.communicate(timeout=SOON)
    assert process.returncode == 0
    told = err.splitlines()[-1]
    (spool,) = spools(tmp_path)
    assert told.startswith(f"3 of 3 spans were not delivered to {url}")
    assert told.endswith(f"; they are kept, `runner trace push .runner/spool/{spool.name}` sends them again")
    if not (collector is unavailable and protocol == "grpc"):  # whom it answers in another protocol
        assert says in told
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    assert names_in(spool) == NAMES
    with receiver_for(protocol) as receiver:
        again = push(tmp_path, f".runner/spool/{spool.name}", "--otlp-endpoint", receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)  # fmt: skip
        assert again.returncode == 0, again.stderr
        assert again.stdout.startswith(f".runner/spool/{spool.name}: 3 spans delivered to {receiver.url}")
        assert again.stdout.endswith("; the file is removed\n")
        assert sorted(span.name for span in receiver.spans) == NAMES
    assert spools(tmp_path) == []


def test_a_collector_that_is_busy_for_a_moment_gets_everything(flow, api):
    with otlp_receiver([Say(503, headers={"retry-after": "0"}), Say(503)]) as receiver:
        done = run(flow, api, "--otlp-endpoint", receiver.url, "-q")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(receiver.spans) == 3


def test_a_run_that_fails_keeps_its_exit_code(api, tmp_path):
    flow = flow_file(tmp_path, get("a"), get("b", expectedStatus=204))
    with otlp_receiver([400]) as receiver:
        done = run(flow, api, "--otlp-endpoint", receiver.url, "--quiet")
    assert done.returncode == 1
    assert "400 Bad Request" in done.stderr
    assert len(spools(tmp_path)) == 1


def test_a_spool_that_cannot_be_written_is_told_and_leads_to_exit_3(flow, api, tmp_path):
    (tmp_path / ".runner").write_text("a file")
    with down() as url:
        done = run(flow, api, "--otlp-endpoint", url, "--quiet")
    assert done.returncode == 3
    (told,) = done.stderr.splitlines()
    assert told.endswith("; 3 are lost: cannot write '.runner/spool/" + told.rpartition("/spool/")[2])
    assert "not a directory" in told


def test_a_full_disk_is_told_and_leads_to_exit_3(flow, api, tmp_path):
    code = (
        "import resource, sys; from runner.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); main(sys.argv[1:])"
    )
    with down() as url:
        done = subprocess.run(
            [sys.executable, "-c", code, "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", url, "--quiet"],
            cwd=tmp_path, env=environment(PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True, timeout=25, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert "; 3 are lost: cannot write '.runner/spool/" in done.stderr
    assert "file too large" in done.stderr


def test_a_secret_in_the_endpoint_is_not_told(flow, api):
    with down() as url:
        done = run(flow, api, "--otlp-endpoint", url.replace("//", "//user:hunter22@") + "/?token=hunter22")
    assert "hunter22" not in done.stderr
    assert "REDACTED" in done.stderr


# --- metrics


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_are_sent_when_a_variable_asks_for_them_with_and_without_spans(flow, api, protocol):
    with receiver_for(protocol) as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        done = run(flow, api, "-q", **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert (len(receiver.metrics), len(receiver.spans)) == (1, 0)
        done = run(flow, api, "-q", "--otlp", **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert (len(receiver.metrics), len(receiver.spans)) == (2, 3)


def test_metrics_that_did_not_arrive_are_told_and_cost_the_end_no_more_time(flow, api, tmp_path):
    with black_hole() as url:
        process = start(
            "run", flow.name, "-e", f"API={api.origin}", "--otlp-endpoint", url, cwd=tmp_path,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{url}/v1/metrics", OTEL_EXPORTER_OTLP_TIMEOUT="30",
        )  # fmt: skip
        _, err = process.communicate(timeout=SOON)
    assert process.returncode == 0
    spans, metrics = err.splitlines()[-2:]
    assert spans.startswith("3 of 3 spans were not delivered")
    assert metrics == f"the metrics did not arrive at {url}/v1/metrics: no answer came in time"


def test_metric_settings_that_make_no_sense_are_told_before_anything_is_sent(flow, api):
    done = run(flow, api, OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="soon")
    assert done.returncode == 2
    assert "'soon' is no number of seconds" in done.stderr
    assert api.requests == []


# --- trace push


@pytest.fixture
def trace(flow, api):
    """An IntegrationFlow file of a run."""
    assert run(flow, api, "--trace-out", "t.json").returncode == 0
    return flow.parent / "t.json"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_integration_flow_is_sent_with_its_ids_and_times_and_stays(trace, protocol):
    before = trace.read_bytes()
    with receiver_for(protocol) as receiver:
        done = push(
            trace.parent, "t.json", "--otlp-endpoint", receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol
        )
        sent = {span.name: span for span in receiver.spans}
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 spans delivered" in done.stdout
    assert "removed" not in done.stdout
    assert trace.read_bytes() == before
    for record in read_traces(before, "t.json")[0].records:
        span = sent[record.name]
        assert (span.trace_id, span.span_id) == (
            record.trace_id.to_bytes(16, "big"),
            record.span_id.to_bytes(8, "big"),
        )
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (record.start, record.end)
        assert attributes(span.attributes) == {**record.attributes}


def test_new_ids_and_the_present_time_make_a_new_trace_of_it(trace):
    (old,) = read_traces(trace.read_bytes(), "t.json")
    began = time.time_ns()
    with otlp_receiver() as receiver:
        done = push(trace.parent, "t.json", "--otlp-endpoint", receiver.url, "--new-ids", "--shift-to-now")
        sent = {span.name: span for span in receiver.spans}
    assert done.returncode == 0
    assert {span.trace_id for span in sent.values()} != {old.records[0].trace_id.to_bytes(16, "big")}
    root = sent["flow-flow"]
    assert sent["http-a"].parent_span_id == root.span_id
    assert root.links[0].span_id == old.records[0].span_id.to_bytes(8, "big")
    assert began <= max(span.end_time_unix_nano for span in sent.values()) <= time.time_ns()
    assert root.end_time_unix_nano - root.start_time_unix_nano == old.records[0].end - old.records[0].start


def test_standard_input_and_several_files_are_sent(trace):
    with otlp_receiver() as receiver:
        done = push(trace.parent, "-", "t.json", "--otlp-endpoint", receiver.url, stdin=trace.read_text())
        assert len(receiver.spans) == 6
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["-", "t.json"]


@pytest.fixture
def spool(flow, api):
    """A spool file of a run of many batches, a line of 512 spans each."""
    with down() as url:
        many = flow_file(flow.parent, {"id": "each", "forEach": "{{input.list}}", "set": {"x": "{{item}}"}}, name="many.json", flow_inputs=[{"name": "list", "type": "json"}])  # fmt: skip
        done = run(many, api, "--otlp-endpoint", url, "-i", f"list={list(range(1200))}")
    assert done.returncode == 0, done.stderr
    (path,) = spools(flow.parent)
    return path


def test_of_a_spool_file_only_what_has_not_arrived_stays(spool):
    total = len(names_in(spool))
    assert total > 1200
    with otlp_receiver([200, 400]) as receiver:
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url)
        first = [span.span_id for span in receiver.spans]
    assert done.returncode == 3
    assert f"{spool.name}: 512 of {total} spans were not delivered to {receiver.url}" in done.stderr
    assert done.stderr.endswith("the answer was 400 Bad Request; they stay in the file\n")
    assert len(names_in(spool)) == 512
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    with otlp_receiver() as receiver:
        assert push(spool.parent, spool.name, "--otlp-endpoint", receiver.url).returncode == 0
        assert len({*first, *(span.span_id for span in receiver.spans)}) == total
    assert not spool.exists()


def test_a_batch_that_is_taken_in_part_stays_and_only_what_was_rejected_is_missing(spool):
    total = len(names_in(spool))
    body = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}).encode()
    with otlp_receiver([Say(200, body, "application/json")]) as receiver:
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url)
        url = receiver.url
    assert done.returncode == 3
    what = (
        f"3 of {total} spans were not delivered to {url}/v1/traces: the backend rejected 3 of them: too old"
    )
    assert done.stderr == f"{spool.name}: {what}; they stay in the file\n"
    assert len(names_in(spool)) == 512


def test_what_a_run_adds_to_its_spool_file_while_it_is_pushed_stays_in_it(spool):
    before = len(names_in(spool))
    late = list(read_traces(spool.read_bytes(), spool.name)[0].records[:2])
    with otlp_receiver() as receiver:
        take = receiver.take

        def take_while_the_file_grows(*request):
            if not receiver.paths:
                append(spool, late, {})
            return take(*request)

        receiver.take = take_while_the_file_grows
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url)
        assert len(receiver.spans) == before
    assert (done.returncode, done.stdout) == (
        0,
        f"{spool.name}: {before} spans delivered to {receiver.url}/v1/traces\n",
    )
    assert len(names_in(spool)) == 2


def test_a_spool_file_that_cannot_be_changed_is_told_and_leads_to_exit_3(spool):
    spool.rename(whole := spool.with_name("whole.jsonl"))
    spool.symlink_to(whole)
    with otlp_receiver() as receiver:
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url)
    assert done.returncode == 3
    assert done.stderr.startswith(f"cannot change '{spool.name}': too many levels of symbolic links")
    assert " spans delivered to " in done.stdout
    assert whole.exists()


def test_a_collector_that_is_busy_with_no_wait_is_not_asked_in_a_hot_loop(trace, monkeypatch):
    slept = []
    monkeypatch.setattr("runner.cli.trace.time.sleep", slept.append)
    with otlp_receiver([Say(503, headers={"retry-after": "0"})] * 3) as receiver:
        assert push(trace.parent, "t.json", "--otlp-endpoint", receiver.url).returncode == 0
    assert slept == [0.5, 1.0, 2.0]


def test_the_same_file_named_twice_is_sent_once(trace):
    with otlp_receiver() as receiver:
        done = push(trace.parent, "t.json", "./t.json", "--otlp-endpoint", receiver.url)
        assert (done.returncode, len(receiver.spans)) == (0, 3)


def test_a_collector_that_is_away_is_asked_once_for_all_files(spool, trace):
    before = spool.read_bytes()
    with otlp_receiver([Say(503, headers={"retry-after": "600"})]) as receiver:
        done = push(spool.parent, spool.name, str(trace), "--otlp-endpoint", receiver.url)
        assert len(receiver.paths) == 1
    assert done.returncode == 3
    assert [line.partition(": ")[2].split(" were")[0] for line in done.stderr.splitlines()][
        1
    ] == "3 of 3 spans"
    assert spool.read_bytes() == before


def test_a_collector_that_is_busy_is_waited_for(trace):
    with otlp_receiver([Say(503, headers={"retry-after": "0"})]) as receiver:
        assert push(trace.parent, "t.json", "--otlp-endpoint", receiver.url).returncode == 0
        assert len(receiver.paths) == 2


def test_a_spool_file_may_be_kept(spool):
    with otlp_receiver() as receiver:
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url, "--keep")
    assert done.returncode == 0
    assert spool.exists()


def test_a_spool_file_that_a_kill_has_cut_off_is_sent_up_to_there(spool):
    whole = spool.read_bytes()
    spool.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 1])
    before_the_last_line = len(names_in(spool))
    spool.write_bytes(whole[:-100])
    with otlp_receiver() as receiver:
        done = push(spool.parent, spool.name, "--otlp-endpoint", receiver.url)
        assert len(receiver.spans) == before_the_last_line > 0
    assert done.returncode == 0
    assert "warning: the last line is not whole" in done.stderr


def test_everything_that_is_wrong_is_told_before_anything_is_sent(trace, api):
    (trace.parent / "bad.json").write_text('{"steps": []}')
    done = push(
        trace.parent, "t.json", "bad.json", "none.json", "--otlp-endpoint", "ftp://x",
        OTEL_EXPORTER_OTLP_TIMEOUT="soon",
    )  # fmt: skip
    assert done.returncode == 2
    assert "bad.json:1:1" in done.stderr or "no trace of a known kind: found 'steps'" in done.stderr
    assert "there is no file 'none.json'" in done.stderr
    assert "'ftp://x/v1/traces' is no http or https url" in done.stderr
    assert "'soon' is no number of seconds" in done.stderr
    assert done.stdout == ""


def test_a_document_may_be_too_large(trace):
    done = push(trace.parent, "t.json", "--max-document", "100")
    assert done.returncode == 2
    assert "larger than 100 bytes" in done.stderr


def test_pushing_is_the_same_in_a_process_of_its_own(trace):
    with grpc_receiver() as receiver:
        done = push(trace.parent, "t.json", "--otlp-endpoint", receiver.url, by=command, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
