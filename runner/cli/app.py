"""From the words of a command line to an exit code; nothing that goes wrong ends in a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from runner.cli.flags import TYPE_CHECKING
from runner.cli.options import Options, parse

if TYPE_CHECKING:
    from typing import Final

WRONG: Final = 2
AROUND: Final = 3
CUT: Final = 4
BUG: Final = 70  # EX_SOFTWARE of sysexits.h

_COMMANDS: Final = {
    "run": "runner.cli.run",
    "ingest": "runner.cli.ingest",
    "resume": "runner.cli.resume",
    "runs": "runner.cli.runs",
    "submit": "runner.cli.submit",
    "worker": "runner.cli.worker",
    "check": "runner.cli.check",
    "convert": "runner.cli.convert",
    "push": "runner.cli.push",
    "pull": "runner.cli.pull",
    "schema": "runner.cli.schema",
    "show": "runner.cli.show",
    "trace": "runner.cli.trace",
}


def run_command(argv: Sequence[str]) -> int:
    """Run the command that these words spell and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the encoding does not have is written out; half a surrogate pair is in none.
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(argv)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # the interpreter would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # which is `runner --help | head`
            sys.stderr.write(f"runner: cannot write standard output: {(error.strerror or '').lower()}\n")
            return code or AROUND
    return code


def _guarded(argv: Sequence[str]) -> int:
    try:
        options = parse(argv)
        return _version() if options.version else _run(options)
    except SystemExit as leaving:  # argparse has said all there is to say
        return leaving.code if isinstance(leaving.code, int) else WRONG
    except KeyboardInterrupt:
        return CUT
    except OSError as error:
        sys.stderr.write(f"runner: {(error.strerror or type(error).__name__).lower()}\n")
        return AROUND
    except Exception as error:  # noqa: BLE001 - the last place that can say anything about it
        return _report(error)


def _version() -> int:
    import runner

    sys.stdout.write(f"runner {runner.__version__}\n")
    return 0


def _run(options: Options) -> int:
    from runner.cli.output import once, outputs, problem_line
    from runner.errors import FlowError, SurroundingsError

    command = import_module(_COMMANDS[options.command])
    try:
        code: int = command.main(options, os.environ)
        return code
    except FlowError as error:
        lines, code = [problem_line(problem) for problem in once(error.problems)], WRONG
    except SurroundingsError as error:
        lines, code = [str(error)], AROUND
    _, err = outputs(os.environ)
    for line in lines:
        err.line(line)
    return code


def _report(error: Exception) -> int:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]  # it came out of a task group
    # Not its message: that may quote what the masker has never seen.
    if os.environ.get("RUNNER_DEBUG") == "1":
        import traceback

        for one in (error.__cause__ or error.__context__, error):
            if one is not None:
                where = "".join(traceback.format_tb(one.__traceback__))
                sys.stderr.write(f"Traceback (most recent call last):\n{where}{type(one).__name__}\n\n")
    what = f"a fault of the runner itself: {type(error).__name__}"
    sys.stderr.write(f"runner: {what}; please report it with what RUNNER_DEBUG=1 prints\n")
    return BUG
