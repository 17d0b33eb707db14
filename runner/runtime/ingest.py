"""Messages of a user's own broker become runs of the queue; `runner.runtime.brokers` brings them.

A message is acknowledged only when its run is in the database, under an id that comes from the message:
so a broker that hands it out again brings no second run. One that can never become a run is buried in
the broker's dead-letter place, with the reason.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio
from anyio import CapacityLimiter, to_thread

from runner.core.commands import Json, header
from runner.core.document import MAX_BYTES, MAX_DEPTH
from runner.core.json_document import load as load_json
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.brokers import Message, PoisonError
from runner.runtime.intake import Intake
from runner.runtime.loading import LoadSettings, plan_of
from runner.runtime.queue import Queue
from runner.runtime.run import RUN_ID, RunSettings
from runner.runtime.store import Store

RUN_ID_HEADER: Final = "run-id"
_KEYS: Final = ("flow", "inputs")
_AGAIN: Final = 0.5  # seconds between two tries while the database or the backlog says no
_AT_ONCE: Final = 4

log = logging.getLogger(__name__)


class Flows:
    """The flows that messages may start: one, or those in a folder that a message names one of.

    Each is read once. Raises FlowError for one flow that has problems.
    """

    def __init__(
        self,
        one: str | None = None,
        folder: Path | None = None,
        limits: LoadSettings | None = None,
        *,
        inactive: bool = False,
    ) -> None:
        self._limits, self._inactive = limits or LoadSettings(), inactive
        self._folder = None if folder is None else folder.resolve()
        self._known: dict[Path, Intake] = {}
        self.one = None if one is None else self._read(one)

    def _read(self, path: str) -> Intake:
        return Intake(path, self._limits, inactive=self._inactive)

    def check_env(self, env: Mapping[str, str]) -> None:
        """Raise FlowError when the one flow needs env values that are not given: no message could be run."""
        if self.one is not None:
            needs = plan_of(self.one.flow, self.one.limits).needs.env
            what = "no env value {0!r}; give it with -e {0}=…"
            if missing := [name for name in needs if name not in env]:
                raise FlowError([Problem("env.missing", needs[name], what.format(name)) for name in missing])

    def told(self, error: FlowError) -> str:
        """Return what is wrong, for whoever sent a message: without where our folder is."""
        text = "; ".join(map(str, error.problems))
        return text if self._folder is None else text.replace(f"{self._folder}{os.sep}", "")

    def named(self, name: Json) -> Intake:
        """Return the flow of that name in the folder; raises PoisonError, and FlowError."""
        if not isinstance(name, str) or not name or "\0" in name:
            raise PoisonError("the message names no flow: its key flow is the path of one below --flows")
        assert self._folder is not None
        try:
            place = (self._folder / name).resolve()
        except (OSError, RuntimeError):  # a loop of links, a name that is too long
            place = Path("/")
        if not place.is_relative_to(self._folder) or not place.is_file():
            raise PoisonError(f"there is no flow {name!r} below --flows")
        if place not in self._known:
            self._known[place] = self._read(str(place))
        return self._known[place]


@dataclass(slots=True)
class Counts:
    """What became of messages: new runs, runs that were there already, and no runs at all."""

    taken: int = 0
    known: int = 0
    dead: int = 0


@dataclass(slots=True)
class Ingest:
    """Takes messages into the queue. `settings` are those of every run, `max_queued` may wait at most."""

    store: Store
    queue: Queue
    flows: Flows
    settings: RunSettings
    priority: int = 0
    max_queued: int | None = None
    counts: Counts = field(default_factory=Counts)
    stopping: anyio.Event = field(default_factory=anyio.Event)
    _threads: CapacityLimiter = field(init=False)
    _held_up: str = ""

    def __post_init__(self) -> None:
        # A file has one writer at a time, and those who wait for it look only now and then.
        self._threads = CapacityLimiter(1 if self.store.is_sqlite else _AT_ONCE)

    async def take(self, message: Message) -> bool:
        """Return True once the message's run is in the database, and False when we stop before that.

        While too many runs wait, or the database does not answer, the message waits too. Raises
        PoisonError.
        """
        while not self.stopping.is_set():
            try:
                is_new = await to_thread.run_sync(partial(self._take, message), limiter=self._threads)
            except PoisonError:
                self.counts.dead += 1
                raise
            except FlowError as error:
                self.counts.dead += 1
                raise PoisonError(self.flows.told(error)) from error
            except SurroundingsError as error:
                await self._wait(str(error))
            else:
                self._go_on()
                self.counts.taken += is_new
                self.counts.known += not is_new
                return True
        return False

    async def _wait(self, why: str) -> None:
        if not self._held_up:
            log.warning("%s; messages wait until it can", why)
        self._held_up = why
        with anyio.move_on_after(_AGAIN):
            await self.stopping.wait()

    def _go_on(self) -> None:
        if self._held_up:
            log.warning("messages are taken in again")
        self._held_up = ""

    def _take(self, message: Message) -> bool:
        flow, inputs = self._read(message.body)
        headers = tuple(message.headers.items())
        settings = replace(
            self.settings,
            run_id=header(headers, RUN_ID_HEADER) or _run_id(message.id),
            headers=dict(headers),
            traceparent=header(headers, "traceparent"),
            tracestate=header(headers, "tracestate") or "",
        )
        taken = flow.take(
            self.store, self.queue, inputs, settings, priority=self.priority, max_queued=self.max_queued
        )
        return taken.is_new

    def _read(self, body: bytes) -> tuple[Intake, dict[str, Json]]:
        value = _object(body)
        if self.flows.one is not None:
            return self.flows.one, value
        if unknown := sorted(value.keys() - set(_KEYS)):
            raise PoisonError(f"the message has keys besides flow and inputs: {', '.join(unknown)}")
        inputs = value.get("inputs", {})
        if not isinstance(inputs, dict):
            raise PoisonError("the message's inputs are no JSON object")
        return self.flows.named(value.get("flow")), inputs


def _object(body: bytes) -> dict[str, Json]:
    if len(body) > MAX_BYTES:
        raise PoisonError(f"the message has more than {MAX_BYTES} bytes")
    try:
        value = load_json(body.decode("utf-8"), "message", MAX_DEPTH)
    except UnicodeDecodeError:
        raise PoisonError("the message is not UTF-8") from None
    if not isinstance(value, dict):
        raise PoisonError("the message is no JSON object")
    return value


def _run_id(name: str | None) -> str | None:
    """Return a run id that stands for this name, and for no other."""
    if name is None or RUN_ID.fullmatch(name):
        return name
    return sha256(name.encode()).hexdigest()
