"""`runner run`: one run from its flags to its exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Final, NoReturn

import anyio

from runner.cli.given import Given, gather
from runner.cli.options import Options
from runner.cli.output import Output, outputs, problem_line
from runner.cli.summary import Ending, summary
from runner.cli.watch import View, Watch
from runner.core.document import MAX_BYTES
from runner.core.model import Flow
from runner.core.result import RunResult
from runner.core.text import MAX_TEXT
from runner.core.trace import SpanRecord, to_bytes
from runner.errors import FlowError, Problem, RunnerError, SurroundingsError, errors_of
from runner.runtime.files import write_atomically
from runner.runtime.http import HttpSettings
from runner.runtime.loading import LoadSettings, in_order, load, plan_of
from runner.runtime.policy import ProxyRules
from runner.runtime.run import Run, RunSettings
from runner.runtime.tls import TlsOptions
from runner.runtime.tracing import Listener

_EXIT: Final = {"succeeded": 0, "failed": 1, "cancelled": 4, "timed_out": 4}
_WRONG: Final = 2
_AROUND: Final = 3
_HURRY: Final = 1.0  # seconds for delivering spans once the user wants to leave


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Run a flow and return the exit code (SEMANTICS, Command line)."""
    out, err = outputs(environ, color=not options.no_color)
    _hush()
    try:
        command = RunCommand(options, environ, out, err)
        run = command.prepare()
    except (FlowError, SurroundingsError) as error:
        for line in _problem_lines(error):
            err.line(line)
        return _WRONG
    return command.go(run)


def _problem_lines(error: FlowError | SurroundingsError) -> list[str]:
    return [problem_line(one) for one in error.problems] if isinstance(error, FlowError) else [str(error)]


def _hush() -> None:
    """Keep what the engine logs about its own faults off the screen; the step's error tells of them."""
    import logging

    if os.environ.get("RUNNER_DEBUG") != "1":
        logging.getLogger("runner").addHandler(logging.NullHandler())
