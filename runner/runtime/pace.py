"""How fast requests go to each host: every request takes a turn, and turns are as far apart as the rate says.

Turns are counted where all that send can see it: in the state database, or in this process alone. They
are taken a few at a time, so that the database is not asked for each request: all that are asked for at
once, or those of the next tenth of a second. A turn that was taken and not used in time is lost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import anyio

from runner.errors import FlowError, Problem
from runner.runtime.groups import insist
from runner.runtime.router import HostPlace, plain_host, read_place
from runner.runtime.wire import Unsendable, origin_and_target

_SECOND: Final = 1_000_000_000
_AHEAD: Final = _SECOND // 10
_MOST_LANES: Final = 1024
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/(s|sec|second|m|min|minute|h|hour)")
_UNITS: Final = {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}


class Turns(Protocol):
    """Who counts the turns of each host."""

    def reserve(self, host: str, count: int, interval: int) -> int:
        """Take the next `count` turns, `interval` ns apart; returns how many ns from now the first is.

        Raises StateError when they cannot be counted just now.
        """
        ...


class OwnTurns:
    """Turns of this process, for its runs alone. `clock` returns ns."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._free: dict[str, int] = {}

    def reserve(self, host: str, count: int, interval: int) -> int:
        """Take the next `count` turns, `interval` ns apart; returns how many ns from now the first is."""
        now = self._clock()
        first = max(now, self._free.get(host, now))
        self._free[host] = first + count * interval
        return first - now


class Pace:
    """The rates of hosts, shared by all runs that are given it.

    `rates` are written as ``PATTERN[:PORT]=N/s`` (or ``/m``, ``/h``): so many requests to each host that
    the pattern covers, evenly spread. A host keeps to the rate that names it closest: a name before a
    pattern, a longer pattern before a shorter one. Raises FlowError with every rate that is none.
    """

    def __init__(
        self, rates: Iterable[str], turns: Turns | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._rates = sorted(_readable(rates).items(), key=lambda rate: _closeness(rate[0]))
        self._turns = turns or OwnTurns(clock)
        self._clock = clock
        self._lanes: dict[tuple[str, int], _Lane | None] = {}

    async def turn(self, url: str) -> float:
        """Take the next turn of the url's host; returns how many seconds to wait for it."""
        try:
            origin, _ = origin_and_target(url)
        except Unsendable:
            return 0.0  # which sending it will tell
        key = origin.host, origin.port
        if key not in self._lanes:
            if len(self._lanes) >= _MOST_LANES:
                self._lanes.clear()  # its turns that are left are lost
            self._lanes[key] = self._lane(plain_host(origin.host), origin.port)
        lane = self._lanes[key]
        return 0.0 if lane is None else await lane.turn()

    def _lane(self, host: str, port: int) -> _Lane | None:
        for place, interval in self._rates:
            if place.covers(host, port):
                name = host if place.port is None else f"{host}:{port}"
                return _Lane(partial(self._turns.reserve, name), interval, self._clock)
        return None


class _Lane:
    """The turns of one host that this process has taken and not used yet."""

    def __init__(self, reserve: Callable[[int, int], int], interval: int, clock: Callable[[], int]) -> None:
        self._reserve, self._interval, self._clock = reserve, interval, clock
        self._lock = anyio.Lock()
        self._asking = 0
        self._next = 0
        self._left = 0

    async def turn(self) -> float:
        self._asking += 1
        try:
            async with self._lock:
                self._drop_late()
                if not self._left:
                    count = max(self._asking, _AHEAD // self._interval)
                    wait = await insist(partial(self._reserve, count, self._interval))
                    # Counted from when the answer came: never earlier than what was given.
                    self._next, self._left = self._clock() + wait, count
                at = self._next
                self._next, self._left = at + self._interval, self._left - 1
        finally:
            self._asking -= 1
        return max(0, at - self._clock()) / _SECOND

    def _drop_late(self) -> None:
        """Drop turns whose time has gone by: used now, they would be too many at once."""
        late = min(self._left, max(0, self._clock() - self._next) // self._interval)
        self._next, self._left = self._next + late * self._interval, self._left - late


def _readable(texts: Iterable[str]) -> dict[HostPlace, int]:
    """Return the ns between two requests by place; a place that is named again has the later rate."""
    rates: dict[HostPlace, int] = {}
    problems: list[Problem] = []
    for text in texts:
        try:
            place, interval = _read(text)
            rates[place] = interval
        except ValueError as error:
            problems.append(Problem("usage.rate", "--rate", str(error)))
    if problems:
        raise FlowError(problems)
    return rates


def _read(text: str) -> tuple[HostPlace, int]:
    host, equals, rate = text.rpartition("=")
    match = _RATE.fullmatch(rate.strip())
    if not equals or match is None or not float(match[1]):
        what = "write api.example.com=10/s, '*.example.com=600/m' or '*=0.5/s'"
        raise ValueError(f"{text!r} is no rate of a host; {what}")
    return read_place(host), max(1, round(_UNITS[match[2][0]] / float(match[1])))


def _closeness(place: HostPlace) -> tuple[bool, bool, int]:
    is_pattern = "*" in place.host or "?" in place.host
    return is_pattern, place.port is None, -len(place.host)
