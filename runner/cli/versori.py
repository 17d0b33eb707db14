"""The Versori platform as the flags of `push`, `pull` and `run --push` name it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final

from runner.cli.artefacts import Source
from runner.cli.options import Options
from runner.cli.remote import Operation, Verb, read_credentials
from runner.core.commands import Headers
from runner.core.document import MAX_BYTES
from runner.core.integration_flow import IntegrationFlow
from runner.core.redact import Masker
from runner.core.trace_document import TraceDocument, read_traces
from runner.errors import FlowError, Problem, SurroundingsError
from runner.platforms import versori, versori_names
from runner.platforms.client import Api, size_text
from runner.runtime.files import read_document
from runner.runtime.platform import read_settings

_MOST_NAMED: Final = 5
_CONFIG: Final = ".versori/config.yaml"


class Versori:
    """A project on the platform, and the flow in it that is meant."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options, self.problems = options, list[Problem]()
        self.masker = Masker()
        self.context = self._context(environ)
        self.project = self._project()
        self.api = self._api(environ)
        self.name = options.name or ""
        self.trace: TraceDocument | None = None

    # --- where to, and as whom

    def _context(self, environ: Mapping[str, str]) -> versori.Context:
        """Return what the platform's own command line is configured with."""
        named = environ.get("VERSORI_CONFIG")
        path = Path(named or Path(environ.get("HOME", ".")) / _CONFIG)
        try:
            config = read_settings(path)
            pinned = read_settings(Path(".versori"))
        except FlowError as error:
            self.problems += error.problems
            return versori.Context()
        if named and config is None:
            self.problems.append(Problem("usage.target", "VERSORI_CONFIG", f"there is no file {named!r}"))
        options = self.options
        return versori.choose_context(config or {}, pinned or {}, options.org, options.project)

    def _project(self) -> versori.Project:
        found = []
        for flag, given, known in (
            ("--org", self.options.org, self.context.organisation),
            ("--project", self.options.project, self.context.project),
        ):
            value = given or known
            if value:
                self.problems += versori.id_problems(flag, value)
            else:
                what = "is missing, and the platform's own configuration has none; give the ULID"
                self.problems.append(Problem("usage.target", flag, what))
            found.append(value)
        return versori.Project(*found)

    def _api(self, environ: Mapping[str, str]) -> Api:
        options = self.options
        server = versori.SERVERS[options.server or "production"]
        known = "" if options.server else self.context.base_url
        scheme, headers = self._credentials(environ)
        url = options.platform_url or known or server
        return versori.api(url, scheme, headers, options.attempt_timeout or versori.TIMEOUT)

    def _credentials(self, environ: Mapping[str, str]) -> tuple[str, Headers]:
        """Return the scheme and the header that proves who calls."""
        options = self.options
        credentials = read_credentials(options, environ, self.problems)
        token = credentials.token or credentials.find("VERSORI_TOKEN")
        cookie = credentials.token or credentials.find("VERSORI_COOKIE")
        scheme = options.scheme or ("cookie" if cookie and not token else "Bearer")
        secret = cookie if scheme == "cookie" else token
        if not secret and scheme != "cookie" and self.context.token:
            secret = self.context.token
            scheme = options.scheme or "JWT"  # which the platform's own command line sends
        self.masker.add(secret)
        if not secret:
            if not options.dry_run:
                what = f"set VERSORI_{'COOKIE' if scheme == 'cookie' else 'TOKEN'}, or give --token-file FILE"
                self.problems.append(Problem("usage.credentials", f"--scheme {scheme}", what))
            return scheme, ()
        if not secret.isascii() or not secret.isprintable():
            what = "the secret has characters that no header can carry"
            self.problems.append(Problem("usage.credentials", f"--scheme {scheme}", what))
        return scheme, versori.auth_headers(scheme, secret)

    # --- what

    def read(self, path: str) -> None:
        """Read the one trace in a file, whatever its dialect."""
        most = self.options.max_document or MAX_BYTES
        file = "<stdin>" if path == "-" else path
        try:
            self.trace = self._chosen(read_traces(read_document(path, most), file, max_bytes=most), file)
        except FlowError as error:
            self.problems += error.problems
        else:
            self.problems += self.trace.warnings
            stem = "" if path == "-" else PurePath(path).name.partition(".")[0]
            self.call_it(self.trace.name or stem)

    def _chosen(self, traces: list[TraceDocument], file: str) -> TraceDocument:
        ids = [f"{trace.records[0].trace_id:032x}" if trace.records else "" for trace in traces]
        wanted = (self.options.trace_id or "").lower()
        found = [one for one, known in zip(traces, ids, strict=True) if not wanted or known == wanted]
        if len(found) != 1:
            shown = [f"{known} {one.name!r}" for known, one in zip(ids, traces, strict=True)][:_MOST_NAMED]
            what = f"{file!r} has {len(traces)} traces; --trace-id says which one: {', '.join(shown)}"
            raise FlowError([Problem("usage.traces", "--trace-id" * bool(wanted), what)])
        return found[0]

    def call_it(self, name: str) -> None:
        """Use this name for the flow, unless --name gives one."""
        self.name = self.name or name
        self.problems += versori.name_problems(self.name)

    # --- operations

    def push(self) -> Operation:
        """Return how to push the trace that was read."""
        assert self.trace is not None
        trace = self.trace
        return self._push(IntegrationFlow(self.name, trace.description, trace.records))

    def push_trace(self, source: Source) -> Operation:
        """Return how to push the trace of a run; raises SurroundingsError when it is too large."""
        [trace] = source.traces()
        return self._push(IntegrationFlow(self.name, trace.description, trace.records))

    def _push(self, flow: IntegrationFlow) -> Operation:
        options = self.options
        spans = versori_names.renamed(flow.spans) if options.names else flow.spans
        description = flow.description if options.description is None else options.description
        body = IntegrationFlow(flow.name, description, spans).to_json()
        most = options.max_document or MAX_BYTES
        if len(body) > most:
            what = f"the trace is {size_text(len(body))}, and no more than {size_text(most)} is pushed"
            raise SurroundingsError(f"{what}; --max-document allows more")
        program = versori.push(self.api, self.project, flow.name, body, overwrite=not options.no_overwrite)
        return Operation(program, self.api.request("PUT", self.project.flows(flow.name), body))

    def pull(self) -> Operation:
        """Return how to fetch one flow, or the list of them."""
        if not self.name:
            return Operation(versori.list_flows(self.api, self.project))
        return Operation(versori.pull(self.api, self.project, self.name))

    def act(self, verb: Verb | None) -> Operation:
        """Return how to delete a flow; nothing else can be done to one."""
        assert verb == "delete"
        self.call_it("")
        request = self.api.request("DELETE", self.project.flows(self.name))
        return Operation(versori.delete(self.api, self.project, self.name), request)
