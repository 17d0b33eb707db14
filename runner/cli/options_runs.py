"""The flags of `runner runs`."""

from __future__ import annotations

import argparse
import re

from runner.cli.flags import TYPE_CHECKING, add_database, count

if TYPE_CHECKING:
    from typing import Final

EXAMPLE: Final = """\
examples:
  runner runs --status failed --limit 20
  runner runs show nightly-42
  runner runs retry nightly-42 --failed
  runner runs delete --older-than 30d

exit codes:
  0  done
  2  the usage is wrong, or there is no such run
  3  the state database cannot be used
"""
STATES: Final = ("queued", "running", "succeeded", "failed", "cancelled", "timed_out")
_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_runs(parser: argparse.ArgumentParser, formatter: argparse._FormatterClass) -> None:
    """Add the commands below `runs`; `runner.cli.options.parse` takes `runs` alone for `runs list`."""
    parser.description = "Look at the runs of a state database, end them, or do them again."
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    for name, short, add in (
        ("list", "list runs, the newest first (what happens without an action)", _add_list),
        ("show", "show runs as waterfalls, also while they go on", _add_show),
        ("trace", "write the trace of a run as IntegrationFlow JSON", _add_trace),
        ("cancel", "end runs", _add_ids),
        ("retry", "do a part of an ended run again, as a new run that keeps the rest", _add_retry),
        ("delete", "delete ended runs with all they have", _add_delete),
        ("stats", "count runs by their state", _add_stats),
    ):
        add(
            actions.add_parser(
                name, help=short, description=f"{short[0].upper()}{short[1:]}.", epilog=EXAMPLE,
                formatter_class=formatter, allow_abbrev=False,
            )
        )  # fmt: skip


def _add_list(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--status", metavar="STATUS", choices=STATES, action="append", default=[], help=", ".join(STATES)
    )
    parser.add_argument("--flow", dest="of_flow", metavar="NAME", help="only runs of this flow")
    parser.add_argument("--limit", metavar="N", type=count, default=50, help="at most so many (50)")
    parser.add_argument("--before", metavar="RUN", help="the page after the one that ends with this run")


def _add_json(parser: argparse.ArgumentParser) -> None:
    add_database(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")


def _add_stats(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)


def _add_ids(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument("ids", metavar="RUN", nargs="+", help="the id of a run")


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_ids(parser)


def _add_trace(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument("ids", metavar="RUN", nargs=1, help="the id of a run")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")


def _add_delete(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument("ids", metavar="RUN", nargs="*", help="the id of a run")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=_age,
        default=None,
        help="every run that ended so long ago: 12h, 30d",
    )


def _add_retry(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument("ids", metavar="RUN", nargs=1, help="the id of a run that has ended")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--failed", action="store_true", help="what failed, and everything downstream of it")
    what.add_argument("--from", dest="from_step", metavar="STEP", help="this step and everything downstream")
    what.add_argument("--start", action="store_true", help="all of it")
    parser.add_argument("--flow", dest="edited", metavar="FILE", help="the flow as it was edited meanwhile")
    parser.add_argument("--id", dest="new_id", metavar="ID", help="the id of the new run")


def _age(text: str) -> float:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 90s, 15m, 12h or 30d")
    return float(int(match[1]) * _SECONDS[match[2]])
