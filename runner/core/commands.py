"""The language between the quiet core and the noisy runtime.

A step is a generator that yields commands and is resumed with the reply to each. The engine
performs commands and decides nothing; see `runner.runtime.engine`.

None of these values is changed once it is made. Those that are made for every step are not declared
frozen all the same: making a frozen one takes four times as long.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Any  # what json.loads returns; precise recursive types only get in the way here
Headers: TypeAlias = tuple[tuple[str, str], ...]

Phase = Literal["unsent", "sent", "partial"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None


@dataclass(slots=True)
class Request:
    """A request as it goes on the wire. `body` and `parts` exclude each other."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes | None = None
    parts: tuple[Part, ...] | None = None


@dataclass(slots=True)
class SendRequest:
    """Send once and wait for the whole answer, at most `timeout` seconds in all.

    `resend` counts the sends of this request before this one, whatever their cause; `template` is
    the unrendered url path for the span's name; `shown_url` is the url with secrets masked.
    """

    request: Request
    timeout: float
    resend: int = 0
    template: str | None = None
    shown_url: str = ""
    accepted: tuple[range, ...] = (range(200, 300),)
    capture: bool = True


@dataclass(slots=True)
class Wait:
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What an OAuth2 client-credentials token is asked with (RFC 6749 section 4.4).

    Two that differ only in how they are asked for (time, attempts, span name) share one token.
    """

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    audience: str | None = None
    client_auth: Literal["basic", "body"] = "basic"
    timeout: float = field(default=30.0, compare=False)
    max_attempts: int = field(default=1, compare=False)
    template: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class GetToken:
    """Get an access token from the run's cache; `rejected` asks for another one than that."""

    spec: TokenSpec
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Read a file below the flow's folder."""

    path: str


@dataclass(frozen=True, slots=True)
class RunScript:
    """Run JavaScript and wait for its value: what `module.exports` returns, else its last expression.

    The function is called with `argument`; both are JSON. There is no I/O.
    """

    code: str
    argument: Json = None


@dataclass(slots=True)
class Emit:
    """Put an event on the step's span."""

    name: str
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


Command: TypeAlias = SendRequest | Wait | GetToken | ReadFile | RunScript | Emit


@dataclass(slots=True)
class Response:
    """An answer that arrived whole. `received_at` is wall time in seconds since 1970."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    received_at: float = 0.0
    http_version: str = "1.1"
    peer: tuple[str, int] | None = None


@dataclass(slots=True)
class NoResponse:
    """No usable answer. `phase` tells what the server can have seen.

    ``unsent``: no byte left; ``sent``: sent, no byte of an answer; ``partial``: an answer broke off.
    `code` is one of `runner.core.codes.STEP_ERRORS` (``http.connect``, ``http.timeout`` …),
    `error_type` a low-cardinality name for the span, `message` never quotes a url. `reused` tells
    that the request went out on a connection that had served another request before.
    """

    phase: Phase
    code: str
    error_type: str
    message: str
    reused: bool = False
    received_at: float = 0.0
    status: int | None = None


@dataclass(slots=True)
class Waited:
    """The time has passed, or the event was put on the span."""

    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, not yet known to be good."""

    value: str
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a file."""

    content: bytes
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Computed:
    """The value of a script."""

    value: Json
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """A command could not be carried out: a code of STEP_ERRORS and a message.

    `final` tells that to ask again in the same run would be in vain.
    """

    code: str
    message: str
    received_at: float = 0.0
    final: bool = False


Reply: TypeAlias = Response | NoResponse | Waited | Token | FileContent | Computed | Refused

StepStatus = Literal["succeeded", "failed", "skipped"]
SkipReason = Literal["condition", "upstream", "unreached"]


@dataclass(frozen=True, slots=True)
class StepFailure:
    """Why a step failed; `where` is its place in the document."""

    code: str
    message: str
    where: str = ""


@dataclass(slots=True)
class Outcome:
    """How a step, an iteration, a poll or a container ended.

    `taken` is what its outgoing edges ask for besides done, success and failure: ``true``,
    ``false`` or ``case:<id>``. `tainted` names the outputs that were made from a secret, `missing` tells
    of declared outputs that there was nothing for. `left` is what the step leaves in its flow for the
    programs of a platform's nodes, however it ended: `Scope.left`. `source` says where a scripted outcome
    is from.
    """

    status: StepStatus
    outputs: Mapping[str, Json] = field(default_factory=dict)
    reason: SkipReason | None = None
    detail: str = ""
    failure: StepFailure | None = None
    attempts: int = 0
    taken: str | None = None
    handled: bool = False
    tainted: frozenset[str] = frozenset()
    ended_by: Literal["cancelled", "timed_out"] | None = None
    missing: tuple[str, ...] = ()
    left: Mapping[str, Json] = field(default_factory=dict)
    source: str = ""


Program: TypeAlias = Generator[Command, Reply, Outcome]


def header(headers: Headers, name: str) -> str | None:
    """Return the value of a header, names compared without case; repeated ones joined by a comma."""
    if not headers:
        return None
    wanted = name.lower()
    found = [value for key, value in headers if key.lower() == wanted]
    return ", ".join(found) if found else None


def without(headers: Headers, names: Sequence[str]) -> Headers:
    """Return the headers but for the named ones, names compared without case."""
    dropped = {name.lower() for name in names}
    return tuple(pair for pair in headers if pair[0].lower() not in dropped)
