"""The command line: reads flags, calls the runtime, prints. What is heavy is imported when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code (SEMANTICS, Command line)."""
    from runner.cli.app import run_command

    sys.exit(run_command(sys.argv[1:] if argv is None else argv))
