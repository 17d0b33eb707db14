"""GASSAPI as the flags of `push` and `pull` name it."""

from __future__ import annotations

from collections.abc import Mapping

from runner.cli.options import Options
from runner.cli.remote import Operation, Verb, read_credentials
from runner.core.commands import Json
from runner.core.document import MAX_BYTES
from runner.core.redact import Masker
from runner.errors import FlowError, Problem
from runner.platforms import dialect_known_to, gassapi
from runner.platforms.client import Done, Program, Refusal
from runner.platforms.gassapi import FIELDS, Server, Update
from runner.platforms.react_flow import from_steps
from runner.runtime.loading import LoadSettings, document_at


class Gassapi:
    """A GASSAPI server, and the flow or the project there that is meant."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options, self.problems = options, list[Problem]()
        self.masker = Masker()
        self.server = self._server(environ)
        self.flow = options.id or ""
        self.project = options.project or ""
        self.body: dict[str, Json] = {}

    def _server(self, environ: Mapping[str, str]) -> Server:
        options = self.options
        credentials = read_credentials(options, environ, self.problems)
        token = credentials.token or credentials.find("GASSAPI_TOKEN")
        url = options.platform_url or credentials.find("GASSAPI_URL")
        if not token:
            what = "set GASSAPI_TOKEN, or give --token-file FILE or --profile FILE"
            self.problems.append(Problem("usage.credentials", "", what))
        elif not token.isascii() or not token.isprintable():
            what = "the token has characters that no header can carry"
            self.problems.append(Problem("usage.credentials", "", what))
        if not url:
            what = "is missing; give the url before /?act=, such as https://host/gassapi2/backend"
            self.problems.append(Problem("usage.target", "--base-url", what))
        self.masker.add(token)
        return Server(gassapi.api(url, token, options.attempt_timeout or gassapi.TIMEOUT), options.paths)

    # --- what

    def read(self, path: str) -> None:
        """Read the flow, or the part of one, that a document holds."""
        limits = LoadSettings(max_bytes=self.options.max_document or MAX_BYTES)
        try:
            document = document_at(path, limits)
            is_drawing = dialect_known_to(document, "gassapi") == "react-flow"
            value = document.value
            has_steps = value.get("flow_data") is not None or "steps" in value
            if self.options.ui and has_steps and not is_drawing:
                value = from_steps(document)[0]
        except FlowError as error:
            self.problems += error.problems
            return
        self.problems += document.warnings
        if is_drawing and not self.options.ui:
            what = "this is a drawing; send it with --ui, or turn it to steps with 'runner convert'"
            self.problems.append(Problem("usage.target", "", what, place=document.locate("")))
        self.flow = self.flow or _text(value.get("id"))
        self.project = self.project or _text(value.get("project_id"))
        self.body = gassapi.body_of(value)
        if self.options.name is not None:
            self.body["name"] = self.options.name
        if self.options.description is not None:
            self.body["description"] = self.options.description
        self._choose()
        prefix = "" if "flow_data" in document.value else "flow_data."
        found = [
            Problem("document.type", where.removeprefix(prefix), what)
            for where, what in gassapi.misfits(self.body)
        ]
        self.problems += document.located(found)

    def _choose(self) -> None:
        """Leave only the fields of --only; all of them must be there."""
        if self.options.only is None:
            return
        wanted = [name.strip() for name in self.options.only.split(",")]
        for name in wanted:
            if name not in FIELDS:
                what = f"there is no field {name!r}; there are {', '.join(FIELDS)}"
                self.problems.append(Problem("usage.target", "--only", what))
            elif name not in self.body:
                self.problems.append(Problem("usage.target", "--only", f"the document has no {name!r}"))
        self.body = {name: self.body[name] for name in wanted if name in self.body}

    def call_it(self, name: str) -> None:
        """Do nothing: a flow is meant by its id."""

    # --- operations

    def push(self) -> Operation:
        """Return how to change the flow that is meant, or to make one where none is."""
        if not self.flow:
            return self._create()
        options = self.options
        update = Update(self.flow, self.body, options.only is not None, options.ui, options.yes)
        return Operation(gassapi.push(self.server, update), preview=gassapi.preview(self.server, update))

    def _create(self) -> Operation:
        self._need("--project", self.project, "or --id of the flow that is to be changed")
        if not self.body.get("name"):
            self.problems.append(Problem("usage.target", "--name", "a new flow needs a name"))
        method, path = self.server.place("create", self.project)
        request = self.server.api.request(method, path, gassapi.encoded(self.body))
        return Operation(gassapi.create(self.server, self.project, self.body), request)

    def pull(self) -> Operation:
        """Return how to fetch one flow, or the list of a project."""
        if self.flow:
            return Operation(gassapi.pull(self.server, self.flow, ui=self.options.ui))
        self._need("--project", self.project, "or --id of one flow")
        return Operation(gassapi.list_flows(self.server, self.project))

    def act(self, verb: Verb | None) -> Operation:
        """Return how to delete, copy or switch the flow that is meant."""
        assert verb in ("delete", "duplicate", "toggle")
        self._need("--id", self.flow, "the flow that is meant")
        named = {"name": self.options.name} if self.options.name else {}
        bodies: dict[str, Mapping[str, Json]] = {"duplicate": named, "toggle": {}}
        programs: dict[Verb, Program[Done | Refusal]] = {
            "delete": gassapi.delete(self.server, self.flow),
            "duplicate": gassapi.duplicate(self.server, self.flow, named),
            "toggle": gassapi.toggle(self.server, self.flow),
        }
        method, path = self.server.place(verb, self.flow)
        request = self.server.api.request(method, path, gassapi.encoded(bodies.get(verb)))
        return Operation(programs[verb], request)

    def _need(self, flag: str, value: str, what: str) -> None:
        if not value:
            self.problems.append(Problem("usage.target", flag, f"is missing: {what}"))


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
