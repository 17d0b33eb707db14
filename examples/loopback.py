"""Runs the API of an example on this machine, and a command beside it.

    python examples/loopback.py register_user runner run examples/register_user/flow.json -e API_URL …

serves the `Api` of examples/register_user/server.py on a free port, puts its address into API_URL,
runs the command, stops, and leaves with the command's exit code. Without a command it serves until
Ctrl-C. `--busy PATH` answers the first request for a path with 503 and Retry-After.

An `Api` has one method, `answer(request)`, which returns a status and a body, and headers if it has any.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Request:
    """What arrived: `headers` have lower-case names, `json` is None when the body is no JSON."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    json: object


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 with kept connections: every answer has a length, every body is read."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 30

    def do_GET(self):
        if "transfer-encoding" in self.headers:
            self.close_connection = True
            self.reply(411, {"error": "send a Content-Length"}, {})
            return
        request = self.read()
        time.sleep(self.server.pause)
        if request.path in self.server.busy:
            self.server.busy.discard(request.path)
            answer = 503, {"error": "busy"}, {"Retry-After": "1"}
        else:
            answer = self.server.api.answer(request)
        status, body, headers = (*answer, {})[:3]
        self.server.note(request, status)
        self.reply(status, body, headers)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - what http.server calls

    def read(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        url = urlsplit(self.path)
        headers = {name.lower(): text for name, text in self.headers.items()}
        return Request(self.command, url.path, parse_qs(url.query), headers, body, value)

    def reply(self, status, body, headers):
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *_):
        """Say nothing: what the terminal shows is the command's."""


class Server(ThreadingHTTPServer):
    """An API on a port of the loopback address. `pause` is in seconds and comes before each answer."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api, *, port=0, busy=(), pause=0.0, log=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self.busy, self.pause, self.log = api, set(busy), pause, log
        self.writing = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, request, status):
        if self.log is None:
            return
        body = request.body.decode("utf-8", "replace") if request.json is None else request.json
        entry = {"method": request.method, "path": request.path, "query": request.query, "status": status}
        entry |= {"headers": request.headers, "body": body}
        with self.writing, self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def handle_error(self, request, client_address):
        """A client may go whenever it likes; anything else is our own bug and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def find_api(name):
    """Make the `Api` of an example: a folder, or its name in this one."""
    for folder in (Path(name), HERE / name):
        if (folder / "server.py").is_file():
            return runpy.run_path(str(folder / "server.py"))["Api"]()
    sys.exit(f"no example {name!r}: there is no server.py in it")


def run(command, url):
    """Run a command with API_URL set; returns its exit code as a shell would."""
    try:
        process = subprocess.Popen(command, env={**os.environ, "API_URL": url})
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            continue  # the command has got the Ctrl-C too, and decides


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("example", help="folder of the example, or its name")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; a free one by default")
    parser.add_argument("--busy", action="append", default=[], metavar="PATH", help="answer 503 there, once")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="wait before each answer")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write each request as a line of JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run beside it")
    given = parser.parse_args()
    server = Server(
        find_api(given.example), port=given.port, busy=given.busy, pause=given.pause, log=given.log
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        if given.command:
            return run(given.command, server.url)
        print(f"API_URL={server.url}   (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
