"""`runner pull`: one document of a platform, or the list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.cli.convert import deliver
from runner.cli.options import Options
from runner.cli.output import outputs
from runner.cli.remote import connect, perform, shown
from runner.errors import FlowError, errors_of
from runner.platforms.client import Refusal

_AROUND: Final = 3
_WIDEST: Final = 48  # of a column; what is longer pushes the next one away in its own row alone


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Fetch, and return the exit code: 3 when the platform did not give it."""
    out, err = outputs(environ)
    assert options.source is not None
    platform = connect(options.source, options, environ)
    if options.name is not None:
        platform.call_it(options.name)
    operation = platform.pull()
    if errors := errors_of(platform.problems):
        raise FlowError(errors)
    result = perform(platform, operation.program, options, environ, err.line)
    if isinstance(result, Refusal):
        for line in result.lines():
            err.line(shown(platform, line))
        return _AROUND
    if result.rows is None or options.output is not None or options.json:
        deliver(result.document, options.output, out)
        return 0
    if not result.rows:
        err.line("there is nothing")
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*result.rows, strict=True)]
    for row in result.rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        out.line(shown(platform, line.rstrip()))
    return 0
