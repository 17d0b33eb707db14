"""Orders and messages, and beside them a small platform that keeps flows as Versori does."""

import re

TOKEN = "quiet-lantern"
FLOWS = re.compile(r"/api/v2/o/[0-9A-Z]{26}/projects/[0-9A-Z]{26}/workflows(?:/([^/]+))?")
NEEDED = ("name", "description", "spans")


class Api:
    def __init__(self):
        self.flows = {}

    def answer(self, request):
        if match := FLOWS.fullmatch(request.path):
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, {"code": "401000", "message": "unauthorized"}
            return self.platform(request, match[1])
        match request.method, request.path:
            case "GET", "/orders":
                return 200, {"total": 12}
            case "POST", "/messages":
                return 202, {"text": request.json["text"]}
        return 404, {"error": f"nothing at {request.path}"}

    def platform(self, request, name):
        if name is None:
            return 200, {"flows": list(self.flows.values())}
        if request.method == "PUT":
            return self.put(name, request.json)
        if name not in self.flows:
            return 404, {"code": "404000", "message": "flow not found"}
        return (204, None) if request.method == "DELETE" and self.flows.pop(name) else (200, self.flows[name])

    def put(self, name, flow):
        flow = flow if isinstance(flow, dict) else {}
        missing = [{"field": key, "message": "is missing"} for key in NEEDED if key not in flow]
        if missing:
            return 400, {"code": "400000", "message": "the flow is incomplete", "fields": missing}
        self.flows[name] = {**flow, "name": name, "id": f"01JEMVLATR{len(self.flows):016d}"}
        return 200, self.flows[name]
