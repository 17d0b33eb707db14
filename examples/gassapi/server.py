"""A registration API, and beside it a small GASSAPI that keeps flows as its documents say."""

import json

TOKEN = "quiet-lantern"
PROJECT = "proj_1761375000_0a1b2c3d"
BASE = "/gassapi2/backend/"


class Api:
    def __init__(self):
        self.flows = {}

    def answer(self, request):
        if request.path == BASE:
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, {"status": "error", "message": "Authentication required"}
            return self.platform(request)
        match request.method, request.path:
            case "POST", "/auth/register":
                return 201, {"token": f"activate-{request.json['username']}"}
            case "POST", "/auth/verify-email" if request.json.get("token"):
                return 200, {"status": "verified"}
        return 404, {"error": f"nothing at {request.path}"}

    def platform(self, request):
        """Answer a call of the form ?act=…&id=…, where the id is that of a flow or of the project."""
        act, target = (request.query.get(name, [""])[0] for name in ("act", "id"))
        if act == "flows" and target == PROJECT:
            return self.fine("Flows fetched", [self.row(flow) for flow in self.flows])
        if act == "flow_create" and target == PROJECT:
            target = f"flow_{len(self.flows) + 1}"
            self.flows[target] = {"flow_inputs": [], "flow_data": {}, "is_active": True}
        if target not in self.flows:
            return 404, {"status": "error", "message": "Flow not found"}
        if act == "flow_delete":
            del self.flows[target]
            return self.fine("Flow deleted", {"id": target})
        if act == "flow_toggle_active":
            self.flows[target]["is_active"] ^= True
        self.flows[target] |= request.json or {}
        return self.fine("Fine", self.row(target))

    def row(self, flow):
        record = self.flows[flow]
        texts = {name: json.dumps(record[name]) for name in ("flow_inputs", "flow_data")}
        return {"id": flow, "project_id": PROJECT, **record, **texts, "is_active": int(record["is_active"])}

    @staticmethod
    def fine(message, data):
        return 200, {"success": True, "status_code": 200, "message": message, "data": data}
