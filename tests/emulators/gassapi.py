"""The flows of GASSAPI over real HTTP on loopback, in its two faces.

`Documented` does what the documents promise (seed 002 and its pages): paths and `?act=`, a PUT that
saves everything, a picture beside the steps. `Observed` does what the server was seen to do (facts/gassapi
5): only `?act=`, a PUT that fails with `flow_data` and drops `flow_inputs`, pictures that lose
conditions and settings, PHP's idea of JSON, warnings in front of answers. Both tell errors in their
own words; the rules are those of `runner check --as`, which tests hold to their texts.
"""

import copy
import html
import json
import re
from itertools import count, pairwise

from runner.core.document import Document
from runner.platforms import convert
from runner.platforms.gassapi_rules import faults
from runner.platforms.gassapi_texts import STAGES
from tests.servers import ApiServer, Reply

TOKEN = "f" * 64
STRANGER = "e" * 64  # somebody who is logged in and a member of nothing
PROJECT, OTHER_PROJECT = "proj_1761375000_0a1b2c3d", "proj_1761375001_4e5f6a7b"
FOLDER, OTHER_FOLDER = "fld_456", "fld_789"
BASE = "/gassapi2/backend"
MOST = 1024 * 1024
EMPTY_FLOW = {"version": "1.0", "steps": [], "config": {"delay": 0, "retryCount": 1, "parallel": False}}

# act -> the path that it stands for; the last column of the server's own route map
ACTS = {
    "flows": "/project/{id}/flows",
    "flow_list": "/project/{id}/flows",
    "flow_create": "/project/{id}/flows",
    "flows_active": "/project/{id}/flows/active",
    "flow": "/flow/{id}",
    "flow_get": "/flow/{id}",
    "flow_update": "/flow/{id}",
    "flow_delete": "/flow/{id}",
    "flow_detail_ui": "/flow/{id}/ui",
    "flow_update_ui": "/flow/{id}/ui",
    "flow_duplicate": "/flow/{id}/duplicate",
    "flow_toggle_active": "/flow/{id}/toggle-active",
    "flow_activate": "/flow/{id}/activate",
    "flow_deactivate": "/flow/{id}/deactivate",
}
DRAWN = {("PUT", "flow_detail_ui"), ("GET", "flow_update_ui")}
ROUTES = {
    ("GET", "/project/{id}/flows"): "list",
    ("POST", "/project/{id}/flows"): "create",
    ("GET", "/project/{id}/flows/active"): "list_active",
    ("GET", "/flow/{id}"): "get",
    ("PUT", "/flow/{id}"): "update",
    ("DELETE", "/flow/{id}"): "delete",
    ("GET", "/flow/{id}/ui"): "get_ui",
    ("PUT", "/flow/{id}/ui"): "update_ui",
    ("POST", "/flow/{id}/duplicate"): "duplicate",
    ("PUT", "/flow/{id}/toggle-active"): "toggle",
}


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status, message, before=""):
        super().__init__(message)
        self.status, self.message, self.before = status, message, before


class Gassapi(ApiServer):
    """What both faces have in common: one project with one folder, and what a token may do."""

    face: str
    creates_with = 201

    def __init__(self):
        super().__init__(self.handle)
        self.flows = {}
        self.folders = {FOLDER: PROJECT, OTHER_FOLDER: OTHER_PROJECT}
        self.numbers = count(1)

    @property
    def api(self):
        """The base url of the API."""
        return f"{self.origin}{BASE}"

    def add(self, name="A flow", flow_data=None, **record):
        """Put a flow there without a request; returns its id."""
        flow_id = self.new_id()
        self.flows[flow_id] = {
            "id": flow_id, "name": name, "description": None, "project_id": PROJECT, "folder_id": None,
            "flow_inputs": [], "flow_data": flow_data or copy.deepcopy(EMPTY_FLOW), "ui_data": None, "is_active": 1,
            "created_by": "user_xyz", "created_at": self.now(), "updated_at": self.now(), **record,
        }  # fmt: skip
        return flow_id

    def new_id(self):
        return f"flow_{next(self.numbers):032x}"

    def now(self):
        return f"2025-10-25 10:{next(self.numbers) % 60:02d}:00"

    # --- from a request to an answer

    def handle(self, request):
        try:
            handler, given = self.route(request)
            self.user = self.authenticated(request)
            status, message, data, *more = handler(given, request)
        except RefusedError as failure:
            return self.refused(failure)
        return self.answer(status, message, data, *more)

    def route(self, request):
        raise NotImplementedError

    def authenticated(self, request):
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or token not in (TOKEN, STRANGER):
            raise RefusedError(401, "Authentication required")
        return token

    def member_of(self, project):
        if self.user != TOKEN or project != PROJECT:
            raise RefusedError(403, "Forbidden")

    def find(self, flow_id):
        # The database compares without case and without blanks at the end.
        for known, row in self.flows.items():
            if known == (flow_id or "").rstrip().lower():
                self.member_of(row["project_id"])
                return row
        raise RefusedError(404, "Flow not found")

    def body(self, request):
        if len(request.body) > MOST:
            raise RefusedError(413, "Input too large")
        if not request.body.strip():
            return {}
        try:
            value = json.loads(request.body)
        except ValueError:
            raise RefusedError(400, "Invalid JSON format") from None
        return value if isinstance(value, dict) else {}

    def folder(self, body):
        if body.get("folder_id") and self.folders.get(body["folder_id"]) != PROJECT:
            raise RefusedError(400, "Folder does not belong to this project")

    def judge(self, body, *stages, before=""):
        """Refuse with all faults of the first stage that has any."""
        for stage in stages:
            found = [fault.text for fault in faults(body, self.face) if fault.stage == stage]
            if found:
                raise RefusedError(400, STAGES[stage][1] + ", ".join(found), before)

    def envelope(self, status, message, data):
        envelope = {
            "success": status < 400, "status_code": status, "message": message,
            "timestamp": "2025-10-25 07:00:00", "request_id": f"req_{next(self.numbers):013x}",
        }  # fmt: skip
        return envelope if data is None else {**envelope, "data": data}

    def answer(self, status, message, data, more=None, before=""):
        return Reply(status, {**self.envelope(status, message, data), **(more or {})})

    def refused(self, failure):
        raise NotImplementedError

    def row(self, row):
        """Return a row as answers show it: parts as JSON texts, switches as numbers."""
        texts = {name: self.text(row[name]) for name in ("flow_inputs", "flow_data", "ui_data")}
        return {**row, **texts}

    def text(self, value):
        return None if value is None else json.dumps(value)


class Documented(Gassapi):
    """The server of the documents; `running` are flows that are being executed."""

    face = "documented"

    def __init__(self):
        super().__init__()
        self.running = set()

    def route(self, request):
        act = request.query.get("act", [None])[0]
        flow_id = request.query.get("id", [None])[0]
        path = request.path.removeprefix(BASE)
        if act is not None:
            # The documents read a drawing under one name and write it under another.
            template = None if (request.method, act) in DRAWN else ACTS.get(act)
        else:
            template = re.sub(r"^(/(?:flow|project))/[^/]+", r"\1/{id}", path)
            flow_id = path.split("/")[2] if template != path else None
        handler = ROUTES.get((request.method, template))
        if handler is None or not flow_id:
            raise RefusedError(404, "Route not found")
        return getattr(self, f"do_{handler}"), flow_id

    def refused(self, failure):
        return Reply(failure.status, {"status": "error", "message": failure.message})

    def do_list(self, project, request, *, active=False):
        self.member_of(project)
        rows = [
            {
                **{name: row[name] for name in row if name not in ("flow_data", "ui_data")},
                "flow_inputs": self.text(row["flow_inputs"]), "step_count": len(row["flow_data"]["steps"]),
                "format_type": "steps", "folder_name": row["folder_id"],
            }
            for row in reversed(self.flows.values())
            if row["is_active"] or not active
        ]  # fmt: skip
        size, page = (
            int(request.query.get(key, [value])[0]) for key, value in (("per_page", 20), ("page", 1))
        )
        paging = {
            "current_page": page, "per_page": size, "total": len(rows), "total_pages": -(-len(rows) // size),
            "has_next": page * size < len(rows), "has_prev": page > 1,
        }  # fmt: skip
        message = "Active flows fetched" if active else "Flows fetched"
        return 200, message, rows[(page - 1) * size : page * size], {"pagination": paging}

    def do_list_active(self, project, request):
        return self.do_list(project, request, active=True)

    def do_get(self, flow_id, request):
        row = self.find(flow_id)
        return (
            200,
            "Flow detail",
            {**self.row(row), "flow_data": row["flow_data"], "folder_name": row["folder_id"]},
        )

    def do_create(self, project, request):
        self.member_of(project)
        body = self.body(request)
        if not body.get("name"):
            raise RefusedError(400, "Required field: Name")
        row = self.flows[self.add(self.free_name(body["name"]))]
        try:
            self.change(row, body)
        except RefusedError:
            del self.flows[row["id"]]
            raise
        return 201, "Flow created", self.row(row)

    def free_name(self, name, *, but=None):
        if any(row["name"].lower() == str(name).lower() and row is not but for row in self.flows.values()):
            raise RefusedError(409, "A flow with this name exists in the project")
        return str(name)

    def do_update(self, flow_id, request):
        row = self.find(flow_id)
        self.change(row, self.body(request))
        return 200, "Flow updated", self.row(row)

    def do_update_ui(self, flow_id, request):
        row = self.find(flow_id)
        body = self.body(request)
        data = body.get("flow_data")
        if isinstance(data, dict):
            body["flow_data"] = {"nodes": data.get("nodes"), "edges": data.get("edges"), **data}
        self.change(row, body)
        return 200, "Flow updated", self.row(row)

    def change(self, row, body):
        self.judge(body, "inputs", "format", "references")
        self.folder(body)
        if "name" in body:
            row["name"] = self.free_name(body["name"], but=row)
        for name in ("description", "folder_id", "flow_inputs"):
            if name in body:
                row[name] = body[name]
        if "is_active" in body:
            row["is_active"] = int(bool(body["is_active"]))
        if body.get("flow_data") is not None:
            row["flow_data"], row["ui_data"] = both(body["flow_data"])
        row["updated_at"] = self.now()

    def do_get_ui(self, flow_id, request):
        row = self.find(flow_id)
        shown = {name: row[name] for name in row if name != "ui_data"}
        return 200, "Flow data for UI", {**shown, "flow_data": row["ui_data"] or both(row["flow_data"])[1]}

    def do_delete(self, flow_id, request):
        row = self.find(flow_id)
        if row["id"] in self.running and request.query.get("force") != ["true"]:
            raise RefusedError(
                409, "Cannot delete flow: Currently being executed or referenced by active tests"
            )
        del self.flows[row["id"]]
        return 200, "Flow deleted", {"id": row["id"], "name": row["name"], "deleted_at": self.now()}

    def do_duplicate(self, flow_id, request):
        row, body = self.find(flow_id), self.body(request)
        if body.get("folder_id") and self.folders.get(body["folder_id"]) != PROJECT:
            raise RefusedError(409, "Cannot duplicate to folder: User does not have access to target folder")
        taken = {one["name"] for one in self.flows.values()}
        copies = (f"{row['name']} (Copy{f' {number}' if number > 1 else ''})" for number in count(1))
        name = self.free_name(body.get("name") or next(one for one in copies if one not in taken))
        told = {key: body[key] for key in ("folder_id", "description") if key in body}
        kept = {
            key: copy.deepcopy(row[key])
            for key in ("flow_inputs", "flow_data", "ui_data", "folder_id", "description")
        }
        new = self.add(name, **{**kept, **told, "is_active": 0})
        return 201, "Flow duplicated", {**self.row(self.flows[new]), "duplicated_from": row["id"]}

    def do_toggle(self, flow_id, request):
        row = self.find(flow_id)
        if row["id"] in self.running:
            raise RefusedError(409, "Cannot toggle status: Flow is currently being executed")
        row["is_active"] = 1 - row["is_active"]
        return 200, f"Flow {'activated' if row['is_active'] else 'deactivated'}", self.row(row)


def both(data):
    """Return the steps and the picture of a flow that came as either."""
    steps, _ = convert(Document.of({"flow_data": data}), "steps")
    drawn, _ = convert(Document.of({"flow_data": steps["flow_data"]}), "react-flow")
    return steps["flow_data"], steps.get("ui_data") or drawn["flow_data"]


class Observed(Gassapi):
    """The server as it was seen; with `debug`, its default, PHP's warnings stand before some answers."""

    face = "observed"

    def __init__(self, *, debug=True):
        super().__init__()
        self.debug = debug

    def route(self, request):
        act = request.query.get("act", ["help"])[0]
        if act not in ACTS and act not in ("help", "flows_list", "flow_execute"):
            raise RefusedError(400, "Invalid action")
        flow_id = request.query.get("id", [None])[0]
        override = request.header("x-http-method-override") if request.method == "POST" else None
        method = override or request.method
        template = None if act == "flow_update_ui" else ACTS.get(act)
        if template is None:
            if method == "GET":
                return self.do_help, flow_id
            raise RefusedError(404, "Route not found")
        if act in ("flow_activate", "flow_deactivate") and method in ("GET", "PUT"):
            return (self.do_activate if act == "flow_activate" else self.do_deactivate), flow_id
        if (method, template) not in ROUTES:
            raise RefusedError(
                404, "Route not found" if method in ("GET", "PUT", "POST", "DELETE") else "Method not allowed"
            )
        if not flow_id:
            raise RefusedError(404, "Route not found")
        return getattr(self, f"do_{ROUTES[method, template]}"), flow_id

    def authenticated(self, request):
        return None if request.query.get("act", ["help"]) == ["help"] else super().authenticated(request)

    def refused(self, failure):
        if not failure.message:
            return Reply(failure.status, "")
        wrapped = {400: "Invalid request: {}", 401: "Authentication failed: {}", 404: "Not found: {}"}
        message = wrapped.get(failure.status, "{}").format(failure.message)
        kind = "server_error" if failure.status >= 500 else "client_error"
        debug = (
            {"debug": {"error_type": kind, "suggestion": "Check the data format sent"}} if self.debug else {}
        )
        return self.answer(failure.status, message, None, debug, failure.before)

    def answer(self, status, message, data, more=None, before=""):
        text = json.dumps({**self.envelope(status, message, data), **(more or {})}, ensure_ascii=False)
        if before and self.debug:  # what is printed first has sent the status 200 already
            status, text = (
                200,
                f"<br />\n<b>Warning</b>:  {before} in <b>/srv/FlowHandler.php</b> on line <b>1</b><br />\n{text}",
            )
        return Reply(status, text, [("Content-Type", "application/json; charset=utf-8")])

    def text(self, value):
        return None if value is None else json.dumps(php(value)).replace("/", "\\/")

    def do_help(self, flow_id, request):
        return 200, "GASS API", {"version": "1.0", "endpoints": ["/flow/{id}", "/project/{id}/flows"]}

    def sanitized(self, value):
        """Return a text as it is stored: escaped, and nothing at all when it was escaped before."""
        if isinstance(value, list | dict):
            raise RefusedError(500, "")  # PHP ends where it wants a text
        value = value if value is None or isinstance(value, str) else str(value)
        self.judge({"name": value}, "text")
        if value and re.search(r"&\w+;", value) and html.unescape(value) != value:
            return None
        return None if value is None else html.escape(value.strip()).replace("&#x27;", "&apos;")

    def taken(self, name, *, but=None):
        return any(
            row["name"].lower().rstrip() == name.lower().rstrip() and row is not but
            for row in self.flows.values()
        )

    def do_list(self, project, request, *, active=False):
        self.member_of(project)
        rows = [self.row(row) for row in reversed(self.flows.values()) if row["is_active"] or not active]
        return 200, "Active flows fetched" if active else "Flows fetched", rows[:100]

    def do_list_active(self, project, request):
        return self.do_list(project, request, active=True)

    def do_get(self, flow_id, request):
        row = self.find(flow_id)
        return 200, "Flow detail", {**self.row(row), "folder_name": row["folder_id"]}

    def do_create(self, project, request):
        self.member_of(project)
        body = self.body(request)
        if body.get("name") in (None, ""):
            raise RefusedError(400, "Required field: Name")
        name = self.sanitized(body["name"])
        texts = {key: self.sanitized(body.get(key)) for key in ("description", "folder_id")}
        self.judge(body, "inputs")
        self.folder(body)
        data = body.get("flow_data") or copy.deepcopy(EMPTY_FLOW)
        before = warning(data)
        self.judge({"flow_data": data}, "format", "references", before=before)
        if name is None or len(name) > 255 or texts["folder_id"] == "" or self.taken(name):
            raise RefusedError(500, "Failed to create flow")
        is_drawn = "nodes" in data
        new = self.add(
            name, lossy_steps(data) if is_drawn else data, **texts,
            flow_inputs=body.get("flow_inputs") or [], ui_data=data if is_drawn else lossy_drawing(data),
            is_active=1 if body.get("is_active") is None else int(bool(body["is_active"])),
        )  # fmt: skip
        return 201, "Flow created", self.row(self.flows[new]), None, before

    def do_update(self, flow_id, request):
        row, body = self.find(flow_id), self.body(request)
        told = {
            key: self.sanitized(body[key])
            for key in ("name", "description", "folder_id")
            if body.get(key) is not None
        }
        self.folder(body)
        if body.get("flow_data") is not None:
            self.judge({"flow_data": body["flow_data"]}, "format", "references")
        if body.get("is_active") is not None:
            told["is_active"] = int(bool(body["is_active"]))
        name = told.get("name", "")
        if body.get("flow_data") is not None or name is None or len(name) > 255 or self.taken(name, but=row):
            raise RefusedError(500, "Failed to update flow")
        row.update(told, updated_at=self.now())  # flow_inputs are not looked at
        return 200, "Flow updated", self.row(row)

    def do_get_ui(self, flow_id, request):
        row = self.find(flow_id)
        shown = {name: php(row[name]) for name in row if name != "ui_data"}
        return (
            200,
            "Flow data for UI",
            {**shown, "flow_data": php(row["ui_data"] or lossy_drawing(row["flow_data"]))},
        )

    def do_update_ui(self, flow_id, request):
        row, body = self.find(flow_id), self.body(request)
        data = body.get("flow_data")
        if not isinstance(data, dict):
            before = 'Undefined array key "flow_data"'
            raise RefusedError(400, "Invalid flow format: Missing nodes array, Missing edges array", before)
        drawing = {"nodes": data.get("nodes"), "edges": data.get("edges")}
        missing = [f"Missing {name} array" for name, value in drawing.items() if value is None]
        found = [fault.text for fault in faults({"flow_data": data}, "observed") if fault.stage == "format"]
        if missing or found:
            raise RefusedError(400, "Invalid flow format: " + ", ".join(missing or found))
        told = {
            key: self.sanitized(body[key])
            for key in ("name", "description", "folder_id")
            if body.get(key) is not None
        }
        self.folder(body)
        name = told.get("name", "")
        if name is None or len(name) > 255 or self.taken(name, but=row):
            raise RefusedError(500, "Failed to update flow")
        if body.get("flow_inputs") is not None:
            told["flow_inputs"] = body["flow_inputs"]
        if body.get("is_active") is not None:
            told["is_active"] = int(bool(body["is_active"]))
        row.update(told, flow_data=lossy_steps(data), ui_data=data, updated_at=self.now())
        return 200, "Flow updated", self.row(row)

    def do_delete(self, flow_id, request):
        row = self.find(flow_id)
        del self.flows[row["id"]]
        return 200, "Flow deleted", {"id": flow_id}

    def do_duplicate(self, flow_id, request):
        row, body = self.find(flow_id), self.body(request)
        name = self.sanitized(body["name"]) if body.get("name") is not None else f"{row['name']} (Copy)"
        if name is None or self.taken(name):
            raise RefusedError(500, "Failed to duplicate flow")
        kept = {key: copy.deepcopy(row[key]) for key in ("description", "folder_id", "flow_data")}
        new = self.add(name, **kept, is_active=0, flow_inputs=None)
        return 201, "Flow duplicated", self.row(self.flows[new])

    def do_toggle(self, flow_id, request):
        row = self.find(flow_id)
        row["is_active"] = 1 - row["is_active"]
        return 200, f"Flow {'activated' if row['is_active'] else 'deactivated'}", self.row(row)

    def do_activate(self, flow_id, request):
        row = self.find(flow_id)
        row["is_active"] = 1
        return 200, "Flow activated successfully", self.row(row)

    def do_deactivate(self, flow_id, request):
        row = self.find(flow_id)
        row["is_active"] = 0
        return 200, "Flow deactivated successfully", self.row(row)


def warning(data):
    """Return what PHP prints when it looks for references in a body that is a text."""
    steps = data.get("steps") if isinstance(data, dict) else None
    has_text = any(isinstance(step, dict) and isinstance(step.get("body"), str) for step in steps or ())
    return "foreach() argument must be of type array|object, string given" if has_text else ""


def php(value):
    """Return a JSON value after PHP has decoded it to arrays and encoded them again."""
    if isinstance(value, dict):
        if list(value) == [str(number) for number in range(len(value))]:
            return [php(one) for one in value.values()]
        return {key: php(one) for key, one in value.items()}
    if isinstance(value, list):
        return [php(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


KEPT = {"name": None, "method": "GET", "url": "", "headers": [], "body": None, "outputs": [], "tests": []}


def lossy_drawing(data):
    """Return the picture that the server draws: neighbours joined, and nothing but what it knows."""
    steps = data["steps"] if isinstance(data["steps"], list) else []
    return {
        "nodes": [
            {
                "id": step["id"], "type": "apiCall", "position": {"x": index * 250, "y": 100},
                "data": {**KEPT, "name": step["id"], **{key: step[key] for key in KEPT if step.get(key) is not None}},
            }
            for index, step in enumerate(steps)
        ],
        "edges": [
            {"id": f"edge-{one['id']}-{other['id']}", "source": one["id"], "target": other["id"], "type": "smoothstep"}
            for one, other in pairwise(steps)
        ],
    }  # fmt: skip


def lossy_steps(drawing):
    """Return the steps that the server makes of a drawing: breadth first, and nothing but what it knows."""
    nodes, edges = drawing["nodes"], drawing["edges"]
    by_id = {node["id"]: node for node in nodes}
    ordered = list(nodes)
    if edges:
        queue = [name for name in by_id if all(edge["target"] != name for edge in edges)]
        for name in queue:
            queue += [
                edge["target"] for edge in edges
                if edge["source"] == name and edge["target"] not in queue and edge["target"] in by_id
            ]  # fmt: skip
        ordered = [by_id[name] for name in queue] + [
            node for node in by_id.values() if node["id"] not in queue
        ]
    steps = [
        {"id": node["id"], **KEPT, "name": node["id"], **{key: node["data"][key] for key in KEPT if node["data"].get(key) is not None}}
        for node in ordered
    ]  # fmt: skip
    return {"version": "1.0", "steps": steps, "config": {"delay": 0, "retryCount": 1, "parallel": False}}


FACES = {"documented": Documented, "observed": Observed}
