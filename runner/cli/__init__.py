"""The command line: reads flags, calls the runtime, prints. What is heavy is imported when it is needed."""

from __future__ import annotations

import os

try:
    import signal
    import sys
    from collections.abc import Sequence
except KeyboardInterrupt:  # `main` has not begun, and these take longest until it does
    os._exit(4)

TYPE_CHECKING = False  # not from typing, which takes longer to import than all else that --help needs
if TYPE_CHECKING:
    from typing import NoReturn

_CANCELLED = 4


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code (SEMANTICS, Command line)."""
    # A job in the background of a script is started with the interrupt ignored, and is to stay so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Raised inside an import, KeyboardInterrupt is printed, or taken for a fault of the module.
        signal.signal(signal.SIGINT, leave_at_once)
    from runner.cli.app import run_command

    code = run_command(sys.argv[1:] if argv is None else argv)
    if signal.getsignal(signal.SIGINT) in (leave_at_once, signal.default_int_handler):
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))  # all is done; the interpreter tidies up
    sys.exit(code)


def leave_at_once(*_: object) -> NoReturn:
    """Leave as cancelled; for an interrupt before there is anything to finish."""
    os._exit(_CANCELLED)
