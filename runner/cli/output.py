"""Where text goes: standard output and error, their colours, their encoding, and readers that go away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, TextIO

from runner.errors import Problem
from runner.report.waterfall import ASCII, UNICODE, Role, Row, Signs, clean, plain

_NARROWEST: Final = 20
_USUAL: Final = 80
_COLOURS: Final[dict[Role, str]] = {
    "ok": "\x1b[32m",
    "failed": "\x1b[31m",
    "skipped": "\x1b[33m",
    "running": "\x1b[36m",
    "faint": "\x1b[2m",
    "critical": "\x1b[35m",
}
_PLAIN: Final = "\x1b[0m"


class Output:
    """One of the two streams.

    A reader that has gone away (``| head``) is no error: the rest is not written. `trouble` says why
    something could not be written for any other reason.
    """

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str], *, color: bool = True) -> None:
        self.stream = stream
        self.trouble = ""
        # A terminal that can only print lines gets them as a file would.
        self.is_terminal = stream is not None and stream.isatty() and environ.get("TERM") != "dumb"
        self.color = color and self.is_terminal and not environ.get("NO_COLOR")
        self.signs = _signs(stream)
        self.width = _width(stream, environ, is_terminal=self.is_terminal)

    def line(self, text: str = "") -> None:
        """Write one line; nothing in it can steer a terminal."""
        self.write(clean(text, self.signs) + "\n")

    def rows(self, rows: Iterable[Row]) -> None:
        """Write rows, in colour if the stream is for it."""
        self.write("".join(self._shown(row) + "\n" for row in rows))

    def _shown(self, row: Row) -> str:
        if not self.color:
            return plain(row)
        return "".join(f"{_COLOURS[role]}{text}{_PLAIN}" if role else text for text, role in row)

    def write(self, text: str) -> None:
        """Write text as it is."""
        if self.stream is None or not text:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            self._close()
        except OSError as error:
            self.trouble = (error.strerror or "it cannot be written").lower()
            self._close()

    def _close(self) -> None:
        """Let the interpreter's own flush at the end go nowhere, or it would complain."""
        assert self.stream is not None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
        self.stream = None


def _signs(stream: TextIO | None) -> Signs:
    try:
        "".join([*UNICODE.states.values(), UNICODE.bar, UNICODE.last, UNICODE.more, UNICODE.critical]).encode(
            getattr(stream, "encoding", None) or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def _width(stream: TextIO | None, environ: Mapping[str, str], *, is_terminal: bool) -> int:
    wanted = environ.get("COLUMNS", "")
    columns = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 else 0
    if not columns and stream is not None and is_terminal:
        with suppress(OSError):
            columns = os.get_terminal_size(stream.fileno()).columns
    return max(columns, _NARROWEST) if columns else _USUAL


def outputs(environ: Mapping[str, str], *, color: bool = True) -> tuple[Output, Output]:
    """Return standard output and standard error."""
    return Output(sys.stdout, environ, color=color), Output(sys.stderr, environ, color=color)


def once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems without those that would be shown alike: two steps may run the same flow."""
    return tuple({problem_line(problem): problem for problem in problems}.values())


def problem_line(problem: Problem) -> str:
    """Return a problem in one line: ``flow.json:14:9 steps[1].body.token: what is wrong``."""
    if problem.is_error:
        return str(problem)
    place = f"{problem.place} " if problem.place else ""
    return f"{place}{problem.where and f'{problem.where}: '}warning: {problem.what}"
