"""What the APIs of all platforms have in common, without doing any of it.

A push or a pull is a generator, as a step is: it yields `SendRequest`, `Wait`, `GetToken`, `Tell` and
`Keep`, is resumed with the replies, and returns a `Done` or a `Refusal`. `runner.runtime.platform`
performs it. A platform's own module says which calls are made and how its answers are read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, TypeVar

from runner.core.commands import (
    GetToken,
    Headers,
    Json,
    NoResponse,
    Refused,
    Reply,
    Request,
    Response,
    SendRequest,
    Token,
    TokenSpec,
    Wait,
    header,
)
from runner.core.redact import mask_url
from runner.core.retry import Decision, Enough, RetryPolicy, decide, may_resend_silently

T = TypeVar("T")

MOST_ATTEMPTS: Final = 4
# Characters of an answer that nobody can read. Whoever shows them masks them first and cuts them then.
LONGEST_EXCERPT: Final = 20_000
JSON: Final = "application/json"
_POLICY: Final = RetryPolicy(MOST_ATTEMPTS, statuses=frozenset({429, *range(500, 600)}))


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell whoever waits what happens next."""

    text: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep what the platform now says of the document that was sent, at once: later steps may fail."""

    values: Mapping[str, Json]


Ask: TypeAlias = SendRequest | Wait | GetToken | Tell | Keep
Program: TypeAlias = Generator[Ask, Reply, T]


@dataclass(frozen=True, slots=True)
class Done:
    """A platform did what it was asked for.

    `detail` is for people, such as ``12 spans -> 4``, and so are the `rows` of a list. `losses` tell what
    the platform did not keep of what was sent; `document` is what was fetched, byte for byte; `overwritten`
    tells what others have done at the same time.
    """

    verb: Literal["created", "replaced", "updated", "unchanged", "deleted", "found", "valid"]
    name: str = ""
    detail: str = ""
    losses: tuple[str, ...] = ()
    document: bytes = b""
    rows: tuple[tuple[str, ...], ...] | None = None
    overwritten: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A platform did not do what it was asked for, or could not be asked.

    `fields` are pairs of a place in the document and what is wrong there; `details` is more text by the
    platform, `remedy` a hint by us. `status` is None when there was no answer.
    """

    message: str
    status: int | None = None
    code: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    details: str = ""
    remedy: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the refusal as text: what, then each field, the details and the remedy."""
        yield self.message
        yield from (f"  {place}: {what}" if place else f"  {what}" for place, what in self.fields)
        yield from (f"  {line}" for line in self.details.splitlines())
        if self.remedy:
            yield f"  {self.remedy}"


def _is_never_final(_: Response) -> bool:
    return False


def _as_it_came(answer: Response) -> Response:
    return answer


@dataclass(frozen=True, slots=True)
class Api:
    """An API: the url before all paths, the headers of every call, and how its errors are read.

    `headers` hold what proves who calls, unless a `token` is to be asked for. `timeout` is seconds for one
    attempt. `is_final` knows answers that no later attempt would change, whatever their status says;
    `adapted` puts an answer as the others would have put it, such as a time to wait into `Retry-After`.
    """

    base_url: str
    headers: Headers
    read_error: Callable[[Response], Refusal]
    timeout: float = 60.0
    is_final: Callable[[Response], bool] = _is_never_final
    token: TokenSpec | None = None
    adapted: Callable[[Response], Response] = _as_it_came

    def request(
        self, method: str, path: str, body: bytes | None = None, *, kind: str = JSON, token: str = "[token]"
    ) -> Request:
        """Return a request; a body is JSON, of a media type of its own if there is one."""
        bearer = (("Authorization", f"Bearer {token}"),) if self.token is not None else ()
        content = (("Content-Type", kind),) if body is not None else ()
        headers = (*self.headers, *bearer, ("Accept", JSON), *content)
        return Request(method, self.base_url.rstrip("/") + path, headers, body)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        accepted: Container[int] = range(200, 300),
        *,
        kind: str = JSON,
    ) -> Program[Response | Refusal]:
        """Send until there is an answer that no later attempt would change; an `accepted` one is returned.

        Tried again are 429, 5xx and connections that were not made; but not a POST or PATCH that the
        server may have acted upon. A kept connection that was closed meanwhile is replaced once, and so
        is a token that has expired.
        """
        if self.token is None:
            return (yield from self._settled(self.request(method, path, body, kind=kind), accepted))
        rejected: str | None = None
        while True:
            token = yield GetToken(self.token, rejected)
            if isinstance(token, Refused):
                return Refusal(token.message, remedy=f"asked for at {mask_url(self.token.token_url)}")
            if not isinstance(token, Token):
                raise TypeError(token)
            request = self.request(method, path, body, kind=kind, token=token.value)
            answer = yield from self._settled(request, accepted)
            if rejected is not None or answer.status != 401:
                return answer
            rejected = token.value

    def _settled(self, request: Request, accepted: Container[int]) -> Program[Response | Refusal]:
        method = request.method
        attempt = sends = 0
        while True:
            attempt += 1
            reply = yield SendRequest(request, self.timeout, sends)
            sends += 1
            if isinstance(reply, NoResponse) and may_resend_silently(method, reply):
                reply = yield SendRequest(request, self.timeout, sends)
                sends += 1
            if isinstance(reply, Response):
                reply = self.adapted(reply)
            elif not isinstance(reply, NoResponse):
                raise TypeError(reply)
            decision = _decide(request, reply, attempt)
            if isinstance(reply, Response) and self.is_final(reply):
                decision = Enough("final")
            if isinstance(decision, Enough):
                break
            what = f"it answered {reply.status}" if isinstance(reply, Response) else reply.message
            yield Tell(f"{what}; trying again in {decision.seconds:.1f} s")
            yield Wait(decision.seconds)
        if isinstance(reply, Response) and reply.status in accepted:
            return reply
        refusal = self._refusal(request, reply)
        tried = f" (after {attempt} attempts)" if attempt > 1 else ""
        asked = f"; it asks to wait {decision.retry_after:.0f} s" if decision.retry_after else ""
        return replace(refusal, message=f"{refusal.message}{tried}{asked}")

    def _refusal(self, request: Request, reply: Response | NoResponse) -> Refusal:
        if isinstance(reply, NoResponse):
            return Refusal(f"{request.method} {mask_url(request.url)}: {reply.message}", reply.status)
        if reply.status not in range(300, 400):
            return self.read_error(reply)
        # Not followed: the credentials are for one server.
        target = mask_url(header(reply.headers, "location") or "nowhere")
        message = f"the platform answered {reply.status} and points to {target}"
        return Refusal(message, reply.status, remedy="give the url of the API itself")


def _decide(request: Request, reply: Response | NoResponse, attempt: int) -> Decision:
    if isinstance(reply, NoResponse) and reply.phase != "unsent":
        return Enough("final")
    seed = f"{request.method} {request.url} {attempt}"
    draw = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big") / (1 << 56)
    return decide(_POLICY, reply, attempt, method=request.method, keyed=False, draw=draw)


def json_of(answer: Response) -> Json:
    """Return what an answer holds as JSON, None when it holds none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def excerpt(answer: Response) -> str:
    """Return the beginning of an answer that is not what was expected, in one line."""
    text = " ".join(re.sub(r"<[^>]*>", " ", answer.body.decode("utf-8", "replace")).split())
    return text if len(text) <= LONGEST_EXCERPT else f"{text[:LONGEST_EXCERPT]}…"


def size_text(count: int) -> str:
    """Return a number of bytes for people: ``605 kB``."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.3g} kB" if count < 999_500 else f"{count / 1e6:.3g} MB"


def counted(count: int, what: str) -> str:
    """Return a number of things: ``1 span``, ``2 spans``."""
    return f"{count} {what}{'s' * (count != 1)}"
