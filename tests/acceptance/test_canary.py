"""No secret in anything that a run leaves behind, whatever the server does with it (SEMANTICS, Secrets).

One flow that fails, retries, redirects, loops, polls, asks for tokens and runs another flow, against a
server that gives back all that it got: in bodies, headers, redirects and errors, in every spelling.
`PRODUCERS` is a table: a row makes one kind of artefact and returns its texts.
"""

import base64
import html
import io
import json
import logging
import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import pytest

import runner
from tests.command import Terminal, command, here
from tests.emulators.versori import ORG, PROJECT, TOKEN, Versori
from tests.otlp_receiver import grpc_receiver, otlp_receiver
from tests.servers import ApiServer, Reply
from tests.spellings import in_base64, spellings

PEM = "-----BEGIN KEY-----\nc4naryMIIEvQIBADAN\nc4naryBgkqhkiG9w0B\n-----END KEY-----\n"
GIVEN = {
    "password": 'c4nary-p@ss w/o"rd\\<&>+=é😀',
    "env value": "c4nary-env-t0ken_7Hq2",
    "named env value": "c4nary.named.value",
    "header that was given": "c4nary-given-header",
    "literal key": "c4nary-literal-key-91",
    "other literal key": "c4nary-nected-55",
    "literal password": "c4nary-basic-pw",
    "client secret": "c4nary client=secret&1",
    "password in a url": "c4nary-userinfo",
    "long value": "c4nary-" + "0123456789abcdef" * 25,
    "a line of a file": "c4naryMIIEvQIBADAN",
    "another line": "c4naryBgkqhkiG9w0B",
}
# What the server makes up: it gives these back only after it has given them out.
MADE = {
    "/login": ["c4nary-login-token-1", "c4nary-secret-output", "c4nary-session-cookie", "c4nary-csrf-token"],
    "/token": ["c4nary-access-token"],
}
DERIVED = ["C4NARY-ENV-T0KEN_7HQ2"]
PIN = "k7Z"
VISIBLE = "v1sible-marker"


def flow_of(api):
    """Return the flow and the one that it runs, as documents."""

    def step(step_id, path=None, **keys):
        return {
            "id": step_id,
            "method": "POST",
            "url": f"{{{{env.API}}}}{path or '/echo'}",
            "onError": "continue",
            **keys,
        }

    everything = {
        "pw": "{{input.pw}}", "pin": "{{input.pin}}", "pem": "{{input.pem}}", "long": "{{input.long}}", "v": VISIBLE,
        "env": "{{env.API_TOKEN}}", "named": "{{env.HARMLESS}}", "upper": "{{ env.API_TOKEN | upper }}",
        "given": "{{headers.authorization}}", "in": ["x{{input.pw}}y", {"deep": "{{ input.pw | b64encode }}"}],
    }  # fmt: skip
    outputs = {
        "text": "response.body.text",
        "all": "response.body",
        "pin": "response.body.pin",
        "v": "response.body.v",
    }
    steps = [
        step("login", "/login", body=everything, secretOutputs=["secret"],
             outputs={"token": "response.body.token", "secret": "response.body.secret", "user": "response.body.v"}),
        step("keys", headers={"X-Api-Key": GIVEN["literal key"], "nected-api-key": GIVEN["other literal key"],
                              "Authorization": "Bearer {{login.token}}", "X-Pin": "{{input.pin}}"},
             query={"p": "{{input.pw}}", "token": "{{env.API_TOKEN}}", "pin": "{{input.pin}}"}, form=everything | {"in": "x"}, outputs=outputs),
        step("basic", auth={"type": "basic", "username": "me", "password": GIVEN["literal password"]}, body=everything, outputs=outputs),
        step("path", "/echo/{{input.pw}}/{{login.secret}}", body="{{input.pw}} {{login.secret}}", outputs=outputs),
        step("oauth", "/guarded", auth={"type": "oauth2", "tokenUrl": f"{api}/token", "clientId": "me", "clientSecret": GIVEN["client secret"]}, body=everything),
        step("refused", auth={"type": "oauth2", "tokenUrl": f"{api}/no-token", "clientId": "me", "clientSecret": "{{input.pw}}"}),
        step("again", "/again", body=everything, idempotencyKey=True, retry={"maxAttempts": 3, "initialInterval": 1}, outputs=outputs),
        step("withheld", "/fail", body=everything, retryCount=2),
        step("moved", "/moved", body=everything, outputs=outputs),
        step("away", "/away"),
        step("items", forEach=["{{input.pw}}", "{{login.secret}}", VISIBLE], body={"item": "{{item}}"}, outputs=outputs),
        step("poll", "/poll", until={"condition": "response.body.done === true", "interval": 1, "maxAttempts": 2}, outputs=outputs),
        {"id": "made", "set": {"a": "{{input.pw}}", "b": "{{ env.API_TOKEN | upper }}", "c": "x {{input.long}}", "v": VISIBLE, "pin": "{{input.pin}}"}},
        {"id": "inner", "flow": "inner.json", "inputs": {"pw": "{{login.secret}}", "text": "{{input.pw}}"}, "onError": "continue"},
        step("judged", body=everything, **{"assert": ["response.body.text === {{input.pw}}", "response.body.v !== 'v1sible-marker'"]}),
        step("text", "/text", body=everything, **{"assert": ["response.body === 'x'"]}),
        step("typed", url="{{env.API}}/{{ input.pw | int }}"),
        step("nowhere", url="{{input.pw}}"),
        step("cut", url="mailto:{{ 'a' ~ input.long }}"),
        step("broken", headers={"X-Line": "{{input.pem}}"}),
        step("closed", url=f"http://me:{GIVEN['password in a url']}@127.0.0.1:1/{{{{input.pw}}}}"),
        step("user", url=f"{api.replace('//', '//me:' + GIVEN['password in a url'] + '@')}/echo", body=everything),
        {"id": "skipped", "condition": "{{input.pw}} === 'x'", "set": {"x": "{{input.pw}}"}},
        step("last", "/fail", body=everything, onError="stop"),
    ]  # fmt: skip
    inputs = [{"name": name, "type": "password"} for name in ("pw", "pin", "pem", "long")]
    document = {
        "name": "canary",
        "flow_inputs": inputs,
        "flow_data": {"version": "1.0", "steps": steps, "config": {}},
    }
    inner = {
        "version": "1.0",
        "flow_inputs": [{"name": "pw", "type": "password"}, {"name": "text"}],
        "steps": [step("in", body={"pw": "{{input.pw}}", "text": "{{input.text}}", "v": VISIBLE})],
    }
    return document, inner


class Echo(ApiServer):
    """Gives back what it got and what it has given out, in every spelling, everywhere it can."""

    def __init__(self):
        super().__init__(self.handle)
        self.known = [*GIVEN.values(), *DERIVED]
        self.polls = self.turn = 0

    def __enter__(self):
        super().__enter__()
        self.restart()
        return self

    def restart(self):
        """Forget what was given out, for another run."""
        self.known = [*GIVEN.values(), *DERIVED]
        self.polls = self.turn = 0
        self.on("/again", self.failure, self.busy, self.answer)
        self.on("/guarded", lambda _: Reply(401, self.body(), self.headers()), self.answer)
        self.on(
            "/moved",
            lambda _: Reply(302, self.body(), [("Location", f"/echo?q={self.plain()}"), *self.headers()]),
        )
        self.on("/away", lambda _: Reply(307, b"", [("Location", f"http://127.0.0.1:1/{self.plain()}")]))

    def handle(self, request):
        self.known += [one for one in MADE.get(request.path, ()) if one not in self.known]
        match request.path:
            case "/login":
                token, secret, cookie, csrf = MADE["/login"]
                more = [("Set-Cookie", f"sid={cookie}; Path=/"), ("X-CSRF-Token", csrf)]
                body = {"token": token, "secret": secret, **self.body(request)}
                return Reply(200, body, [*more, *self.headers()])
            case "/token":
                return Reply(200, {"access_token": MADE["/token"][0], **self.body(request)}, self.headers())
            case "/no-token":
                return Reply(400, {"error": f"bad client {GIVEN['password']}", **self.body()}, self.headers())
            case "/fail":
                return self.failure(request)
            case "/poll":
                self.polls += 1
                return Reply(200, {"done": self.polls % 2 == 0, **self.body(request)}, self.headers())
            case "/text":
                return Reply(200, self.plain() + "".join(self.spelled()), [("Content-Type", "text/plain")])
            case _:
                return self.answer(request)

    def answer(self, request):
        return Reply(200, self.body(request), self.headers())

    def failure(self, request):
        return Reply(500, self.body(request), self.headers())

    def busy(self, request):
        return Reply(503, self.body(request), [("Retry-After", "0"), *self.headers()])

    def spelled(self):
        """Return a quarter of all, another one each time: a run has so many answers that all come often."""
        self.turn += 1
        some = self.known[self.turn % 4 :: 4]
        return [text for one in some for text in (*spellings(one), *in_base64(one), *whole_base64(one))]

    def plain(self):
        return "+".join(
            value.encode("ascii", "xmlcharrefreplace").decode() for value in self.known if "\n" not in value
        ).replace(" ", "%20")

    def body(self, request=None):
        got = (
            {"target": request.target, "headers": request.headers, "body": request.body.decode("latin-1")}
            if request
            else {}
        )
        return {"text": f"{VISIBLE} <script>{GIVEN['password']}</script>", "v": VISIBLE, "pin": PIN, "got": got,
                "spelled": self.spelled(), "pem": PEM, "nested": json.dumps({"pin": PIN, "all": self.known})}  # fmt: skip

    def headers(self):
        value = self.plain()[:4000]
        return [
            ("X-Request-Id", value),
            ("Content-Type", f"application/json; x={value[:500]}"),
            ("X-Echo", value),
            ("WWW-Authenticate", value),
        ]


def whole_base64(secret):
    data = secret.encode()
    for before in (b"", b"u", b"u:"):
        yield base64.b64encode(before + data).decode()
        yield base64.urlsafe_b64encode(before + data + b"..").decode()


# --- looking for them


def needles():
    every = {
        text
        for one in (*GIVEN.values(), *DERIVED, *chain(*MADE.values()))
        for text in (*spellings(one), *in_base64(one))
    }
    return sorted(every, key=len)


NEEDLES = needles()
ALONE = re.compile(rf'(?:\\*"|=){PIN}(?:\\*"|[&;\s]|$)')


def texts_in(value):
    """Yield every text in a JSON value, and in the JSON texts in it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            with suppress(ValueError):
                yield from texts_in(json.loads(value))


def looks(text):
    """Yield a text as it is and as whoever shows it would read it."""
    yield text
    yield html.unescape(text)
    for line in text.splitlines():
        with suppress(ValueError):
            yield from texts_in(json.loads(line))


def found(text):
    """Return the secrets in a text, in any spelling."""
    seen = set(looks(text))
    return sorted(
        {needle for needle in NEEDLES for one in seen if needle in one}
        | {PIN for one in seen if one == PIN or ALONE.search(one)}
    )


# --- making artefacts


@dataclass
class Place:
    """A folder with the flow in it, and the server that it is for."""

    folder: Path
    api: Echo

    @property
    def words(self):
        return (
            *("-i", f"pw={GIVEN['password']}", "-i", f"pin={PIN}", "-i", "pem=@key.pem", "-i", f"long={GIVEN['long value']}"),
            *("-e", f"API={self.api.origin}", "-e", f"API_TOKEN={GIVEN['env value']}", "--secret", "HARMLESS"),
            *("--header", f"Authorization: Bearer {GIVEN['header that was given']}"),
        )  # fmt: skip

    def run(self, *words, by=here, **env):
        self.api.restart()
        environment = {"HARMLESS": GIVEN["named env value"], "RUNNER_DEBUG": "1", **env}
        return by("run", "flow.json", *self.words, *words, cwd=self.folder, **environment)

    def failed(self, *words, **env):
        done = self.run("--capture-bodies", *words, **env)
        assert done.returncode == 1, done.stderr
        return done

    @cached_property
    def texts(self):
        """Run once with all that fits into one run: every file, an upload, a collector, the streams."""
        flags = {name: f"out.{name}" for name in ("trace-out", "otlp-json", "junit", "html")}
        words = [word for name, file in flags.items() for word in (f"--{name}", file)]
        with Versori() as platform, otlp_receiver() as receiver:
            target = (
                "--push",
                "versori",
                "--push-url",
                platform.api,
                "--org",
                ORG,
                "--project",
                PROJECT,
                "--name",
                "x",
            )
            env = {"VERSORI_TOKEN": TOKEN, "HOME": str(self.folder)}
            done = self.failed(*words, *target, "--otlp-endpoint", receiver.url, **env)
            found = {name: [(self.folder / file).read_text(encoding="utf-8")] for name, file in flags.items()}
            found["upload"] = [request.body.decode() for request in platform.requests]
            found["protobuf"] = [
                request.SerializeToString().decode("utf-8", "replace") for request in receiver.requests
            ]
        return found | {"streams": [done.stdout, done.stderr]}

    @cached_property
    def undelivered(self):
        """Run once with nobody to deliver to, all logs on, and a result for programs."""
        records = io.StringIO()
        handler = logging.StreamHandler(records)
        loggers = [logging.getLogger(name) for name in ("", "runner", "asyncio")]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
        try:
            done = self.failed(
                "--json", "--otlp-endpoint", "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1"
            )
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
                logger.setLevel(logging.NOTSET)
        return {"json": [done.stdout, done.stderr], "logs": [records.getvalue(), done.stderr]}

    @property
    def spool(self):
        assert self.undelivered
        [file] = (self.folder / ".runner/spool").glob("*.jsonl")
        return file

    def show(self, file, *words):
        assert self.texts
        return said(here("show", file, *words, cwd=self.folder))


def said(done):
    assert done.returncode in (0, 1), done.stderr
    return [done.stdout, done.stderr]


def on_the_wire(place, protocol):
    with (grpc_receiver if protocol == "grpc" else otlp_receiver)() as receiver:
        place.failed("--otlp-endpoint", receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        return [request.SerializeToString().decode("utf-8", "replace") for request in receiver.requests]


def pushed_again(place):
    with otlp_receiver() as receiver:
        done = here(
            "trace", "push", place.spool, "--keep", cwd=place.folder, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        )
        assert done.returncode == 0, done.stderr
        return [request.SerializeToString().decode("utf-8", "replace") for request in receiver.requests]


def in_the_database(place):
    assert (
        place.run(
            "--capture-bodies", "--state", "sqlite:///state.db", "--run-id", "kept", by=command
        ).returncode
        == 1
    )
    words = [
        ("runs", "list"),
        ("runs", "list", "--json"),
        ("runs", "show", "kept"),
        ("runs", "trace", "kept"),
    ]
    shown = [
        text
        for one in words
        for text in said(command(*one, "--state", "sqlite:///state.db", cwd=place.folder))
    ]
    shown += done_again(place)
    raw = [
        path.read_bytes().decode("latin-1")
        for path in place.folder.rglob("state.db*")
        if path.is_file() and path.suffix != ".key"
    ]
    return [*shown, *raw]


def done_again(place):
    """Do what failed again: its own outputs are all that the new run knows of what the old one was given."""
    state = ("--state", "sqlite:///state.db")
    done = command("runs", "retry", "kept", "--failed", "--id", "again", *state, cwd=place.folder)
    assert done.returncode == 0, done.stderr
    place.api.restart()
    place.api.known += MADE["/login"][:2]
    done = command("resume", "again", *state, "--trace-out", "again.json", cwd=place.folder)
    assert done.returncode == 1, done.stderr
    return [done.stdout, done.stderr, (place.folder / "again.json").read_text(encoding="utf-8")]


def on_a_terminal(place):
    place.api.restart()
    terminal = Terminal(
        "run",
        "flow.json",
        *place.words,
        "--capture-bodies",
        cwd=place.folder,
        HARMLESS=GIVEN["named env value"],
    )
    assert terminal.end() == 1
    return [terminal.text]


def refused(place):
    """Everything that is told before a run: inputs that break their rules, flags that make no sense."""
    document = json.loads((place.folder / "flow.json").read_bytes())
    for field in document["flow_inputs"]:
        field["validation"] = {"max_length": 2, "pattern": "^x$", "options": ["c4nary-option"]}
    (place.folder / "strict.json").write_text(json.dumps(document))
    done = here("run", "strict.json", *place.words, "--map", "x", "--base-url", f"ftp://me:{GIVEN['password in a url']}@h",
                "--otlp-endpoint", f"ftp://me:{GIVEN['password in a url']}@h", cwd=place.folder, HARMLESS="x")  # fmt: skip
    assert done.returncode == 2
    return [done.stdout, done.stderr]


def as_a_library(place):
    place.api.restart()
    inputs = {"pw": GIVEN["password"], "pin": PIN, "pem": PEM, "long": GIVEN["long value"]}
    env = {"API": place.api.origin, "API_TOKEN": GIVEN["env value"], "HARMLESS": GIVEN["named env value"]}
    settings = runner.RunSettings(secret_env=frozenset({"HARMLESS"}), capture_bodies=True)
    headers = {"Authorization": f"Bearer {GIVEN['header that was given']}"}
    result = runner.run_sync(place.folder / "flow.json", inputs, env=env, headers=headers, settings=settings)
    try:
        result.raise_for_failure()
    except runner.RunFailed:
        told = traceback.format_exc()
    flow = result.integration_flow()
    return [told, repr(result), json.dumps(result.to_json()), flow.to_json().decode()]


PRODUCERS = {
    "stdout and stderr": lambda place: place.texts["streams"],
    "a terminal": on_a_terminal,
    "logs": lambda place: place.undelivered["logs"],
    "problems": refused,
    "--json": lambda place: place.undelivered["json"],
    "IntegrationFlow": lambda place: place.texts["trace-out"],
    "OTLP/JSON": lambda place: place.texts["otlp-json"],
    "JUnit": lambda place: place.texts["junit"],
    "HTML": lambda place: place.texts["html"],
    "OTLP http/protobuf": lambda place: place.texts["protobuf"],
    "OTLP http/json": lambda place: on_the_wire(place, "http/json"),
    "OTLP grpc": lambda place: on_the_wire(place, "grpc"),
    "spool": lambda place: [place.spool.read_text(encoding="utf-8")],
    "trace push": pushed_again,
    "show": lambda place: place.show("out.trace-out"),
    "show --json": lambda place: place.show("out.trace-out", "--json"),
    "show --html": lambda place: [
        *place.show("out.otlp-json", "--html", "s.html"),
        (place.folder / "s.html").read_text(),
    ],
    "show a spool": lambda place: place.show(place.spool),
    "--dry-run": lambda place: said(place.run("--dry-run")),
    "--dry-run --json": lambda place: said(place.run("--dry-run", "--json")),
    "upload to Versori": lambda place: place.texts["upload"],
    "state database": in_the_database,
    "library": as_a_library,
}
# What shows none of the server's words: there, only the absence of secrets can be looked at.
SILENT = {
    "problems",
    "logs",
    "state database",
    "show",
    "show a spool",
    "JUnit",
    "stdout and stderr",
    "a terminal",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary")
    with Echo() as api:
        document, inner = flow_of(api.origin)
        (folder / "flow.json").write_text(json.dumps(document))
        (folder / "inner.json").write_text(json.dumps(inner))
        (folder / "key.pem").write_text(PEM)
        yield Place(folder, api)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("artefact", PRODUCERS)
def test_an_artefact_shows_no_secret(place, artefact):
    texts = PRODUCERS[artefact](place)
    everything = "\n".join(texts)
    assert everything
    assert artefact in SILENT or VISIBLE in everything
    assert {text for one in texts for text in found(one)} == set()


def test_the_server_gives_every_secret_back(place):
    """Without this the table could not fail."""
    assert place.undelivered
    asked = "\n".join(
        one.body.decode("latin-1") + one.target + str(one.headers) for one in place.api.requests
    )
    assert all(name in asked for name in (GIVEN["literal key"], GIVEN["env value"], PIN))
    place.api.known = [*GIVEN.values(), *DERIVED, *chain(*MADE.values())]
    answers = [place.api.body() for _ in range(4)]
    assert set(found(json.dumps(answers))) == {*NEEDLES, PIN}


@pytest.mark.parametrize("secret", [*GIVEN.values(), *DERIVED, PIN])
def test_a_secret_that_is_shown_would_be_found(secret):
    assert found(json.dumps({"a": secret})) != []
    assert found(html.escape(f'x="{secret}"')) != []


def test_the_steps_end_as_they_are_meant_to(place):
    result = json.loads(place.undelivered["json"][0])
    ended = {step["path"]: (step["error"] or {}).get("code", step["status"]) for step in result["steps"]}
    assert ended | {
        "login": "succeeded", "keys": "succeeded", "basic": "succeeded", "path": "succeeded", "oauth": "succeeded",
        "refused": "auth.token", "again": "succeeded", "withheld": "http.status", "moved": "succeeded",
        "away": "http.connect", "items[1]": "succeeded", "poll": "succeeded", "made": "succeeded", "inner/in": "succeeded",
        "judged": "assert.failed", "text": "assert.failed", "typed": "template.value", "nowhere": "url.invalid",
        "cut": "url.invalid", "broken": "header.value", "closed": "http.connect", "user": "succeeded",
        "skipped": "skipped", "last": "http.status",
    } == ended  # fmt: skip
