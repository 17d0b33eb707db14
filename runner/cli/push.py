"""`runner push`: a trace or a flow to a platform, or a change of what it has there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from runner.cli.interrupts import raised
from runner.cli.options import Options
from runner.cli.output import once, outputs, problem_line
from runner.cli.remote import (
    Operation,
    Platform,
    connect,
    done_line,
    loss_lines,
    perform,
    request_text,
    result_json,
    shown,
)
from runner.core.commands import Request
from runner.errors import FlowError, errors_of
from runner.platforms.client import Done, Refusal

_AROUND: Final = 3


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Push, or delete, and return the exit code: 3 when the platform did not do all of it.

    Raises FlowError for everything that is found to be wrong before anything is sent.
    """
    out, err = outputs(environ)
    assert options.target is not None
    platform = connect(options.target, options, environ)
    operation = _prepared(platform, options)
    for problem in once(platform.problems):
        err.line(platform.masker.mask(problem_line(problem)))
    result: Request | Done | Refusal
    if not options.dry_run:
        try:
            with raised():
                result = perform(platform, operation.program, options, environ, err.line, operation.keep)
        except KeyboardInterrupt:
            err.line("interrupted; what was being sent may have arrived or not")
            raise
    elif operation.preview is not None:
        result = perform(platform, operation.preview, options, environ, err.line)
    else:
        assert operation.request is not None
        result = operation.request
    if isinstance(result, Request):
        out.write(platform.masker.mask(request_text(result)))
        err.line("nothing was sent")
        return 0
    if options.json:
        out.write(
            json.dumps(platform.masker.mask_json(result_json(result)), ensure_ascii=out.signs.ascii) + "\n"
        )
    elif not isinstance(result, Refusal):
        out.line(shown(platform, done_line(result)))
    lines = [*result.lines()] if isinstance(result, Refusal) else loss_lines(result)
    for line in lines:
        err.line(shown(platform, line))
    return _AROUND if lines else 0


def _prepared(platform: Platform, options: Options) -> Operation:
    if options.file is None:
        operation = platform.act(options.act)
    else:
        platform.read(options.file)
        _refuse(platform)
        operation = platform.push()
    _refuse(platform)
    return operation


def _refuse(platform: Platform) -> None:
    if errors_of(platform.problems):
        raise FlowError([one.at(one.place) for one in errors_of(platform.problems)])
