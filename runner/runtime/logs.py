"""Log records that say which span of which run they belong to."""

from __future__ import annotations

import logging

from runner.runtime.tracing import current


class TraceFilter(logging.Filter):
    """Gives every log record `trace_id`, `span_id` and `run_id`: of the step at work, or empty texts.

    Add it to a handler; a filter of a logger does not see what other loggers hand on.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, with the ids as OpenTelemetry writes them."""
        found = current.get()
        run_id, span = found or ("", None)
        record.run_id = run_id
        record.trace_id = "" if span is None else f"{span.trace_id:032x}"
        record.span_id = "" if span is None else f"{span.span_id:016x}"
        return True
