"""From a step as it is written to a step with every template, condition and path compiled once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final, TypeAlias

from runner.core.commands import Json
from runner.core.compiled import (
    NO_OUTPUTS,
    NONE,
    AuthWork,
    BodyWork,
    ConditionWork,
    Extras,
    FileWork,
    ForeignWork,
    FormWork,
    HttpTerms,
    HttpWork,
    MultipartWork,
    Outputs,
    PartWork,
    StepPlan,
    UntilWork,
)
from runner.core.condition import Condition, ConditionSyntaxError, compile_condition
from runner.core.model import Auth, FilePart, Flow, OAuth2Auth, Step, Until
from runner.core.output import Output, compile_output
from runner.core.reference import Reference, TemplateError, parse_path, spell
from runner.core.retry import resolve_policy
from runner.core.template import Grown, Template, Tree, compile_template, compile_tree, survey
from runner.core.text import close_match
from runner.errors import Problem, Severity

ANY_2XX = (range(200, 300),)
STATUS_CLASS = re.compile(r"[1-5]xx", re.IGNORECASE)
METHOD = re.compile(r"[A-Za-z]+")
BODILESS = ("GET", "HEAD")  # an empty body there is what a platform stores for none
BODIES = ("body", "form", "multipart", "body_file")
ONLY_HTTP = (
    "headers", "query", "body", "form", "multipart", "body_file", "auth", "expected_status", "assert_",
    "until", "retry", "retry_count", "idempotency_key", "timeout",
)  # fmt: skip
BASE_URL: Final = "config.baseUrl"
UNTIL: Final = "until"
# A step holds nothing but what was given: if that is no more than this, most of the checks are done.
USUAL: Final = frozenset(("id", "name", "description", "condition", "depends_on"))
USUAL_HTTP: Final = USUAL | {"method", "url", "headers", "body", "outputs"}
USUAL_OF: Final = {
    "http": USUAL_HTTP | {"query", "form", "multipart", "body_file", "assert_", "until", "auth"},
    "set": USUAL | {"set"},
}

Rendered: TypeAlias = Template | Tree
Use: TypeAlias = tuple[str, Sequence[Template | Condition], Tree | None]
"""What refers to something: the key that it stands at, what is rendered there, and the tree around that."""


class _Templates(dict[str, Template]):
    def __missing__(self, text: str) -> Template:
        template = self[text] = compile_template(text)
        return template


class Compiler:
    """Compiles the steps of one flow. Equal texts and parts are compiled once; equal settings are one object.

    Collects `problems`, and in `uses` what the step that was compiled last refers to.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.problems: list[Problem] = []
        self.uses: list[Use] = []
        self._where = ""
        self._templates = _Templates()
        self._grown: Grown = {}
        self._outputs: dict[tuple[str, ...], Outputs] = {}
        self._conditions: dict[tuple[str, bool], Condition] = {}
        self._urls: dict[Template, tuple[str | None, tuple[Rendered, ...]]] = {}
        self._terms: dict[str, HttpTerms] = {}
        self._paths: dict[str, Output] = {}
        self._base_url = self._template(flow.config.base_url, BASE_URL)
        self._base_uses = self.uses

    def compile(self, index: int, step: Step) -> StepPlan:
        """Compile one step; what is wrong with it goes to `problems`, and what is right is compiled."""
        self.uses = []
        self._where = f"steps[{index}]"
        if step.id in self.flow.works:
            return self._foreign(index, step)
        kind = step.kind
        is_usual = vars(step).keys() <= USUAL_OF.get(kind, USUAL)
        plan = StepPlan(index, step.id, step.name or step.id, kind)
        if step.condition is not None:
            plan.condition = self._condition(step)
        if not is_usual:
            plan.extras = self._extras(step, plan.condition)
        match kind:
            case "http":
                plan.work = self._http(step)
            case "set":
                tree = self._tree(step.set, "set")
                plan.work = tree.value if tree.constant else tree
            case "external":
                plan.work = step.external
            case "condition" if plan.condition is not None:
                labels = step.true_label or "true", step.false_label or "false"
                plan.work = ConditionWork(plan.condition, *labels)
                plan.condition = None  # it is the step's work and does not skip it
        if not is_usual:
            self._check_keys(step)
        return plan

    def _foreign(self, index: int, step: Step) -> StepPlan:
        """Return the plan of another platform's node, whose work its reader has made."""
        work: ForeignWork = self.flow.works[step.id]
        return StepPlan(index, step.id, step.name or step.id, work.kind, work)

    def flow_work(self, step: Step) -> tuple[Tree | None, tuple[tuple[str, Reference], ...]]:
        """Compile what a flow step, compiled last, gives to the flow and takes from it."""
        inputs = self._tree(step.inputs, "inputs") if step.inputs is not None else None
        outputs = []
        for name, text in step.outputs.items():
            reference = parse_path(text)
            if reference is None:
                what = f"{text!r} is no output of the flow; write stepId.output"
                self._problem("output.path", f"outputs.{name}", what)
            else:
                outputs.append((name, reference))
        return inputs, tuple(outputs)

    def _extras(self, step: Step, condition: Condition | None) -> Extras:
        for_each = self._tree(step.for_each, "forEach") if step.for_each is not None else None
        extras = Extras(
            for_each=for_each,
            limit=step.max_concurrency or 1,
            condition_per_item=for_each is not None
            and condition is not None
            and any(one.root in ("item", "index") for one in condition.references),
            delay=step.delay_ms / 1000,
            secret=frozenset(step.secret_outputs),
            continues=step.on_error == "continue",
        )
        return NONE if extras == NONE else extras

    def _http(self, step: Step) -> HttpWork | None:
        is_usual = vars(step).keys() <= USUAL_HTTP
        terms = self._terms.get(step.method or "") if is_usual else None
        if terms is None or not step.url:
            self._check_http(step)
            terms = self._terms_of(step, is_usual=is_usual)
        url = self._template(step.url.strip(), "url") if step.url else None
        if url is None:
            return None
        path, rendered = self._urls.get(url) or self._new_url(url)
        before = len(self.uses)
        headers = self._tree(step.headers, "headers") if step.headers else None
        query = self._tree(step.query, "query") if step.query is not None else None
        body = self._body(step, terms.method)
        auth = None if step.auth is None else self._auth(step.auth)
        if len(self.uses) > before:
            rendered += tuple(tree or parts[0] for _, parts, tree in self.uses[before:])  # type: ignore[misc]
        if url.source.startswith("/"):  # another url may come out relative, but need not
            self.uses += self._base_uses
        assertions = tuple(
            self._compiled_condition(text, f"assert[{number}]", response=True)
            for number, text in enumerate(step.assertions)
        )
        outputs = self._read_outputs(step.outputs) if step.outputs else NO_OUTPUTS
        until = None if step.until is None else self._until(step.until)
        return HttpWork(terms, url, path, headers, query, body, auth, assertions, outputs, until, rendered)

    def _new_url(self, url: Template) -> tuple[str | None, tuple[Rendered, ...]]:
        """Note of a url its path template, and what of it and of the base before it is not constant."""
        several = (url, self._base_url)
        rendered = tuple(one for one in several if one is not None and not one.constant)
        found = self._urls[url] = (url.path_template(), rendered)
        return found

    def _terms_of(self, step: Step, *, is_usual: bool) -> HttpTerms:
        """Return how an HTTP step is sent; what is usual and sound is kept under its method alone."""
        special = (step.timeout, step.expected_status, step.retry, step.retry_count, step.follow_redirects)
        key = step.method or "" if is_usual else repr((step.method, *special, step.idempotency_key))
        if key in self._terms:
            return self._terms[key]
        config, problems = self.flow.config, len(self.problems)
        terms = HttpTerms(
            method=(step.method or "").upper(),
            policy=resolve_policy(((step.retry, step.retry_count), (config.retry, config.retry_count))),
            timeout=(step.timeout or config.timeout) / 1000,
            accepted=self._accepted(step),
            expected=_expected(step),
            keyed=step.idempotency_key,
            follow_redirects=step.follow_redirects,
            base_url=self._base_url,
            folder=self.flow.folder,
        )
        if len(self.problems) == problems and METHOD.fullmatch(step.method or ""):
            self._terms[key] = terms
        return terms

    def _body(self, step: Step, method: str) -> BodyWork:
        body: BodyWork = None
        if isinstance(step.body, str):
            body = self._template(step.body, "body")
        elif step.body or (step.body is not None and method not in BODILESS):
            body = self._tree(step.body, "body")
        if step.form is not None:
            body = FormWork(self._tree(step.form, "form"))
        if step.body_file is not None and (path := self._template(step.body_file, "bodyFile")):
            body = FileWork(path)
        if step.multipart is not None:
            parts = step.multipart.items()
            body = MultipartWork(tuple((name, self._part(part, f"multipart.{name}")) for name, part in parts))
        return body

    def _part(self, part: str | FilePart, key: str) -> PartWork:
        if isinstance(part, str):
            return PartWork(text=self._template(part, key))
        return PartWork(
            file=self._template(part.file, f"{key}.file"),
            filename=self._template(part.filename, f"{key}.filename"),
            content_type=part.content_type,
        )

    def _auth(self, auth: Auth) -> AuthWork:
        fields = {_camel(name): value for name, value in asdict(auth).items() if value is not None}
        work = AuthWork(self._tree(fields, "auth"))
        if isinstance(auth, OAuth2Auth):
            token_url = self._template(auth.token_url, "auth.tokenUrl")
            work.token_template = token_url.path_template() if token_url is not None else None
        return work

    def _until(self, until: Until) -> UntilWork:
        condition = self._compiled_condition(until.condition, f"{UNTIL}.condition", response=True)
        return UntilWork(condition, until.interval / 1000, until.max_attempts)

    def _accepted(self, step: Step) -> tuple[range, ...]:
        if step.expected_status is None:
            return ANY_2XX
        several = step.expected_status
        wanted = several if isinstance(several, list) else [several]
        accepted: list[range] = []
        for one in wanted:
            text = str(one).strip()
            if text.isascii() and text.isdigit() and 100 <= int(text[:4]) <= 599:
                accepted.append(range(int(text), int(text) + 1))
            elif STATUS_CLASS.fullmatch(text):
                accepted.append(range(int(text[0]) * 100, int(text[0]) * 100 + 100))
            else:
                what = f"{one!r} is no status; write a number from 100 to 599 or a class such as '2xx'"
                self._problem("step.expected_status", "expectedStatus", what)
        return tuple(accepted)

    def _read_outputs(self, outputs: Mapping[str, str]) -> Outputs:
        written = (*outputs, *outputs.values())
        found = self._outputs.get(written)
        if found is None:
            found = dict(self._sound_outputs(outputs))
            if len(found) == len(outputs):
                self._outputs[written] = found
        return found

    def _sound_outputs(self, outputs: Mapping[str, str]) -> Iterator[tuple[str, Output]]:
        for name, path in outputs.items():
            try:
                if path not in self._paths:
                    self._paths[path] = compile_output(path)
                yield name, self._paths[path]
            except TemplateError as error:
                self._problem(error.code, f"outputs.{name}", error.message)

    def _check_keys(self, step: Step) -> None:
        kind = step.kind
        for name in ONLY_HTTP if kind != "http" else ():
            if getattr(step, name):
                key = _camel(name)
                self._warn("step.ignored_key", key, f"{key!r} does nothing on a {kind} step")
        names = step.set if step.set is not None else step.outputs
        for number, name in enumerate(step.secret_outputs):
            if name not in names:
                what = f"no output {name!r} to keep secret{close_match(name, names)}"
                self._problem("output.unknown", f"secretOutputs[{number}]", what)
        if step.tests:
            self._warn("step.tests", "tests", "test scripts are kept but not run; use 'assert'")
        if step.max_concurrency is not None and step.for_each is None:
            what = "'maxConcurrency' of a step needs 'forEach'; that of the flow stands in config"
            self._warn("step.ignored_key", "maxConcurrency", what)

    def _check_http(self, step: Step) -> None:
        endpoint = step.endpoint_id if step.endpoint_id is not None else step.endpoint
        if endpoint is not None and step.url is None:
            what = f"the saved endpoint {endpoint!r} stands on the platform; give 'method' and 'url'"
            self._problem("step.endpoint", "endpointId", what)
            return
        if endpoint is not None:
            self._warn("step.endpoint", "endpointId", "the saved endpoint is not used; 'url' is")
        for name in ("method", "url"):
            if not getattr(step, name):
                self._problem("step.required", "", f"Step missing required field {name!r}")
        if step.method and not METHOD.fullmatch(step.method):
            self._problem("step.method", "method", f"{step.method!r} is no HTTP method")
        given = [name for name in BODIES if getattr(step, name) is not None]
        if len(given) > 1:
            names = " and ".join(repr(_camel(name)) for name in given)
            self._problem("step.bodies", _camel(given[1]), f"{names} exclude each other")

    def _condition(self, step: Step) -> Condition | None:
        if step.condition == "":
            return None
        text = step.condition if isinstance(step.condition, str) else str(step.condition).lower()
        return self._compiled_condition(text, "condition")

    def _compiled_condition(self, text: str, key: str, *, response: bool = False) -> Condition:
        condition = self._conditions.get((text, response))
        if condition is None:
            try:
                condition = self._conditions[text, response] = compile_condition(text, response=response)
            except ConditionSyntaxError as error:
                self._problem(error.code, key, error.message)
                return compile_condition("true")
        if condition.references:
            self.uses.append((key, (condition,), None))
        return condition

    def _template(self, text: str | None, key: str) -> Template | None:
        if text is None:
            return None
        try:
            template = self._templates[text]
        except TemplateError as error:
            self._problem(error.code, key, error.message)
            return None
        if template.references:
            self.uses.append((key, (template,), None))
        return template

    def _tree(self, value: Json, key: str) -> Tree:
        try:
            tree, found = compile_tree(value, self._templates.__getitem__, self._grown)
        except TemplateError:
            for place, one in survey(value, self._templates.__getitem__):
                if isinstance(one, Template):
                    self.uses.append((spell(key, place), (one,), None))
                else:
                    self._problem(one.code, spell(key, place), one.message)
            return Tree(value)
        if found:
            self.uses.append((key, found, tree))
        return tree

    def _problem(self, code: str, key: str, what: str, severity: Severity = "error") -> None:
        where = ".".join(filter(None, (self._where, key)))
        self.problems.append(Problem(code, where, what, severity))

    def _warn(self, code: str, key: str, what: str) -> None:
        self._problem(code, key, what, "warning")


def _expected(step: Step) -> str:
    expected = step.expected_status
    several = expected if isinstance(expected, list) else ["2xx" if expected is None else expected]
    return " or ".join(map(str, several))


def _camel(name: str) -> str:
    head, *rest = name.strip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)
