"""What a command does about OpenTelemetry: sending the spans of its run, and saying what became of them."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from runner.cli.options import Options
from runner.core.redact import mask_url
from runner.core.trace import SpanRecord, parse_traceparent
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.otlp import CLOSING, OtlpDelivery
from runner.runtime.otlp_settings import metrics_wanted, wanted
from runner.runtime.spool import spool_path
from runner.runtime.tracing import Listener

if TYPE_CHECKING:
    from runner.runtime.metrics import OtlpMetrics

_MANY: Final = 1024  # traces of runs that go on at the same time
_HURRY: Final = 0.5  # seconds for delivering spans once the user wants to leave; the rest is kept


class Told(NamedTuple):
    """A line about what did not arrive; `lost` means for good, `minor` that --quiet leaves it out."""

    text: str
    lost: bool = False
    minor: bool = False


class Delivery(Listener):
    """Sends the spans of the run, and its metrics, as the standard switches and the flags want it.

    Raises FlowError when the settings make no sense.
    """

    def __init__(self, environ: Mapping[str, str], endpoint: str | None, *, spans: bool) -> None:
        hush_grpc()
        self._environ = environ
        try:
            self._spans = OtlpDelivery(endpoint=endpoint) if spans else None
            self._metrics = _metrics(environ)
        except SurroundingsError as error:
            raise FlowError([Problem("usage.otlp", "--otlp", str(error))]) from error
        self._any = self._wanted = False  # whether there was a span, and one that was wanted
        self._is_wanted = lru_cache(_MANY)(self._judge)

    @classmethod
    def asked_for(cls, options: Options, environ: Mapping[str, str]) -> Delivery | None:
        """Return the delivery that flags or environment ask for, None if they ask for nothing."""
        spans = options.otlp or options.otlp_endpoint is not None
        if not spans and not metrics_wanted(environ):
            return None
        return cls(environ, options.otlp_endpoint, spans=spans)

    def keep_for(self, run_id: str) -> None:
        """Keep the spans of this run that are not acknowledged, in its spool file."""
        if self._spans is not None:
            self._spans.spool = spool_path(run_id)

    def sealed(self, record: SpanRecord) -> None:
        """Queue the span, and measure it."""
        self._any = True
        if self._spans is not None and self._is_wanted(record.trace_id):
            self._wanted = True
            self._spans.sealed(record)
        if self._metrics is not None:
            self._metrics.listener.sealed(record)

    def _judge(self, trace_id: int) -> bool:
        parent = parse_traceparent(self._environ.get("TRACEPARENT"))
        return wanted(self._environ, trace_id, parent_sampled=parent.sampled if parent else None)

    def finish(self, *, hurry: bool = False) -> list[Told]:
        """Deliver what is left; returns a line for what did not arrive.

        An interrupt ends the waiting. It does not change how the run went.
        """
        try:
            missing = self._close(time.monotonic() + (_HURRY if hurry else CLOSING))
        except KeyboardInterrupt:
            if self._spans is not None:
                self._spans.reason = self._spans.reason or "interrupted"
            missing = self._close(time.monotonic())
        return [*self._about_spans(), *missing]

    def _close(self, until: float) -> list[Told]:
        """End both together; returns what there is to tell about the metrics."""
        if self._metrics is not None:
            self._metrics.start_closing()
        if self._spans is not None:
            self._spans.close(max(0.0, until - time.monotonic()))
        if self._metrics is None or not (reason := self._metrics.close(max(0.0, until - time.monotonic()))):
            return []
        return [Told(f"the metrics did not arrive at {mask_url(self._metrics.target.url)}: {reason}")]

    def _about_spans(self) -> list[Told]:
        spans = self._spans
        if spans is None or not self._any:
            return []
        if not self._wanted:
            return [
                Told("no spans were sent: OTEL_SDK_DISABLED or OTEL_TRACES_SAMPLER has it so", minor=True)
            ]
        if not spans.failed:
            return []
        total, where = spans.delivered + spans.failed, mask_url(spans.target.url)
        what = f"{spans.failed} of {total} spans were not delivered to {where}: {spans.reason}"
        return [Told(f"{what}; {_fate(spans)}", lost=spans.kept < spans.failed)]


def _metrics(environ: Mapping[str, str]) -> OtlpMetrics | None:
    """Return what sends metrics, if the environment asks for it; imports the SDK."""
    if not metrics_wanted(environ):
        return None
    from runner.runtime.metrics import OtlpMetrics

    return OtlpMetrics(environ)


def _fate(spans: OtlpDelivery) -> str:
    again = f"`runner trace push {shlex.quote(str(spans.spool))}` sends them again"
    if spans.kept == spans.failed:
        return f"they are kept, {again}"
    lost = f"{spans.failed - spans.kept} are lost: {spans.trouble}"
    return f"{lost}; {again}" if spans.kept else lost


def hush_grpc() -> None:
    """Keep the core of gRPC, which knows no loggers, from writing to stderr."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
