"""`runner check`: what is wrong with flows, without sending anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from runner.cli.given import folder_flaws, load_settings, read_env
from runner.cli.options import Options
from runner.cli.output import once, outputs, problem_line
from runner.core.answers import listed
from runner.core.commands import Json
from runner.core.compiled import Plan
from runner.core.model import Flow
from runner.core.plan import located
from runner.core.text import close_match
from runner.errors import FlowError, Problem, errors_of
from runner.platforms import refused_by
from runner.runtime.loading import LoadSettings, check, document_at, in_order, load, plan_of

_WRONG: Final = 2


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Check flows and return the exit code: 2 if one has errors, or warnings with --strict."""
    out, _ = outputs(environ)
    usage = list(folder_flaws(options))
    with_env = bool(options.env or options.env_file)
    env = read_env(options.env, options.env_file, environ, usage) if with_env else None
    if usage:
        raise FlowError(usage)
    limits = load_settings(options)
    judge = options.judge
    reports = [
        Report(flow, limits, env) if judge is None else Verdict(flow, limits, judge) for flow in options.flows
    ]
    if options.json:
        shown = [problem_json(report.flow, problem) for report in reports for problem in report.problems]
        out.write(json.dumps(shown, ensure_ascii=out.signs.ascii, indent=2) + "\n")
    else:
        for report in reports:
            for line in report.lines():
                out.line(line)
    return max(report.code(strict=options.strict) for report in reports)


class Report:
    """What the check of one flow has found; with `env` a name that is not in it is an error."""

    def __init__(self, flow: str, limits: LoadSettings, env: Mapping[str, str] | None) -> None:
        self.flow = flow
        self.steps = 0
        self.needed: list[str] = []
        try:
            loaded = load(flow, limits)
            found = problems_of(loaded, limits)
        except FlowError as error:
            self.problems = once(error.problems)
            return
        plan = plan_of(loaded, limits)
        self.steps = len(plan.steps)
        missing = missing_env(plan, env) if env is not None else []
        self.needed = needed(plan) if env is None else []
        self.problems = once(in_order([*found, *missing]))

    def lines(self) -> list[str]:
        """Return the problems, a line each, and one line that counts them."""
        errors = len(errors_of(self.problems))
        warnings = len(self.problems) - errors
        counts = [
            f"{count} {what}{'s' * (count > 1)}"
            for count, what in ((errors, "error"), (warnings, "warning"))
            if count
        ]
        if not errors:
            counts = [self.praise(), *counts]
        needs = f"; needs {', '.join(self.needed)}" if self.needed else ""
        return [*map(problem_line, self.problems), f"{self.flow}: {', '.join(counts)}{needs}"]

    def praise(self) -> str:
        """Return what is said of a flow without errors."""
        return f"ok, {self.steps} step{'s' * (self.steps != 1)}"

    def code(self, *, strict: bool) -> int:
        """Return the exit code for this flow alone."""
        return _WRONG if errors_of(self.problems) or (strict and self.problems) else 0


class Verdict(Report):
    """What a platform would say of one flow."""

    def __init__(self, flow: str, limits: LoadSettings, judge: str) -> None:
        self.flow, self.judge, self.needed = flow, judge, []
        try:
            document = document_at(flow, limits)
            self.problems = once(in_order([*document.warnings, *refused_by(document, judge)]))
        except FlowError as error:
            self.problems = once(error.problems)

    def praise(self) -> str:
        """Return what is said of a flow without errors."""
        return f"ok for {self.judge}"


def problems_of(flow: Flow, limits: LoadSettings) -> tuple[Problem, ...]:
    """Return everything that is wrong with a flow, and with those that it runs, in order and once."""
    return once(check(flow, limits))


def needed(plan: Plan) -> list[str]:
    """Return what a run of the flow has to be given besides its declared inputs, as flags."""
    return [
        *(f"-e {name}" for name in plan.needs.env),
        *(f"--header '{name}: …'" for name in plan.needs.headers),
        *(f"-i {name}=…" for name in plan.needs.inputs),
        *(f"-i {name}=… or -e {name}" for name in plan.needs.flat),
        *(f"--{flag} FILE with {', '.join(ids)}" for flag, ids in listed(plan).items()),
    ]


def missing_env(plan: Plan, env: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each env name that the flow needs and is not given."""
    missing = {name: where for name, where in plan.needs.env.items() if name not in env}
    problems = [
        Problem(
            "env.missing",
            where,
            f"no env value {name!r}{close_match(name, env) or f'; give it with -e {name}=…'}",
        )
        for name, where in missing.items()
    ]
    return list(located(plan.flow, problems))


def problem_json(flow: str, problem: Problem) -> dict[str, Json]:
    """Return a problem as JSON values; file, line and column are null where it has no place."""
    place = problem.place
    return {
        "flow": flow,
        "severity": problem.severity,
        "code": problem.code,
        "where": problem.where,
        "what": problem.what,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
    }
