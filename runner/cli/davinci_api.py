"""PingOne DaVinci as the flags of `push` and `pull` name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from runner.cli.given import url_flaws
from runner.cli.options import Options
from runner.cli.remote import Operation, Verb, read_credentials
from runner.cli.write_back import write_back
from runner.core.commands import Headers, Json, TokenSpec
from runner.core.document import MAX_BYTES, Document
from runner.core.redact import Masker
from runner.errors import FlowError, Problem, Severity, errors_of
from runner.platforms import davinci_api, davinci_document, davinci_save, davinci_variables
from runner.platforms.client import Done, Program, Refusal
from runner.platforms.davinci_api import Environment, Row
from runner.platforms.davinci_document import Sendable
from runner.platforms.davinci_rules import Finding
from runner.platforms.davinci_save import Save, Step
from runner.runtime.loading import LoadSettings, document_at

_API: Final = "https://api.pingone.{}"
_AUTH: Final = "https://auth.pingone.{}"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ATTEMPTS: Final = 4  # at getting a token


class Davinci:
    """An environment of PingOne, and the flow there that is meant."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options, self.problems = options, list[Problem]()
        self.masker = Masker()
        self.credentials = read_credentials(options, environ, self.problems)
        self.there = self._environment()
        self.flow = options.id or ""
        self.read_flow = Sendable({})
        self.path, self.at = "-", ""
        self.variables: list[Row] = []

    # --- where to, and as whom

    def _environment(self) -> Environment:
        options = self.options
        name = options.env_id or self.credentials.find("DAVINCI_ENV_ID")
        if not name:
            self._wrong("--env-id", "is missing; give the UUID of the environment")
        elif not _UUID.fullmatch(name):
            self._wrong("--env-id", f"{name!r} is no UUID such as abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6")
        given = options.platform_url or self.credentials.find("DAVINCI_URL")
        if given and options.region:
            self._wrong("--region", f"there is a url already: {given}")
        url = given or _API.format(options.region or "com")
        headers, token = self._proof(name, url)
        return Environment(davinci_api.api(url, headers, token, options.attempt_timeout), name)

    def _proof(self, environment: str, url: str) -> tuple[Headers, TokenSpec | None]:
        """Return what proves who calls: a token that was given, or how one is asked for."""
        find = self.credentials.find
        client, secret = find("DAVINCI_CLIENT_ID"), find("DAVINCI_CLIENT_SECRET")
        token = self.credentials.token or ("" if client and secret else find("DAVINCI_TOKEN"))
        self.masker.add(token)
        self.masker.add(secret)
        if token:
            if not token.isascii() or not token.isprintable():
                self.problems.append(
                    Problem("usage.credentials", "", "the token has characters that no header can carry")
                )
            return (("Authorization", f"Bearer {token}"),), None
        if not client or not secret:
            what = "set DAVINCI_CLIENT_ID and DAVINCI_CLIENT_SECRET, or DAVINCI_TOKEN, or give --token-file"
            self.problems.append(Problem("usage.credentials", "", what))
            return (), None
        giver = self.options.token_url or find("DAVINCI_TOKEN_URL") or self._token_url(environment, url)
        self.problems += url_flaws({"--token-url": giver or None})
        if not giver:
            self._wrong("--token-url", f"is missing; who gives tokens for {url} is not known")
        seconds = self.options.attempt_timeout or davinci_api.TIMEOUT
        return (), TokenSpec(giver, client, secret, timeout=seconds, max_attempts=_ATTEMPTS)

    def _token_url(self, environment: str, url: str) -> str:
        """Return who gives tokens in the region that a url is of; a secret goes to nobody else unasked."""
        from runner.cli.options_remote import REGIONS

        for region in REGIONS:
            if url.rstrip("/") == _API.format(region):
                return f"{_AUTH.format(region)}/{environment}/as/token"
        return ""

    # --- what

    def read(self, path: str) -> None:
        """Read the flow, or the variables, that a document holds."""
        limits = LoadSettings(max_bytes=self.options.max_document or MAX_BYTES)
        try:
            document = document_at(path, limits)
        except FlowError as error:
            self.problems += error.problems
            return
        self.path = path
        self.problems += document.warnings
        misfits = list(davinci_document.findings_of_flows(document.value))
        self._find(misfits, document)
        if misfits:
            return
        if self.options.variables:
            self._read_variables(document)
        else:
            self._read_flow(document)

    def _read_variables(self, document: Document) -> None:
        found = dict(davinci_document.variables_in(document.value))
        self._find(davinci_document.findings_of_variables(found), document)
        if not errors_of(self.problems):
            self.variables = list(found.values())

    def _read_flow(self, document: Document) -> None:
        found = self._flow_in(document)
        if found is None:
            return
        at, flow = found
        read = davinci_document.sendable(flow)
        if read is None:
            keys = ", ".join(map(repr, list(flow)[:10])) or "none"
            self._problem(document, at, f"no flow of DaVinci; keys found: {keys}", "document.dialect")
            return
        if read.unsent:
            what = f"sent is what the API takes, and not {', '.join(read.unsent)}"
            also = "; --variables sends the variables" if "variables" in read.unsent else ""
            self._problem(document, at, what + also, severity="warning")
        for name in ("name", "description"):
            if getattr(self.options, name) is not None:
                read.body[name] = getattr(self.options, name)
        self.read_flow, self.at = read, at
        self.flow = self.flow or read.id
        is_whole = (self.options.as_is or self.is_new) and self.options.act is None
        self._find(read.findings(is_whole=is_whole), document, at)

    def _flow_in(self, document: Document) -> tuple[str, Row] | None:
        """Return the flow that is meant of those in a document, and where it stands; None when it is told."""
        flows = davinci_document.flows_in(document.value)
        for at, one in flows.items():
            if len(flows) == 1 or one.get("flowId") == self.options.id:
                return at, one
        known = ", ".join(f"{one.get('flowId')} ({one.get('name')})" for one in flows.values())
        self._problem(document, "flows", f"--id says which of {len(flows)} flows is sent: {known}")
        return None

    @property
    def is_new(self) -> bool:
        """Whether a flow is to be made, and none to be changed."""
        return self.options.new or not self.flow

    def call_it(self, name: str) -> None:
        """Do nothing: a flow is meant by its id."""

    # --- operations

    def push(self) -> Operation:
        """Return how to change the flow that is meant, or to make one; or to save variables."""
        there, options = self.there, self.options
        if options.variables:
            return Operation(
                davinci_variables.push(there, self.variables),
                preview=davinci_variables.push(there, self.variables, really=False),
            )
        if options.act == "validate":
            return self._validate()
        read = self.read_flow
        is_foreign = bool(read.home) and read.home.lower() != there.id.lower()
        save = Save(
            read.body,
            "" if self.is_new else self.flow,
            read.made_from,
            options.as_is,
            is_foreign=is_foreign,
            anyway=options.yes,
            steps=self._steps(),
            kept=() if is_foreign else read.kept(is_new=self.is_new),
        )
        preview = davinci_save.preview(there, save)
        return Operation(davinci_save.push(there, save), preview=preview, keep=self._keep)

    def _keep(self, values: Mapping[str, Json]) -> None:
        """Write into the file which version of the flow it has now."""
        told = {self.read_flow.called(name): value for name, value in values.items()}
        write_back(self.path, told, self.options, lambda _: self.at, what="flow")

    def _validate(self) -> Operation:
        self._need_flow()
        graph = self.read_flow.body.get("graphData")
        return Operation(
            davinci_api.validate(self.there, self.flow, graph),
            preview=davinci_api.validation(self.there, self.flow, graph),
        )

    def pull(self) -> Operation:
        """Return how to fetch a flow, one of its versions, or a list."""
        options, there = self.options, self.there
        if options.variables:
            return Operation(davinci_variables.list_variables(there))
        if not self.flow:
            if options.versions or options.flow_version or options.export or options.details:
                self._need_flow()
            path = f"{there.flow()}?attributes={davinci_api.LISTED}"
            return Operation(davinci_api.list_all(there, path, "flows", davinci_api.flow_row))
        if options.versions:
            path = there.flow(self.flow, "versions")
            return Operation(davinci_api.list_all(there, path, "versions", davinci_api.version_row))
        if options.flow_version is None:
            if options.details:
                self._wrong("--flow-version", "is missing; --details are those of a version")
            fetch: Callable[[Environment, str], Program[Done | Refusal]]
            fetch = davinci_api.export_current if options.export else davinci_api.pull
            return Operation(fetch(there, self.flow))
        path = there.flow(self.flow, "versions", options.flow_version)
        if options.details:
            path += "/details" + (f"?expand={options.details}" if options.details != "flow" else "")
        return Operation(davinci_api.fetch(there, path, self.flow, export=options.export))

    def act(self, verb: Verb | None) -> Operation:
        """Return how to delete, copy or look at the flow that is meant, or to take steps with it."""
        self._need_flow()
        there, flow, version = self.there, self.flow, self.options.flow_version
        if verb == "validate":
            return self._validate()
        if verb == "duplicate":
            if self.options.name is not None:
                self._wrong("--name", "the platform names a copy itself")
            return Operation(davinci_save.clone(there, flow), davinci_save.clone_request(there, flow))
        if verb is None:
            steps = self._steps()
            program = davinci_save.do(there, flow, steps)
            return Operation(program, preview=davinci_save.preview_steps(there, flow, steps))
        path = there.flow(flow) if version is None else there.flow(flow, "versions", version)
        name = flow if version is None else f"version {version} of {flow}"
        return Operation(davinci_api.delete(there, path, name), there.api.request("DELETE", path))

    def _steps(self) -> tuple[Step, ...]:
        """Return what is to be done after a save, or to a flow as it is there."""
        options = self.options
        steps: list[Step] = []
        if options.revert is not None:
            steps.append(Step("revert", options.revert))
        if options.alias is not None:
            steps.append(Step("alias", options.alias, options.flow_version))
        if options.deploy:
            steps.append(Step("deploy"))
        if options.enable or options.disable:
            steps.append(Step("enabled", options.enable))
        return tuple(steps)

    # --- what is wrong

    def _need_flow(self) -> None:
        if not self.flow:
            self._wrong("--id", "is missing: the flow that is meant")

    def _wrong(self, flag: str, what: str) -> None:
        self.problems.append(Problem("usage.target", flag, what))

    def _problem(
        self,
        document: Document,
        at: str,
        what: str,
        code: str = "usage.target",
        severity: Severity = "error",
    ) -> None:
        self.problems.append(Problem(code, at, what, severity, document.locate(at)))

    def _find(self, found: Iterable[Finding], document: Document, within: str = "") -> None:
        for place, what in found:
            self._problem(document, ".".join(one for one in (within, place) if one), what, "davinci.property")
