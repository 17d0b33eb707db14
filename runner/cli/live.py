"""The waterfall of a run on a terminal, drawn anew while the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from runner.cli.output import Output
from runner.report.waterfall import Role, Row, Waterfall

_PAUSE: Final = 0.1  # seconds between two pictures
_STYLES: Final[dict[Role, str]] = {
    "": "",
    "ok": "green",
    "failed": "red",
    "skipped": "yellow",
    "running": "cyan",
    "faint": "dim",
    "critical": "magenta",
}


class LiveWaterfall:
    """Draws a waterfall at most ten times a second; `now` gives nanoseconds since 1970.

    While the run goes on it shows what fits on the screen, and in the end the rows that it is closed
    with.
    """

    def __init__(self, screen: Output, waterfall: Waterfall, now: Callable[[], int]) -> None:
        self._screen = screen
        self._waterfall = waterfall
        self._now = now
        self._console = Console(
            file=screen.stream,
            force_terminal=True,
            no_color=not screen.color,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()

    async def keep_drawing(self) -> None:
        """Draw until cancelled."""
        while True:
            self._draw(self._rows())
            await anyio.sleep(_PAUSE)

    def _rows(self) -> list[Row]:
        width, height = self._console.size
        self._screen.width = width  # the window may have been resized
        return self._waterfall.rows(
            width, self._now(), self._screen.signs, most=max(height - 2, 1), newest=True
        )

    def _draw(self, rows: Iterable[Row], *, refresh: bool = True) -> None:
        with suppress(OSError):  # the terminal has gone; the run goes on
            self._live.update(Group(*map(_text, rows)), refresh=refresh)

    def close(self, rows: list[Row]) -> None:
        """Leave these rows on the screen, also where they are more than it has."""
        self._draw(rows, refresh=False)
        with suppress(OSError):
            self._live.stop()


def _text(row: Row) -> Text:
    pieces = [(text, _STYLES[role]) for text, role in row]
    return Text.assemble(*pieces, no_wrap=True, overflow="crop")
