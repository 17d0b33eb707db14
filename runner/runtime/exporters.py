"""The SDK's OTLP exporters, made to tell the truth about each batch.

By themselves they take a redirect for success, drop the answer in which a backend says that it
rejected spans, and keep their reasons in a log. Here only what a backend has acknowledged counts as
delivered. OTLP/JSON is posted here: the SDK's own package for it demands one exact version of others.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import urlsplit

from runner.core.commands import Json, Response
from runner.core.otlp_json import to_otlp
from runner.core.redact import Masker
from runner.core.retry import retry_after
from runner.core.trace import SpanRecord
from runner.runtime.otlp_settings import Target
from runner.runtime.sdk_spans import converter, resource_attributes
from runner.runtime.tls import tls_message
from runner.runtime.trouble import causes, unconnected
from runner.version import __version__

if TYPE_CHECKING:  # the SDK takes a tenth of a second to import; only the thread that sends pays for it
    import grpc

USER_AGENT: Final = f"flowspan-runner/{__version__}"
FIRST_PAUSE: Final = 0.5  # seconds between attempts; doubled each time
LONGEST_PAUSE: Final = 5.0
_PASSING: Final = frozenset((429, 502, 503, 504))  # OTLP/HTTP, Failures
_PASSING_CODES: Final = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)
_VARIABLES: Final = {
    "ca": "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "client-": "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
}
_BROKEN_OFF: Final = "the connection ended before an answer came"
_NOT_MADE: Final = "the request could not be made; are the headers for it right?"
_LONGEST: Final = 300  # characters of why a backend takes nothing
_LAST_ERROR: Final = re.compile(
    r"last error: [A-Z_]+: ip\S+?:(\S+): (?:Failed to connect to remote host: )?(.+)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a batch; `reason` is empty when the backend has acknowledged all of it.

    `again` tells that it may be taken later, and `after` for how many seconds the backend wants to
    be left alone. `reached` tells that a backend is there, `too_large` that it may take a part.
    `rejected` is how many a backend has refused that took the others, and does not say which.
    """

    reason: str = ""
    again: bool = False
    after: float | None = None
    reached: bool = False
    too_large: bool = False
    rejected: int = 0

    def missing(self, count: int) -> int:
        """Return how many of the batch, of this many spans, have not arrived."""
        if not self.reason:
            return 0
        return min(self.rejected, count) or count


class Sender(Protocol):
    """Sends batches to one backend; each call waits for the answer."""

    def send(self, records: Sequence[SpanRecord]) -> Answer:
        """Send one batch once."""

    def close(self) -> None:
        """Close the connections."""


class UntakenError(Exception):
    """The backend has not acknowledged a batch; raised through the SDK's exporters, which would retry."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.reason)


def make_sender(target: Target) -> Sender:
    """Return what sends to a target; imports the SDK."""
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # else it writes to stderr
    return _Grpc(target) if target.protocol == "grpc" else _Http(target)


def attempts(
    sender: Sender, batch: Sequence[SpanRecord], may_repeat: Callable[[Answer, float], bool]
) -> Iterator[tuple[Sequence[SpanRecord], Answer]]:
    """Send a batch, in parts if it is too large, and yield each part with the last answer to it.

    `may_repeat` is asked before a part that may be taken later is sent again; it waits, at best for
    the seconds that it is told.
    """
    pause = FIRST_PAUSE
    while True:
        answer = _send(sender, batch)
        if answer.too_large and len(batch) > 1:
            half = len(batch) // 2
            yield from attempts(sender, batch[:half], may_repeat)
            yield from attempts(sender, batch[half:], may_repeat)
            return
        if not answer.reason or not answer.again or not may_repeat(answer, pause):
            yield batch, answer
            return
        pause = min(2 * pause, LONGEST_PAUSE)


def _send(sender: Sender, batch: Sequence[SpanRecord]) -> Answer:
    try:
        return sender.send(batch)
    except Exception as error:  # noqa: BLE001 - one bad batch must not stop the ones after it
        return Answer(fault(error))


def fault(error: Exception) -> str:
    """Return a reason for an exception that nobody expected; its own words may quote a header, a secret."""
    return f"the exporter failed with {type(error).__name__}; are the OTEL_EXPORTER_OTLP_* settings right?"


# --- HTTP ----------------------------------------------------------------------------------------


class _Http:
    """OTLP over HTTP. The session judges each answer; the exporter only sees those that are fine."""

    def __init__(self, target: Target) -> None:
        self._session = session_for(target)
        self._export = self._json() if target.protocol == "http/json" else self._protobuf(target)

    def _protobuf(self, target: Target) -> Callable[[Sequence[SpanRecord]], object]:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(**http_options(target, self._session))
        convert = converter()
        return lambda records: exporter.export([convert(record) for record in records])

    def _json(self) -> Callable[[Sequence[SpanRecord]], object]:
        shared = resource_attributes()
        return lambda records: self._session.post_json(to_otlp(records, shared))

    def send(self, records: Sequence[SpanRecord]) -> Answer:
        self._session.answer = Answer(_NOT_MADE)
        with suppress(UntakenError, OSError, ValueError):  # their words may quote a header, a secret
            self._export(records)
        return cast("Answer", self._session.answer)

    def close(self) -> None:
        self._session.close()


def http_options(target: Target, session: Any) -> dict[str, Any]:  # noqa: ANN401 - requests has no types
    """Return the arguments of the SDK's exporters over HTTP."""
    from opentelemetry.exporter.otlp.proto.http import Compression

    return {
        "endpoint": target.url,
        "certificate_file": target.files.get("CERTIFICATE"),
        "client_key_file": target.files.get("CLIENT_KEY"),
        "client_certificate_file": target.files.get("CLIENT_CERTIFICATE"),
        "headers": {"user-agent": USER_AGENT, **headers_of(target)},
        "timeout": target.timeout,
        "compression": Compression(target.compression),
        "session": session,
    }


def headers_of(target: Target) -> dict[str, str]:
    """Return the headers of a target, names in lower case as gRPC has them."""
    from opentelemetry.util.re import parse_env_headers

    own = {name.lower(): value for name, value in target.headers.items()}
    return {**parse_env_headers(target.header_list, liberal=True), **own}


def _masking(target: Target) -> Callable[[Answer], Answer]:
    """Return what masks the values of our headers in a reason: backends like to quote the key they refuse.

    A reason is cut only after that, so that the cut leaves no part of one.
    """
    masker = Masker()
    for value in headers_of(target).values():
        masker.add(value)
        masker.add(value.rpartition(" ")[2])  # without the scheme

    def masked(answer: Answer) -> Answer:
        reason = masker.mask(answer.reason)
        return replace(answer, reason=reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…")

    return masked


def session_for(target: Target) -> Any:  # noqa: ANN401 - requests has no types
    """Return a session that raises UntakenError for what is no acknowledgement, and keeps the `answer`."""
    import requests

    masked = _masking(target)

    class Session(requests.Session):
        answer = Answer(_NOT_MADE)

        def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
            options["allow_redirects"] = False  # a redirected POST would arrive as a GET, without its body
            if self.verify is not True:  # which REQUESTS_CA_BUNDLE would overrule
                options["verify"] = self.verify
            try:
                response = super().send(request, **options)
            except (OSError, ValueError) as error:  # all of requests' are one or the other
                self.answer = Answer(_unsent(error, target), again=True)
                raise UntakenError(self.answer) from error
            said = judge(response.status_code, response.reason, response.headers, response.content)
            self.answer = masked(said)
            if said.reason:
                raise UntakenError(self.answer)
            return response

        def post_json(self, value: Json) -> None:
            """Post one request of OTLP/JSON, as the SDK's exporters post theirs."""
            body, headers = (
                json.dumps(value).encode(),
                {**headers_of(target), "content-type": "application/json"},
            )
            if target.compression != "none":
                body = gzip.compress(body, 6) if target.compression == "gzip" else zlib.compress(body)
                headers["content-encoding"] = target.compression
            self.post(target.url, data=body, headers=headers, timeout=target.timeout)

    session = Session()
    session.headers["user-agent"] = USER_AGENT
    session.verify = target.files.get("CERTIFICATE", True)
    if certificate := target.files.get("CLIENT_CERTIFICATE"):
        key = target.files.get("CLIENT_KEY")
        session.cert = (certificate, key) if key else certificate
    return session


def _unsent(error: Exception, target: Target) -> str:
    """Say why no answer came, in words that quote no url."""
    import requests

    chain = tuple(causes(error))
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return re.sub(r"--(ca|client-)cert FILE", lambda flag: _VARIABLES[flag[1]], tls_message(tls))
    if isinstance(error, requests.Timeout):
        return f"no answer came within {target.timeout:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not open a tunnel"
    if any(isinstance(cause, ConnectionResetError | BrokenPipeError | IncompleteRead) for cause in chain):
        return _BROKEN_OFF
    return unconnected(chain, urlsplit(target.url).netloc.rpartition("@")[2])[1]


def judge(status: int, phrase: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what an answer over HTTP means (OTLP specification, OTLP/HTTP Response)."""
    if not headers:
        return Answer(_BROKEN_OFF, again=True)  # http.client takes a head that breaks off for a whole one
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if 200 <= status < 300:
        if kind == "text/html":
            return Answer(
                f"a web page came back ({status} {phrase}); is the endpoint one of OTLP?", reached=True
            )
        return _partial(*_rejected(kind, body))
    said = _said(kind, body)
    return Answer(
        f"the answer was {status} {phrase}".rstrip() + (f": {said}" if said else ""),
        again=status in _PASSING,
        after=retry_after(Response(status, tuple(headers.items()), received_at=time.time())),
        reached=True,
        too_large=status == 413,
    )


def _partial(rejected: int, said: str) -> Answer:
    if rejected <= 0:
        return Answer()
    what = f"the backend rejected {rejected} of them" + (f": {said}" if said else "")
    return Answer(what, reached=True, rejected=rejected)


def _rejected(kind: str, body: bytes) -> tuple[int, str]:
    """Return how many were rejected and why; a body that is no OTLP says nothing."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if kind == "application/json":
            partial = json.loads(body or b"{}").get("partialSuccess", {})
            count = partial.get("rejectedSpans", partial.get("rejectedDataPoints", 0))
            return int(count), str(partial.get("errorMessage", ""))
        # The answer for metrics has the same fields under other names.
        answer = ExportTraceServiceResponse.FromString(body).partial_success
        return answer.rejected_spans, answer.error_message
    except (DecodeError, ValueError, TypeError, AttributeError):
        return 0, ""


def _said(kind: str, body: bytes) -> str:
    """Return the message in the body of a failure: a google.rpc.Status, or plain text."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    try:
        match kind:
            case "application/x-protobuf":
                text = str(Status.FromString(body).message)
            case "application/json":
                text = str(json.loads(body).get("message", ""))
            case "text/plain":
                text = body.decode("utf-8", "replace").partition("\n")[0]
            case _:
                text = ""
    except (DecodeError, ValueError, AttributeError):
        text = ""
    return text.strip()


# --- gRPC ----------------------------------------------------------------------------------------


class _Grpc:
    """OTLP over gRPC."""

    def __init__(self, target: Target) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        self._convert = converter()
        self._exporter = OTLPSpanExporter(**grpc_options(target))
        self._stub = Stub.inside(self._exporter, target)

    def send(self, records: Sequence[SpanRecord]) -> Answer:
        self._stub.answer = Answer(_NOT_MADE)
        with suppress(UntakenError):
            self._exporter.export([self._convert(record) for record in records])
        return self._stub.answer

    def close(self) -> None:
        self._exporter.shutdown()


def grpc_options(target: Target) -> dict[str, Any]:
    """Return the arguments of the SDK's exporters over gRPC."""
    import grpc

    return {
        "endpoint": target.url,
        "insecure": None if "://" in target.url else target.insecure,
        "credentials": _credentials(target),
        "headers": tuple(headers_of(target).items()),
        "timeout": target.timeout,
        "compression": grpc.Compression.Gzip
        if target.compression == "gzip"
        else grpc.Compression.NoCompression,
    }


def _credentials(target: Target) -> grpc.ChannelCredentials | None:
    if not target.files:
        return None
    import grpc

    def content(name: str) -> bytes | None:
        return Path(target.files[name]).read_bytes() if name in target.files else None

    return grpc.ssl_channel_credentials(
        content("CERTIFICATE"), content("CLIENT_KEY"), content("CLIENT_CERTIFICATE")
    )


class Stub:
    """The client that an exporter calls.

    It raises UntakenError for all that is no acknowledgement, and keeps the `answer`: the exporter
    keeps it to itself, and with it how many spans were rejected.
    """

    def __init__(self, client: Any, target: Target) -> None:  # noqa: ANN401 - made by protoc, without types
        self._client = client
        self._target = target
        self._masked = _masking(target)
        self.answer = Answer(_NOT_MADE)

    @classmethod
    def inside(cls, exporter: Any, target: Target) -> Stub:  # noqa: ANN401 - one of the SDK's, of any signal
        """Put a stub between an exporter and its client."""
        stub = exporter._client = cls(exporter._client, target)  # noqa: SLF001
        return stub

    def Export(self, request: object, **options: object) -> object:  # noqa: N802 - the name in the protocol
        """Send one request and judge what comes back."""
        import grpc

        try:
            response = self._client.Export(request=request, **options)
        except grpc.RpcError as error:
            self.answer = self._masked(self._judge(error))
            raise UntakenError(self.answer) from error
        partial = response.partial_success
        rejected = getattr(partial, "rejected_spans", 0) or getattr(partial, "rejected_data_points", 0)
        self.answer = self._masked(_partial(rejected, partial.error_message))
        if self.answer.reason:
            raise UntakenError(self.answer)
        return response

    def _judge(self, error: Any) -> Answer:  # noqa: ANN401 - a RpcError of a call is a Call too, which no type tells
        code, details = error.code().name, error.details() or ""
        after = _retry_delay(error.trailing_metadata() or ())
        if code == "DEADLINE_EXCEEDED":
            return Answer(f"no answer came within {self._target.timeout:g} s", again=True)
        if code == "UNAVAILABLE" and (found := _LAST_ERROR.search(details)):
            reason = found[2][0].lower() + found[2][1:]
            return Answer(f"no connection to {found[1]}: {reason}", again=True)
        return Answer(
            f"the answer was {code}: {details}",
            again=code in _PASSING_CODES or (code == "RESOURCE_EXHAUSTED" and after is not None),
            after=after,
            reached=True,
            too_large="larger than max" in details,
        )


def _retry_delay(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Return the seconds in a RetryInfo (OTLP specification, OTLP/gRPC Throttling)."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    info = RetryInfo()
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in Status.FromString(value).details:
                if detail.Unpack(info):
                    return float(info.retry_delay.ToTimedelta().total_seconds())
    return None
