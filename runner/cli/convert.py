"""`runner convert`: a flow in the form of another program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from runner.cli.check import problems_of
from runner.cli.given import folder_flaws, load_settings
from runner.cli.options import Options
from runner.cli.output import Output, once, outputs, problem_line
from runner.core.commands import Json
from runner.core.trace import to_bytes
from runner.errors import FlowError, Problem, SurroundingsError, errors_of
from runner.platforms import DIALECTS, convert, write
from runner.runtime.files import write_atomically
from runner.runtime.loading import LoadSettings, document_at, load, plan_of


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Convert a flow and return the exit code; raises FlowError when that cannot be done."""
    out, err = outputs(environ)
    usage = list(folder_flaws(options))
    if usage:
        raise FlowError(usage)
    limits = load_settings(options)
    assert options.target is not None
    made, problems = (_converted if options.target in DIALECTS else _written)(options, limits)
    for problem in once(problems):
        err.line(problem_line(problem))
    deliver(to_bytes(json.dumps(made, ensure_ascii=False, indent=2) + "\n"), options.output, out)
    return 0


def _converted(options: Options, limits: LoadSettings) -> tuple[Json, Sequence[Problem]]:
    """Turn the document, whatever is in its steps, into one of another dialect."""
    document = document_at(options.flow, limits)
    repeated = document.warnings
    made, problems = convert(document, options.target or "", options.source, limits.aids)
    return made, (*repeated, *problems)


def _written(options: Options, limits: LoadSettings) -> tuple[Json, Sequence[Problem]]:
    """Write what the flow means in a form that no flow can be read from; it has to be without errors."""
    flow = load(options.flow, limits)
    problems = problems_of(flow, limits)
    if errors := errors_of(problems):
        raise FlowError(errors)
    return write(flow, plan_of(flow, limits), options.target or ""), problems


def deliver(data: bytes, path: str | None, out: Output) -> None:
    """Write a document to a file, or to standard output; raises SurroundingsError when that fails."""

    def write_data(file: BinaryIO) -> None:
        file.write(data)

    if path is not None:
        write_atomically(Path(path), write_data)
        return
    out.write(data.decode("utf-8"))
    if out.trouble:
        raise SurroundingsError(f"cannot write standard output: {out.trouble}")
