"""The flags of `runner ingest`."""

from __future__ import annotations

import argparse

from runner.cli.flags import TYPE_CHECKING, add_database, add_priority, count, seconds
from runner.cli.options_given import (
    add_connections,
    add_dialect,
    add_env,
    add_folders,
    add_limits,
    add_secret,
    add_trace_contents,
)

if TYPE_CHECKING:
    from typing import Final

EXAMPLE: Final = """\
examples:
  runner ingest nats://127.0.0.1:4222 orders.created --flow order.json -e API_URL=https://api.example.com
  runner ingest amqp://runner@rabbit.example.com/shop orders --flows flows/ --env-file .env
  runner ingest redis://127.0.0.1:6379/0 orders --flow order.json --state postgresql://runner@db/runs
  runner ingest kafka://127.0.0.1:9092 orders --flow order.json

With --flow a message is the inputs, one JSON object; with --flows it is {"flow": "order.json", "inputs": {}}.
Its headers are {{headers.NAME}}; run-id names the run, traceparent the trace that it is part of. Kafka is
not proven yet. RUNNER_INGEST_PASSWORD is the password of the url's user.

exit codes:
  0  stopped as asked
  2  the flow or the usage is wrong; no message was taken
  3  the broker or the state database cannot be used
"""


class IngestOptions(argparse.Namespace):
    """The flags that only `ingest` has."""

    url: str
    queue: str
    folder: str | None
    group: str
    in_flight: int
    ack_wait: float
    dead: str | None


def add_ingest(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ingest`."""
    parser.usage = "%(prog)s URL SOURCE (--flow FILE | --flows DIR) [options]"
    parser.description = "Take messages of your own broker into the queue: each becomes one run."
    parser.epilog = EXAMPLE
    parser.add_argument("url", metavar="URL", help="the broker: nats, amqp, redis or kafka, with its host")
    parser.add_argument("queue", metavar="SOURCE", help="its subject, queue, stream or topic")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--flow", metavar="FILE", help="the flow that every message starts")
    which.add_argument(
        "--flows", dest="folder", metavar="DIR", help="the folder of the flows that messages may name"
    )
    add_database(parser)
    group = parser.add_argument_group("messages")
    group.add_argument(
        "--group", metavar="NAME", default="flowspan", help="the durable consumer or group (flowspan)"
    )
    group.add_argument(
        "--in-flight", metavar="N", type=count, default=100, help="most messages held at a time (100)"
    )
    group.add_argument(
        "--max-queued", metavar="N", type=count, default=10_000,
        help="take no more while so many runs wait (10000)",
    )  # fmt: skip
    group.add_argument(
        "--ack-wait", metavar="SECONDS", type=seconds, default=30.0,
        help="NATS and Redis hand a message out again after this time without an answer (30)",
    )  # fmt: skip
    group.add_argument(
        "--dead", metavar="NAME", help="where messages go that can be no run (default: SOURCE.dead)"
    )
    add_priority(group)
    group.add_argument("--inactive", action="store_true", help="also a flow that is switched off")
    parser.add_argument("--quiet", "-q", action="store_true", help="print only what went wrong")
    parser.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")
    given = parser.add_argument_group("what the flow is given")
    add_env(given)
    add_secret(given)
    given.add_argument("--base-url", metavar="URL", help="put before urls that start with /")
    add_dialect(given)
    add_folders(given)
    add_trace_contents(parser)
    add_connections(parser, own=False)
    add_limits(parser, own=False)
    # What a message has, or what belongs to the worker.
    parser.set_defaults(
        input=[], inputs=None, header=[], answers=None, stubs=None, recorded=False, run_id=None, take=[],
        rate=[], cacert=None, insecure=False,
        cert=None, key=None, max_response=None, otlp=False, otlp_endpoint=None,
    )  # fmt: skip
