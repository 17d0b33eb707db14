import io
import itertools
import json
import random

import pytest

from runner.core import names
from runner.core.integration_flow import read
from runner.core.redact import MASK, Masker
from runner.core.trace import LONGEST_VALUE, Link, is_ulid
from runner.runtime.tracing import MOST_EVENTS, Listener, Recorder, anchored_clock
from tests.integration_flow_schema import violations

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ULID = "01JSPK1SB6S622T6E1P9BBJTWP"


def counting_ids():
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def ticking(step=1_000_000):
    times = itertools.count(START, step)
    return lambda: next(times)


def recorder(run_id=ULID, **options):
    return Recorder(run_id, now=ticking(), random=counting_ids(), **options)


def text_of(made, name="register", description="d"):
    out = io.BytesIO()
    made.write(out, name, description)
    return out.getvalue().decode()


class Notes(Listener):
    def __init__(self):
        self.notes = []

    def opened(self, record):
        self.notes.append(("opened", record.name))

    def ended(self, record):
        self.notes.append(("ended", record.name))

    def sealed(self, record):
        self.notes.append(("sealed", record.name))


def register_flow(made):
    flow = made.open("flow-register", attributes={names.TASK_ID: "register", names.TASK_TYPE: "flow"})
    step = made.open(
        "http-register", parent=flow, attributes={names.TASK_ID: "register", names.TASK_TYPE: "http"}
    )
    attempt = made.open("POST /register", "client", step, {names.HTTP_REQUEST_METHOD: "POST"})
    made.end(attempt, "error", attributes={names.HTTP_RESPONSE_STATUS_CODE: 503}, hold=True)
    made.event(step, names.EVENT_RETRY_SCHEDULED, {names.DELAY_MS: 200})
    made.end(step, "error", "HTTP 503")
    made.skip("http-login", flow, {names.SKIP_REASON: "upstream"})
    made.end(flow, "error")
    return made


def test_a_run_is_written_as_one_document():
    assert text_of(register_flow(recorder())).splitlines() == [
        (
            '{"name":"register","description":"d","spans":[{"name":"flow-register"'
            ',"startTime":"2026-01-01T00:00:00.001000000Z","endTime":"2026-01-01T00:00:00.008000000Z","duration":7.0'
            ',"attributes":{"task.id":"register","task.type":"flow","execution.id":"01JSPK1SB6S622T6E1P9BBJTWP"'
            ',"runner.run.id":"01JSPK1SB6S622T6E1P9BBJTWP","otel.status_code":"ERROR"},"status":{"code":1},"ended":true'
            ',"events":[],"spanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"'
            ',"traceFlags":1}},'
        ),
        (
            '{"name":"http-register","startTime":"2026-01-01T00:00:00.002000000Z"'
            ',"endTime":"2026-01-01T00:00:00.006000000Z","duration":4.0,"attributes":{"task.id":"register"'
            ',"task.type":"http","execution.id":"01JSPK1SB6S622T6E1P9BBJTWP","otel.status_code":"ERROR"'
            ',"otel.status_description":"HTTP 503"},"status":{"code":1},"ended":true,"events":[{"name":"retry.scheduled"'
            ',"timestamp":"2026-01-01T00:00:00.005000000Z","attributes":{"runner.delay_ms":200}}]'
            ',"spanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000003","traceFlags":1}'
            ',"parentSpanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"'
            ',"traceFlags":1},"parentSpanContenxt":{"traceId":"00000000000000000000000000000001"'
            ',"spanId":"0000000000000002","traceFlags":1}},'
        ),
        (
            '{"name":"POST /register","startTime":"2026-01-01T00:00:00.003000000Z"'
            ',"endTime":"2026-01-01T00:00:00.004000000Z","duration":1.0,"attributes":{"http.request.method":"POST"'
            ',"execution.id":"01JSPK1SB6S622T6E1P9BBJTWP","http.response.status_code":503,"span.kind":"client"'
            ',"otel.status_code":"ERROR"},"status":{"code":1},"ended":true,"events":[]'
            ',"spanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000004","traceFlags":1}'
            ',"parentSpanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000003"'
            ',"traceFlags":1},"parentSpanContenxt":{"traceId":"00000000000000000000000000000001"'
            ',"spanId":"0000000000000003","traceFlags":1}},'
        ),
        (
            '{"name":"http-login","startTime":"2026-01-01T00:00:00.007000000Z"'
            ',"endTime":"2026-01-01T00:00:00.007000000Z","duration":0.0,"attributes":{"runner.skip.reason":"upstream"'
            ',"execution.id":"01JSPK1SB6S622T6E1P9BBJTWP"},"status":{"code":0},"ended":true,"events":[]'
            ',"spanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000005","traceFlags":1}'
            ',"parentSpanContext":{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"'
            ',"traceFlags":1},"parentSpanContenxt":{"traceId":"00000000000000000000000000000001"'
            ',"spanId":"0000000000000002","traceFlags":1}}]}'
        ),
    ]


def test_what_is_written_fits_the_schema_and_reads_back_the_same():
    text = text_of(register_flow(recorder()))
    assert violations(json.loads(text)) == []
    assert read(json.loads(text)).to_json().decode() == text


def test_spans_come_in_order_of_their_start_whatever_ends_first():
    made = recorder()
    flow = made.open("flow-x")
    first, second = made.open("a", parent=flow), made.open("b", parent=flow)
    made.end(second)
    made.end(first)
    made.end(flow)
    assert [span["name"] for span in made.spans()] == ["flow-x", "a", "b"]
    assert made.count == 3
    assert made.size == sum(len(data) for data in made.encoded())


def test_an_empty_trace_is_a_document_too():
    assert text_of(recorder()) == '{"name":"register","description":"d","spans":[]}\n'


# --- ids and time


def test_ids_are_random_and_never_zero():
    made = Recorder("r", random=bytes)
    assert made.trace_id == 1
    assert made.open("x").span_id == 1
    assert len({Recorder("r").trace_id for _ in range(50)}) == 50


def test_ids_may_be_given_so_that_a_resumed_run_stays_one_trace():
    made = recorder(trace_id=7)
    record = made.open("x", span_id=9)
    assert (record.trace_id, record.span_id) == (7, 9)
    assert made.traceparent(record) == "00-00000000000000000000000000000007-0000000000000009-01"


def test_every_span_carries_the_execution_id_and_the_flow_span_the_run_id():
    made = recorder("run-7")
    flow = made.open("flow-x")
    step = made.open("set-a", parent=flow)
    assert is_ulid(made.execution_id)
    assert flow.attributes == {names.EXECUTION_ID: made.execution_id, names.RUN_ID: "run-7"}
    assert step.attributes == {names.EXECUTION_ID: made.execution_id}
    assert recorder("run-7", execution=ULID).execution_id == ULID


def test_the_clock_is_anchored_once_and_follows_the_monotonic_one():
    walls, ticks = iter([1000]), iter([10, 12, 15])
    clock = anchored_clock(lambda: next(walls), lambda: next(ticks))
    assert [clock(), clock()] == [1002, 1005]


def test_the_default_clock_never_steps_back():
    made = Recorder("r")
    record = made.open("x")
    made.end(record)
    assert record.end >= record.start > START


def test_times_may_be_given_and_an_end_is_never_before_its_start():
    made = recorder()
    record = made.open("x", start=START + 500)
    made.event(record, "e", at=START + 600)
    made.end(record, at=START + 400)
    assert (record.start, record.events[0][1], record.end) == (START + 500, START + 600, START + 500)


# --- the remote parent


def test_a_traceparent_is_continued_and_kept_as_an_attribute():
    made = recorder(parent=REMOTE, tracestate="vendor=1")
    flow = made.open("flow-x")
    step = made.open("a", parent=flow)
    made.end(step)
    made.end(flow)
    shown, below = made.spans()
    assert shown["spanContext"]["traceId"] == below["spanContext"]["traceId"] == REMOTE.split("-")[1]
    assert shown["attributes"][names.REMOTE_PARENT] == REMOTE
    assert shown["attributes"][names.W3C_TRACESTATE] == "vendor=1"
    assert "parentSpanContext" not in shown
    assert names.W3C_TRACESTATE not in below["attributes"]


def test_an_invalid_traceparent_starts_a_new_trace():
    made = recorder(parent="00-0-0-00", tracestate="vendor=1")
    flow = made.open("flow-x")
    assert made.trace_id == 1
    assert made.remote_parent is None
    assert names.REMOTE_PARENT not in flow.attributes
    assert flow.tracestate == ""


# --- events and ends


def test_beyond_the_limit_events_are_counted_and_exceptions_kept():
    made = recorder()
    record = made.open("x")
    for _ in range(MOST_EVENTS + 3):
        made.event(record, "poll.wait")
    made.event(record, names.EVENT_EXCEPTION, {names.EXCEPTION_MESSAGE: "no"})
    assert len(record.events) == MOST_EVENTS + 1
    assert record.events[-1][0] == "exception"
    assert record.attributes[names.OTEL_DROPPED_EVENTS_COUNT] == 3


def test_a_span_ends_once_and_takes_no_event_after_it_is_sealed():
    made = recorder()
    record = made.open("x")
    made.end(record, "error", "first")
    made.end(record, "ok", "second")
    made.event(record, "late")
    assert (record.status, record.description, record.events) == ("error", "first", [])
    assert made.spans().__next__()["status"] == {"code": 1}


def test_only_an_error_has_a_description():
    made = recorder()
    record = made.open("x")
    made.end(record, "ok", "fine")
    assert record.description == ""


def test_links_are_written():
    made = recorder()
    made.end(made.open("x", links=[Link(1, 2)]))
    assert '"spanId":"0000000000000002"' in next(made.spans())["attributes"][names.OTEL_LINKS]


def test_attributes_that_were_given_are_copied():
    given = {"a": 1}
    made = recorder()
    record = made.open("x", attributes=given)
    made.event(record, "e", given)
    made.end(record, attributes={"b": 2})
    assert given == {"a": 1}


# --- holding back


def test_a_held_span_is_masked_with_what_its_step_learnt_later():
    masker = Masker()
    made = recorder(masker=masker)
    step = made.open("http-login")
    attempt = made.open("POST /login", "client", step, {"url.full": "http://h/?t=hunter22"})
    made.end(attempt, hold=True)
    masker.add("hunter22")
    made.end(step)
    assert [span["attributes"].get("url.full") for span in made.spans()] == [None, f"http://h/?t={MASK}"]


def test_held_spans_below_held_spans_are_sealed_together():
    notes = Notes()
    made = recorder(listeners=[notes])
    loop = made.open("forEach-x")
    item = made.open("iteration-x", parent=loop)
    attempt = made.open("GET", "client", item)
    made.end(attempt, hold=True)
    made.end(item, hold=True)
    assert [note for note in notes.notes if note[0] == "sealed"] == []
    made.end(loop)
    assert [name for what, name in notes.notes if what == "sealed"] == ["GET", "iteration-x", "forEach-x"]


def test_releasing_an_open_span_seals_only_what_is_below_it():
    made = recorder()
    step = made.open("http-a")
    attempt = made.open("GET", "client", step)
    made.end(attempt, hold=True)
    made.release(step)
    assert not step.ended
    assert made.size == len(list(made.encoded())[1])


def test_a_trace_can_be_written_while_spans_are_open_or_held():
    masker = Masker(["hunter22"])
    made = recorder(masker=masker)
    step = made.open("http-a", attributes={"x": "hunter22"})
    attempt = made.open("GET", "client", step, {"y": "hunter22"})
    made.end(attempt, hold=True)
    spans = list(made.spans())
    assert [span["ended"] for span in spans] == [False, True]
    assert "hunter22" not in json.dumps(spans)
    assert violations(json.loads(text_of(made))) == []


# --- masking


def test_names_values_events_and_the_document_are_masked():
    made = recorder(masker=Masker(["hunter22"]))
    record = made.open("GET /hunter22", attributes={"list": ["hunter22"], "hunter22": 1})
    made.event(record, "exception", {"exception.message": "bad hunter22"})
    made.end(record, "error", "bad hunter22")
    assert record.name == f"GET /{MASK}"
    text = text_of(made, "hunter22", "hunter22")
    assert text.count("hunter22") == 1
    assert f'"list":"[\\"{MASK}\\"]"' in text


def test_a_short_secret_is_masked_where_it_is_the_whole_value():
    made = recorder(masker=Masker(["ab"]))
    made.end(made.open("x", attributes={"whole": "ab", "part": "abc", "list": ["ab", "abc"]}))
    shown = next(made.spans())["attributes"]
    assert (shown["whole"], shown["part"], shown["list"]) == (MASK, "abc", f'["{MASK}","abc"]')


def test_a_long_value_is_cut_even_without_secrets():
    made = recorder()
    made.end(made.open("x", attributes={"body": "é" * 100_000}))
    assert next(made.spans())["attributes"]["body"] == "é" * (LONGEST_VALUE - 1) + "…"


# --- listeners


def test_listeners_are_told_in_order():
    notes = Notes()
    register_flow(recorder(listeners=[notes]))
    assert notes.notes == [
        ("opened", "flow-register"),
        ("opened", "http-register"),
        ("opened", "POST /register"),
        ("ended", "POST /register"),
        ("ended", "http-register"),
        ("sealed", "POST /register"),
        ("sealed", "http-register"),
        ("opened", "http-login"),
        ("ended", "http-login"),
        ("sealed", "http-login"),
        ("ended", "flow-register"),
        ("sealed", "flow-register"),
    ]


def test_a_sealed_record_is_masked_before_a_listener_sees_it():
    seen = []

    class Backend(Listener):
        def sealed(self, record):
            seen.append(dict(record.attributes))

    made = recorder(masker=Masker(["hunter22"]), listeners=[Backend()])
    made.end(made.open("x", attributes={"a": "hunter22"}))
    assert seen[0]["a"] == MASK


def test_a_listener_need_not_listen_to_everything():
    text_of(register_flow(recorder(listeners=[Listener()])))


# --- cut off


@pytest.mark.parametrize("error_type", ["cancelled", "timeout"])
def test_what_is_open_is_cut_off_as_an_error_from_the_inside_out(error_type):
    notes = Notes()
    made = recorder(listeners=[notes])
    flow = made.open("flow-x")
    done = made.open("http-done", parent=flow)
    made.end(done)
    step = made.open("http-a", parent=flow)
    first = made.open("GET 1", "client", step)
    made.end(first, hold=True)
    made.open("GET 2", "client", step)
    made.cut_off(error_type, "the run was stopped")
    made.end(step, "ok")
    shown = {span["name"]: span for span in made.spans()}
    assert {name: span["status"]["code"] for name, span in shown.items()} == {
        "flow-x": 1,
        "http-done": 0,
        "http-a": 1,
        "GET 1": 0,
        "GET 2": 1,
    }
    assert all(span["ended"] for span in shown.values())
    assert shown["GET 2"]["attributes"][names.ERROR_TYPE] == error_type
    assert shown["GET 2"]["attributes"][names.OTEL_STATUS_DESCRIPTION] == "the run was stopped"
    assert [name for what, name in notes.notes if what == "ended"][-3:] == ["GET 2", "http-a", "flow-x"]


def test_a_span_held_below_a_parent_that_has_ended_is_not_lost():
    made = recorder()
    step = made.open("http-a")
    late = made.open("GET", "client", step)
    made.end(step)
    made.end(late, hold=True)
    made.cut_off("cancelled", "stopped")
    assert made.size == sum(len(data) for data in made.encoded())
    assert [span["status"]["code"] for span in made.spans()] == [0, 0]


def test_a_program_that_seeds_its_dice_gets_new_ids_all_the_same():
    def ids():
        random.seed(1)
        made = Recorder("r")
        return made.trace_id, made.open("x").span_id

    assert not set(ids()) & set(ids())
