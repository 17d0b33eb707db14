"""The workflows of Nected over real HTTP on loopback, as seed 004 and the pages around it describe them.

It is stricter than the public schema, which requires nothing: a body must be the whole graph, a
checksum must be the current one, and only what was tested after its last update is published. Every
answer is the envelope `{code, message, data}`; errors have the status 400, and those of the server 500.
"""

import copy
import hashlib
import json
import re
from itertools import count

from tests.servers import ApiServer, Reply

KEY = "key-of-a-workspace-4711"
BASE = "/dev/v1/workflow"
REQUIRED = ("name", "nodes", "edges", "startNode", "trigger")
SERVER_ONLY = (
    "id", "checksum", "version", "status", "staticUrl", "versionInfo", "createdAt", "updatedAt", "publishedAt",
    "testedAt", "isLive",
)  # fmt: skip

# What the seed's schema says of each key: its type, or the few values that it may have.
WORKFLOW = {
    "checksum": str, "name": str, "description": str, "startNode": str, "nodes": list, "edges": list,
    "trigger": dict, "comment": str, "isEnabled": bool, "settings": dict, "dependencyMap": list,
}  # fmt: skip
SETTINGS = {"auditIO": bool, "dateFormat": str, "timezone": str}
NODE = {
    "id": str, "type": str, "position": dict, "sourcePosition": ("bottom", "right"),
    "targetPosition": ("top", "left"), "draggable": bool, "data": dict,
}  # fmt: skip
POSITION = {"x": float, "y": float}
NODE_DATA = {
    "nodeType": str, "name": str, "entity": str, "entityId": str, "pluginName": str, "status": str,
    "rootId": str, "isMergeNode": bool, "blockName": str, "input": dict, "settings": dict, "runInLoop": dict,
}  # fmt: skip
NULLABLE = ("input", "settings")
FIELD = {
    "name": str, "dataType": str, "isCaseSensitive": bool, "isNullable": bool, "isOptional": bool,
    "keyAttribute": str, "keySource": str, "mapping": bool, "notSend": bool, "order": int, "schemaId": str,
    "sendNull": bool, "source": str, "attribute": str,
}  # fmt: skip
LOOP = {"status": bool, "source": str, "attribute": str}
EDGE = {
    "id": str, "source": str, "target": str, "type": str, "animated": bool, "label": str, "markerEnd": str,
    "sourceHandle": str, "style": dict, "data": dict,
}  # fmt: skip
STYLE = {"stroke": str, "strokeWidth": float}
EDGE_DATA = {"edgeType": str, "pathId": str}


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, message, status=400, code="BAD_REQUEST"):
        super().__init__(message)
        self.message, self.status, self.code = message, status, code


class Nected(ApiServer):
    """One workspace. `branches` hold its workflows by id; the branch without a name is the main one.

    `outputs` are what tests of nodes give, by node id; `fails` are nodes that fail in tests. `drops` names
    keys that it does not store, and `page` is how many rows a list has.
    """

    def __init__(self):
        super().__init__(self.handle)
        self.branches = {"": {}, "feature/x": {}}
        self.outputs, self.fails, self.drops = {}, set(), set()
        self.page = 10
        self.versions = {}
        self.numbers = count(1)

    @property
    def workflows(self):
        """The workflows of the main branch."""
        return self.branches[""]

    def add(self, body, rows=None):
        """Put a workflow there without a request; returns what a GET of it gives."""
        number = next(self.numbers)
        name = f"a1b2c3d4-e5f6-7890-abcd-{number:012x}"
        row = {
            **{key: value for key, value in copy.deepcopy(body).items() if key not in SERVER_ONLY},
            "id": name, "version": "draft", "status": "draft", "staticUrl": "", "versionInfo": None,
            "createdAt": self.now(), "updatedAt": self.now(), "publishedAt": None, "testedAt": None, "isLive": False,
        }  # fmt: skip
        (self.workflows if rows is None else rows)[name] = row
        self.touch(row)
        return row

    def now(self):
        return f"2026-05-05T10:00:{next(self.numbers) % 60:02d}Z"

    def touch(self, row):
        row["checksum"] = hashlib.sha256(f"{row['id']} {next(self.numbers)}".encode()).hexdigest()[:32]

    def edit(self, workflow, /, **changed):
        """Change a workflow as somebody else would; it gets a new checksum."""
        row = self.workflows[workflow]
        row.update(changed, updatedAt=self.now(), testedAt=None)
        self.touch(row)

    # --- from a request to an answer

    def handle(self, request):
        try:
            data, *more = self.route(request, self.rows(request))
        except RefusedError as failure:
            refused = {"code": failure.code, "message": failure.message, "data": None}
            return Reply(failure.status, refused)
        return Reply(
            200, {"code": "success", "message": "Success.", "data": data, **(more[0] if more else {})}
        )

    def rows(self, request):
        if request.header("nected-api-key") != KEY:
            raise RefusedError("Missing or invalid API key", 401, "UNAUTHORIZED")
        branch = request.header("nected-branch") or ""
        if branch not in self.branches:
            raise RefusedError(f"branch {branch!r} does not exist")
        return self.branches[branch]

    def route(self, request, rows):
        match = re.fullmatch(rf"{BASE}(?:/([^/]+))?(?:/(test|publish))?", request.path)
        if match is None:
            raise RefusedError("no such route", 404, "NOT_FOUND")
        name, verb = match.groups()
        calls = {
            ("GET", False, None): lambda: self.do_list(rows, request),
            ("POST", False, None): lambda: self.do_create(rows, self.body(request)),
            ("GET", True, None): lambda: self.do_get(self.find(rows, name), request),
            ("PATCH", True, None): lambda: self.do_update(self.find(rows, name), self.body(request)),
            ("POST", True, "test"): lambda: self.do_test(self.find(rows, name), self.body(request)),
            ("POST", True, "publish"): lambda: self.do_publish(self.find(rows, name), self.body(request)),
        }
        call = calls.get((request.method, name is not None, verb))
        if call is None:
            raise RefusedError(f"{request.method} is not allowed here", 405, "METHOD_NOT_ALLOWED")
        return call()

    def find(self, rows, name):
        if name not in rows:
            raise RefusedError(f"no workflow {name!r}")
        return rows[name]

    def body(self, request):
        if "json" not in (request.header("content-type") or ""):
            raise RefusedError("the body must be application/json")
        try:
            value = json.loads(request.body)
        except ValueError:
            raise RefusedError("the body is not JSON") from None
        if not isinstance(value, dict):
            raise RefusedError("the body must be an object")
        return value

    def do_list(self, rows, request):
        page = int((request.query.get("pageNo") or request.query.get("page") or ["1"])[0])
        start = (page - 1) * self.page
        kept = ("id", "name", "description", "status", "version", "isEnabled", "updatedAt")
        found = [{key: row.get(key) for key in kept} for row in rows.values()]
        paging = {
            "pageNo": page, "pageSize": self.page, "totalCount": len(found),
            "totalPages": -(-len(found) // self.page),
        }  # fmt: skip
        return found[start : start + self.page], {"paginationInfo": paging}

    def do_create(self, rows, body):
        self.judge(body)
        if found := [name for name in SERVER_ONLY if name in body]:
            raise RefusedError(f"a new workflow cannot have: {', '.join(found)}")
        row = self.add(self.kept(body), rows)
        return ({"id": row["id"], "checksum": row["checksum"]},)

    def do_get(self, row, request):
        version = (request.query.get("version") or [""])[0]
        if not version:
            return (row,)
        if version not in self.versions.get(row["id"], {}):
            raise RefusedError(f"no version {version!r}")
        return (self.versions[row["id"]][version],)

    def do_update(self, row, body):
        self.judge(body)
        self.same(row, body)
        for name in [name for name in row if name not in SERVER_ONLY]:
            del row[name]
        row |= self.kept({name: value for name, value in body.items() if name not in SERVER_ONLY})
        row |= {"updatedAt": self.now(), "testedAt": None}
        self.touch(row)
        return ({"checksum": row["checksum"]},)

    def do_test(self, row, body):
        self.same(row, body)
        if body.get("version", "draft") != "draft":
            raise RefusedError("only the draft can be tested")
        trigger = next(node for node in row["nodes"] if node["id"] == "1")
        fields = (trigger.get("data") or {}).get("input") or {}
        given = body.get("params") or {}
        if unknown := [name for name in given if name not in fields]:
            raise RefusedError(f"params that the trigger does not have: {', '.join(unknown)}")
        outputs = {}
        for node in row["nodes"]:
            if node["id"] in self.fails:
                outputs[node["id"]] = {"status": "error", "message": "the node failed"}
            elif node["id"] in self.outputs:
                outputs[node["id"]] = {"status": "success", "output": self.outputs[node["id"]]}
                node["data"]["executedValue"] = self.outputs[node["id"]]
        if not self.fails:
            row["testedAt"] = self.now()
        status = "error" if self.fails else "success"
        return ({"nodeOutputs": outputs, "output": None, "status": status, "executionTime": 12},)

    def do_publish(self, row, body):
        self.same(row, body)
        if row["testedAt"] is None:
            raise RefusedError("the workflow must be tested after its last update before it is published")
        versions = self.versions.setdefault(row["id"], {})
        version = f"v{len(versions) + 1}"
        row |= {"status": "published", "publishedAt": self.now(), "isLive": True}
        row["versionInfo"] = {"title": body.get("title"), "description": body.get("description")}
        versions[version] = {**copy.deepcopy(row), "version": version}
        return ({"version": version},)

    # --- what is refused

    def kept(self, body):
        return {name: value for name, value in copy.deepcopy(body).items() if name not in self.drops}

    def same(self, row, body):
        if not body.get("checksum"):
            raise RefusedError("checksum is required")
        if body["checksum"] != row["checksum"]:
            raise RefusedError("checksum mismatch")

    def judge(self, body):
        """Refuse a body that is not the whole graph, or that the seed's schema does not allow."""
        if missing := [name for name in REQUIRED if name not in body]:
            raise RefusedError(f"the full workflow graph is required; missing: {', '.join(missing)}")
        self.typed("", body, WORKFLOW)
        self.typed("settings.", body.get("settings") or {}, SETTINGS)
        for number, node in enumerate(body["nodes"]):
            self.judge_node(f"nodes[{number}].", node)
        for number, edge in enumerate(body["edges"]):
            self.judge_edge(f"edges[{number}].", edge, {node["id"] for node in body["nodes"]})
        triggers = [node for node in body["nodes"] if node.get("type") == "trigger"]
        kinds = [(node["id"], (node.get("data") or {}).get("nodeType")) for node in triggers]
        if kinds != [("1", "apiTrigger")] or body["trigger"] != {"apiNode": "1"}:
            raise RefusedError("there must be one trigger, with the id '1' and the nodeType 'apiTrigger'")
        start = next((node for node in body["nodes"] if node["id"] == body["startNode"]), None)
        if start is None or start["type"] in ("trigger", "addNode"):
            raise RefusedError("startNode must be the first node that runs")

    def judge_node(self, where, node):
        if not isinstance(node, dict) or not isinstance(node.get("id"), str):
            raise RefusedError(f"{where[:-1]} must be an object with an id")
        self.typed(where, node, NODE)
        self.typed(f"{where}position.", node.get("position") or {}, POSITION)
        data = node.get("data") or {}
        self.typed(
            f"{where}data.",
            {name: one for name, one in data.items() if one is not None or name not in NULLABLE},
            NODE_DATA,
        )
        self.typed(f"{where}data.runInLoop.", data.get("runInLoop") or {}, LOOP)
        for name, field in (data.get("input") or {}).items():
            self.typed(f"{where}data.input.{name}.", field, FIELD)

    def judge_edge(self, where, edge, ids):
        if not isinstance(edge, dict):
            raise RefusedError(f"{where[:-1]} must be an object")
        self.typed(where, edge, EDGE)
        self.typed(f"{where}style.", edge.get("style") or {}, STYLE)
        self.typed(f"{where}data.", edge.get("data") or {}, EDGE_DATA)
        for side in ("source", "target"):
            if edge.get(side) not in ids:
                raise RefusedError(f"{where}{side}: no node {edge.get(side)!r}")

    def typed(self, where, value, rules):
        if not isinstance(value, dict):
            raise RefusedError(f"{where[:-1]} must be an object")
        for name, rule in rules.items():
            if name not in value:
                continue
            one = value[name]
            if isinstance(rule, tuple):
                fits = one in rule
            elif rule is float:
                fits = isinstance(one, int | float) and not isinstance(one, bool)
            else:
                fits = isinstance(one, rule) and (rule is bool or not isinstance(one, bool))
            if not fits:
                wanted = " or ".join(rule) if isinstance(rule, tuple) else rule.__name__
                raise RefusedError(f"{where}{name} must be {wanted}")
