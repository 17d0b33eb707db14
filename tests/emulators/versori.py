"""The flows of the Versori platform over real HTTP on loopback, by what its public specification says.

A body is judged by the JSON schema, by the rules of a Go decoder, or by both: nobody knows which of
them the platform applies. What is kept is always what a Go struct would hold: unknown keys are gone,
times and numbers are written as Go writes them, and there is an `id`.
"""

import json
import re
from datetime import datetime
from decimal import Decimal
from urllib.parse import unquote

from tests.integration_flow_schema import VALIDATOR
from tests.servers import ApiServer, Reply

ORG = "01J9ZK6V4Q8N3T5W7Y2B4D6F8H"
PROJECT = "01J9ZK7AAAAAAAAAAAAAAAAAAA"
TOKEN = "correct-horse-battery"
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
PATH = re.compile(r"(?:/api/v2)?/o/([^/]+)/projects/([^/]+)/workflows(?:/([^/]+))?")
NO_ID = "0" * 26


class Versori(ApiServer):
    """`rules` are "schema", "decoder" or both; `headers` the ones of which a call must carry one.

    `lose` may take things out of what is kept, which no honest platform would.
    """

    def __init__(self, rules=("schema", "decoder"), headers=None, lose=None):
        super().__init__(self.handle)
        self.rules = rules
        self.accepted = headers or [("authorization", f"Bearer {TOKEN}")]
        self.lose = lose or (lambda flow: None)
        self.flows = {}

    @property
    def api(self):
        """The base url of the API."""
        return f"{self.origin}/api/v2"

    def flow_path(self, name):
        """Return the path of a flow as it is requested."""
        return f"/api/v2/o/{ORG}/projects/{PROJECT}/workflows/{name}"

    def handle(self, request):
        if not any(request.header(name) == value for name, value in self.accepted):
            return error(401, "unauthorized", details="the request has no valid credentials")
        match = PATH.fullmatch(request.path)
        if match is None:
            return error(404, "not found")
        organisation, project, name = match.groups()
        fields = [
            {"field": field, "message": "invalid ULID"}
            for field, value in (("organisation_id", organisation), ("project_id", project))
            if not ULID.fullmatch(value)
        ]
        if fields:
            return error(400, "invalid path parameters", fields)
        if (organisation, project) != (ORG, PROJECT):
            return error(404, "project not found")
        if name is None:
            return Reply(body={"flows": list(self.flows.values()) or None})
        act = getattr(self, f"do_{request.method.lower()}", None)
        return act(unquote(name), request) if act else error(405, "method not allowed")

    def do_get(self, name, request):
        return Reply(body=self.flows[name]) if name in self.flows else error(404, "flow not found")

    def do_delete(self, name, request):
        return Reply(204) if self.flows.pop(name, None) else error(404, "flow not found")

    def do_put(self, name, request):
        try:
            body = json.loads(request.body)
        except ValueError as reason:
            return error(400, "failed to decode request body", details=str(reason))
        if "schema" in self.rules and (fields := schema_errors(body)):
            return error(400, "request body is invalid", fields)
        try:
            flow = decode(body if "decoder" in self.rules else mended(body))
        except NotDecodableError as reason:
            return error(400, "failed to decode request body", details=str(reason))
        if flow["name"] != name:
            return error(
                400, "request body is invalid", [{"field": "name", "message": "is not that of the url"}]
            )
        flow["id"] = self.flows[name]["id"] if name in self.flows else f"01JEMVLATR{len(self.flows):016d}"
        self.lose(flow)
        self.flows[name] = flow
        return Reply(body=flow)


def error(status, message, fields=None, details=None):
    """Return an error as seed 001 describes it."""
    body = {"code": f"{status}000", "message": message}
    if fields:
        body["fields"] = fields
    if details:
        body["details"] = details
    return Reply(status, body)


def schema_errors(body):
    """Return what the schema says, as the fields of an error."""
    return [
        {"field": error.json_path.removeprefix("$").removeprefix("."), "message": error.message}
        for error in VALIDATOR.iter_errors(body)
    ]


def mended(body):
    """Return a body that only the schema has judged as the decoder can take it."""
    if isinstance(body, dict):
        return {key: mended(value) for key, value in body.items() if key != "id"}
    if isinstance(body, list):
        return [mended(value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


# --- the decoder ---------------------------------------------------------------------------------


class NotDecodableError(Exception):
    pass


def decode(body):
    """Return what is left of a body after Go has decoded it into the structs and encoded them again."""
    return struct(FLOW)(body, "IntegrationFlow")


def struct(fields):
    def decoded(value, path):
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise NotDecodableError(f"json: cannot unmarshal {kind(value)} into Go value of type {path}")
        kept = {}
        for key, (read, empty) in fields.items():
            found = read(value[key], f"{path}.{key}") if value.get(key) is not None else empty
            if found is not OMITTED:
                kept[key] = found
        return kept

    return decoded


def plain(kinds, name, shown=lambda value: value):
    def decoded(value, path):
        if not isinstance(value, kinds) or (bool not in kinds and isinstance(value, bool)):
            what = f"cannot unmarshal {kind(value)} into Go struct field {path} of type {name}"
            raise NotDecodableError(f"json: {what}")
        return shown(value)

    return decoded


def kind(value):
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"number {value}"
    return {str: "string", bool: "bool", list: "array", dict: "object"}.get(type(value), "null")


def number(value):
    """Write a float64 as Go does: no fraction where there is none, as few digits as will do."""
    return int(Decimal(repr(float(value)))) if float(value).is_integer() else float(value)


def many(read):
    def decoded(value, path):
        if not isinstance(value, list):
            what = f"cannot unmarshal {kind(value)} into Go struct field {path} of type []"
            raise NotDecodableError(f"json: {what}")
        return [read(one, path) for one in value]

    return decoded


def free(value, path=""):
    """Take any value, as the map that attributes are."""
    if isinstance(value, dict):
        return {key: free(one) for key, one in value.items()}
    if isinstance(value, list):
        return [free(one) for one in value]
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def attributes(value, path):
    return free(plain((dict,), "map[string]interface {}")(value, path))


def time(value, path):
    match = RFC_3339.fullmatch(str(value))
    try:
        datetime.fromisoformat(match[1])
    except (TypeError, ValueError):
        raise NotDecodableError(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00"') from None
    digits = (match[2] or "")[:9].rstrip("0")
    zone = "Z" if match[3] in ("+00:00", "-00:00") else match[3]
    return match[1] + (f".{digits}" if digits else "") + zone


def ulid(value, path):
    if not isinstance(value, str) or len(value) != 26:
        raise NotDecodableError("ulid: bad data size when unmarshaling")
    return value


OMITTED = object()
TEXT, NUMBER = plain((str,), "string"), plain((int, float), "float64", number)
INTEGER, BOOL = plain((int,), "int"), plain((bool,), "bool")
ZERO_TIME = "0001-01-01T00:00:00Z"
CONTEXT = {"traceId": (TEXT, ""), "spanId": (TEXT, ""), "traceFlags": (INTEGER, 0)}
STATUS = {"code": (INTEGER, 0)}
EVENT = {"name": (TEXT, ""), "timestamp": (time, ZERO_TIME), "attributes": (attributes, OMITTED)}
SPAN = {
    "name": (TEXT, ""),
    "startTime": (time, ZERO_TIME),
    "endTime": (time, ZERO_TIME),
    "duration": (NUMBER, 0),
    "attributes": (attributes, None),
    "status": (struct(STATUS), {"code": 0}),
    "ended": (BOOL, False),
    "events": (many(struct(EVENT)), None),
    "spanContext": (struct(CONTEXT), {"traceId": "", "spanId": "", "traceFlags": 0}),
    "parentSpanContext": (struct(CONTEXT), OMITTED),
    "parentSpanContenxt": (struct(CONTEXT), OMITTED),
}
FLOW = {
    "id": (ulid, NO_ID),
    "name": (TEXT, ""),
    "description": (TEXT, ""),
    "spans": (many(struct(SPAN)), None),
}
