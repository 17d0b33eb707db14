"""The flags of the commands that talk to platforms: `push`, `pull` and `run --push`."""

from __future__ import annotations

import argparse

from runner.cli.flags import TYPE_CHECKING, add_tls, seconds, size

if TYPE_CHECKING:
    from typing import Final

PLATFORMS: Final = ("gassapi", "versori")
FOR_TRACES: Final = ("versori",)
PUSH_EXAMPLE: Final = """\
examples:
  runner push trace.json --to versori --org 01J... --project 01J... --name register-user
  runner push trace.json --to versori --server staging --dry-run
  runner push --to versori --delete --name register-user
  runner push flow.json --to gassapi --base-url https://host/gassapi2/backend --id flow_1 --dry-run
  runner push flow.json --to gassapi --id flow_1 --only name,description

exit codes:
  0  done
  2  the document or the usage are wrong; nothing was sent
  3  the platform refused, could not be reached, or did not keep everything
"""
PULL_EXAMPLE: Final = """\
examples:
  runner pull --from versori --org 01J... --project 01J...
  runner pull --from versori --name register-user -o trace.json
  runner pull --from gassapi --base-url https://host/gassapi2/backend --id flow_1 -o flow.json

exit codes:
  0  done
  2  the usage is wrong; nothing was sent
  3  the platform refused or could not be reached, or the file could not be written
"""


def add_push(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `push`."""
    parser.usage = "%(prog)s FILE --to PLATFORM [options]"
    parser.description = (
        "Send something to a platform: a trace (IntegrationFlow, OTLP/JSON, a file of the spool) to versori,"
        " a flow or a part of one to gassapi."
    )
    parser.epilog = PUSH_EXAMPLE
    parser.add_argument("file", metavar="FILE", nargs="?", help="what to send; - is standard input")
    parser.add_argument("--to", dest="target", choices=PLATFORMS, required=True, help="the platform")
    for verb, what in (
        ("delete", "send nothing, delete what --name or --id says"),
        ("duplicate", "gassapi: send nothing, copy the flow of --id, to --name"),
        ("toggle", "gassapi: send nothing, switch the flow of --id on or off"),
    ):
        parser.add_argument(f"--{verb}", dest="act", action="store_const", const=verb, help=what)
    parser.add_argument("--dry-run", action="store_true", help="print the request and what it would change")
    parser.add_argument("--trace-id", metavar="ID", help="the one to send of a file that has several")
    _add_remote(parser)
    _add_pushed(parser)


def add_pull(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `pull`."""
    parser.usage = "%(prog)s --from PLATFORM [options]"
    parser.description = "Fetch one document of a platform, or list all that there are."
    parser.epilog = PULL_EXAMPLE
    parser.set_defaults(dry_run=False, no_overwrite=False, description=None, names=None, only=None, yes=False)
    parser.add_argument("--from", dest="source", choices=PLATFORMS, required=True, help="the platform")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    _add_remote(parser)


def add_upload(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run` that push its trace."""
    parser.set_defaults(attempt_timeout=None, dry_run=False, trace_id=None)
    group = parser.add_argument_group("upload", "Where to, as for 'runner push'.")
    group.add_argument("--push", metavar="PLATFORM", choices=FOR_TRACES, help="push the trace: versori")
    group.add_argument("--push-url", dest="platform_url", metavar="URL", help="base url of the platform")
    _add_target(group)
    _add_changes(group)


def _add_remote(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that talks to a platform and to nothing else."""
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON on stdout")
    parser.add_argument("--name", help="name on the platform (default: the document's, else the file's)")
    group = parser.add_argument_group("platform")
    group.add_argument("--base-url", dest="platform_url", metavar="URL", help="base url of the platform")
    group.add_argument("--id", metavar="ID", help="gassapi: the flow (default: the id in the document)")
    group.add_argument("--ui", action="store_true", help="gassapi: the drawing of the flow, not its steps")
    group.add_argument("--paths", action="store_true", help="gassapi: call /flow/ID and not ?act=")
    _add_target(group)
    group = parser.add_argument_group(
        "connection", "Proxies are taken from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
    )
    add_tls(group)
    group.add_argument(
        "--timeout",
        dest="attempt_timeout",
        metavar="SECONDS",
        type=seconds,
        help="most for one attempt (default 60)",
    )
    group.add_argument(
        "--max-document", metavar="SIZE", type=size, help="most for what is sent (default 20MiB)"
    )
    group.add_argument(
        "--max-response", metavar="SIZE", type=size, help="most for an answer (default 100MiB)"
    )


def _add_target(group: argparse._ActionsContainer) -> None:
    """Add where on a platform, and as whom."""
    group.add_argument("--org", metavar="ID", help="versori: the organisation, a ULID")
    group.add_argument("--project", metavar="ID", help="the project; for versori a ULID")
    group.add_argument(
        "--server",
        choices=("production", "staging", "development"),
        help="versori: which of its servers (default production)",
    )
    group.add_argument(
        "--scheme",
        choices=("Bearer", "JWT", "cookie"),
        help="versori: how VERSORI_TOKEN or VERSORI_COOKIE is sent (default Bearer)",
    )
    group.add_argument("--token-file", metavar="FILE", help="a file with the token alone")
    group.add_argument(
        "--profile",
        metavar="FILE",
        help="a file with VERSORI_TOKEN=... or GASSAPI_TOKEN=..., wins over the environment",
    )


def _add_pushed(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is sent")
    group.add_argument("--description", help="description on the platform (default: the document's)")
    group.add_argument(
        "--only", metavar="NAME,...", help="gassapi: send exactly these fields (default: those that differ)"
    )
    group.add_argument(
        "--yes", action="store_true", help="gassapi: send steps as a drawing where nothing else is stored"
    )
    _add_changes(group)


def _add_changes(group: argparse._ActionsContainer) -> None:
    group.add_argument("--no-overwrite", action="store_true", help="replace nothing that is there already")
    group.add_argument(
        "--names", choices=("versori",), help="send the spans under the names that the platform's own have"
    )
