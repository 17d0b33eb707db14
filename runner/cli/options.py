"""The commands and their flags. Nothing here imports what a command needs: `--help` is on a budget."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence

from runner.cli.flags import (
    TYPE_CHECKING,
    add_database,
    add_rate,
    milliseconds,
    size,
)
from runner.cli.options_given import (
    FROM,
    add_connections,
    add_dialect,
    add_env,
    add_folders,
    add_given,
    add_limits,
    add_otlp,
    add_trace_contents,
)
from runner.cli.options_ingest import IngestOptions, add_ingest
from runner.cli.options_remote import (
    add_pull,
    add_push,
    add_upload,
    flaw_of_pull,
    flaw_of_push,
    flaw_of_upload,
)
from runner.cli.options_runs import add_runs
from runner.cli.options_worker import QueueOptions, add_submit, add_worker

if TYPE_CHECKING:
    from typing import Final, Literal, NoReturn

# Flags whose files carry the name and the description.
_FILES: Final = ("trace_out", "otlp_json", "junit", "html", "push")

EXIT_CODES: Final = """\
exit codes:
  0  the flow succeeded
  1  the flow failed
  2  the document, the inputs or the usage are wrong; nothing was sent
  3  something around us failed: a file that was asked for was not written, a trace not pushed
  4  timed out or cancelled
  70 a fault of the runner itself
"""
RESUME_EXAMPLE: Final = """\
examples:
  runner resume nightly-42 --state sqlite:///.runner/state.db
  runner resume 01JSPK1SB6S622T6E1P9BBJTWP -e API_TOKEN --trace-out trace.json

exit codes: as those of 'runner run'; 2 for a run that has ended, 3 for one that is carried on elsewhere
"""
RUN_EXAMPLE: Final = f"""\
examples:
  runner run flow.json -i username=jane -i password=@password.txt -e API_URL=https://api.example.com
  runner run flow.yaml --inputs inputs.json --env-file .env --trace-out trace.json
  runner run flow.json --html trace.html --capture-bodies
  runner run flow.json --json | jq -r .status

{EXIT_CODES}"""
CHECK_EXAMPLE: Final = """\
examples:
  runner check flow.json
  runner check flows/*.yaml --strict --env-file .env
  runner check flow.json --as gassapi

exit codes:
  0  no errors (with --strict: no warnings either)
  2  errors were found
"""
CONVERT_EXAMPLE: Final = """\
examples:
  runner convert flow.json --to react-flow -o drawing.json
  runner convert drawing.json --to steps
  runner convert davinci-export.json --to steps -o flow.json
  runner convert flow.json --to versori-flow -o versori-flow.json

exit codes:
  0  done
  2  the flow has errors
  3  the file could not be written
"""
SHOW_EXAMPLE: Final = """\
examples:
  runner show trace.json
  runner show trace.json --errors
  runner show trace.json --step pay --json | jq '.traces[0].spans[0].durationMs'
  runner show trace.json --html trace.html
  runner show .runner/spool/*.jsonl --trace-out trace.json

A terminal gets at most 200 rows of a trace, failures and the critical path first; a pipe gets all.

exit codes:
  0  the traces were shown, also those of runs that failed
  2  a file is missing or holds no trace, or the usage is wrong
  3  a file that was asked for was not written
"""
SCHEMA_EXAMPLE: Final = """\
example:
  runner schema > flow.schema.json
"""
TRACE_EXAMPLE: Final = """\
example:
  runner trace push .runner/spool/*.jsonl
"""
PUSH_EXAMPLE: Final = """\
examples:
  runner trace push .runner/spool/*.jsonl
  runner trace push trace.json --otlp-endpoint http://127.0.0.1:4318 --new-ids --shift-to-now

exit codes:
  0  every span was delivered; spool files are removed
  2  a file is no trace; nothing was sent
  3  not every span was delivered; a spool file keeps the rest
"""
# Tests hold these to runner.platforms, which takes too long to import here.
TO: Final = (*FROM, "versori-flow")
JUDGES: Final = ("gassapi", "gassapi-observed")
MAIN_EXAMPLE: Final = """\
example:
  runner run flow.json -i username=jane -e API_URL=https://api.example.com

'runner COMMAND --help' tells more about a command.
"""


class Options(QueueOptions, IngestOptions):
    """The flags as they were given; `command` says which of them exist."""

    command: str
    flow: str
    flows: list[str]
    files: list[str]
    errors: bool
    min_ms: float | None
    step: str | None
    input: list[str]
    inputs: str | None
    env: list[str]
    env_file: list[str]
    secret: list[str]
    header: list[str]
    answers: str | None
    stubs: str | None
    recorded: bool
    bindings: str | None
    base_url: str | None
    run_id: str | None
    state: str | None
    take: list[str]
    trace_out: str | None
    otlp_json: str | None
    junit: str | None
    html: str | None
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
    map: list[str]
    allow_host: list[str]
    deny_private: bool
    rate: list[str]
    dry_run: bool
    cert: str | None
    key: str | None
    max_document: int | None
    max_response: int | None
    max_text: int | None
    max_steps: int | None
    no_color: bool
    strict: bool
    new_ids: bool
    shift_to_now: bool
    keep: bool
    source: str | None
    judge: str | None
    target: str | None
    output: str | None
    action: str
    ids: list[str]
    status: list[str]
    of_flow: str | None
    before: str | None
    limit: int
    older_than: float | None
    from_step: str | None
    failed: bool
    start: bool
    edited: str | None
    new_id: str | None
    file: str | None
    act: Literal["delete", "duplicate", "toggle", "validate"] | None
    id: str | None
    only: str | None
    ui: bool
    paths: bool
    yes: bool
    push: str | None
    platform_url: str | None
    attempt_timeout: float | None
    profile: str | None
    token_file: str | None
    trace_id: str | None
    org: str | None
    project: str | None
    scheme: str | None
    server: str | None
    no_overwrite: bool
    names: str | None
    env_id: str | None
    region: str | None
    token_url: str | None
    variables: bool
    versions: bool
    flow_version: int | None
    details: str | None
    export: bool
    as_is: bool
    new: bool
    revert: int | None
    alias: str | None
    deploy: bool
    enable: bool
    disable: bool
    test: bool
    publish: bool
    params: str | None
    title: str | None
    notes: str | None
    branch: str | None
    no_write_back: bool


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
        ("submit", "put a run into the queue", add_submit),
        ("worker", "take runs out of the queue and carry them on", add_worker),
        ("ingest", "take messages of a broker into the queue", add_ingest),
        ("resume", "carry on a run that was cut off", _add_resume),
        ("runs", "look at the runs of a state database, end them, do them again", _add_runs),
        ("check", "tell what is wrong with flows, without running them", _add_check),
        ("show", "show traces out of files", _add_show),
        ("convert", "write a flow in the form of another program", _add_convert),
        ("push", "send a trace or a flow to a platform", add_push),
        ("pull", "fetch what a platform has", add_pull),
        ("schema", "print the JSON Schema of flow documents", _add_schema),
        ("trace", "send traces out of files to OpenTelemetry", _add_trace),
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
    parser.add_argument(
        "--dry-run", action="store_true", help="print the requests as they would be sent, and send nothing"
    )
    add_given(parser)
    _add_results(parser)
    add_upload(parser)
    add_connections(parser)
    add_limits(parser)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s RUN [options]"
    parser.description = "Carry on a run of the state database from its first unfinished step."
    parser.epilog = RESUME_EXAMPLE
    parser.add_argument("run_id", metavar="RUN", help="the run's id")
    add_database(parser)
    add_env(parser)
    _add_results(parser, kept=True)
    add_upload(parser)
    add_connections(parser, kept=True)
    add_rate(parser)
    parser.set_defaults(max_response=None, max_document=None, dry_run=False)


def _add_runs(parser: argparse.ArgumentParser) -> None:
    add_runs(parser, _formatter)


def _add_results(parser: argparse.ArgumentParser, *, kept: bool = False) -> None:
    group = parser.add_argument_group("what comes of it")
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on stdout"
    )
    group.add_argument("--quiet", "-q", action="store_true", help="print only what went wrong")
    _add_files(group)
    group.add_argument("--name", help="name in what is written (default: the flow's)")
    group.add_argument("--description", help="description in what is written (default: the flow's)")
    add_otlp(group)
    if not kept:  # else it was said when the run began
        add_trace_contents(group)
    group.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FILE... [options]"
    parser.description = (
        "Show traces out of files: IntegrationFlow, OTLP/JSON, lines of either, and what was not delivered."
    )
    parser.epilog = SHOW_EXAMPLE
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file of traces; - is standard input")
    parser.add_argument("--errors", action="store_true", help="only what failed, with what it is part of")
    parser.add_argument(
        "--min-ms", metavar="N", type=milliseconds, help="only what took at least so many milliseconds"
    )
    parser.add_argument("--step", metavar="ID", help="only this step and what is below it")
    parser.add_argument("--json", action="store_true", help="print the traces as one JSON object")
    parser.add_argument("--quiet", "-q", action="store_true", help="print only what went wrong")
    _add_files(parser)
    parser.add_argument("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1")
    parser.add_argument(
        "--max-document", metavar="SIZE", type=size, help="most for a file of traces (default 256MiB)"
    )


def _add_files(group: argparse._ActionsContainer) -> None:
    """Add the flags that ask for files made of traces; `runner.cli.artefacts` writes them."""
    group.add_argument("--trace-out", metavar="FILE", help="write the trace as IntegrationFlow JSON")
    group.add_argument(
        "--otlp-json", metavar="FILE", help="write the trace as OTLP/JSON, which Jaeger and others open"
    )
    group.add_argument(
        "--junit", metavar="FILE", help="write a JUnit report for CI: a test case for each step"
    )
    group.add_argument("--html", metavar="FILE", help="write a page to look at the trace in a browser")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FLOW... [options]"
    parser.description = "Tell what is wrong with flows, without sending anything."
    parser.epilog = CHECK_EXAMPLE
    parser.add_argument("flows", metavar="FLOW", nargs="+", help="a JSON or YAML file; - is standard input")
    add_dialect(parser)
    add_env(parser)
    add_folders(parser)
    parser.add_argument(
        "--as",
        dest="judge",
        choices=JUDGES,
        help="tell what this platform would refuse instead, in its words; -observed: as its server does it",
    )
    parser.add_argument("--strict", action="store_true", help="let warnings count as errors")
    parser.add_argument("--json", action="store_true", help="print the problems as a JSON list")
    parser.add_argument(
        "--max-document", metavar="SIZE", type=size, help="most for a flow's file (default 20MiB)"
    )


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FLOW --to DIALECT [options]"
    parser.description = "Write a flow in the form of another program. versori-flow is a picture of the flow."
    parser.epilog = CONVERT_EXAMPLE
    parser.add_argument("flow", metavar="FLOW", help="a JSON or YAML file; - is standard input")
    parser.add_argument("--to", dest="target", choices=TO, required=True, help="what to write")
    add_dialect(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    add_folders(parser)
    parser.add_argument(
        "--max-document", metavar="SIZE", type=size, help="most for a flow's file (default 20MiB)"
    )


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the JSON Schema (2020-12) of flow documents; editors complete and check with it."
    )
    parser.epilog = SCHEMA_EXAMPLE


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.description = "Do something with traces that are in files."
    parser.epilog = TRACE_EXAMPLE
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    push = verbs.add_parser(
        "push", help="send them to OpenTelemetry", formatter_class=_formatter, allow_abbrev=False
    )
    push.usage = "%(prog)s FILE... [options]"
    push.description = (
        "Send traces to OpenTelemetry, as OTEL_EXPORTER_OTLP_* say: spool files, IntegrationFlow documents\n"
        "and OTLP/JSON. They keep their ids, so that a backend can tell what it has already."
    )
    push.epilog = PUSH_EXAMPLE
    push.add_argument("files", metavar="FILE", nargs="+", help="a trace; - is standard input")
    push.add_argument("--otlp-endpoint", metavar="URL", help="send them there")
    push.add_argument(
        "--new-ids", action="store_true", help="send them as new traces, linked to the old ones"
    )
    push.add_argument("--shift-to-now", action="store_true", help="as if the last span had just ended")
    push.add_argument("--keep", action="store_true", help="leave spool files as they are")
    push.add_argument("--max-document", metavar="SIZE", type=size, help="most for a file (default 256MiB)")


# What says what is wrong with the flags of a command taken together.
FLAWS: Mapping[str, Callable[[argparse.Namespace], str]] = {
    "push": flaw_of_push, "pull": flaw_of_pull, "run": flaw_of_upload, "resume": flaw_of_upload,
    "worker": flaw_of_upload,
}  # fmt: skip


def parse(argv: Sequence[str]) -> Options:
    """Return the flags; leaves with 2 when they are wrong, and with 0 after --help."""
    parser = make_parser()
    if argv[:1] == ["runs"] and (
        len(argv) == 1 or (argv[1].startswith("-") and argv[1] not in ("-h", "--help"))
    ):
        argv = ["runs", "list", *argv[1:]]
    options = parser.parse_args(argv, namespace=Options())
    if not options.command and not options.version:
        parser.error(
            "a command is missing; try run, submit, worker, check, show, convert, push, pull, schema or trace"
        )
    if options.command == "run" and all(getattr(options, name) is None for name in _FILES):
        unused = [flag for flag in ("--name", "--description") if getattr(options, flag.strip("-"))]
        if unused:
            parser.error(f"{' and '.join(unused)}: there is no file to stand in; add --trace-out")
    if options.command in FLAWS and (flaw := FLAWS[options.command](options)):
        parser.error(flaw)
    return options
