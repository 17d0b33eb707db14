import json
import math
import sys
import tracemalloc
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.core import trace
from runner.core.redact import MASK, Masker
from runner.core.trace import Link, SpanBuffer, SpanRecord, encode, iso_time, parse_time, to_bytes

TRACE = 0x9EA9841F48AB9D1B1160498E495DBA21
SPAN = 0xCAD7BAD55BE81653
START = 1_763_683_062_398_911_919


def record(**attributes):
    made = SpanRecord("http-register", TRACE, SPAN, None, sequence=0, start=START, attributes=attributes)
    made.end = START + 1_500_000
    made.ended = True
    return made


def attributes_of(made):
    return json.loads(encode(made))["attributes"]


# --- one span


def test_a_span_is_written_with_the_keys_and_in_the_order_of_the_schema():
    made = record(**{"task.id": "register", "task.type": "http"})
    made.events.append(("retry.scheduled", START + 1, {"runner.delay_ms": 200}))
    assert encode(made) == (
        '{"name":"http-register","startTime":"2025-11-20T23:57:42.398911919Z"'
        ',"endTime":"2025-11-20T23:57:42.400411919Z","duration":1.5'
        ',"attributes":{"task.id":"register","task.type":"http"},"status":{"code":0},"ended":true'
        ',"events":[{"name":"retry.scheduled","timestamp":"2025-11-20T23:57:42.398911920Z"'
        ',"attributes":{"runner.delay_ms":200}}]'
        ',"spanContext":{"traceId":"9ea9841f48ab9d1b1160498e495dba21","spanId":"cad7bad55be81653","traceFlags":1}}'
    )


def test_the_parent_is_written_in_both_spellings():
    made = record()
    made.parent_id = 1
    shown = json.loads(encode(made))
    parent = {"traceId": f"{TRACE:032x}", "spanId": "0000000000000001", "traceFlags": 1}
    assert shown["parentSpanContext"] == shown["parentSpanContenxt"] == parent


@pytest.mark.parametrize(
    ("status", "code", "word"), [("unset", 0, None), ("ok", 0, "OK"), ("error", 1, "ERROR")]
)
def test_only_an_error_has_status_code_1(status, code, word):
    made = record()
    made.status = status
    assert json.loads(encode(made))["status"] == {"code": code}
    assert attributes_of(made).get("otel.status_code") == word


def test_what_the_schema_has_no_field_for_travels_in_attributes():
    made = record(**{"task.id": "x"})
    made.kind = "client"
    made.status = "error"
    made.description = "timed out"
    made.tracestate = "a=1"
    made.links = [Link(TRACE, 7, {"why": "retry"})]
    assert attributes_of(made) == {
        "task.id": "x",
        "span.kind": "client",
        "otel.status_code": "ERROR",
        "otel.status_description": "timed out",
        "w3c.tracestate": "a=1",
        "otel.links": (
            '[{"traceId":"9ea9841f48ab9d1b1160498e495dba21","spanId":"0000000000000007"'
            ',"traceFlags":1,"attributes":{"why":"retry"}}]'
        ),
    }


def test_a_span_that_goes_on_ends_at_the_time_of_the_snapshot():
    made = record()
    made.end, made.ended = None, False
    shown = json.loads(encode(made, now=START + 2_000_000))
    assert (shown["ended"], shown["duration"], shown["endTime"]) == (False, 2.0, iso_time(START + 2_000_000))
    assert json.loads(encode(made, now=START - 5))["duration"] == 0.0
    assert json.loads(encode(made))["endTime"] == iso_time(START)


def test_a_record_tells_its_duration_and_who_it_is():
    made = record()
    assert made.duration_ms == 1.5
    assert repr(made) == "<SpanRecord 0 'http-register' unset>"
    made.end = None
    assert made.duration_ms == 0.0


# --- attribute values


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (Colour.RED, "red"),
        (True, True),
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (["é", 1, None, True, math.nan, 2**60], '["é",1,null,true,"NaN",1152921504606846976]'),
        ({"a": {1: b"\x00"}, "b": (1,)}, '{"a":{"1":"AA=="},"b":[1]}'),
        ({"b", "a"}, '["a","b"]'),
        (b"\xff\x00", "/wA="),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
    ],
)
def test_an_attribute_becomes_a_text_a_number_or_a_boolean(value, shown):
    assert trace.coerce(value) == shown
    assert attributes_of(record(x=value)) == {"x": shown}


def test_a_number_with_more_digits_than_python_writes_is_shown_in_hexadecimal():
    assert trace.coerce(10**5000) == hex(10**5000)
    assert trace.coerce([10**5000]) == f'["{hex(10**5000)}"]'


def test_an_attribute_without_value_is_left_out():
    assert attributes_of(record(x=None, y=1)) == {"y": 1}
    only_kind = record(x=None)
    only_kind.kind = "server"
    assert attributes_of(only_kind) == {"span.kind": "server"}


TEXTS = st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=8)
LEAVES |= st.characters(categories=["Cs"])
ANYTHING = (
    LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(TEXTS, st.lists(LEAVES, max_size=2), max_size=2)
)


@given(st.dictionaries(TEXTS, ANYTHING, max_size=4))
def test_any_attributes_make_valid_json_of_scalars_that_is_written_the_same_again(values):
    data = to_bytes(encode(record(**{"x": 1} | values)))
    shown = json.loads(data, parse_constant=pytest.fail)
    assert all(type(value) in (str, int, float, bool) for value in shown["attributes"].values())
    again = record(**shown["attributes"])
    assert to_bytes(encode(again)) == data


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
@example("\ud83d\ude00")
@example("\ud83d")
def test_any_text_survives_and_pairs_of_surrogates_become_one_character(text):
    back = json.loads(to_bytes(json.dumps(text, ensure_ascii=False)))
    assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- times


@given(st.integers(-(2**62), 2**63 - 1))
@example(0)
@example(-1)
@example(999_999_999)
@example(1_000_000_000)
def test_a_time_keeps_every_nanosecond(ns):
    text = iso_time(ns)
    assert parse_time(text) == ns
    assert len(text) == len("2026-11-21T06:17:42.398911919Z")
    assert text.endswith("Z")


def test_time_and_key_caches_stay_small():
    for number in range(2000):
        iso_time(START + number * 1_000_000_000)
        encode(record(**{f"key{number}": 1}))
    assert len(trace._seconds) <= 512
    assert len(trace._keys) <= 512


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01t00:00:01.5z", 1_500_000_000),
        ("1970-01-01 01:00:01+01:00", 1_000_000_000),
        ("1969-12-31T19:30:01-0430", 1_000_000_000),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
    ],
)
def test_a_time_is_read_in_every_spelling_of_rfc_3339(text, ns):
    assert parse_time(text) == ns


@pytest.mark.parametrize("text", ["", "1970-01-01T00:00:01", "1970-13-01T00:00:00Z", "12345", "1970-01-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"zone|month"):
        parse_time(text)


# --- masking


def test_every_text_of_a_record_is_masked_and_no_key():
    made = record(hunter22="hunter22", n=1, list=["hunter22", 2], raw=b"hunter22", no=None)
    made.name = "GET /hunter22"
    made.description = "bad hunter22"
    made.events = [("hunter22", 1, {"m": "hunter22"})]
    made.links = [Link(1, 2, {"m": "hunter22"}, 3)]
    trace.mask_record(made, Masker(["hunter22"]))
    assert made.name == f"GET /{MASK}"
    assert made.description == f"bad {MASK}"
    assert made.attributes == {"hunter22": MASK, "n": 1, "list": [MASK, 2], "raw": MASK, "no": None}
    assert made.events == [("hunter22", 1, {"m": MASK})]
    assert made.links == (Link(1, 2, {"m": MASK}, 3),)


def test_a_long_value_is_cut_after_it_was_masked():
    at_the_cut = "x" * (trace.LONGEST_VALUE - 4) + "hunter22"
    made = record(text=at_the_cut, list=["y" * 20_000], fits="z" * trace.LONGEST_VALUE)
    trace.mask_record(made, Masker(["hunter22"]))
    assert made.attributes["text"] == "x" * (trace.LONGEST_VALUE - 4) + MASK[:3] + "…"
    assert made.attributes["list"].startswith('["yyy')
    assert [len(made.attributes[key]) for key in ("text", "list", "fits")] == [trace.LONGEST_VALUE] * 3


# --- many spans


def test_the_buffer_gives_spans_back_in_order_of_their_sequence():
    buffer = SpanBuffer()
    for sequence in (3, 0, 1):
        buffer.append(sequence, f"span {sequence}".encode())
    assert list(buffer) == [b"span 0", b"span 1", b"span 3"]
    assert buffer.get(2) is None
    assert buffer.get(99) is None
    assert (len(buffer), buffer.count, buffer.size) == (4, 3, 18)


def test_the_buffer_keeps_spans_of_many_blocks_apart():
    buffer = SpanBuffer()
    spans = [bytes([65 + number]) * 400_000 for number in range(8)]
    for sequence in reversed(range(8)):
        buffer.append(sequence, spans[sequence])
    assert list(buffer) == spans
    assert len(buffer._blocks) == 2


def test_a_kept_span_costs_little_more_than_its_bytes():
    data = to_bytes(encode(record(**{f"key.{number}": "some value" for number in range(12)})))
    tracemalloc.start()
    try:
        buffer = SpanBuffer()
        for sequence in range(20_000):
            buffer.append(sequence, data)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / buffer.size <= 1.05
    assert sys.getsizeof(buffer._places) + sys.getsizeof(buffer._sizes) <= 20_000 * 16


# --- ids


def test_a_traceparent_is_read_and_written():
    text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    parent = trace.parse_traceparent(text)
    assert (parent.trace_id, parent.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert parent.sampled
    assert trace.format_traceparent(parent.trace_id, parent.span_id, parent.flags) == text
    assert not trace.parse_traceparent(text[:-2] + "02").sampled


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
    ],
)
def test_an_invalid_traceparent_is_ignored(text):
    assert trace.parse_traceparent(text) is None


def test_a_ulid_holds_its_time_and_its_chance():
    assert trace.new_ulid(0, 0) == "0" * 26
    assert trace.new_ulid(2**48 - 1, 2**80 - 1) == "7" + "Z" * 25
    # the example of the ULID specification: 1469918176385 ms is 01ARYZ6S41
    assert trace.new_ulid(1469918176385, 1) == "01ARYZ6S41" + "0" * 15 + "1"


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1), st.integers(0, 2**48 - 1))
def test_ulids_sort_by_time(ms, chance, other):
    ulid = trace.new_ulid(ms, chance)
    assert trace.is_ulid(ulid)
    if ms != other:
        assert (ulid < trace.new_ulid(other, chance)) == (ms < other)


@pytest.mark.parametrize(
    "text", ["", "01ARYZ6S41", "8" + "0" * 25, "0" * 25 + "U", "0" * 25 + "a", "0" * 26 + "\n"]
)
def test_what_is_no_ulid_is_told_apart(text):
    assert not trace.is_ulid(text)


def test_the_execution_id_is_the_run_id_or_made_from_it():
    ulid = "01JSPK1SB6S622T6E1P9BBJTWP"
    assert trace.execution_id(ulid, 5) == ulid
    # sha256(b"run-7") begins with these ten bytes
    assert (
        trace.execution_id("run-7", 1469918176385)
        == "01ARYZ6S41" + trace.new_ulid(0, 0xB4C05DF04575822CEC85)[10:]
    )
    assert trace.execution_id("run-7", 1) != trace.execution_id("run-8", 1)


def test_a_document_begins_with_its_name_and_description():
    assert trace.head('a"b', "é") == '{"name":"a\\"b","description":"é","spans":['.encode()
