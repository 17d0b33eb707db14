"""Sending ended spans to an OpenTelemetry backend, beside the record and never in its way.

`OtlpDelivery` is a `Listener` with a bounded queue and a daemon thread. In the end every span that
it was given is counted: delivered when the backend has acknowledged it, failed otherwise, and then
kept in the spool file if one was named. The SDK's own batch processor is not used: it drops spans
without a count, and its flush reports success when nothing arrived.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from runner.core.trace import SpanRecord
from runner.errors import SurroundingsError
from runner.runtime.exporters import Answer, Sender, attempts, fault, make_sender
from runner.runtime.otlp_settings import target_of
from runner.runtime.sdk_spans import resource_attributes
from runner.runtime.spool import append
from runner.runtime.tracing import Listener

QUEUE_SIZE: Final = 8192
BATCH_SIZE: Final = 512
DELAY: Final = 1.0  # seconds that a span waits for company
TIMEOUT: Final = 3.0  # seconds for one batch
CLOSING: Final = 2.0  # seconds for all that is left at the end: the process is to be gone after 3


class OtlpDelivery(Listener):
    """Delivers sealed spans; one may serve many runs.

    `endpoint` and `headers` win over the environment, whose OTEL_EXPORTER_OTLP_* are all honoured.
    `spool` is the file for spans that were not acknowledged. `sender` makes another `Sender` than
    the one for the environment. While the runs go on, a backend that is away is asked again and again.
    Raises SurroundingsError when the environment makes no sense.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        spool: Path | None = None,
        sender: Callable[[], Sender] | None = None,
        queue_size: int = QUEUE_SIZE,
        batch_size: int = BATCH_SIZE,
        delay: float = DELAY,
    ) -> None:
        self.target = target_of(os.environ, endpoint, timeout=TIMEOUT, headers=headers)
        self.spool = spool
        self._make_sender = sender or (lambda: make_sender(self.target))
        self._queue: deque[SpanRecord] = deque()
        self._queue_size = queue_size
        self._batch_size = batch_size
        self._delay = delay
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._in_flight: list[SpanRecord] = []
        self._closing = False
        self._deadline = 0.0
        self._closed = False
        self.delivered = 0
        self.failed = 0
        self.kept = 0  # how many of the failed ones are in the spool
        self.reason = ""  # why the last batch failed
        self.trouble = ""  # why the spool cannot be written

    def sealed(self, record: SpanRecord) -> None:
        """Queue the span; a full queue gives its oldest spans to the spool. Never waits for the backend."""
        with self._changed:
            if self._closing:
                self._keep([record])
                return
            if len(self._queue) >= self._queue_size:
                self.reason = self.reason or "the backend does not keep up; the queue is full"
                self._keep(self._oldest())
            self._queue.append(record)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="otlp-delivery", daemon=True)
                self._thread.start()
            if len(self._queue) in (1, self._batch_size):
                self._changed.notify()

    def close(self, timeout: float = CLOSING) -> tuple[int, int]:
        """Send what is queued, wait at most `timeout` seconds, return how many were delivered and failed."""
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + timeout
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._changed:
            self._closed = True
            if self._queue or self._in_flight:
                self.reason = self.reason or f"no answer came within {round(timeout, 2):g} s"
            self._keep(self._in_flight)
            self._in_flight = []
            self._keep_queue()
            return self.delivered, self.failed

    # --- with the lock held

    def _oldest(self) -> list[SpanRecord]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_size))]

    def _keep_queue(self) -> None:
        while self._queue:
            self._keep(self._oldest())

    def _keep(self, records: Sequence[SpanRecord], missing: int | None = None) -> None:
        """Count the spans as failed, or just so many that are `missing`, and put them all into the spool."""
        missing = len(records) if missing is None else missing
        self.failed += missing
        if self.spool is None or not records:
            return
        try:
            append(self.spool, records, resource_attributes())
            self.kept += missing
        except SurroundingsError as error:
            self.trouble = str(error)

    # --- the thread

    def _work(self) -> None:
        try:
            from opentelemetry import context

            # No instrumentation of the host application is to make spans of sending spans.
            context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, value=True))  # noqa: SLF001
            sender = self._make_sender()
            while batch := self._next_batch():
                self._deliver(sender, batch)
            sender.close()
        except Exception as error:  # noqa: BLE001 - whatever the exporter's set-up raises becomes the reason
            self._give_up(fault(error))

    def _next_batch(self) -> list[SpanRecord]:
        """Wait for a full batch, for `delay` after the first span, or for the end; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(lambda: len(self._queue) >= self._batch_size or self._closing, self._delay)
            batch = self._oldest()
            self._in_flight = batch[:]
            return batch

    def _deliver(self, sender: Sender, batch: list[SpanRecord]) -> None:
        """Send a batch until it is taken, is refused for good, or the end has come."""
        for part, answer in attempts(sender, batch, self._may_repeat):
            self._account(len(part), answer)

    def _may_repeat(self, answer: Answer, pause: float) -> bool:
        """Wait before the next attempt; the end of the runs makes it come at once, or not at all."""
        wait = max(pause, answer.after or 0.0)
        with self._changed:
            self.reason = answer.reason
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, wait)
                return not self._closing or answer.after is None
            if not answer.reached or wait > self._deadline - time.monotonic():
                return False
            self._changed.wait_for(lambda: self._closed, wait)
            return not self._closed

    def _account(self, count: int, answer: Answer) -> None:
        with self._changed:
            if self._closed:
                return
            batch, self._in_flight = self._in_flight[:count], self._in_flight[count:]
            missing = answer.missing(count)
            self.delivered += count - missing
            if not missing:
                return
            self.reason = answer.reason
            self._keep(batch, missing)
            if self._closing and answer.again:  # whoever closes waits; the rest would fare no better
                self._keep_queue()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self.reason = reason
            self._closing = True
            if not self._closed:
                self._keep(self._in_flight)
                self._in_flight = []
                self._keep_queue()
