"""What is shown while a run goes on: plain lines, or a waterfall that moves."""

from __future__ import annotations

from typing import Protocol

from runner.cli.output import Output
from runner.core.trace import SpanRecord
from runner.report.waterfall import Row, Waterfall, fit, step_line
from runner.runtime.tracing import Listener

_LONGEST_LINE = 1000


class Watch(Listener):
    """Feeds the waterfall of a run, and prints a line for each step that has ended."""

    def __init__(self, lines: Output | None = None) -> None:
        self.waterfall = Waterfall()
        self._lines = lines

    def opened(self, record: SpanRecord) -> None:
        """Take note of a span."""
        self.waterfall.opened(record)

    def ended(self, record: SpanRecord) -> None:
        """Take note of its end."""
        self.waterfall.ended(record)

    def sealed(self, record: SpanRecord) -> None:
        """Take its texts; a step gets its line now that they are masked."""
        line = self.waterfall.sealed(record)
        if self._lines is not None and line.parent is not None and record.kind != "client":
            signs = self._lines.signs
            self._lines.line(fit(step_line(line, signs), _LONGEST_LINE, signs))


class View(Protocol):
    """A picture of the run that is drawn anew while it goes on."""

    async def keep_drawing(self) -> None:
        """Draw until cancelled."""

    def close(self, rows: list[Row]) -> None:
        """Leave these rows on the screen."""
