"""The commands and their flags. Nothing here imports what a command needs: `--help` is on a budget."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

TYPE_CHECKING = False  # not from typing, which takes longer to import than all else that --help needs
if TYPE_CHECKING:
    from typing import Final, NoReturn

_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(?:(k|m|g)?(?:i?b)?)", re.IGNORECASE)
_MOST_SECONDS: Final = 1e9
_MOST_DIGITS: Final = 15
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

EXIT_CODES: Final = """\
exit codes:
  0  the flow succeeded
  1  the flow failed
  2  the document, the inputs or the usage are wrong; nothing was sent
  3  something around us failed: a file that was asked for was not written
  4  timed out or cancelled
  70 a fault of the runner itself
"""
RUN_EXAMPLE: Final = f"""\
examples:
  runner run flow.json -i username=jane -i password=@password.txt -e API_URL=https://api.example.com
  runner run flow.yaml --inputs inputs.json --env-file .env --trace-out trace.json
  runner run flow.json --json | jq -r .status

{EXIT_CODES}"""
CHECK_EXAMPLE: Final = """\
examples:
  runner check flow.json
  runner check flows/*.yaml --strict --env-file .env

exit codes:
  0  no errors (with --strict: no warnings either)
  2  errors were found
"""
SCHEMA_EXAMPLE: Final = """\
example:
  runner schema > flow.schema.json
"""
MAIN_EXAMPLE: Final = """\
example:
  runner run flow.json -i username=jane -e API_URL=https://api.example.com

'runner COMMAND --help' tells more about a command.
"""


class Options(argparse.Namespace):
    """The flags as they were given; `command` says which of them exist."""

    command: str
    flow: str
    flows: list[str]
    input: list[str]
    inputs: str | None
    env: list[str]
    env_file: list[str]
    secret: list[str]
    header: list[str]
    base_url: str | None
    run_id: str | None
    trace_out: str | None
    name: str | None
    description: str | None
    otlp: bool
    otlp_endpoint: str | None
    json: bool
    timeout: float | None
    capture_bodies: bool
    no_outputs: bool
    quiet: bool
    allow_files: list[str]
    cacert: str | None
    insecure: bool
    cert: str | None
    key: str | None
    max_document: int | None
    max_response: int | None
    max_text: int | None
    max_steps: int | None
    no_color: bool
    strict: bool


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line and not a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and leave with 2."""
        self.exit(2, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return argparse's formatter for a width that is found without importing shutil and its compressors."""
    try:
        width = os.get_terminal_size(1).columns
    except OSError:
        width = 100
    width = max(50, min(width, 100)) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


def make_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="runner",
        description="Run flows of HTTP steps; every run is one trace.",
        epilog=MAIN_EXAMPLE,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, short, add in (
        ("run", "run a flow", _add_run),
        ("check", "tell what is wrong with flows, without running them", _add_check),
        ("schema", "print the JSON Schema of flow documents", _add_schema),
    ):
        add(
            commands.add_parser(
                name,
                help=short,
                formatter_class=_formatter,
                allow_abbrev=False,
            )
        )
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FLOW [options]"
    parser.description = "Run a flow, and show its trace as a waterfall."
    parser.epilog = RUN_EXAMPLE
    parser.add_argument("flow", metavar="FLOW", help="the flow, a JSON or YAML file; - is standard input")
    _add_given(parser)
    _add_results(parser)
    _add_connections(parser)
    _add_limits(parser)


def _add_given(parser: argparse.ArgumentParser) -> None:
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
    _add_env(group)
    group.add_argument(
        "--secret",
        metavar="NAME",
        action="append",
        default=[],
        help="an env value that is masked everywhere, whatever its name; taken from the process unless -e or"
        " --env-file gives it",
    )
    group.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="a header for {{headers.NAME}}"
    )
    group.add_argument("--base-url", metavar="URL", help="put before urls that start with /")
    group.add_argument("--run-id", metavar="ID", help="the run's id (default: a new ULID)")
    _add_folders(group)


def _add_folders(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--allow-files",
        metavar="DIR",
        action="append",
        default=[],
        help="a folder that the flow may read files from, besides its own",
    )


def _add_env(group: argparse._ActionsContainer) -> None:
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


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what comes of it")
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on stdout"
    )
    group.add_argument("--quiet", "-q", action="store_true", help="print only what went wrong")
    group.add_argument("--trace-out", metavar="FILE", help="write the trace as IntegrationFlow JSON")
    group.add_argument("--name", help="name in that file (default: the flow's)")
    group.add_argument("--description", help="description in that file (default: the flow's)")
    group.add_argument(
        "--otlp", action="store_true", help="send the trace to OpenTelemetry, as OTEL_EXPORTER_OTLP_* say"
    )
    group.add_argument("--otlp-endpoint", metavar="URL", help="send it there; implies --otlp")
    group.add_argument(
        "--capture-bodies", action="store_true", help="keep bodies in the trace, masked and cut"
    )
    group.add_argument("--no-outputs", action="store_true", help="keep the outputs of steps out of the trace")
    group.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")


def _add_connections(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "connections", "Proxies are taken from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
    )
    group.add_argument("--cacert", metavar="FILE", help="trust this authority (PEM), besides the system's")
    group.add_argument("--insecure", action="store_true", help="do not check certificates at all")
    group.add_argument("--cert", "--client-cert", metavar="FILE", help="client certificate (PEM)")
    group.add_argument("--key", metavar="FILE", help="its key, where the certificate's file does not hold it")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits", "Sizes are bytes; 512k and 20MiB work as well.")
    group.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="end the run after this time")
    for flag, what in (
        ("--max-document", "the flow's file (default 20MiB)"),
        ("--max-response", "the body of an answer, unpacked (default 10MiB)"),
        ("--max-text", "a text made from a template (default 1MiB)"),
    ):
        group.add_argument(flag, metavar="SIZE", type=_size, help=f"most for {what}")
    group.add_argument(
        "--max-steps",
        metavar="N",
        type=_count,
        help="most steps, items and polls in a run (default 10000, or twice the flow's steps)",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FLOW... [options]"
    parser.description = "Tell what is wrong with flows, without sending anything."
    parser.epilog = CHECK_EXAMPLE
    parser.add_argument("flows", metavar="FLOW", nargs="+", help="a JSON or YAML file; - is standard input")
    _add_env(parser)
    _add_folders(parser)
    parser.add_argument("--strict", action="store_true", help="let warnings count as errors")
    parser.add_argument("--json", action="store_true", help="print the problems as a JSON list")
    parser.add_argument(
        "--max-document", metavar="SIZE", type=_size, help="most for a flow's file (default 20MiB)"
    )


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the JSON Schema (2020-12) of flow documents; editors complete and check with it."
    )
    parser.epilog = SCHEMA_EXAMPLE


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text[:_MOST_DIGITS]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text[:_MOST_DIGITS])


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500000, 512k or 20MiB")
    return size


def parse(argv: Sequence[str]) -> Options:
    """Return the flags; leaves with 2 when they are wrong, and with 0 after --help."""
    parser = make_parser()
    options = parser.parse_args(argv, namespace=Options())
    if not options.command and not options.version:
        parser.error("a command is missing; try run, check or schema")
    if options.command == "run" and options.trace_out is None:
        unused = [
            flag
            for flag, value in (("--name", options.name), ("--description", options.description))
            if value
        ]
        if unused:
            parser.error(f"{' and '.join(unused)} belong to the file of --trace-out, which is missing")
    return options
