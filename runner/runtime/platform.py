"""Carries out the programs of platforms, and reads what their own tools are configured with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar, assert_never

import anyio

from runner.core.commands import Json, Reply, SendRequest, Wait, Waited
from runner.core.document import parse
from runner.errors import FlowError, Problem
from runner.platforms.client import Ask, Program, Tell
from runner.runtime.files import read_document
from runner.runtime.http import HttpClient, HttpSettings, Transport

T = TypeVar("T")

MOST_SETTINGS: Final = 1024 * 1024  # bytes of a token or of a tool's configuration


def carry_out(program: Program[T], http: HttpSettings, tell: Callable[[str], None]) -> T:
    """Perform the commands of a program and return what it returns; also where an event loop is running.

    `tell` is called in another thread. Raises SurroundingsError for certificates that cannot be used.
    """
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        return portal.call(_drive, program, http, tell)


async def _drive(program: Program[T], http: HttpSettings, tell: Callable[[str], None]) -> T:
    async with Transport(http) as transport:
        client = HttpClient(transport)
        try:
            command = next(program)
            while True:
                command = program.send(await _perform(command, client, tell))
        except StopIteration as stop:
            result: T = stop.value
            return result


async def _perform(command: Ask, client: HttpClient, tell: Callable[[str], None]) -> Reply:
    match command:
        case SendRequest():
            return await client.send(command)
        case Wait(seconds):
            await anyio.sleep(seconds)
        case Tell(text):
            tell(text)
        case other:
            assert_never(other)
    return Waited(time.time())


def read_secret(path: str) -> str:
    """Return the secret that is alone in a file; raises FlowError when the file holds anything else."""
    secret = read_document(path, MOST_SETTINGS).decode("utf-8", "replace").strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        raise FlowError([Problem("usage.credentials", "", f"{path!r} must hold one secret in one line")])
    return secret


def read_settings(path: Path) -> Mapping[str, Json] | None:
    """Return the settings in a JSON or YAML file, None where there is no such file (a folder is none).

    Raises FlowError for a file that cannot be read.
    """
    if not path.is_file():
        return None
    return dict(parse(read_document(str(path), MOST_SETTINGS), name=str(path)).value)
