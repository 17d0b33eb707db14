"""The emulator itself, held against what a Go decoder and the schema were seen to take (facts/versori 1)."""

import pytest

from tests.emulators.versori import NO_ID, NotDecodableError, decode
from tests.integration_flow_schema import violations

CONTEXT = {"traceId": "9ea9841f48ab9d1b1160498e495dba21", "spanId": "cad7bad55be81653", "traceFlags": 1}
SPAN = {
    "name": "a",
    "startTime": "2026-01-01T00:00:00Z",
    "endTime": "2026-01-01T00:00:01Z",
    "duration": 1000,
    "attributes": {},
    "status": {"code": 0},
    "ended": True,
    "events": [],
    "spanContext": CONTEXT,
}
EVENT = {"name": "e", "timestamp": "2026-01-01T00:00:00Z"}


def flow(**span):
    return {"name": "x", "description": "", "spans": [{**SPAN, **span}]}


def decoded(key, value):
    """Return what a field of a span comes back as, or that it is rejected."""
    try:
        return decode(flow(**{key: value}))["spans"][0].get(key, "absent")
    except NotDecodableError:
        return "rejected"


@pytest.mark.parametrize(
    ("key", "value", "back", "is_valid"),
    [
        ("startTime", "2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z", True),
        ("startTime", "2026-01-01T00:00:00.120000000Z", "2026-01-01T00:00:00.12Z", True),
        ("startTime", "2026-01-01T00:00:00.123456+00:00", "2026-01-01T00:00:00.123456Z", True),
        ("startTime", "2026-01-01T00:00:00.1234567891Z", "2026-01-01T00:00:00.123456789Z", None),
        ("startTime", "2026-01-01T00:00:00.123456", "rejected", False),
        ("startTime", "2026-01-01 00:00:00Z", "rejected", None),
        ("startTime", "2026-01-01T00:00:00+0000", "rejected", None),
        ("startTime", "2026-01-01t00:00:00z", "rejected", None),
        ("startTime", 1767225600, "rejected", False),
        ("startTime", "", "rejected", None),
        ("duration", 2.0, 2, True),
        ("duration", 0.25, 0.25, True),
        ("duration", "2", "rejected", False),
        ("duration", [1, 2], "rejected", False),
        ("status", {"code": 1}, {"code": 1}, True),
        ("status", {"code": 2}, {"code": 2}, False),
        ("status", {"code": 1.0}, "rejected", True),
        ("status", {"code": "ERROR"}, "rejected", False),
        ("status", {}, {"code": 0}, False),
        ("status", {"code": 1, "message": "m"}, {"code": 1}, True),
        ("kind", 3, "absent", True),
        ("attributes", {"a": [1], "b": None, "c": {"d": 1}}, {"a": [1], "b": None, "c": {"d": 1}}, False),
        ("attributes", {"a": 2**60}, {"a": 1152921504606847000}, True),
        ("attributes", None, None, False),
        ("events", None, None, False),
        ("events", [EVENT], [EVENT], True),
        (
            "events",
            [{"name": "e", "time": "2026-01-01T00:00:00Z"}],
            [{**EVENT, "timestamp": "0001-01-01T00:00:00Z"}],
            False,
        ),
        ("spanContext", {**CONTEXT, "traceFlags": "01"}, "rejected", False),
        ("spanContext", {**CONTEXT, "traceFlags": 1.0}, "rejected", True),
        ("parentSpanContext", None, "absent", False),
        ("parentSpanContext", CONTEXT, CONTEXT, True),
        ("parentSpanContenxt", CONTEXT, CONTEXT, True),
    ],
)
def test_a_field_comes_back_as_go_would_write_it(key, value, back, is_valid):
    """`is_valid` tells what the schema says of it, None where nobody has tried."""
    assert decoded(key, value) == back
    if is_valid is not None:
        assert (violations(flow(**{key: value})) == []) is is_valid


@pytest.mark.parametrize(("value", "back"), [("", "rejected"), ("x" * 26, "x" * 26), (None, NO_ID)])
def test_an_id_is_a_ulid(value, back):
    try:
        found = decode({**flow(), "id": value})["id"]
    except NotDecodableError:
        found = "rejected"
    assert found == back


def test_what_is_missing_is_empty():
    assert decode({}) == {"id": NO_ID, "name": "", "description": "", "spans": None}


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_a_body_is_an_object(value):
    if value is None:
        assert decode(value)["name"] == ""
    else:
        with pytest.raises(NotDecodableError, match="cannot unmarshal"):
            decode(value)
