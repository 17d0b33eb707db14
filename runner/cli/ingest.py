"""`runner ingest`: takes messages of a broker into the queue until it is asked to stop."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import anyio

from runner.cli.given import gather, load_settings
from runner.cli.options import Options
from runner.cli.output import Output, outputs
from runner.cli.resume import state_url
from runner.cli.run import run_settings
from runner.cli.worker import Lines
from runner.errors import FlowError, Problem, SurroundingsError
from runner.runtime.brokers import KINDS, Place, Source, covers, source_of
from runner.runtime.ingest import Flows, Ingest
from runner.runtime.queue import Queue
from runner.runtime.store import Store

PASSWORD: Final = "RUNNER_INGEST_PASSWORD"
_LEFT: Final = 4
_LOOK: Final = 2.0
_STOP: Final = 20.0


def main(options: Options, environ: Mapping[str, str]) -> int:
    """Take messages, and return the exit code; raises FlowError and SurroundingsError."""
    out, err = outputs(environ, color=not options.no_color)
    given, limits = gather(options, environ), load_settings(options)
    given.problems += _flaws(options)
    if given.problems:
        raise FlowError(given.problems)
    folder = None if options.folder is None else Path(options.folder)
    flows = Flows(options.flow, folder, limits, inactive=options.inactive)
    flows.check_env(given.env)
    source = source_of(
        Place(
            _with_password(options.url, environ), options.queue, options.dead or f"{options.queue}.dead",
            options.group, options.in_flight, options.ack_wait,
        )
    )  # fmt: skip
    log = logging.getLogger("runner")
    log.addHandler(Lines(err, logging.WARNING))
    settings = run_settings(options, given, limits, environ)
    with closing(Store(state_url(options, environ), environ)) as store:
        ingest = Ingest(store, Queue(store), flows, settings, options.priority, options.max_queued)
        anyio.run(_serve, ingest, source, options, err)
    if not options.quiet:
        counts = ingest.counts
        out.line(f"{counts.taken} runs taken, {counts.known} known already, {counts.dead} messages buried")
    return 0


def _flaws(options: Options) -> Iterator[Problem]:
    try:
        parts = urlsplit(options.url)
        usable = parts.scheme in KINDS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:  # not quoted: there may be a password in it
        what = f"it has no host, or none of the schemes {', '.join(KINDS)}"
        yield Problem("usage.broker", "URL", what)
    if not options.queue or any(character.isspace() for character in options.queue):
        yield Problem("usage.broker", "SOURCE", "it is empty, or has a space in it")
    dead = options.dead or f"{options.queue}.dead"
    if options.queue == dead or (options.url.startswith(("nats:", "tls:")) and covers(options.queue, dead)):
        what = f"{dead!r} is what messages come from: those that can be no run would come again; name another"
        yield Problem("usage.broker", "--dead", what)
    if options.folder is not None and not Path(options.folder).is_dir():
        yield Problem("usage.folder", "--flows", f"there is no folder {options.folder!r}")


def _with_password(url: str, environ: Mapping[str, str]) -> str:
    """Put the password into a url that has a user and none, so that it need not stand in a command line."""
    parts, password = urlsplit(url), environ.get(PASSWORD)
    if not password or not parts.username or parts.password is not None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


async def _serve(ingest: Ingest, source: Source, options: Options, err: Output) -> None:
    trouble: SurroundingsError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_obey_signals, ingest, err)
        try:
            told = await source.connect()
            if not options.quiet:
                err.line(f"taking messages of {told} into {ingest.store.shown_url}; Ctrl-C stops")
            await source.start(ingest.take)
            await _attend(ingest, source, told)
        except SurroundingsError as error:
            trouble = error
        with anyio.move_on_after(_STOP, shield=True):
            await source.stop()
        group.cancel_scope.cancel()
    if trouble is not None:
        raise trouble


async def _attend(ingest: Ingest, source: Source, told: str) -> None:
    """Return when we are asked to stop; raises SurroundingsError when no message will come any more."""
    while not ingest.stopping.is_set():
        if await source.is_broken():
            raise SurroundingsError(f"the {told} is gone, or the broker")
        with anyio.move_on_after(_LOOK):
            await ingest.stopping.wait()


async def _obey_signals(ingest: Ingest, err: Output) -> None:
    """Stop on the first signal, at once on the second: what is not acknowledged comes again."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            if ingest.stopping.is_set():
                os._exit(_LEFT)
            err.line("stopping; once more to leave at once")
            ingest.stopping.set()
