"""Whether a failed attempt is made again, and after how long (SEMANTICS, Retry and idempotency)."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Literal, TypeAlias

from runner.core.commands import NoResponse, Response, header
from runner.core.model import Retry

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
UNSAFE_METHODS = frozenset({"POST", "PATCH"})
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY"})
RETRIED_FAILURES = frozenset({"http.connect", "http.dns", "http.timeout", "http.reset"})

Verdict = Literal["final", "exhausted", "withheld", "after_too_long"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A step's settings after every level has spoken. Times are seconds."""

    max_attempts: int = 1
    initial_interval: float = 0.2
    backoff_coefficient: float = 2.0
    maximum_interval: float = 10.0
    jitter: bool = True
    statuses: frozenset[int] = RETRIED_STATUSES
    unsafe: bool = False
    max_retry_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Again:
    """Send again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Enough:
    """Do not send again. `retry_after` is what the server asked for when that is too long."""

    verdict: Verdict
    retry_after: float | None = None


Decision: TypeAlias = Again | Enough


def resolve_policy(settings: Sequence[tuple[Retry | None, int | None]]) -> RetryPolicy:
    """Merge (`retry`, `retryCount`) pairs, most specific first, field by field."""

    def first(name: str, default: float) -> float:
        for retry, count in settings:
            value = getattr(retry, name, None)
            if value is not None:
                return float(value)
            if name == "max_attempts" and count is not None:
                return count + 1
        return default

    def first_of(name: str) -> object:
        return next((v for retry, _ in settings if (v := getattr(retry, name, None)) is not None), None)

    statuses = first_of("statuses")
    return RetryPolicy(
        max_attempts=int(first("max_attempts", 1)),
        initial_interval=first("initial_interval", 200) / 1000,
        backoff_coefficient=first("backoff_coefficient", 2.0),
        maximum_interval=first("maximum_interval", 10_000) / 1000,
        jitter=first_of("jitter") != "none",
        statuses=RETRIED_STATUSES if statuses is None else frozenset(statuses),  # type: ignore[call-overload]
        unsafe=bool(first_of("unsafe")),
        max_retry_after=first("max_retry_after", 60_000) / 1000,
    )


def decide(
    policy: RetryPolicy,
    reply: Response | NoResponse,
    attempt: int,
    *,
    method: str,
    keyed: bool,
    draw: float,
    acted: bool = False,
) -> Decision:
    """Decide after attempt number `attempt` (from 1) ended with `reply`.

    `keyed` tells that the request carries an idempotency key, `acted` that a server has taken it
    and sent on to another url; `draw` is a number in [0, 1) for the jitter.
    """
    if not _is_passing(policy, reply):
        return Enough("final")
    if policy.max_attempts == 1:
        return Enough("final")
    if attempt >= policy.max_attempts:
        return Enough("exhausted")
    harmless = keyed or policy.unsafe or (not acted and _server_cannot_have_acted(reply))
    if method in UNSAFE_METHODS and not harmless:
        return Enough("withheld")
    asked = retry_after(reply)
    if asked is None:
        return Again(interval(policy, attempt, draw))
    if asked > policy.max_retry_after:
        return Enough("after_too_long", asked)
    return Again(asked)


def interval(policy: RetryPolicy, attempt: int, draw: float) -> float:
    """Return the seconds before the retry that follows attempt number `attempt`."""
    try:
        grown = policy.initial_interval * policy.backoff_coefficient ** (attempt - 1)
    except OverflowError:
        grown = policy.maximum_interval if policy.initial_interval else 0.0
    longest = min(grown, policy.maximum_interval)
    return longest * draw if policy.jitter else longest


def retry_after(reply: Response | NoResponse) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110 section 10.2.3), None without a usable one."""
    if isinstance(reply, NoResponse):
        return None
    text = (header(reply.headers, "retry-after") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - reply.received_at)


def may_resend_silently(method: str, reply: Response | NoResponse) -> bool:
    """Whether a request was lost because a kept connection had been closed, and may go out again."""
    return (
        isinstance(reply, NoResponse)
        and reply.reused
        and reply.phase != "partial"
        and reply.code == "http.reset"
        and (reply.phase == "unsent" or method in IDEMPOTENT_METHODS)
    )


def idempotency_key(origin_run_id: str, path: str, repeat: int = 0) -> str:
    """Return the key of a step, the same over attempts and resumption (SEMANTICS, Retry and idempotency)."""
    digest = hashlib.sha256(b"\0".join((origin_run_id.encode(), path.encode(), str(repeat).encode())))
    return urlsafe_b64encode(digest.digest()).decode()[:32]


def _is_passing(policy: RetryPolicy, reply: Response | NoResponse) -> bool:
    if isinstance(reply, Response):
        return reply.status in policy.statuses
    return reply.code in RETRIED_FAILURES


def _server_cannot_have_acted(reply: Response | NoResponse) -> bool:
    if isinstance(reply, NoResponse):
        return reply.phase == "unsent"
    return reply.status == 429 or (reply.status == 503 and retry_after(reply) is not None)
