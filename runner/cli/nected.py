"""Nected as the flags of `push` and `pull` name it."""

from __future__ import annotations

from collections.abc import Mapping

from runner.cli.given import object_file
from runner.cli.options import Options
from runner.cli.remote import Operation, Verb, read_credentials
from runner.cli.write_back import write_back
from runner.core.commands import Json
from runner.core.document import MAX_BYTES, Document, join
from runner.core.redact import Masker
from runner.errors import FlowError, Problem
from runner.platforms import dialect_of, nected, nected_api
from runner.platforms.client import Api
from runner.platforms.nected_api import After, Update
from runner.platforms.nected_graph import workflow_in
from runner.runtime.loading import LoadSettings, document_at


class Nected:
    """A workspace of Nected, and the workflow there that is meant."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options, self.problems = options, list[Problem]()
        self.masker = Masker()
        self.api = self._api(environ)
        self.workflow = options.id or ""
        self.path = ""
        self.document: Document | None = None
        self.body: dict[str, Json] = {}
        self.after = self._after()

    def _api(self, environ: Mapping[str, str]) -> Api:
        options = self.options
        credentials = read_credentials(options, environ, self.problems)
        key = credentials.token or credentials.find("NECTED_API_KEY")
        if not key:
            what = "set NECTED_API_KEY, or give --token-file FILE or --profile FILE"
            self.problems.append(Problem("usage.credentials", "", what))
        for flag, text in (("", key), ("--branch", options.branch or "")):
            if not text.isascii() or not text.isprintable():
                what = f"the {flag.strip('-') or 'key'} has characters that no header can carry"
                self.problems.append(Problem("usage.credentials" if not flag else "usage.target", flag, what))
        self.masker.add(key)
        url = options.platform_url or credentials.find("NECTED_URL") or nected_api.PRODUCTION
        return nected_api.api(url, key, options.branch or "", options.attempt_timeout or nected_api.TIMEOUT)

    # --- what

    def read(self, path: str) -> None:
        """Read the workflow that a document holds."""
        limits = LoadSettings(max_bytes=self.options.max_document or MAX_BYTES)
        try:
            document = document_at(path, limits)
            dialect_of(document, "nected")
        except FlowError as error:
            self.problems += error.problems
            return
        self.path, self.document = path, document
        self.problems += (*document.warnings, *nected.problems_of(document))
        self.body = dict(workflow_in(document)[0])
        if not self.options.new:
            self.workflow = self.workflow or _text(self.body.get("id"))
        for name, value in (("name", self.options.name), ("description", self.options.description)):
            if value is not None:
                self.body[name] = value
        self._judge(document)

    def _judge(self, document: Document) -> None:
        """Tell what a document lacks for what is to be done with it."""
        if self.workflow and not nected_api.checksum_of(self.body):
            what = "the document has no checksum: an update needs that of the workflow that it was made from"
            where, place = join(workflow_in(document)[1], "checksum"), document.locate("")
            what = f"{what}; fetch it with 'runner pull'"
            self.problems.append(Problem("nected.checksum", where, what, place=place))
        if not self.workflow and self.after.publish and not self.after.test:
            what = "a new workflow must be tested before it can be published; add --test"
            self.problems.append(Problem("usage.target", "--publish", what))

    def call_it(self, name: str) -> None:
        """Do nothing: a workflow is meant by its id."""

    # --- operations

    def push(self) -> Operation:
        """Return how to change the workflow that is meant, or to make one where none is."""
        after = self.after
        if not self.workflow:
            body = nected_api.encoded(nected_api.new_body(self.body))
            request = self.api.request("POST", nected_api.place(), body)
            return Operation(nected_api.create(self.api, self.body, after), request, keep=self._keep)
        update = Update(self.workflow, self.body, after)
        preview = nected_api.preview(self.api, update)
        return Operation(nected_api.push(self.api, update), preview=preview, keep=self._keep)

    def pull(self) -> Operation:
        """Return how to fetch one workflow, or the list of all."""
        version = f"v{self.options.flow_version}" if self.options.flow_version else ""
        if self.workflow:
            return Operation(nected_api.pull(self.api, self.workflow, version))
        if version:
            self.problems.append(
                Problem("usage.target", "--flow-version", "is that of one workflow; add --id")
            )
        return Operation(nected_api.list_workflows(self.api))

    def act(self, verb: Verb | None) -> Operation:
        """Return how to test or publish the workflow that is meant."""
        assert verb is None
        if not self.workflow:
            self.problems.append(Problem("usage.target", "--id", "is missing: the workflow that is meant"))
        preview = nected_api.preview_act(self.api, self.workflow, self.after)
        return Operation(nected_api.act(self.api, self.workflow, self.after), preview=preview)

    def _after(self) -> After:
        options = self.options
        if options.command != "push":
            return After()
        params: Mapping[str, Json] | None = None
        if options.params is not None:
            try:
                params = object_file(options.params, options.max_document or MAX_BYTES)
            except FlowError as error:
                self.problems += [
                    Problem(one.code, "--params", one.what, place=one.place) for one in error.problems
                ]
        for flag, text, needs in (
            ("--params", options.params, options.test),
            ("--title", options.title, options.publish),
            ("--notes", options.notes, options.publish),
        ):
            if text is not None and not needs:
                other = "--test" if flag == "--params" else "--publish"
                self.problems.append(Problem("usage.target", flag, f"goes with {other}"))
        return After(options.test, options.publish, params, options.title or "", options.notes or "")

    def _keep(self, values: Mapping[str, Json]) -> None:
        """Write the id and the checksum that the platform gave into the file that was pushed."""
        write_back(
            self.path, values, self.options, lambda document: workflow_in(document)[1], what="workflow"
        )


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
