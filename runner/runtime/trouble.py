"""How far a request got, and what the library's exceptions mean, in words that quote no url."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from runner.core.commands import Phase
from runner.runtime.library import httpcore
from runner.runtime.tls import tls_message

Stage = Literal[
    "queued", "connecting", "securing", "tunnelling", "connected", "sending", "waiting", "reading"
]

_TIMED_OUT: dict[Stage, str] = {
    "queued": "no connection became free",
    "connecting": "no connection could be made",
    "securing": "the TLS handshake did not end",
    "tunnelling": "the proxy did not open a tunnel",
    "connected": "the request could not be sent",
    "sending": "the request could not be sent whole",
    "waiting": "no answer came",
    "reading": "the answer did not end",
}
_STAGES: dict[str, Stage] = {
    "connect_tcp.started": "connecting",
    "connect_tcp.complete": "connected",
    "start_tls.started": "securing",
    "start_tls.complete": "connected",
    "send_request_body.complete": "waiting",
    "receive_response_headers.complete": "reading",
}
# httpcore marks what it was sent through a proxy's tunnel with the same events as the CONNECT before it.
_OF_AN_EXCHANGE = ("send_request_body", "receive_response_headers")
_HEAD_TOO_LARGE = 431


class Progress:
    """Follows one request by the events of httpcore's `trace` extension.

    `peer` says in words where the connection goes to.
    """

    __slots__ = ("_method", "_opened", "peer", "phase", "stage", "status")

    def __init__(self, method: str) -> None:
        self._method = method.encode("ascii", "replace")
        self._opened = False
        self.peer = "the server"
        self.phase: Phase = "unsent"
        self.stage: Stage = "queued"
        self.status: int | None = None

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Take one event of the library, such as ``http11.send_request_headers.started``."""
        event = name.partition(".")[2]
        if event == "send_request_headers.started":
            self._begin(info["request"].method)
        elif (
            event == "send_request_headers.failed"
            and type(info["exception"]).__name__ == "LocalProtocolError"
        ):
            self.phase = "unsent"
        elif (stage := _STAGES.get(event)) is not None:
            self._move(stage, event)

    def _begin(self, method: bytes) -> None:
        if method == b"CONNECT" != self._method:
            self.stage = "tunnelling"
        else:
            self.stage = "sending"
            self.phase = "sent"

    def _move(self, stage: Stage, event: str) -> None:
        if self.stage == "tunnelling" and event.startswith(_OF_AN_EXCHANGE):
            return
        self.stage = stage
        if stage == "connecting":
            self._opened = True
        elif stage == "reading":
            self.phase = "partial"

    @property
    def reused(self) -> bool:
        """Whether the request went out on a connection that had served another before."""
        return self.phase != "unsent" and not self._opened


def timeout_message(progress: Progress, seconds: float) -> str:
    """Say what had not happened when the time was over."""
    return f"{_TIMED_OUT[progress.stage]} within {seconds:g} s; `timeout` sets how long to wait"


def explain(error: Exception, progress: Progress) -> tuple[str, str, str]:
    """Return the code, the `error.type` and the message for an exception of the library.

    The type is spelled as httpx spells it whichever library is at work, so that traces can be compared.
    """
    if isinstance(error, httpcore.TimeoutException):
        # Ours is the only deadline set, so this is the system's own, after minutes.
        return "http.timeout", "timeout", f"{_TIMED_OUT[progress.stage]}: the network gave up"
    kind = type(error)
    module = "httpx" if kind.__module__.partition(".")[0] == httpcore.__name__ else kind.__module__
    name = kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
    code, message = _meaning(error, tuple(causes(error)), progress)
    return code, name, message


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it came from; the pool hides causes with `from None`."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from causes(part)
    before = error.__cause__ or error.__context__
    if before is not None:
        yield from causes(before)


def _meaning(error: Exception, chain: Sequence[BaseException], progress: Progress) -> tuple[str, str]:
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return "http.tls", tls_message(tls)
    if isinstance(error, httpcore.LocalProtocolError):
        return (
            "http.request",
            "the request cannot be sent as HTTP; a header that frames the body may be wrong",
        )
    match progress.stage:
        case "queued" | "connecting" | "connected":
            return unconnected(chain, progress.peer)
        case "securing":
            return "http.tls", "the server ended the connection during the TLS handshake"
        case "tunnelling":
            return "http.proxy", _no_tunnel(error)
        case _:
            return _no_answer(error, chain, progress)


def unconnected(chain: Sequence[BaseException], peer: str) -> tuple[str, str]:
    """Return the code and the message for a connection that did not come about."""
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            later = "; the name server did not answer" if cause.errno == socket.EAI_AGAIN else ""
            return "http.dns", f"name not resolved: {peer}{later}"
        if isinstance(cause, UnicodeError):
            return "http.dns", f"name not resolved: {peer} is not a valid host name"
        if isinstance(cause, OSError) and cause.errno:
            return "http.connect", f"no connection to {peer}: {os.strerror(cause.errno).lower()}"
    return "http.connect", f"no connection to {peer}"


def _no_tunnel(error: Exception) -> str:
    status = str(error)[:3]
    if status == "407":
        return "the proxy demands credentials; put them into its url as user:password@"
    return (
        f"the proxy did not open a tunnel (status {status})"
        if status.isdigit()
        else "the proxy did not answer"
    )


def _no_answer(error: Exception, chain: Sequence[BaseException], progress: Progress) -> tuple[str, str]:
    parser = next((cause for cause in chain if type(cause).__module__.startswith("h11.")), None)
    if parser is not None and "peer closed" not in str(parser):
        progress.phase = "partial"
        if getattr(parser, "error_status_hint", None) == _HEAD_TOO_LARGE:
            return "http.protocol", "the head of the answer is too large"
        return "http.protocol", "what the server answered is not HTTP"
    if progress.phase == "partial":
        return "http.reset", "the server ended the connection in the middle of its answer"
    if isinstance(error, httpcore.RemoteProtocolError):
        return "http.reset", "the server ended the connection without an answer"
    return "http.reset", "the connection was reset before an answer came"
