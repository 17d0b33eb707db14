"""Flags that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
import re

TYPE_CHECKING = False  # not from typing, which takes longer to import than all else that --help needs
if TYPE_CHECKING:
    from typing import Final

_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(?:(k|m|g)?(?:i?b)?)", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]*)):([0-9]{1,5})")
_MOST_PORT: Final = 65_535
_MOST_SECONDS: Final = 1e9
_MOST_DIGITS: Final = 15
MOST_URGENT: Final = 1_000_000
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def add_tls(group: argparse._ActionsContainer) -> None:
    """Add whom to trust, and as whom to connect."""
    group.add_argument("--cacert", metavar="FILE", help="trust this authority (PEM), besides the system's")
    group.add_argument("--insecure", action="store_true", help="do not check certificates at all")
    group.add_argument("--cert", "--client-cert", metavar="FILE", help="client certificate (PEM)")
    group.add_argument("--key", metavar="FILE", help="its key, where the certificate's file does not hold it")


def add_database(parser: argparse._ActionsContainer) -> None:
    """Add the flag that names the state database."""
    parser.add_argument(
        "--state", metavar="URL", help="the database (default: RUNNER_STATE, else sqlite:///.runner/state.db)"
    )


def add_priority(parser: argparse._ActionsContainer) -> None:
    """Add how urgent runs are."""
    parser.add_argument(
        "--priority", metavar="N", type=_priority, default=0, help="the higher, the sooner (default 0)"
    )


def add_rate(parser: argparse._ActionsContainer) -> None:
    """Add the rates of hosts; `runner.runtime.pace` reads them."""
    parser.add_argument(
        "--rate", metavar="HOST=N/s", action="append", default=[],
        help="send at most so many requests to a host (/s, /m or /h), all runs that share the --state"
        " together; HOST may be a pattern, '*' is every host by itself",
    )  # fmt: skip


def add_bindings(parser: argparse._ActionsContainer) -> None:
    """Add what says what nodes do that only their platform can run."""
    parser.add_argument(
        "--bindings",
        metavar="FILE",
        help="nected: what nodes do, one JSON or YAML object: the name of a node to the keys of a step",
    )


def add_scripted(parser: argparse._ActionsContainer) -> None:
    """Add what says how nodes end that only their platform can run."""
    form = "one JSON object: node id (or type) to {output} or {error}, or a list with one per visit"
    parser.add_argument("--answers", metavar="FILE", help=f"what a person enters or chooses: {form}")
    parser.add_argument("--stubs", metavar="FILE", help="what services give, in the same form")
    parser.add_argument(
        "--recorded", action="store_true", help="replay what the document has recorded of such nodes"
    )


def seconds(text: str) -> float:
    """Read a time."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def milliseconds(text: str) -> float:
    """Read a time that may be 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < _MOST_SECONDS * 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds")
    return value


def count(text: str) -> int:
    """Read how many."""
    if not text.isascii() or not text.isdigit() or not int(text[:_MOST_DIGITS]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text[:_MOST_DIGITS])


def size(text: str) -> int:
    """Read a number of bytes."""
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500000, 512k or 20MiB")
    return size


def _priority(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = MOST_URGENT + 1
    if abs(value) > MOST_URGENT:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from -{MOST_URGENT} to {MOST_URGENT}")
    return value


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT`` or ``:PORT``, which is on the loopback address."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT; write 127.0.0.1:8080")
    return match[1] or match[2] or "127.0.0.1", int(match[3])
