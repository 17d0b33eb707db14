"""Exports that take their time: each is ready at its third poll."""

import threading


class Api:
    def __init__(self):
        self.lock = threading.Lock()
        self.polls = {}

    def answer(self, request):
        with self.lock:
            match request.method, request.path:
                case "POST", "/exports":
                    job = f"job-{request.json['region']}"
                    self.polls[job] = 0
                    return 202, {"job": job}
                case "GET", path if path.removeprefix("/exports/") in self.polls:
                    return self.poll(path.removeprefix("/exports/"))
        return 404, {"error": f"nothing at {request.method} {request.path}"}

    def poll(self, job):
        self.polls[job] += 1
        if self.polls[job] < 3:
            return 200, {"state": "running"}
        return 200, {"state": "ready", "file": f"{job}.csv", "rows": 100 * len(job)}
