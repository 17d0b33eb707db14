"""What the commands that talk to a platform share: its connection, what it is told, what it did.

A platform is a module with a class that is a `Platform`, and a row in `PLATFORMS`; its flags are in
`runner.cli.options`. It only prepares: everything that is wrong is told before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

from runner.cli.artefacts import Source
from runner.cli.given import env_file, http_settings, tls_flaws, url_flaws
from runner.cli.options import Options
from runner.core.commands import Json, Request
from runner.core.redact import Masker, mask_url
from runner.errors import FlowError, Problem
from runner.platforms.client import Done, Program, Refusal
from runner.runtime.platform import carry_out, read_secret

LONGEST_LINE: Final = 400  # characters
MOST_ANSWER: Final = 100 * 1024 * 1024  # bytes
PLATFORMS: Final[Mapping[str, str]] = {
    "davinci": "runner.cli.davinci_api:Davinci",
    "gassapi": "runner.cli.gassapi:Gassapi",
    "nected": "runner.cli.nected:Nected",
    "versori": "runner.cli.versori:Versori",
}

T = TypeVar("T")
Verb: TypeAlias = Literal["delete", "duplicate", "toggle", "validate"]


def _nowhere(_: Mapping[str, Json]) -> None:
    """Keep nothing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do on a platform. `request` is the call that does it, for a look at it.

    Where the call depends on what is there, `preview` looks at that and returns the call. `keep` gets
    what the platform says of the document that was sent, as soon as it says so.
    """

    program: Program[Done | Refusal]
    request: Request | None = None
    preview: Program[Request | Done | Refusal] | None = None
    keep: Callable[[Mapping[str, Json]], None] = _nowhere


class Platform(Protocol):
    """A platform as the flags name it. `problems` are everything that is wrong with them."""

    problems: list[Problem]
    masker: Masker

    def read(self, path: str) -> None:
        """Read what is to be pushed; what is wrong with it goes to `problems`."""

    def call_it(self, name: str) -> None:
        """Use this name, unless the flags have one; what is wrong with it goes to `problems`."""

    def push(self) -> Operation:
        """Return how to push what was read."""

    def pull(self) -> Operation:
        """Return how to fetch one thing, or the list of all."""

    def act(self, verb: Verb | None) -> Operation:
        """Return how to do something to what is there, without a document; None: what other flags say."""


class TracePlatform(Platform, Protocol):
    """A platform that takes traces."""

    def push_trace(self, source: Source) -> Operation:
        """Return how to push the trace of a run; raises SurroundingsError when it is too large."""


def connect(name: str, options: Options, environ: Mapping[str, str]) -> Platform:
    """Return the platform of that name, with what the flags and the environment say of it."""
    module, _, kind = PLATFORMS[name].partition(":")
    platform: Platform = getattr(import_module(module), kind)(options, environ)
    flag = "--base-url" if options.command in ("push", "pull") else "--push-url"
    platform.problems += [*url_flaws({flag: options.platform_url}), *tls_flaws(options)]
    return platform


@dataclass(slots=True)
class Credentials:
    """The secrets that a platform may ask for: the one of --token-file, and named ones.

    Named ones stand in the file of --profile, NAME=VALUE each, or in the environment.
    """

    token: str = ""
    named: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> str:
        """Return a secret by the name of its environment variable, ``""`` when there is none."""
        return self.named.get(name, "").strip()


def read_credentials(options: Options, environ: Mapping[str, str], problems: list[Problem]) -> Credentials:
    """Read the secrets that flags and environment give; what is wrong goes to `problems`."""
    credentials = Credentials(named=environ)
    try:
        if options.profile is not None:
            credentials.named = {**environ, **dict(env_file(options.profile, problems))}
    except FlowError as error:
        hint = "; for the platform's own span names take --names versori" * (options.profile == "versori")
        problems += [Problem(one.code, "--profile", one.what + hint) for one in error.problems]
    try:
        if options.token_file is not None:
            credentials.token = read_secret(options.token_file)
    except FlowError as error:
        problems += [Problem(one.code, "--token-file", one.what) for one in error.problems]
    return credentials


def shown(platform: Platform, line: str) -> str:
    """Return a line masked, and cut only then, so that the cut leaves no part of a secret."""
    masked = platform.masker.mask(line)
    return masked if len(masked) <= LONGEST_LINE else f"{masked[: LONGEST_LINE - 1]}…"


def perform(
    platform: Platform,
    program: Program[T],
    options: Options,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    keep: Callable[[Mapping[str, Json]], None] = _nowhere,
) -> T:
    """Carry out a program; `tell` gets a line for everything that takes a while."""

    def told(text: str) -> None:
        tell(shown(platform, text))

    # The limit of a run is for the answers that a flow gets; a platform sends back all that it was sent.
    most = options.max_response if options.command in ("push", "pull") else None
    http = replace(http_settings(options, environ), max_response=most or MOST_ANSWER)
    return carry_out(program, http, told, platform.masker.add, keep)


def done_line(done: Done) -> str:
    """Return in one line what a platform did: ``hello: replaced (12 spans -> 4)``."""
    return f"{done.name}: {done.verb}" + (f" ({done.detail})" if done.detail else "")


def loss_lines(done: Done) -> list[str]:
    """Return the lines that tell what the platform did not keep, and what others have done meanwhile."""
    head = [f"{done.name}: the platform did not keep everything that was sent:"] if done.losses else []
    return [*done.overwritten, *head, *(f"  {loss}" for loss in done.losses)]


def result_json(result: Done | Refusal) -> dict[str, Json]:
    """Return what came of an operation as JSON values."""
    if isinstance(result, Done):
        return {
            "outcome": result.verb,
            "name": result.name,
            "detail": result.detail,
            "losses": [*result.overwritten, *result.losses],
        }
    return {
        "outcome": "refused",
        "status": result.status,
        "code": result.code,
        "message": result.message,
        "fields": [{"field": place, "message": what} for place, what in result.fields],
        "details": result.details,
    }


def request_text(request: Request) -> str:
    """Return a request as it would be sent, its body as it stands."""
    lines = [
        f"{request.method} {mask_url(request.url)}",
        *(f"{key}: {text}" for key, text in request.headers),
    ]
    body = [] if request.body is None else ["", request.body.decode("utf-8").removesuffix("\n")]
    return "\n".join([*lines, *body]) + "\n"
