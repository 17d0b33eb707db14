import copy
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.integration_flow import IntegrationFlow, read
from runner.core.trace import Link, SpanRecord
from runner.errors import FlowError
from tests.integration_flow_schema import violations

TRACE = "9ea9841f48ab9d1b1160498e495dba21"


def span(number=1, parent=None, **changes):
    made = {
        "name": f"http-{number}",
        "startTime": f"2026-01-01T00:00:00.{number:09d}Z",
        "endTime": "2026-01-01T00:00:01.000000000Z",
        "duration": (1_000_000_000 - number) / 1e6,
        "attributes": {"task.id": f"step{number}"},
        "status": {"code": 0},
        "ended": True,
        "events": [],
        "spanContext": {"traceId": TRACE, "spanId": f"{number:016x}", "traceFlags": 1},
    }
    if parent:
        context = {"traceId": TRACE, "spanId": f"{parent:016x}", "traceFlags": 1}
        made |= {"parentSpanContext": context, "parentSpanContenxt": dict(context)}
    return made | changes


def document(*spans):
    return {"name": "n", "description": "d", "spans": list(spans)}


def canonical(value):
    spans = ",\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in value["spans"])
    head = json.dumps({"name": value["name"], "description": value["description"]}, separators=(",", ":"))
    return f'{head[:-1]},"spans":[{spans}]}}\n'.encode()


def problems(value):
    with pytest.raises(FlowError) as caught:
        read(value)
    return [(problem.code, problem.where) for problem in caught.value.problems]


def warnings(value):
    return [(problem.code, problem.where) for problem in read(value).warnings]


# --- what we wrote


def records():
    texts = st.text(max_size=8)
    scalars = texts | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(texts, max_size=2)
    attributes = st.dictionaries(texts, scalars, max_size=3)  # too short to be otel.links or span.kind
    times = st.integers(0, 2**62)

    def make(number, parts):
        name, start, length, values, status, kind, events, links = parts
        made = SpanRecord(
            name, 1, number + 1, number or None, sequence=number, start=start, kind=kind, attributes=values
        )
        made.end, made.ended, made.status = start + length, True, status
        made.events, made.links = events, links
        made.description = "why" if status == "error" else ""
        return made

    event = st.tuples(texts, times, attributes)
    link = st.builds(
        Link, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), attributes, st.sampled_from([0, 1])
    )
    one = st.tuples(
        texts,
        times,
        st.integers(0, 2**61),
        attributes,
        st.sampled_from(["unset", "ok", "error"]),
        st.sampled_from(["internal", "client", "server", "consumer", "producer"]),
        st.lists(event, max_size=2),
        st.lists(link, max_size=2),
    )
    return st.lists(one, max_size=4).map(lambda parts: [make(at, part) for at, part in enumerate(parts)])


@given(st.text(), st.text(), records())
def test_a_document_that_we_wrote_fits_the_schema_and_is_written_the_same_again(name, description, spans):
    data = IntegrationFlow(name, description, spans).to_json()
    decoded = json.loads(data)
    assert violations(decoded) == []
    back = read(decoded)
    assert back.warnings == ()
    assert back.to_json() == data
    assert [span.kind for span in back.spans] == [span.kind for span in spans]
    assert [span.status for span in back.spans] == [span.status for span in spans]


def test_links_and_what_else_travels_in_attributes_is_lifted_out_again():
    made = SpanRecord("x", 1, 2, None, sequence=0, start=0, kind="producer")
    made.end, made.ended, made.status, made.description = 0, True, "error", "why"
    made.links, made.tracestate = (Link(3, 4, {"a": "b"}),), "v=1"
    back = read(json.loads(IntegrationFlow("n", "d", [made]).to_json())).spans[0]
    assert (back.kind, back.status, back.description, back.tracestate) == ("producer", "error", "why", "v=1")
    assert back.links == made.links
    assert back.attributes == {}


def test_a_trace_of_a_run_that_goes_on_is_written_the_same_again():
    value = document(span(1, ended=False))
    assert read(value).to_json() == canonical(value)


def test_writing_streams_span_by_span():
    out = io.BytesIO()
    flow = read(document(span(1), span(2, 1)))
    flow.write(out)
    assert out.getvalue() == flow.to_json() == canonical(document(span(1), span(2, 1)))


def test_the_id_that_the_server_gives_is_read_and_never_written():
    flow = read({"id": "01JSPK1SB6S622T6E1P9BBJTWP", **document()})
    assert flow.id == "01JSPK1SB6S622T6E1P9BBJTWP"
    assert flow.to_json() == b'{"name":"n","description":"d","spans":[]}\n'


# --- what others write


def test_the_example_of_the_documentation_is_read_but_for_its_placeholders():
    sample = {
        "name": "<string>",
        "description": "<string>",
        "spans": [
            {
                "name": "<string>",
                "startTime": "2023-11-07T05:31:56Z",
                "endTime": "2023-11-07T05:31:56Z",
                "duration": 123,
                "attributes": {},
                "status": {},
                "ended": True,
                "events": [{"name": "<string>", "timestamp": "2023-11-07T05:31:56Z", "attributes": {}}],
                "spanContext": {"traceId": TRACE, "spanId": "cad7bad55be81653", "traceFlags": 123},
            }
        ],
    }
    flow = read(sample)
    assert [problem.where for problem in flow.warnings] == ["spans[0].duration"]
    written = json.loads(flow.to_json())
    assert written["spans"][0]["startTime"] == "2023-11-07T05:31:56.000000000Z"
    assert written["spans"][0]["status"] == {"code": 0}
    assert written["spans"][0]["spanContext"]["traceFlags"] == 1
    assert violations(written) == []


@pytest.mark.parametrize("spelling", ["parentSpanContext", "parentSpanContenxt"])
def test_either_spelling_of_the_parent_is_enough(spelling):
    child = span(2)
    child[spelling] = {"traceId": TRACE, "spanId": "0000000000000001", "traceFlags": 1}
    written = json.loads(read(document(span(1), child)).to_json())["spans"][1]
    assert written["parentSpanContext"] == written["parentSpanContenxt"] == child[spelling]


@pytest.mark.parametrize("nothing", [None, {}, {"spanId": ""}, {"spanId": "0000000000000000"}])
def test_no_parent_is_spelled_in_many_ways(nothing):
    assert read(document(span(1, parentSpanContext=nothing))).spans[0].parent_id is None


def test_missing_events_attributes_and_status_are_empty():
    bare = span(1, events=[{"name": "e", "timestamp": "2026-01-01T00:00:00Z"}], attributes=None)
    del bare["status"]
    record = read(document(bare)).spans[0]
    assert (record.attributes, record.events[0][2], record.status) == ({}, {}, "unset")
    assert read(document(span(1, events=None))).spans[0].events == []


def test_attribute_values_that_the_schema_does_not_know_are_narrowed():
    record = read(document(span(1, attributes={"a": [1, "x"], "b": None, "c": 2**60, "d": {"e": 1}}))).spans[
        0
    ]
    assert record.attributes == {"a": '[1,"x"]', "c": str(2**60), "d": '{"e":1}'}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"code": "ERROR"}, "error"),
        ({"code": "ok"}, "unset"),
        ({"code": "UNSET"}, "unset"),
        ({"code": 1}, "error"),
    ],
)
def test_a_status_may_be_a_word(status, expected):
    assert read(document(span(1, status=status))).spans[0].status == expected


def test_a_code_2_anywhere_means_that_codes_count_as_in_opentelemetry():
    value = document(
        *(span(number + 1, status={"code": code}) for number, code in enumerate((0, 1, 2, "ERROR")))
    )
    flow = read(value)
    assert [one.status for one in flow.spans] == ["unset", "unset", "error", "error"]
    assert [problem.code for problem in flow.warnings] == ["trace.guessed"]


def test_the_message_of_a_status_becomes_the_description_of_an_error():
    spans = [span(1, status={"code": 1, "message": "no"}), span(2, status={"code": 0, "message": "fine"})]
    assert [one.description for one in read(document(*spans)).spans] == ["no", ""]


@pytest.mark.parametrize(
    "attributes",
    [
        {"otel.status_code": "OK"},
        {"otel.status_code": "ERROR"},
        {"span.kind": "internal"},
        {"span.kind": "client", "task.id": "x"},
        {"otel.status_description": 5},
        {"otel.status_description": ""},
        {"otel.links": "nonsense"},
        {"otel.links": "[]"},
        {"otel.links": '[{"traceId":"1","spanId":"2","attributes":{},"traceFlags":1}]'},
        {"otel.links": '[{"traceId":1}]'},
        {"otel.links": 7},
        {"w3c.tracestate": "a=b", "task.id": "x"},
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_normalising_twice_changes_nothing(attributes, code):
    once = read(document(span(1, attributes=attributes, status={"code": code}))).to_json()
    assert read(json.loads(once)).to_json() == once


def test_unknown_keys_are_left_out_with_a_warning():
    assert warnings(document(span(1, kind=3))) == [("trace.unknown_key", "spans[0].kind")]


def test_a_wrong_duration_is_corrected_with_a_warning():
    assert warnings(document(span(1, duration=5))) == [("trace.guessed", "spans[0].duration")]
    assert warnings(document(span(1, duration="5"))) == []


def test_a_missing_name_of_the_document_is_an_empty_one():
    assert warnings({"spans": []}) == [("trace.guessed", "name"), ("trace.guessed", "description")]


def test_a_parent_in_another_trace_is_told_of():
    child = span(2, parentSpanContext={"traceId": "1" * 32, "spanId": "1" * 16, "traceFlags": 1})
    assert warnings(document(child)) == [("trace.guessed", "spans[0].parentSpanContext")]


# --- order


def test_spans_in_order_of_their_end_are_put_parents_first():
    ended = document(span(3, 1), span(4, 2), span(2, 1), span(1))
    flow = read(ended)
    assert [one.name for one in flow.spans] == ["http-1", "http-2", "http-3", "http-4"]
    assert [one.sequence for one in flow.spans] == [0, 1, 2, 3]
    assert read(json.loads(flow.to_json())).to_json() == flow.to_json()


def test_a_parent_that_started_after_its_child_still_comes_first():
    late = document(span(1, 9), span(9))
    assert [one.name for one in read(late).spans] == ["http-9", "http-1"]


def test_parents_before_children_keep_the_order_of_the_document_whatever_their_times():
    value = document(span(9), span(5, 9), span(1, 9), span(3, 77))
    assert read(value).to_json() == canonical(value)


# --- what is wrong


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], [("trace.type", "")]),
        ({"name": "n", "description": "d"}, [("trace.missing", "spans")]),
        ({**document(), "name": 5}, [("trace.type", "name")]),
        (document("x"), [("trace.type", "spans[0]")]),
        (document(span(1, name=None)), [("trace.missing", "spans[0].name")]),
        (document(span(1, startTime="now")), [("trace.time", "spans[0].startTime")]),
        (document(span(1, endTime="9999-12-31T23:59:59+99:99")), []),
        (document(span(1, spanContext=None)), [("trace.type", "spans[0].spanContext")]),
        (document(span(1, attributes=[])), [("trace.type", "spans[0].attributes")]),
        (document(span(1, events={})), [("trace.type", "spans[0].events")]),
        (document(span(1, events=[7])), [("trace.type", "spans[0].events[0]")]),
        (document(span(1, events=[{"name": "e"}])), [("trace.missing", "spans[0].events[0].timestamp")]),
        (document(span(1, status={"code": 7})), [("trace.status", "spans[0].status.code")]),
        (document(span(1, status={"code": "BAD"})), [("trace.status", "spans[0].status.code")]),
        (document(span(1, status={"code": []})), [("trace.status", "spans[0].status.code")]),
        (document(span(1, status=5)), [("trace.type", "spans[0].status")]),
        (
            document(span(1, status={"code": 2}), span(2, status={"code": None})),
            [("trace.status", "spans[1].status.code")],
        ),
        (document(span(1, 2), span(2, 1)), [("trace.parents", "spans[0]")]),
        (document(span(1, 1)), [("trace.parents", "spans[0]")]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value, expected):
    if expected:
        assert problems(value) == expected
    else:
        read(value)


@pytest.mark.parametrize(
    "context",
    [
        {"traceId": "<string>", "spanId": "1" * 16, "traceFlags": 1},
        {"traceId": "0" * 32, "spanId": "1" * 16, "traceFlags": 1},
        {"traceId": 5, "spanId": "1" * 16, "traceFlags": 1},
        {"spanId": "1" * 16},
    ],
)
def test_an_id_must_be_hexadecimal_and_not_zero(context):
    assert problems(document(span(1, spanContext=context))) == [("trace.id", "spans[0].spanContext.traceId")]


def test_trace_flags_must_be_an_integer():
    wrong = span(1)
    wrong["spanContext"]["traceFlags"] = "01"
    assert problems(document(wrong)) == [("trace.type", "spans[0].spanContext.traceFlags")]


def test_an_empty_span_lacks_everything():
    assert {where for _, where in problems(document({}))} == {
        "spans[0].spanContext",
        "spans[0].name",
        "spans[0].startTime",
        "spans[0].endTime",
    }


def test_two_spellings_that_differ_are_refused():
    wrong = copy.deepcopy(span(2, 1))
    wrong["parentSpanContenxt"]["spanId"] = "3" * 16
    assert problems(document(span(1), wrong)) == [("trace.parents", "spans[1]")]


def test_every_problem_is_told_at_once():
    assert len(problems(document(span(1, name=None, startTime="x"), "y"))) == 3


def test_spans_that_a_go_server_has_as_null_are_none():
    flow = read({"name": "x", "description": "", "spans": None})
    assert (flow.spans, [one.where for one in flow.warnings]) == ([], ["spans"])
