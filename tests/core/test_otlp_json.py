import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.integration_flow import IntegrationFlow, read
from runner.core.otlp_json import RESOURCE, from_otlp, from_requests, otlp_attributes, to_otlp
from runner.core.trace import Link, Origin, SpanRecord
from runner.errors import FlowError, Place
from tests.core.test_integration_flow import document, records, span

TRACE = 0x9EA9841F48AB9D1B1160498E495DBA21
REMOTE = f"00-{TRACE:032x}-00000000000000aa-01"


def record(number=1, parent=None, **changes):
    made = SpanRecord(f"http-{number}", TRACE, number, parent, sequence=number - 1, start=number)
    made.end, made.ended = number + 10, True
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def written(*spans):
    """Return the span objects of a request that has gone through JSON text."""
    value = json.loads(json.dumps(to_otlp(spans, RESOURCE)))
    return [one for group in value["resourceSpans"] for one in group["scopeSpans"][0]["spans"]]


def request(*spans, scope=None, resource=None):
    group = {"scopeSpans": [{"spans": list(spans)} | ({"scope": scope} if scope else {})]}
    return {"resourceSpans": [group | ({"resource": resource} if resource else {})]}


def raw(**changes):
    return {"traceId": f"{TRACE:032x}", "spanId": f"{7:016x}", "startTimeUnixNano": "1"} | changes


def problems(value):
    with pytest.raises(FlowError) as caught:
        from_otlp(value)
    return [(problem.code, problem.where) for problem in caught.value.problems]


def there_and_back(data):
    flow = read(json.loads(data))
    spans = from_otlp(json.loads(json.dumps(to_otlp(flow.spans, RESOURCE))))
    return IntegrationFlow(flow.name, flow.description, spans).to_json()


def links_text(trace_id=1, flags="1", attributes="{}"):
    ids = f'"traceId":"{trace_id:032x}","spanId":"{1:016x}"'
    return f'[{{{ids},"traceFlags":{flags},"attributes":{attributes}}}]'


# --- there and back


@given(records())
def test_a_document_of_ours_comes_back_through_otlp_byte_for_byte(spans):
    data = IntegrationFlow("n", "d", spans).to_json()
    assert there_and_back(data) == data


def test_twenty_thousand_random_times_and_ten_thousand_spans_come_back_byte_for_byte():
    dice = random.Random(7)
    spans = []
    for number in range(10_000):
        start, end = sorted(dice.randrange(2**63) for _ in range(2))
        made = record(number + 1, dice.randrange(number) + 1 if number else None, start=start, end=end)
        made.attributes = {
            "task.id": f"step{number}",
            "ratio": dice.random(),
            "n": dice.randrange(-(2**53), 2**53),
        }
        spans.append(made)
    data = IntegrationFlow("n", "d", spans).to_json()
    assert there_and_back(data) == data


@pytest.mark.parametrize(
    "odd",
    [
        span(1, ended=False),
        span(1, startTime="0001-01-01T00:00:00Z", duration=None),
        span(1, endTime="9999-01-01T00:00:00Z"),
        span(1, attributes={"a": [1], "b": None, "otel.links": "[]", "span.kind": "internal"}),
        span(1, status={"code": 0, "message": "fine"}),
        span(1, kind=5, spanContext={"traceId": "a" * 32, "spanId": "b" * 16, "traceFlags": 0}),
        span(1, attributes={"otel.links": links_text(trace_id=0)}),
        span(1, attributes={"otel.links": links_text(flags="256")}),
        span(1, attributes={"otel.links": links_text(flags="true")}),
        span(1, attributes={"otel.links": links_text(attributes='{"a":null}')}),
        span(1, attributes={"otel.links": links_text(attributes='{"a":[1]}')}),
    ],
)  # fmt: skip
def test_a_document_of_others_is_normalised_and_a_second_time_changes_nothing(odd):
    once = there_and_back(json.dumps(document(odd)).encode())
    assert there_and_back(once) == once


def test_a_remote_parent_is_the_parent_in_otlp_and_only_there():
    root = record(attributes={"runner.remote_parent": REMOTE})
    (shown,) = written(root)
    assert (shown["parentSpanId"], shown["flags"]) == (f"{0xAA:016x}", 0x301)
    assert from_otlp(request(shown))[0].parent_id is None
    root.flags = 0
    (shown,) = written(root)
    assert shown["flags"] == 0
    back = from_otlp(request(shown))[0]
    assert (back.parent_id, back.flags) == (None, 0)


def test_a_remote_parent_of_another_trace_is_no_parent():
    (shown,) = written(record(attributes={"runner.remote_parent": REMOTE.replace("9ea9", "1111")}))
    assert "parentSpanId" not in shown


def test_spans_of_others_keep_their_resource_and_scope():
    value = request(
        raw(),
        scope={"name": "flask", "version": "3"},
        resource={"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    )
    (back,) = from_otlp(value)
    assert back.origin == Origin({"service.name": "shop"}, "flask", "3")
    again = to_otlp([back, record(2)], RESOURCE)
    assert again["resourceSpans"][0]["resource"] == value["resourceSpans"][0]["resource"]
    assert again["resourceSpans"][0]["scopeSpans"][0]["scope"] == {"name": "flask", "version": "3"}
    assert again["resourceSpans"][1]["scopeSpans"][0]["scope"]["name"] == "runner"
    flow = json.loads(IntegrationFlow("n", "d", [back]).to_json())
    assert flow["spans"][0]["attributes"] == {
        "otel.scope.name": "flask",
        "otel.scope.version": "3",
        "service.name": "shop",
    }


def test_an_attribute_that_is_there_already_is_not_written_twice():
    (back,) = from_otlp(
        request(raw(kind=3, attributes=[{"key": "span.kind", "value": {"stringValue": "server"}}]))
    )
    assert IntegrationFlow("n", "d", [back]).to_json().count(b"span.kind") == 1


# --- what is written


def test_the_form_is_that_of_the_specification():
    made = record(
        1,
        kind="client",
        status="error",
        description="no",
        tracestate="a=1",
        attributes={"n": 2**40, "f": 0.5, "b": True, "list": ["a"], "none": None, "otel.dropped_events_count": 3},
        events=[("e", 5, {"k": "v"})],
        links=(Link(1, 2, {"why": "retry"}, 0),),
    )  # fmt: skip
    assert written(made, record(2, 1)) == [
        {
            "traceId": "9ea9841f48ab9d1b1160498e495dba21",
            "spanId": "0000000000000001",
            "traceState": "a=1",
            "flags": 0x101,
            "name": "http-1",
            "kind": 3,
            "startTimeUnixNano": "1",
            "endTimeUnixNano": "11",
            "attributes": [
                {"key": "n", "value": {"intValue": "1099511627776"}},
                {"key": "f", "value": {"doubleValue": 0.5}},
                {"key": "b", "value": {"boolValue": True}},
                {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}},
                {"key": "otel.dropped_events_count", "value": {"intValue": "3"}},
            ],
            "events": [
                {
                    "timeUnixNano": "5",
                    "name": "e",
                    "attributes": [{"key": "k", "value": {"stringValue": "v"}}],
                }
            ],
            "links": [
                {
                    "traceId": f"{1:032x}",
                    "spanId": f"{2:016x}",
                    "attributes": [{"key": "why", "value": {"stringValue": "retry"}}],
                    "flags": 0,
                }
            ],
            "status": {"code": 2, "message": "no"},
            "droppedEventsCount": 3,
        },
        {
            "traceId": "9ea9841f48ab9d1b1160498e495dba21",
            "spanId": "0000000000000002",
            "parentSpanId": "0000000000000001",
            "flags": 0x101,
            "name": "http-2",
            "kind": 1,
            "startTimeUnixNano": "2",
            "endTimeUnixNano": "12",
            "status": {"code": 0},
        },
    ]


def test_the_resource_is_that_of_this_package_until_another_is_given():
    group = to_otlp([record()], RESOURCE)["resourceSpans"][0]
    assert [pair["key"] for pair in group["resource"]["attributes"]] == ["service.name", "service.version"]
    assert group["scopeSpans"][0]["scope"]["name"] == "runner"
    assert to_otlp([], RESOURCE) == {"resourceSpans": []}


def test_a_span_that_goes_on_is_written_as_if_it_ended_when_it_began():
    made = record(end=None, ended=False)
    assert written(made)[0]["endTimeUnixNano"] == "1"


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("\ud83d", "?"),
        (2**63, str(2**63)),
        (2**63 - 1, 2**63 - 1),
        (math.inf, math.inf),
        ([], []),
        (["a", 1, None], ["a", 1, None]),
        ({"a\ud83d": ("\ud83d",)}, {"a?": ["?"]}),
        (b"\x00", b"\x00"),
        ({"a"}, '["a"]'),
    ],
)
def test_values_are_what_otlp_can_hold(value, held):
    assert otlp_attributes({"x": value, "y": None}) == {"x": held}


@pytest.mark.parametrize(
    "value", ["", "é", True, -5, 2**63 - 1, 0.0, 1.0, math.inf, -math.inf, [], [1, None, ["x"]], {"a": {"b": b"\xff"}}]
)  # fmt: skip
def test_every_kind_of_value_comes_back(value):
    (back,) = from_otlp(request(*written(record(attributes={"x": value}))))
    assert back.attributes["x"] == value
    assert type(back.attributes["x"]) is type(value)


def test_a_number_that_is_none_comes_back():
    (back,) = from_otlp(request(*written(record(attributes={"x": math.nan}))))
    assert math.isnan(back.attributes["x"])


# --- what is read


@given(st.sampled_from([0, "0", "", "0000000000000000"]))
def test_no_parent_is_spelled_in_many_ways(nothing):
    if nothing == 0:
        assert problems(request(raw(parentSpanId=0))) == [
            ("trace.id", "resourceSpans[0].scopeSpans[0].spans[0].parentSpanId")
        ]
    else:
        assert from_otlp(request(raw(parentSpanId=nothing)))[0].parent_id is None


@pytest.mark.parametrize(
    ("flags", "sampled"), [(None, 1), (0x100, 1), (0x300, 1), (0, 0), (0x101, 1), (0x102, 0), (3, 1)]
)
def test_trace_flags_are_taken_and_a_sender_that_leaves_them_out_has_sampled(flags, sampled):
    (back,) = from_otlp(request(raw() if flags is None else raw(flags=flags)))
    assert back.flags == sampled


@pytest.mark.parametrize(
    ("kind", "read_as"), [(0, "internal"), (5, "consumer"), ("SPAN_KIND_CLIENT", "client"), ("SPAN_KIND_UNSPECIFIED", "internal")]
)  # fmt: skip
def test_a_kind_may_be_a_number_or_its_name(kind, read_as):
    assert from_otlp(request(raw(kind=kind)))[0].kind == read_as


@pytest.mark.parametrize(
    ("code", "read_as"),
    [(0, "unset"), (1, "ok"), (2, "error"), ("STATUS_CODE_ERROR", "error"), ("STATUS_CODE_UNSET", "unset")],
)
def test_a_status_may_be_a_number_or_its_name(code, read_as):
    assert from_otlp(request(raw(status={"code": code, "message": "m"})))[0].status == read_as


def test_fields_that_are_missing_have_the_defaults_of_protobuf():
    (back,) = from_otlp(request({"traceId": "a" * 32, "spanId": "b" * 16}))
    assert (back.name, back.start, back.end, back.kind, back.status) == ("", 0, 0, "internal", "unset")
    assert from_otlp({"resourceSpans": None}) == []
    assert from_otlp({"resourceSpans": [{"scopeSpans": [{}]}, {}]}) == []


def test_fields_that_are_unknown_are_ignored():
    (back,) = from_otlp(request(raw(surprise=1, attributes=[{"key": "a", "value": {"newValue": 1}}])))
    assert back.attributes == {"a": None}


def test_a_span_without_an_end_goes_on():
    (back,) = from_otlp(request(raw()))
    assert (back.end, back.ended) == (None, False)


def test_numbers_may_be_written_as_numbers():
    (back,) = from_otlp(
        request(raw(startTimeUnixNano=5, attributes=[{"key": "n", "value": {"intValue": 6}}]))
    )
    assert (back.start, back.attributes) == (5, {"n": 6})


def test_what_was_dropped_is_told_in_attributes():
    (back,) = from_otlp(request(raw(droppedAttributesCount=2, droppedLinksCount=0)))
    assert back.attributes == {"otel.dropped_attributes_count": 2}


def test_parents_come_first_whatever_the_order():
    spans = from_otlp(request(*written(record(3, 2), record(2, 1), record(1))))
    assert [(one.name, one.sequence) for one in spans] == [("http-1", 0), ("http-2", 1), ("http-3", 2)]


def test_a_file_of_metrics_has_no_spans():
    assert from_otlp({"resourceMetrics": []}) == []


SPAN = "resourceSpans[0].scopeSpans[0].spans[0]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], [("trace.type", "")]),
        ({}, [("trace.missing", "resourceSpans")]),
        ({"resourceSpans": {}}, [("trace.type", "resourceSpans")]),
        ({"resourceSpans": [5]}, [("trace.type", "resourceSpans[0]")]),
        ({"resourceSpans": [{"resource": 5}]}, [("trace.type", "resourceSpans[0].resource")]),
        (request("x"), [("trace.type", SPAN)]),
        (request({}), [("trace.id", f"{SPAN}.traceId"), ("trace.id", f"{SPAN}.spanId")]),
        (request(raw(traceId="9emEH0irnRsRYEmOSV26IQ==")), [("trace.id", f"{SPAN}.traceId")]),
        (request(raw(name=5)), [("trace.type", f"{SPAN}.name")]),
        (request(raw(kind=6)), [("trace.type", f"{SPAN}.kind")]),
        (request(raw(kind="SPAN_KIND_ODD")), [("trace.type", f"{SPAN}.kind")]),
        (request(raw(status=[])), [("trace.type", f"{SPAN}.status")]),
        (request(raw(status={"code": 3})), [("trace.status", f"{SPAN}.status.code")]),
        (request(raw(startTimeUnixNano="soon")), [("trace.time", f"{SPAN}.startTimeUnixNano")]),
        (request(raw(startTimeUnixNano=-1)), [("trace.time", f"{SPAN}.startTimeUnixNano")]),
        (request(raw(startTimeUnixNano=1.5e18)), [("trace.time", f"{SPAN}.startTimeUnixNano")]),
        (request(raw(startTimeUnixNano=True)), [("trace.time", f"{SPAN}.startTimeUnixNano")]),
        (request(raw(flags=2**32)), [("trace.type", f"{SPAN}.flags")]),
        (request(raw(attributes={})), [("trace.type", f"{SPAN}.attributes")]),
        (request(raw(events=[7])), [("trace.type", f"{SPAN}.events[0]")]),
        (request(raw(events=[{"timeUnixNano": "x"}])), [("trace.time", f"{SPAN}.events[0].timeUnixNano")]),
        (request(raw(links=[{"traceId": "a" * 32}])), [("trace.id", f"{SPAN}.links[0].spanId")]),
        (request(raw(parentSpanId=f"{7:016x}")), [("trace.parents", SPAN)]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value, expected):
    assert problems(value) == expected


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"stringValue": 5}, "stringValue"),
        ({"boolValue": "true"}, "boolValue"),
        ({"intValue": "1.5"}, "intValue"),
        ({"intValue": str(2**63)}, "intValue"),
        ({"doubleValue": "1.5"}, "doubleValue"),
        ({"doubleValue": True}, "doubleValue"),
        ({"bytesValue": "?"}, "bytesValue"),
        ({"bytesValue": 5}, "bytesValue"),
        ({"arrayValue": []}, "arrayValue"),
        ({"kvlistValue": 5}, "kvlistValue"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_its_place(value, key):
    assert problems(request(raw(attributes=[{"key": "a", "value": value}]))) == [
        ("trace.type", f"{SPAN}.attributes[0].value.{key}")
    ]


def test_every_problem_is_told_at_once_with_the_place_of_its_request():
    bad = request(raw(name=5), raw(kind=9))
    with pytest.raises(FlowError) as caught:
        from_requests([(bad, Place("a", 1, 1)), (request(raw()), Place("a", 2, 1)), (bad, Place("a", 3, 1))])
    assert [problem.place.line for problem in caught.value.problems] == [1, 1, 3, 3]


def test_a_circle_is_told_with_the_place_of_its_span():
    one = request(raw(spanId="1" * 16, parentSpanId="2" * 16))
    two = request(raw(spanId="2" * 16, parentSpanId="1" * 16))
    with pytest.raises(FlowError) as caught:
        from_requests([(one, Place("a", 1, 1)), (two, Place("a", 2, 1))])
    (problem,) = caught.value.problems
    assert (problem.code, problem.where, problem.place) == ("trace.parents", SPAN, Place("a", 1, 1))
