"""The admin API of PingOne DaVinci over real HTTP on loopback, by its public description (facts A7, A8; seed 003).

What the description leaves open can be chosen: `omitted` says what becomes of a property that a PUT
does not have, ``kept`` or ``cleared``. `between` is called when a PUT has come and before it is
carried out, which is where another writer can be.
"""

import base64
import copy
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import parse_qs, quote, unquote

from tests.servers import ApiServer, Reply

ENV = "abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6"
OTHER_ENV = "0b8d1c2e-1111-4222-8333-444455556666"
CLIENT, SECRET = "6f1c1c1e-2222-4333-9444-555566667777", "worker-secret-of-the-tests"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.given-by-hand.c2lnbmF0dXJl"  # good without having been asked for
READER = "eyJhbGciOiJSUzI1NiJ9.may-only-read.c2lnbmF0dXJl"
MOST_BYTES, MOST_FLOWS, MOST_VERSIONS = 10_000_000, 100, 100
START = datetime(2024, 4, 19, 19, 52, 2, 666_000, tzinfo=UTC)
JSON = "application/json"
FLOW, VERSION = "application/vnd.pingidentity.flow.", "application/vnd.pingidentity.flowversion."

TEXT, FLAG, INTEGER, NUMBER, OBJECT = "string", "boolean", "integer", "number", "object"
KINDS = {TEXT: str, FLAG: bool, INTEGER: int, NUMBER: (int, float), OBJECT: dict}
TYPES = ("array", "boolean", "number", "object", "string")
CONTROLS = (
    "button", "colorPicker", "contentEditableTextArea", "cssArea", "dropDown", "dropDownMultiSelect",
    "dropDownMultiSelect2", "dropDownWithCreate", "functionArgumentList", "keyValueList", "label", "radioSelect",
    "textArea", "textField", "textFieldArrayView", "toggleSwitch",
)  # fmt: skip
PLACE = {"x!": NUMBER, "y!": NUMBER}
MARKS = {"classes": TEXT, "grabbable": FLAG, "group": TEXT, "locked": FLAG, "pannable": FLAG, "position": PLACE, "removed": FLAG, "selectable": FLAG, "selected": FLAG}  # fmt: skip
NODE = {
    "data!": {
        "id!": TEXT, "nodeType!": TEXT, "capabilityClass": TEXT, "capabilityName": TEXT, "connectionId": TEXT,
        "connectorId": TEXT, "idUnique": TEXT, "label": TEXT, "name": TEXT, "properties": OBJECT, "status": TEXT,
        "type": TEXT, "outcomes": [{"result!": TEXT, "label!": TEXT, "id!": TEXT}],
    },
    **MARKS,
}  # fmt: skip
EDGE = {"data!": {"id!": TEXT, "source!": TEXT, "target!": TEXT, "multiValueSourceId": TEXT}, **MARKS}
GRAPH = {
    "elements": {"nodes": [NODE], "edges": [EDGE]}, "pan": PLACE, "zoom": NUMBER, "minZoom": NUMBER, "maxZoom": NUMBER,
    "boxSelectionEnabled": FLAG, "panningEnabled": FLAG, "userPanningEnabled": FLAG, "userZoomingEnabled": FLAG,
    "zoomingEnabled": FLAG, "data": OBJECT, "renderer": OBJECT,
}  # fmt: skip
LIFE = {"enabled!": FLAG, "time!": NUMBER, "timeFormat!": TEXT}
# A "!" is a property that must be there; a tuple has the values that are allowed.
REQUEST = {
    "name!": TEXT, "color": TEXT, "description": TEXT, "enabled": FLAG, "connectors": [{"id": TEXT}],
    "currentVersion": INTEGER, "publishedVersion": INTEGER, "graphData": GRAPH,
    "inputSchema": [{
        "propertyName!": TEXT, "preferredDataType!": TYPES, "description": TEXT, "isExpanded": FLAG,
        "preferredControlType": CONTROLS, "required": FLAG,
    }],
    "outputSchema": {"output!": {"properties!": OBJECT, "type!": ("object",), "additionalProperties": FLAG}},
    "settings": {"flowTimeoutInSeconds": INTEGER, "flowHttpTimeoutInSeconds": INTEGER, "logLevel": INTEGER, "csp": TEXT, "css": TEXT},
    "trigger": {"type!": ("AUTHENTICATION", "SCHEDULE"), "subtype": ("CIBA",), "configuration": {"mfa!": LIFE, "pwd!": LIFE}},
}  # fmt: skip
VARIABLE = {
    "name!": TEXT, "context!": ("company", "flow", "flowInstance", "user"), "mutable!": FLAG,
    "dataType!": ("boolean", "number", "object", "secret", "string"), "displayName": TEXT, "flow": {"id!": TEXT},
    "min": INTEGER, "max": INTEGER,
}  # fmt: skip
LONGEST = {"name": 256, "description": 1024, "alias": 256, "displayName": 256}
KEPT = ("name", "color", "description", "enabled", "connectors", "graphData", "inputSchema", "outputSchema", "settings", "trigger")  # fmt: skip


class RefusedError(Exception):
    """An answer that is an error, with its details."""

    def __init__(self, status, code, message, *details, headers=()):
        super().__init__(message)
        self.status, self.code, self.message, self.details, self.headers = (
            status, code, message, details, headers,
        )  # fmt: skip


def detail(code, target, message, **inner):
    """Return one detail of an error."""
    return {"code": code, "target": target, "message": message, **({"innerError": inner} if inner else {})}


def faults(value, shape, target):
    """Yield what is wrong with a value, as details of an error."""
    if isinstance(shape, dict):
        yield from faults_of_object(value, shape, target)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield detail("INVALID_VALUE", target, "must be an array")
            return
        for number, one in enumerate(value):
            yield from faults(one, shape[0], f"{target}[{number}]")
    elif isinstance(shape, tuple):
        if value not in shape:
            yield detail("INVALID_VALUE", target, "is not allowed", allowedValues=list(shape))
    elif not is_of(value, shape):
        yield detail("INVALID_VALUE", target, f"must be a {shape}")
    elif shape == TEXT:
        yield from faults_of_text(value, target)


def faults_of_object(value, shape, target):
    if not isinstance(value, dict):
        yield detail("INVALID_VALUE", target, "must be an object")
        return
    for marked, inner in shape.items():
        name = marked.rstrip("!")
        at = f"{target}.{name}" if target else name
        if name in value:
            yield from faults(value[name], inner, at)
        elif marked.endswith("!"):
            yield detail("REQUIRED_VALUE", at, "must not be missing")


def is_of(value, kind):
    if isinstance(value, float) and kind == INTEGER:
        return value.is_integer()
    return isinstance(value, KINDS[kind]) and (kind == FLAG or not isinstance(value, bool))


def faults_of_text(value, target):
    most = LONGEST.get(target)
    if most and len(value) > most:
        yield detail("SIZE_LIMIT_EXCEEDED", target, "is too long", maximumValue=most)
    if target in ("name", "alias") and (not value.strip() or "<" in value or "${" in value):
        yield detail(
            "INVALID_VALUE", target, "has characters that are not allowed", allowedPattern="no < and no ${"
        )


class Davinci(ApiServer):
    """One environment, its flows with their versions, its connections and variables."""

    def __init__(self, omitted="kept", between=None, page=None):
        super().__init__(self.handle)
        self.omitted, self.between, self.page = omitted, between, page
        self.flows, self.versions, self.variables = {}, {}, {}
        self.instances = {"867ed4363b2bc21c860085ad2baa817d": "httpConnector"}
        self.tokens = {TOKEN, READER}
        self.numbers = count(1)
        self.limited_until = None
        self.lose = lambda flow: None  # what a dishonest server would do to what it keeps

    # --- for tests

    def add(self, name="A flow", flow_id=None, **record):
        """Put a flow there without a request; returns its id."""
        flow_id = flow_id or f"a79d1931573009379f0691be{next(self.numbers):08x}"
        self.flows[flow_id] = {
            "name": name,
            "enabled": True,
            "connectors": [],
            "createdAt": self.now(),
            **record,
        }
        self.save(flow_id)
        return flow_id

    def save(self, flow_id, **changes):
        """Change a flow as somebody else would: a new version."""
        flow = self.flows[flow_id]
        flow.update(copy.deepcopy(changes))
        flow["currentVersion"] = flow.get("currentVersion", 0) + 1
        flow["updatedAt"] = self.now()
        kept = self.versions.setdefault(flow_id, {})
        kept[flow["currentVersion"]] = {"flow": copy.deepcopy(flow), "createdAt": flow["updatedAt"]}
        for old in list(kept)[:-MOST_VERSIONS]:
            del kept[old]

    def now(self):
        moment = START + timedelta(seconds=next(self.numbers))
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    def uuid(self):
        return f"00000000-0000-4000-8000-{next(self.numbers):012x}"

    # --- from a request to an answer

    def handle(self, request):
        try:
            if request.path.endswith("/as/token"):
                return self.token(request)
            return self.answered(request)
        except RefusedError as failure:
            error = {"id": self.uuid(), "code": failure.code, "message": failure.message}
            if failure.details:
                error["details"] = list(failure.details)
            return Reply(failure.status, error, list(failure.headers))

    def token(self, request):
        """Answer as RFC 6749 has it, which is not how the rest of the API does."""
        basic = base64.b64encode(f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}".encode()).decode()
        form = parse_qs(request.body.decode())
        if request.method != "POST" or request.header("content-type") != "application/x-www-form-urlencoded":
            return Reply(415, {"error": "invalid_request"})
        if request.path != f"/{ENV}/as/token" or request.header("authorization") != f"Basic {basic}":
            return Reply(401, {"error": "invalid_client"})
        if form.get("grant_type") != ["client_credentials"]:
            return Reply(400, {"error": "unsupported_grant_type"})
        token = f"eyJhbGciOiJSUzI1NiJ9.asked-for-{next(self.numbers)}.c2lnbmF0dXJl"
        self.tokens.add(token)
        return Reply(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def answered(self, request):
        self.authorize(request)
        if self.limited_until is not None:
            until, self.limited_until = self.limited_until, None
            inner = detail("LIMIT_EXCEEDED", None, "too many requests", retryAfter=until)
            raise RefusedError(429, "REQUEST_LIMITED", "The request was limited.", inner)
        parts = [unquote(one) for one in request.path.removeprefix("/v1/environments/").split("/")]
        if not request.path.startswith("/v1/environments/") or parts[0] != ENV:
            raise RefusedError(404, "NOT_FOUND", f"There is no environment {parts[0]}.")
        kind = (request.header("content-type") or "").partition(";")[0].strip() if request.body else None
        route = self.route(parts[1:])
        known = {key[1] for key in ROUTES if key[0] == request.method and key[2:] == route}
        if not known:
            raise RefusedError(404, "NOT_FOUND", "There is no such resource.")
        if kind not in known:
            raise RefusedError(415, "INVALID_REQUEST", f"The media type {kind} is not supported here.")
        if len(request.body) > MOST_BYTES:
            raise RefusedError(
                400, "INVALID_REQUEST", "The request is too large.",
                detail("SIZE_LIMIT_EXCEEDED", None, "10 MB", maximumValue=MOST_BYTES),
            )  # fmt: skip
        handler = getattr(self, f"do_{ROUTES[request.method, kind, *route]}")
        body = self.json(request) if request.body else None
        return handler(
            *[one for one, mark in zip(parts[1:], route, strict=True) if mark == "*"], body, request
        )

    def authorize(self, request):
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            raise RefusedError(
                401, "ACCESS_FAILED", "The request could not be completed. You do not have access to this resource.",
                detail("INVALID_TOKEN", "Authorization", "the token is missing, expired or revoked"),
            )  # fmt: skip
        if token == READER and request.method != "GET":
            raise RefusedError(
                403, "ACCESS_FAILED", "You do not have permissions to perform this action.",
                detail("INSUFFICIENT_PERMISSIONS", None, "davinci:update:dvFlows is missing"),
            )  # fmt: skip

    def route(self, parts):
        """Return a path with * for the ids in it."""
        known = {one for key in ROUTES for one in key[2:]}
        return tuple(one if one in known and number != 1 else "*" for number, one in enumerate(parts))

    def json(self, request):
        try:
            value = json.loads(request.body)
        except ValueError:
            raise RefusedError(
                400, "INVALID_REQUEST", "The request could not be parsed: the body is no JSON."
            ) from None
        if not isinstance(value, dict):
            raise RefusedError(400, "INVALID_REQUEST", "The body must be an object.")
        return value

    def judge(self, body, shape):
        found = list(faults(body, shape, ""))
        if found:
            raise RefusedError(400, "INVALID_DATA", "The request could not be completed. One or more validation errors were in the request.", *found)  # fmt: skip

    def found(self, flow_id):
        if flow_id not in self.flows:
            raise RefusedError(404, "NOT_FOUND", f"There is no flow {flow_id}.")
        return self.flows[flow_id]

    def version(self, flow_id, number):
        self.found(flow_id)
        kept = self.versions[flow_id]
        if not number.isdigit() or int(number) not in kept:
            raise RefusedError(404, "NOT_FOUND", f"There is no version {number} of this flow.")
        return kept[int(number)]

    def link(self, *parts):
        return {"href": "/".join((f"{self.origin}/v1/environments/{ENV}", *map(str, parts)))}

    def shown(self, flow_id):
        """Return a flow as GET shows it."""
        flow = self.flows[flow_id]
        me = self.link("flows", flow_id)
        links = {"environment": self.link(), "connectorInstances": self.link("connectorInstances"), "flow.deploy": me, "flow.clone": me, "flow.enabled": self.link("flows", flow_id, "enabled"), "self": me}  # fmt: skip
        told = {key: value for key, value in flow.items() if key != "createdAt"}
        return {
            "_links": links,
            "id": flow_id,
            "environment": {"id": ENV},
            **told,
            "createdAt": flow["createdAt"],
        }

    def listed(self, key, rows, request):
        first = int(request.query.get("from", ["0"])[0])
        size = self.page or len(rows) + 1
        links = {"environment": self.link(), "self": {"href": self.origin + request.target}}
        if first + size < len(rows):
            links["next"] = {"href": f"{self.origin}{request.path}?from={first + size}"}
        page = rows[first : first + size]
        return Reply(200, {"_links": links, "_embedded": {key: page}, "count": len(page)})

    # --- flows

    def do_list(self, _, request):
        rows = [self.shown(flow_id) for flow_id in self.flows]
        wanted = request.query.get("attributes", [""])[0]
        if wanted:
            rows = [
                {name: row[name] for name in ("_links", *wanted.split(",")) if name in row} for row in rows
            ]
        return self.listed("flows", rows, request)

    def do_create(self, body, _):
        self.judge(body, REQUEST)
        if len(self.flows) >= MOST_FLOWS:
            raise RefusedError(400, "REQUEST_FAILED", "The environment has as many flows as it may have.", detail("CONSTRAINT_VIOLATION", None, "100 flows", quotaLimit=MOST_FLOWS))  # fmt: skip
        flow_id = self.add(**{name: body[name] for name in KEPT if name in body})
        return Reply(201, self.shown(flow_id))

    def do_get(self, flow_id, _, request):
        self.found(flow_id)
        return Reply(200, self.shown(flow_id))

    def do_put(self, flow_id, body, _):
        self.found(flow_id)
        self.judge(body, REQUEST)
        if self.between is not None:
            self.between(flow_id)
        flow = self.flows[flow_id]
        if self.omitted == "cleared":
            for name in KEPT:
                flow.pop(name, None)
            flow["enabled"] = True
        changes = {name: body[name] for name in KEPT if name in body}
        self.lose(changes)
        self.save(flow_id, **changes)
        # The sample answer of seed 003 has neither the graph nor the connectors.
        shown = self.shown(flow_id)
        names = (
            "_links",
            "id",
            "environment",
            "name",
            "description",
            "enabled",
            "currentVersion",
            "createdAt",
            "updatedAt",
        )
        return Reply(200, {name: shown[name] for name in names if name in shown})

    def do_delete(self, flow_id, _, request):
        self.found(flow_id)
        del self.flows[flow_id], self.versions[flow_id]
        return Reply(204)

    def do_deploy(self, flow_id, body, _):
        flow = self.found(flow_id)
        flow["publishedVersion"], flow["deployedAt"] = flow["currentVersion"], self.now()
        flow["updatedAt"] = flow["deployedAt"]  # whether it counts as a change is not known
        self.versions[flow_id][flow["currentVersion"]]["deployedAt"] = flow["deployedAt"]
        return Reply(201, self.shown(flow_id))

    def do_clone(self, flow_id, body, _):
        flow = self.found(flow_id)
        kept = {name: copy.deepcopy(flow[name]) for name in KEPT if name in flow}
        return Reply(
            201, self.shown(self.add(**{**kept, "name": f"{flow['name']} - clone", "enabled": False}))
        )

    def do_validate(self, flow_id, body, _):
        self.found(flow_id)
        self.judge(body, {"graphData": GRAPH})
        graph = body.get("graphData") or {}
        nodes = (graph.get("elements") or {}).get("nodes") or []
        ends = {edge["data"]["source"] for edge in (graph.get("elements") or {}).get("edges") or []}
        found = [
            finding("dv-er-001", "error", node, flow_id, "The connection is not configured.")
            for node in nodes
            if node["data"]["nodeType"] == "CONNECTION" and "connectionId" not in node["data"]
        ] + [
            finding("dv-bp-001", "best-practice", node, flow_id, "The node leads nowhere.")
            for node in nodes
            if node["data"]["nodeType"] == "EVAL" and node["data"]["id"] not in ends
        ]
        errors = sum(one["type"] == "error" for one in found)
        told = {"dvlinterErrorCount": errors, "dvlinterWarningCount": len(found) - errors}
        return Reply(200, {**self.shown(flow_id), **told, "graphData": {**graph, "allLinterErrors": found}})

    def do_enabled(self, flow_id, body, _):
        self.judge(body, {"enabled!": FLAG})
        self.found(flow_id).update(enabled=body["enabled"], updatedAt=self.now())
        return Reply(
            200, {"_links": {"self": self.link("flows", flow_id, "enabled")}, "enabled": body["enabled"]}
        )

    # --- versions

    def described(self, flow_id, number):
        kept = self.versions[flow_id][number]
        me = self.link("flows", flow_id, "versions", number)
        told = {
            name: kept[name] for name in ("alias", "createdAt", "deployedAt", "clonedFrom") if name in kept
        }
        return {
            "_links": {"environment": self.link(), "self": me, "details": {"href": me["href"] + "/details"}, "flow.export": me, "flow.revert": me},
            "environment": {"id": ENV}, "flow": {"id": flow_id, "name": kept["flow"]["name"]}, "version": number, **told,
        }  # fmt: skip

    def do_versions(self, flow_id, _, request):
        self.found(flow_id)
        return self.listed(
            "versions", [self.described(flow_id, one) for one in self.versions[flow_id]], request
        )

    def do_version(self, flow_id, number, _, request):
        self.version(flow_id, number)
        return Reply(200, self.described(flow_id, int(number)))

    def do_details(self, flow_id, number, _, request):
        kept = self.version(flow_id, number)
        expanded = request.query.get("expand", [None])[0]
        if expanded not in (None, "steps", "variables"):
            raise RefusedError(400, "INVALID_DATA", "Invalid parameter.", detail("INVALID_PARAMETER", "expand", "is not allowed", allowedValues=["steps", "variables"]))  # fmt: skip
        more = {expanded: []} if expanded else {}
        return Reply(200, {**self.described(flow_id, int(number)), **{name: kept["flow"][name] for name in KEPT if name in kept["flow"]}, **more})  # fmt: skip

    def do_delete_version(self, flow_id, number, _, request):
        self.version(flow_id, number)
        if int(number) == self.flows[flow_id]["currentVersion"]:
            raise RefusedError(400, "REQUEST_FAILED", "The current version cannot be deleted.")
        del self.versions[flow_id][int(number)]
        return Reply(204)

    def do_alias(self, flow_id, number, body, _):
        kept = self.version(flow_id, number)
        self.judge(body, {"alias!": TEXT})
        kept["alias"] = body["alias"]
        me = self.link("flows", flow_id, "versions", number)
        return Reply(
            200,
            {"_links": {"environment": self.link(), "self": me, "flowVersion": me}, "alias": body["alias"]},
        )

    def do_export(self, flow_id, number, body, _):
        kept = self.version(flow_id, number)
        self.judge(body, {"includeSubFlows": FLAG, "includeVariableValues": FLAG, "includeForms": FLAG})
        flow = kept["flow"]
        told = {name: flow[name] for name in KEPT if name in flow}
        return Reply(
            200,
            {
                **self.described(flow_id, int(number)),
                **told,
                "publishedVersion": flow.get("publishedVersion", -1),
            },
        )

    def do_revert(self, flow_id, number, body, _):
        old = self.version(flow_id, number)["flow"]
        self.save(flow_id, **{name: old[name] for name in KEPT if name in old and name != "enabled"})
        current = self.flows[flow_id]["currentVersion"]
        self.versions[flow_id][current]["clonedFrom"] = int(number)
        return Reply(201, self.described(flow_id, current))

    # --- beside the flows

    def do_connections(self, _, request):
        rows = [{"id": key, "connector": {"id": name}, "name": name} for key, name in self.instances.items()]
        return self.listed("connectorInstances", rows, request)

    def add_variable(self, **variable):
        """Put a variable there without a request; returns its id."""
        key = self.uuid()
        self.variables[key] = {"id": key, "environment": {"id": ENV}, "min": 0, "max": 2000, **variable}
        return key

    def shown_variable(self, key):
        one = self.variables[key]
        told = {name: value for name, value in one.items() if name != "value" or one["dataType"] != "secret"}
        return {"_links": {"environment": self.link(), "self": self.link("variables", key)}, **told}

    def do_variables(self, _, request):
        return self.listed("variables", [self.shown_variable(key) for key in self.variables], request)

    def do_create_variable(self, body, _):
        self.judge(body, VARIABLE)
        for one in self.variables.values():
            if all(one.get(name) == body.get(name) for name in ("name", "context", "flow")):
                raise RefusedError(400, "INVALID_DATA", "The variable exists.", detail("UNIQUENESS_VIOLATION", "name", "is taken", existingId=one["id"]))  # fmt: skip
        return Reply(201, self.shown_variable(self.add_variable(**body)))

    def do_put_variable(self, key, body, _):
        if key not in self.variables:
            raise RefusedError(404, "NOT_FOUND", "There is no such variable.")
        self.judge(body, VARIABLE)
        self.lose(body)
        self.variables[key] = {"id": key, "environment": {"id": ENV}, "min": 0, "max": 2000, **body}
        return Reply(200, self.shown_variable(key))


def finding(code, kind, node, flow_id, message):
    """Return what the linter says of a node."""
    return {"code": code, "type": kind, "message": message, "recommendation": "Look at it.", "flowId": flow_id, "nodeId": node["data"]["id"]}  # fmt: skip


ROUTES = {
    ("GET", None, "flows"): "list",
    ("POST", JSON, "flows"): "create",
    ("GET", None, "flows", "*"): "get",
    ("PUT", JSON, "flows", "*"): "put",
    ("DELETE", None, "flows", "*"): "delete",
    ("POST", FLOW + "deploy+json", "flows", "*"): "deploy",
    ("POST", FLOW + "clone+json", "flows", "*"): "clone",
    ("POST", FLOW + "validate+json", "flows", "*"): "validate",
    ("PUT", JSON, "flows", "*", "enabled"): "enabled",
    ("GET", None, "flows", "*", "versions"): "versions",
    ("GET", None, "flows", "*", "versions", "*"): "version",
    ("DELETE", None, "flows", "*", "versions", "*"): "delete_version",
    ("GET", None, "flows", "*", "versions", "*", "details"): "details",
    ("PUT", JSON, "flows", "*", "versions", "*", "alias"): "alias",
    ("POST", VERSION + "export+json", "flows", "*", "versions", "*"): "export",
    ("POST", VERSION + "revert+json", "flows", "*", "versions", "*"): "revert",
    ("GET", None, "connectorInstances"): "connections",
    ("GET", None, "variables"): "variables",
    ("POST", JSON, "variables"): "create_variable",
    ("PUT", JSON, "variables", "*"): "put_variable",
}
