"""What a flow is given on the command line, where it may connect, and how much it may take."""

from __future__ import annotations

import argparse

from runner.cli.flags import (
    TYPE_CHECKING,
    add_bindings,
    add_rate,
    add_scripted,
    add_tls,
    count,
    seconds,
    size,
)

if TYPE_CHECKING:
    from typing import Final

# Tests hold it to runner.platforms, which takes too long to import here.
FROM: Final = ("steps", "nected", "davinci", "react-flow")


def add_given(parser: argparse.ArgumentParser) -> None:
    """Add what a run is given."""
    group = parser.add_argument_group("what the flow is given")
    group.add_argument(
        "-i",
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an input, read as its declared type; NAME=@FILE takes the text of a file (without a final line"
        " break), NAME=@@TEXT a text that begins with @",
    )
    group.add_argument("--inputs", metavar="FILE", help="inputs as one JSON object; - is standard input")
    add_env(group)
    add_secret(group)
    group.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="a header for {{headers.NAME}}"
    )
    group.add_argument("--base-url", metavar="URL", help="put before urls that start with /")
    add_scripted(group)
    group.add_argument("--run-id", "--id", metavar="ID", help="the run's id (default: a new ULID)")
    add_dialect(group)
    add_folders(group)
    _add_state(group)


def _add_state(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--state",
        metavar="URL",
        help="keep the run in this database (sqlite:///FILE, postgresql://HOST/NAME), to resume it",
    )
    group.add_argument(
        "--with",
        dest="take",
        metavar="FILE",
        action="append",
        default=[],
        help="a file that only the run knows it needs, kept with it",
    )


def add_folders(group: argparse._ActionsContainer) -> None:
    """Add where a flow may read files."""
    group.add_argument(
        "--allow-files",
        metavar="DIR",
        action="append",
        default=[],
        help="a folder that the flow may read files from, besides its own",
    )


def add_dialect(group: argparse._ActionsContainer) -> None:
    """Add what a flow's file must be, and what is read with it."""
    group.add_argument(
        "--from", dest="source", choices=FROM, help="what the flow's file must be (default: any)"
    )
    add_bindings(group)


def add_env(group: argparse._ActionsContainer) -> None:
    """Add env values."""
    group.add_argument(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="an env value; without =VALUE it is taken from the process",
    )
    group.add_argument(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="env values, a line NAME=VALUE each; -e wins",
    )


def add_secret(group: argparse._ActionsContainer) -> None:
    """Add which env values are secret."""
    group.add_argument(
        "--secret",
        metavar="NAME",
        action="append",
        default=[],
        help="an env value that is masked everywhere, whatever its name; taken from the process unless -e or"
        " --env-file gives it",
    )


def add_otlp(group: argparse._ActionsContainer) -> None:
    """Add where spans are sent."""
    group.add_argument(
        "--otlp", action="store_true", help="send the trace to OpenTelemetry, as OTEL_EXPORTER_OTLP_* say"
    )
    group.add_argument("--otlp-endpoint", metavar="URL", help="send it there; implies --otlp")


def add_trace_contents(group: argparse._ActionsContainer) -> None:
    """Add what stands in a trace."""
    group.add_argument(
        "--capture-bodies", action="store_true", help="keep bodies in the trace, masked and cut"
    )
    group.add_argument("--no-outputs", action="store_true", help="keep the outputs of steps out of the trace")


def add_connections(parser: argparse.ArgumentParser, *, kept: bool = False, own: bool = True) -> None:
    """Add where requests may go; `kept` when the run knows that already, `own` with whom to trust."""
    group = parser.add_argument_group(
        "connections", "Proxies are taken from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
    )
    for flag, form, what in (
        ()
        if kept
        else (
            (
                "--map",
                "HOST[:PORT]=HOST[:PORT]",
                "connect there instead; Host header and certificate name stay those of the url",
            ),
            (
                "--allow-host",
                "PATTERN[:PORT]",
                "send only to hosts that match one of these, such as '*.example.com'",
            ),
        )
    ):
        group.add_argument(flag, metavar=form, action="append", default=[], help=what)
    if not kept:
        group.add_argument(
            "--deny-private",
            action="store_true",
            help="connect to public addresses only, not within networks",
        )
    if own:
        add_tls(group)


def add_limits(parser: argparse.ArgumentParser, *, own: bool = True) -> None:
    """Add the limits; `own` with those of this process."""
    group = parser.add_argument_group("limits", "Sizes are bytes; 512k and 20MiB work as well.")
    if own:
        add_rate(group)
    group.add_argument("--timeout", metavar="SECONDS", type=seconds, help="end the run after this time")
    for flag, what in (
        ("--max-document", "the flow's file (default 20MiB)"),
        ("--max-response", "the body of an answer, unpacked (default 10MiB)"),
        ("--max-text", "a text made from a template (default 1MiB)"),
    ):
        group.add_argument(flag, metavar="SIZE", type=size, help=f"most for {what}")
    group.add_argument(
        "--max-steps",
        metavar="N",
        type=count,
        help="most steps, items and polls in a run (default 10000, or twice the flow's steps)",
    )
