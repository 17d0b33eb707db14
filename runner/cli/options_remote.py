"""The flags of the commands that talk to platforms: `push`, `pull` and `run --push`.

`OWNERS` says which platforms a flag is for; its help begins with them, and another platform refuses it.
"""

from __future__ import annotations

import argparse

from runner.cli.flags import TYPE_CHECKING, add_tls, count, seconds, size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    Owners = Mapping[str, tuple[str, ...]]

PLATFORMS: Final = ("davinci", "gassapi", "nected", "versori")
FOR_TRACES: Final = ("versori",)
OWNERS: Final[Owners] = {
    "--delete": ("davinci", "gassapi", "versori"),
    "--duplicate": ("davinci", "gassapi"),
    "--toggle": ("gassapi",),
    "--validate": ("davinci",),
    "--deploy": ("davinci",),
    "--enable": ("davinci",),
    "--disable": ("davinci",),
    "--revert": ("davinci",),
    "--alias": ("davinci",),
    "--trace-id": ("versori",),
    "--test": ("nected",),
    "--publish": ("nected",),
    "--params": ("nected",),
    "--title": ("nected",),
    "--notes": ("nected",),
    "--no-write-back": ("davinci", "nected"),
    "--branch": ("nected",),
    "--description": ("davinci", "gassapi", "nected", "versori"),
    "--only": ("gassapi",),
    "--as-is": ("davinci",),
    "--new": ("davinci", "nected"),
    "--yes": ("davinci", "gassapi"),
    "--no-overwrite": ("versori",),
    "--names": ("versori",),
    "--id": ("davinci", "gassapi", "nected"),
    "--ui": ("gassapi",),
    "--paths": ("gassapi",),
    "--env-id": ("davinci",),
    "--region": ("davinci",),
    "--token-url": ("davinci",),
    "--variables": ("davinci",),
    "--versions": ("davinci",),
    "--flow-version": ("davinci", "nected"),
    "--details": ("davinci",),
    "--export": ("davinci",),
    "--org": ("versori",),
    "--project": ("gassapi", "versori"),
    "--server": ("versori",),
    "--scheme": ("versori",),
}
# What `pull` would not look at: elsewhere a document is meant by its id.
OWNERS_OF_PULL: Final[Owners] = {**OWNERS, "--name": ("versori",)}
UPLOAD_FLAGS: Final = (
    "--org", "--project", "--server", "--scheme", "--token-file", "--profile", "--no-overwrite",
    "--names",
)  # fmt: skip
REGIONS: Final = ("com", "eu", "asia", "com.au", "ca", "sg")
VERBS: Final = ("delete", "duplicate", "toggle", "validate")
# What can be done to what is there, after a push or without one.
STEPS: Final = ("deploy", "enable", "disable", "revert", "alias", "test", "publish")
CREDENTIALS: Final = """\
credentials, from the environment or from the file of --profile (a token alone from --token-file too):
  davinci  DAVINCI_CLIENT_ID and DAVINCI_CLIENT_SECRET of a worker application, or DAVINCI_TOKEN
  gassapi  GASSAPI_TOKEN
  nected   NECTED_API_KEY
  versori  VERSORI_TOKEN or VERSORI_COOKIE
"""
PUSH_EXAMPLE: Final = f"""\
examples:
  runner push trace.json --to versori --org 01J... --project 01J... --name register-user
  runner push trace.json --to versori --server staging --dry-run
  runner push --to versori --delete --name register-user
  runner push flow.json --to gassapi --base-url https://host/gassapi2/backend --id flow_1 --dry-run
  runner push flow.json --to gassapi --id flow_1 --only name,description
  runner push flow.json --to davinci --env-id abfba8f6-... --region eu --dry-run
  runner push flow.json --to davinci --env-id abfba8f6-... --deploy --enable
  runner push --to davinci --env-id abfba8f6-... --id a79d1931... --revert 3
  runner push flow.json --to nected --test --publish --title v1.0

{CREDENTIALS}
exit codes:
  0  done
  2  the document or the usage are wrong; nothing was sent
  3  the platform refused, could not be reached, or did not keep everything
"""
PULL_EXAMPLE: Final = f"""\
examples:
  runner pull --from versori --org 01J... --project 01J...
  runner pull --from versori --name register-user -o trace.json
  runner pull --from gassapi --base-url https://host/gassapi2/backend --id flow_1 -o flow.json
  runner pull --from davinci --env-id abfba8f6-... --region eu
  runner pull --from davinci --env-id abfba8f6-... --id a79d1931... -o flow.json
  runner pull --from davinci --env-id abfba8f6-... --id a79d1931... --flow-version 3 --export
  runner pull --from nected --id a1b2c3d4-... -o flow.json

{CREDENTIALS}
exit codes:
  0  done
  2  the usage is wrong; nothing was sent
  3  the platform refused or could not be reached, or the file could not be written
"""


def add_push(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `push`."""
    parser.usage = "%(prog)s FILE --to PLATFORM [options]\n       %(prog)s --to PLATFORM --id ID --VERB"
    parser.description = (
        "Send something to a platform: to versori a trace (IntegrationFlow, OTLP/JSON, a spool file), to\n"
        "the others a flow or a part of one. Or do something to what it has there."
    )
    parser.epilog = PUSH_EXAMPLE
    parser.add_argument("file", metavar="FILE", nargs="?", help="what to send; - is standard input")
    parser.add_argument("--to", dest="target", choices=PLATFORMS, required=True, help="the platform")
    parser.add_argument("--dry-run", action="store_true", help="print the request and what it would change")
    parser.add_argument("--name", help="name on the platform (default: the document's, else the file's)")
    _add_remote(parser, "the flow (default: the id in the document)")
    _add_pushed(parser)
    _add_verbs(parser)
    _add_connection(parser)


def add_pull(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `pull`."""
    parser.usage = "%(prog)s --from PLATFORM [options]"
    parser.description = "Fetch one document of a platform, or list all that there are."
    parser.epilog = PULL_EXAMPLE
    parser.set_defaults(dry_run=False, no_overwrite=False, description=None, names=None, only=None, yes=False)
    parser.add_argument("--from", dest="source", choices=PLATFORMS, required=True, help="the platform")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    parser.add_argument("--name", help=f"{', '.join(OWNERS_OF_PULL['--name'])}: the flow")
    group = _add_remote(parser, "the flow (default: list all that there are)")
    _add(group, "--versions", "list the versions of the flow", action="store_true")
    what = "of --flow-version, its flow and, if so asked, its steps or variables"
    _add(group, "--details", what, choices=("flow", "steps", "variables"))
    _add(
        group,
        "--export",
        "the current version, or --flow-version, with its subflows and forms",
        action="store_true",
    )
    _add_connection(parser)


def flaw_of_push(options: argparse.Namespace) -> str:
    """Return what is wrong with the flags of `push` taken together, nothing if they fit."""
    if foreign := _foreign(options, options.target, OWNERS):
        return foreign
    steps = [f"--{name}" for name in STEPS if _is_given(options, f"--{name}")]
    if options.act not in (None, "validate") and (
        options.file is not None or not (options.name or options.id)
    ):
        return f"push --{options.act} takes no FILE, and --name or --id of what is meant"
    if options.act is not None and steps:
        return f"push --{options.act} goes alone, without {' and '.join(steps)}"
    if options.file is None and not steps and options.act is None:
        return "push needs a FILE, or --delete"
    return ""


def flaw_of_pull(options: argparse.Namespace) -> str:
    """Return what is wrong with the flags of `pull` taken together, nothing if they fit."""
    return _foreign(options, options.source, OWNERS_OF_PULL)


def flaw_of_upload(options: argparse.Namespace) -> str:
    """Return which flags of a push are given to a command that is not to push, nothing if there are none."""
    found = ["--push-url"] * (options.platform_url is not None)
    found += [flag for flag in UPLOAD_FLAGS if _is_given(options, flag)]
    if options.push is not None or not found:
        return ""
    return f"{' and '.join(found)}: there is nothing to push; add --push PLATFORM"


def _foreign(options: argparse.Namespace, platform: str, owners: Owners) -> str:
    """Return which flags are those of other platforms."""
    found = [
        f"{flag} is for {' and '.join(platforms)}"
        for flag, platforms in owners.items()
        if platform not in platforms and _is_given(options, flag)
    ]
    return f"{', '.join(found)}; not for {platform}" if found else ""


def _is_given(options: argparse.Namespace, flag: str) -> bool:
    name = flag.removeprefix("--")
    if name in VERBS:
        return bool(getattr(options, "act", None) == name)
    return getattr(options, name.replace("-", "_"), None) not in (None, False)


def _add(group: argparse._ActionsContainer, flag: str, what: str, **more: object) -> None:
    """Add a flag that is not for all platforms."""
    group.add_argument(flag, help=f"{', '.join(OWNERS[flag])}: {what}", **more)  # type: ignore[arg-type]


def add_upload(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run` that push its trace."""
    parser.set_defaults(attempt_timeout=None, dry_run=False, trace_id=None)
    group = parser.add_argument_group("upload", "Where to, as for 'runner push'.")
    group.add_argument("--push", metavar="PLATFORM", choices=FOR_TRACES, help="push the trace: versori")
    group.add_argument("--push-url", dest="platform_url", metavar="URL", help="base url of the platform")
    _add_target(group)
    _add_changes(group)


def _add_remote(parser: argparse.ArgumentParser, meant: str) -> argparse._ActionsContainer:
    """Add where on which platform, and what is meant there; returns the group of the platform."""
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON on stdout")
    group = parser.add_argument_group(
        "platform", "A platform before a colon: the flag is for that platform only."
    )
    group.add_argument("--base-url", dest="platform_url", metavar="URL", help="base url of the platform")
    _add_target(group)
    _add(group, "--id", meant, metavar="ID")
    _add(group, "--ui", "the drawing of the flow, not its steps", action="store_true")
    _add(group, "--paths", "call /flow/ID and not ?act=", action="store_true")
    _add(group, "--env-id", "the environment, a UUID (default: DAVINCI_ENV_ID)", metavar="ID")
    _add(group, "--region", "where the environment is (default com)", choices=REGIONS)
    _add(group, "--token-url", "who gives tokens, if not the region's server", metavar="URL")
    _add(group, "--branch", "another branch than the main one", metavar="NAME")
    _add(group, "--variables", "not a flow but the variables of the environment", action="store_true")
    _add(group, "--flow-version", "a version of the flow, a number", metavar="N", type=count)
    return group


def _add_connection(parser: argparse.ArgumentParser) -> None:
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
    _add(group, "--org", "the organisation, a ULID", metavar="ID")
    _add(group, "--project", "the project; for versori a ULID", metavar="ID")
    servers = ("production", "staging", "development")
    _add(group, "--server", "which of its servers (default production)", choices=servers)
    what = "how VERSORI_TOKEN or VERSORI_COOKIE is sent (default Bearer)"
    _add(group, "--scheme", what, choices=("Bearer", "JWT", "cookie"))
    group.add_argument("--token-file", metavar="FILE", help="a file with the token alone")
    group.add_argument(
        "--profile",
        metavar="FILE",
        help="a file with credentials, NAME=VALUE each; wins over the environment",
    )


def _add_pushed(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is sent")
    _add(group, "--description", "description on the platform (default: the document's)")
    what = "send exactly these fields (default: those that differ)"
    _add(group, "--only", what, metavar="NAME,...")
    _add(group, "--new", "make a flow of it, whatever id the document has", action="store_true")
    _add(group, "--as-is", "take nothing that the document lacks from what is there", action="store_true")
    _add(
        group,
        "--no-write-back",
        "write no id, version or checksum into FILE that the platform gave",
        action="store_true",
    )
    what = "go on where it says that it needs this: where something would be lost"
    _add(group, "--yes", what, action="store_true")
    _add(group, "--trace-id", "the one to send of a file that has several", metavar="ID")
    _add_changes(group)


def _add_changes(group: argparse._ActionsContainer) -> None:
    _add(group, "--no-overwrite", "replace nothing that is there already", action="store_true")
    what = "send the spans under the names that the platform's own have"
    _add(group, "--names", what, choices=("versori",))


def _add_verbs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of sending a flow")
    for verb, what in (
        ("delete", "delete what --name or --id says, or the --flow-version of it"),
        ("duplicate", "copy the flow of --id; gassapi: to --name"),
        ("toggle", "switch the flow of --id on or off"),
        ("validate", "let the platform look at the flow in FILE, or at that of --id"),
    ):
        _add(group, f"--{verb}", what, dest="act", action="store_const", const=verb)
    group = parser.add_argument_group("after FILE was sent, or without FILE to the flow of --id")
    _add(group, "--revert", "make this version the current one again", metavar="N", type=count)
    _add(group, "--alias", "call the current version, or that of --flow-version, so", metavar="NAME")
    _add(group, "--deploy", "let users have the current version", action="store_true")
    _add(group, "--test", "let the platform test the draft", action="store_true")
    _add(group, "--params", "what the test gives to the trigger, one JSON object", metavar="FILE")
    _add(group, "--publish", "publish the draft, which must have been tested", action="store_true")
    _add(group, "--title", "what the published version is called", metavar="TEXT")
    _add(group, "--notes", "what is new in the published version", metavar="TEXT")
    switch = group.add_mutually_exclusive_group()
    _add(switch, "--enable", "switch the flow on", action="store_true")
    _add(switch, "--disable", "switch the flow off", action="store_true")
