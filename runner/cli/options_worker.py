"""The flags of `runner submit` and `runner worker`."""

from __future__ import annotations

import argparse

from runner.cli.flags import (
    TYPE_CHECKING,
    add_database,
    add_priority,
    add_rate,
    address,
    count,
    seconds,
    size,
)
from runner.cli.options_given import (
    add_connections,
    add_env,
    add_given,
    add_limits,
    add_otlp,
    add_trace_contents,
)
from runner.cli.options_remote import add_upload

if TYPE_CHECKING:
    from typing import Final

SUBMIT_EXAMPLE: Final = """\
examples:
  runner submit flow.json -i username=jane --id signup-jane
  runner submit flow.json --inputs inputs.json --wait --json | jq -r .status
  runner submit nightly.yaml --delay 3600 --priority -10

exit codes:
  0  the run is in the queue (with --wait: it succeeded); the same id is taken once
  2  the document, the inputs or the usage are wrong; nothing was taken in
  3  the state database cannot be used, or as many runs wait as --max-queued allows
  with --wait those of 'runner run'; interrupted: 4, and the run goes on
"""
WORKER_EXAMPLE: Final = """\
examples:
  runner worker
  runner worker --concurrency 20 --drain 60 --env-file .env
  runner worker --state postgresql://runner@db.example.com/runs

The first SIGTERM or Ctrl-C lets runs end within --drain, and hands over those that have not; the
second hands over at once.

exit codes:
  0  stopped as asked
  2  the usage is wrong
  3  the state database or its key cannot be used
  75 others may have taken over what this worker had; start it again
"""


class QueueOptions(argparse.Namespace):
    """The flags that only the commands around the queue have."""

    priority: int
    delay: float | None
    wait: bool
    max_queued: int | None
    inactive: bool
    traceparent: str | None
    concurrency: int
    global_concurrency: int | None
    drain: float
    max_deaths: int
    new_key: bool
    http: tuple[str, int] | None


def add_submit(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `submit`."""
    parser.usage = "%(prog)s FLOW [options]"
    parser.description = "Put a run into the queue, for 'runner worker' to take. Prints the run's id."
    parser.epilog = SUBMIT_EXAMPLE
    parser.add_argument("flow", metavar="FLOW", help="the flow, a JSON or YAML file; - is standard input")
    group = parser.add_argument_group("when, and what is printed")
    add_priority(group)
    group.add_argument("--delay", metavar="SECONDS", type=seconds, help="not before this time has passed")
    group.add_argument("--wait", action="store_true", help="wait for the end, and show the trace")
    group.add_argument(
        "--max-queued", metavar="N", type=count, help="refuse when so many runs wait already (exit 3)"
    )
    group.add_argument("--inactive", action="store_true", help="also a flow that is switched off")
    group.add_argument(
        "--traceparent", metavar="T", help="the span that asks for the run (default: TRACEPARENT)"
    )
    group.add_argument("--json", action="store_true", help="print JSON")
    group.add_argument("--quiet", "-q", action="store_true", help="print only the id, and what went wrong")
    group.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")
    add_given(parser)
    add_trace_contents(parser)
    add_connections(parser, own=False)
    add_limits(parser, own=False)
    # What belongs to the worker: it is the one that connects and delivers.
    parser.set_defaults(
        cacert=None,
        insecure=False,
        cert=None,
        key=None,
        max_response=None,
        otlp=False,
        otlp_endpoint=None,
        rate=[],
    )


def add_worker(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `worker`."""
    parser.usage = "%(prog)s [options]"
    parser.description = "Take runs out of the queue and carry them on, also those that others left behind."
    parser.epilog = WORKER_EXAMPLE
    add_database(parser)
    parser.add_argument(
        "--concurrency", metavar="N", type=count, default=100, help="most runs at once here (100)"
    )
    parser.add_argument(
        "--global-concurrency", metavar="N", type=count, help="most at once in all workers that say so"
    )
    parser.add_argument(
        "--drain", metavar="SECONDS", type=seconds, default=30.0, help="time to end when asked to stop (30)"
    )
    parser.add_argument(
        "--max-deaths", metavar="N", type=count, default=3, help="end a run that killed so many workers (3)"
    )
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        type=address,
        help="answer probes there: /healthz, /readyz, /metrics (Prometheus)",
    )
    parser.add_argument("--inactive", action="store_true", help="also flows that are switched off")
    parser.add_argument("--new-key", action="store_true", help="print a key for RUNNER_STATE_KEY, and leave")
    parser.add_argument("--quiet", "-q", action="store_true", help="print only what went wrong")
    parser.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")
    parser.set_defaults(name=None, description=None, max_document=None, json=False)
    add_env(parser)
    add_otlp(parser)
    add_upload(parser)
    add_rate(parser)
    add_connections(parser, kept=True)
    parser.add_argument("--max-response", metavar="SIZE", type=size, help="most for the body of an answer")
