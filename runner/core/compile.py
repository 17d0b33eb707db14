"""From a step as it is written to a step with every template, condition and path compiled once."""

from __future__ import annotations

import re
from dataclasses import asdict

from runner.core.commands import Json
from runner.core.compiled import ConditionWork, HttpWork, PartWork, StepPlan, UntilWork, Work
from runner.core.condition import Condition, ConditionSyntaxError, compile_condition
from runner.core.model import Config, FilePart, Flow, OAuth2Auth, Step
from runner.core.output import Output, compile_output
from runner.core.reference import Reference, TemplateError, parse_path
from runner.core.retry import RetryPolicy, resolve_policy
from runner.core.template import Template, Tree, compile_template, compile_tree
from runner.core.text import close_match
from runner.errors import Problem

ANY_2XX = (range(200, 300),)
STATUS_CLASS = re.compile(r"[1-5]xx", re.IGNORECASE)
METHOD = re.compile(r"[A-Za-z]+")
BODILESS = ("GET", "HEAD")  # an empty body there is what a platform stores for none
BODIES = ("body", "form", "multipart", "body_file")
ONLY_HTTP = (
    "headers", "query", "body", "form", "multipart", "body_file", "auth", "expected_status", "assert_",
    "until", "retry", "retry_count", "idempotency_key", "timeout",
)  # fmt: skip


class Compiler:
    """Compiles the steps of one flow. Equal texts are compiled once.

    Collects `problems`, and per step position the `references` as (where, reference).
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.problems: list[Problem] = []
        self.references: dict[int, list[tuple[str, Reference]]] = {}
        self._templates: dict[str, Template] = {}
        self._outputs: dict[str, Output] = {}
        self._conditions: dict[tuple[str, bool], Condition] = {}
        self._paths: dict[str, str | None] = {}
        self._policies: dict[object, RetryPolicy] = {}
        self._seen: list[tuple[str, Reference]] = []
        self._base_url = self._template(flow.config.base_url, "config.baseUrl")
        self._base_references, self._seen = self._seen, []

    def compile(self, index: int, step: Step) -> StepPlan:
        """Compile one step; what is wrong with it goes to `problems`, and what is right is compiled."""
        self._seen = []
        where = f"steps[{index}]"
        plan = StepPlan(index, step.id, step.label, step.kind)
        plan.condition = self._condition(step, where)
        plan.for_each = self._tree(step.for_each, f"{where}.forEach")
        plan.work = self._work(step, plan.condition, where)
        if plan.kind == "condition":
            plan.condition = None  # it is the step's work and does not skip it
        if step.secret_outputs:
            plan.secret = frozenset(step.secret_outputs)
        if step.delay_ms:
            plan.delay = step.delay_ms / 1000
        plan.limit = step.max_concurrency or 1
        plan.continues = step.on_error == "continue"
        self._check_keys(step, where)
        if plan.condition is not None and plan.for_each is not None:
            plan.condition_per_item = any(one.root in ("item", "index") for one in plan.condition.references)
        if self._seen:
            self.references[index] = self._seen
        return plan

    def _work(self, step: Step, condition: Condition | None, where: str) -> Work:
        match step.kind:
            case "http":
                return self._http(step, where)
            case "set":
                return self._tree(step.set, f"{where}.set")
            case "condition" if condition is not None:
                return ConditionWork(condition, step.true_label or "true", step.false_label or "false")
            case _:
                return None

    def flow_work(self, index: int, step: Step) -> tuple[Tree | None, tuple[tuple[str, Reference], ...]]:
        """Compile what a flow step gives to the flow and takes from it."""
        self._seen = []
        where = f"steps[{index}]"
        inputs = self._tree(step.inputs, f"{where}.inputs")
        self.references.setdefault(index, []).extend(self._seen)
        outputs = []
        for name, text in step.outputs.items():
            reference = parse_path(text)
            if reference is None:
                what = f"{text!r} is no output of the flow; write stepId.output"
                self._problem("output.path", f"{where}.outputs.{name}", what)
            else:
                outputs.append((name, reference))
        return inputs, tuple(outputs)

    def _http(self, step: Step, where: str) -> HttpWork | None:
        self._check_http(step, where)
        url = self._template(step.url.strip() if step.url else None, f"{where}.url")
        if url is None:
            return None
        config = self.flow.config
        work = HttpWork(
            method=(step.method or "").upper(),
            url=url,
            path_template=self._path(url),
            policy=self._policy(step, config),
            timeout=(step.timeout or config.timeout) / 1000,
            accepted=self._accepted(step, where),
            expected=_expected(step),
            keyed=step.idempotency_key,
            follow_redirects=step.follow_redirects,
            outputs=self._read_outputs(step, where),
            folder=self.flow.folder,
            headers=self._tree(step.headers or None, f"{where}.headers"),
            query=self._tree(step.query, f"{where}.query"),
            base_url=self._base_url,
        )
        self._compile_body(work, step, where)
        if url.source.startswith("/"):  # another url may come out relative, but need not
            self._seen.extend(self._base_references)
        if step.auth is not None:
            fields = {_camel(name): value for name, value in asdict(step.auth).items() if value is not None}
            work.auth = self._tree(fields, f"{where}.auth")
            if isinstance(step.auth, OAuth2Auth):
                token_url = self._template(step.auth.token_url, f"{where}.auth.tokenUrl")
                work.token_template = self._path(token_url) if token_url is not None else None
        work.assertions = tuple(
            self._compiled_condition(text, f"{where}.assert[{number}]", response=True)
            for number, text in enumerate(step.assertions)
        )
        work.rendered = _rendered(work)
        if step.until is not None:
            until = step.until
            condition = self._compiled_condition(until.condition, f"{where}.until.condition", response=True)
            work.until = UntilWork(condition, until.interval / 1000, until.max_attempts)
        return work

    def _compile_body(self, work: HttpWork, step: Step, where: str) -> None:
        if isinstance(step.body, str):
            work.body_text = self._template(step.body, f"{where}.body")
        elif step.body or work.method not in BODILESS:
            work.body = self._tree(step.body, f"{where}.body")
        work.form = self._tree(step.form, f"{where}.form")
        work.body_file = self._template(step.body_file, f"{where}.bodyFile")
        if step.multipart is not None:
            work.parts = tuple(
                (name, self._part(part, f"{where}.multipart.{name}")) for name, part in step.multipart.items()
            )

    def _part(self, part: str | FilePart, where: str) -> PartWork:
        if isinstance(part, str):
            return PartWork(text=self._template(part, where))
        return PartWork(
            file=self._template(part.file, f"{where}.file"),
            filename=self._template(part.filename, f"{where}.filename"),
            content_type=part.content_type,
        )

    def _policy(self, step: Step, config: Config) -> RetryPolicy:
        mark = (
            None if step.retry is None and step.retry_count is None else (repr(step.retry), step.retry_count)
        )
        if mark not in self._policies:
            levels = ((step.retry, step.retry_count), (config.retry, config.retry_count))
            self._policies[mark] = resolve_policy(levels)
        return self._policies[mark]

    def _path(self, url: Template) -> str | None:
        if url.source not in self._paths:
            self._paths[url.source] = url.path_template()
        return self._paths[url.source]

    def _accepted(self, step: Step, where: str) -> tuple[range, ...]:
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
                self._problem("step.expected_status", f"{where}.expectedStatus", what)
        return tuple(accepted)

    def _read_outputs(self, step: Step, where: str) -> tuple[tuple[str, Output], ...]:
        outputs = []
        for name, path in step.outputs.items():
            compiled = self._outputs.get(path)
            if compiled is None:
                try:
                    compiled = self._outputs[path] = compile_output(path)
                except TemplateError as error:
                    self._problem(error.code, f"{where}.outputs.{name}", error.message)
                    continue
            outputs.append((name, compiled))
        return tuple(outputs)

    def _check_keys(self, step: Step, where: str) -> None:
        if step.kind != "http":
            for name in ONLY_HTTP:
                if getattr(step, name):
                    what = f"{_camel(name)!r} does nothing on a {step.kind} step"
                    self._warn("step.ignored_key", f"{where}.{_camel(name)}", what)
        names = step.set if step.set is not None else step.outputs
        for number, name in enumerate(step.secret_outputs):
            if name not in names:
                what = f"no output {name!r} to keep secret{close_match(name, names)}"
                self._problem("output.unknown", f"{where}.secretOutputs[{number}]", what)
        if step.tests:
            self._warn("step.tests", f"{where}.tests", "test scripts are kept but not run; use 'assert'")
        if step.max_concurrency is not None and step.for_each is None:
            what = "'maxConcurrency' of a step needs 'forEach'; that of the flow stands in config"
            self._warn("step.ignored_key", f"{where}.maxConcurrency", what)

    def _check_http(self, step: Step, where: str) -> None:
        endpoint = step.endpoint_id if step.endpoint_id is not None else step.endpoint
        if endpoint is not None and step.url is None:
            what = f"the saved endpoint {endpoint!r} stands on the platform; give 'method' and 'url'"
            self._problem("step.endpoint", f"{where}.endpointId", what)
            return
        if endpoint is not None:
            self._warn("step.endpoint", f"{where}.endpointId", "the saved endpoint is not used; 'url' is")
        for name in ("method", "url"):
            if not getattr(step, name):
                self._problem("step.required", where, f"Step missing required field {name!r}")
        if step.method and not METHOD.fullmatch(step.method):
            self._problem("step.method", f"{where}.method", f"{step.method!r} is no HTTP method")
        given = [name for name in BODIES if getattr(step, name) is not None]
        if len(given) > 1:
            names = " and ".join(repr(_camel(name)) for name in given)
            self._problem("step.bodies", f"{where}.{_camel(given[1])}", f"{names} exclude each other")

    def _condition(self, step: Step, where: str) -> Condition | None:
        if step.condition is None or step.condition == "":
            return None
        text = step.condition if isinstance(step.condition, str) else str(step.condition).lower()
        return self._compiled_condition(text, f"{where}.condition")

    def _compiled_condition(self, text: str, where: str, *, response: bool = False) -> Condition:
        condition = self._conditions.get((text, response))
        if condition is None:
            try:
                condition = self._conditions[text, response] = compile_condition(text, response=response)
            except ConditionSyntaxError as error:
                self._problem(error.code, where, error.message)
                return compile_condition("true")
        self._seen.extend((where, reference) for reference in condition.references)
        return condition

    def _compile_text(self, text: str) -> Template:
        template = self._templates.get(text)
        if template is None:
            template = self._templates[text] = compile_template(text)
        return template

    def _template(self, text: str | None, where: str) -> Template | None:
        if text is None:
            return None
        try:
            template = self._compile_text(text)
        except TemplateError as error:
            self._problem(error.code, where, error.message)
            return None
        self._seen.extend((where, reference) for reference in template.references)
        return template

    def _tree(self, value: Json, where: str) -> Tree | None:
        if value is None:
            return None
        tree = compile_tree(value, where, self._compile_text)
        self.problems.extend(tree.problems)
        self._seen.extend(tree.references)
        return tree

    def _problem(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what))

    def _warn(self, code: str, where: str, what: str) -> None:
        self.problems.append(Problem(code, where, what, "warning"))


def _rendered(work: HttpWork) -> tuple[Template | Tree, ...]:
    parts = [text for _, part in work.parts or () for text in (part.text, part.file, part.filename)]
    several = (
        work.url, work.base_url, work.query, work.headers, work.body, work.body_text, work.form,
        work.body_file, work.auth, *parts,
    )  # fmt: skip
    return tuple(one for one in several if one is not None and not one.constant)


def _expected(step: Step) -> str:
    expected = step.expected_status
    several = expected if isinstance(expected, list) else ["2xx" if expected is None else expected]
    return " or ".join(map(str, several))


def _camel(name: str) -> str:
    head, *rest = name.strip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)
