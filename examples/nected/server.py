"""A shop with customers, and beside it a small Nected that keeps workflows as its pages say."""

import hashlib
import json
import re

KEY = "quiet-lantern"
BASE = "/dev/v1/workflow"


class Api:
    def __init__(self):
        self.workflows = {}

    def answer(self, request):
        if request.path.startswith(BASE):
            if request.headers.get("nected-api-key") != KEY:
                return self.refused("Missing or invalid API key", 401)
            return self.platform(request)
        match request.method, request.path.split("/")[1]:
            case "GET", "customers":
                return 200, {"name": "Grace", "tier": "gold"}
            case "POST", "shop":
                return 201, {"told": True}
        return 404, {"error": f"nothing at {request.path}"}

    def platform(self, request):
        name, verb = re.fullmatch(rf"{BASE}/?([^/]*)/?(.*)", request.path).groups()
        if not name and request.method == "GET":
            return self.fine(
                [{key: row[key] for key in ("id", "name", "status")} for row in self.workflows.values()]
            )
        if not name:
            name = f"w-{len(self.workflows) + 1}"
            self.workflows[name] = {"id": name, "status": "draft", "checksum": ""}
            return self.store(name, request.json)
        row = self.workflows.get(name)
        if row is None:
            return self.refused(f"no workflow {name!r}")
        if request.method == "GET":
            return self.fine(row)
        if request.json.get("checksum") != row["checksum"]:
            return self.refused("checksum mismatch")
        if request.method == "PATCH":
            return self.store(name, request.json)
        if verb == "test":
            row["testedAt"] = "2026-05-05T10:00:00Z"
            return self.fine({"nodeOutputs": {}, "status": "success"})
        if row["testedAt"] is None:
            return self.refused("the workflow must be tested before it is published")
        row["status"] = "published"
        return self.fine({"version": "v1"})

    def store(self, name, body):
        """Replace the whole graph; what the server says of a workflow is its own."""
        old = self.workflows[name]
        text = json.dumps(body) + old["checksum"]
        own = {
            "id": name,
            "status": "draft",
            "testedAt": None,
            "checksum": hashlib.md5(text.encode()).hexdigest(),
        }
        self.workflows[name] = {**body, **own}
        return self.fine({"id": name, "checksum": own["checksum"]})

    @staticmethod
    def fine(data):
        return 200, {"code": "success", "message": "Success.", "data": data}

    @staticmethod
    def refused(message, status=400):
        return status, {"code": "BAD_REQUEST", "message": message, "data": None}
