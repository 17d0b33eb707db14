"""Carries out the programs of platforms, and reads what their own tools are configured with."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar, assert_never

import anyio

from runner.core import names
from runner.core.commands import (
    Emit,
    GetToken,
    Json,
    Refused,
    Reply,
    SendRequest,
    Token,
    TokenSpec,
    Wait,
    Waited,
)
from runner.core.document import parse
from runner.core.program import token_program
from runner.errors import FlowError, Problem
from runner.platforms.client import Ask, Keep, Program, Tell
from runner.runtime.files import read_document
from runner.runtime.http import HttpClient, HttpSettings, Transport

T = TypeVar("T")

MOST_SETTINGS: Final = 1024 * 1024  # bytes of a token or of a tool's configuration


def carry_out(
    program: Program[T],
    http: HttpSettings,
    tell: Callable[[str], None],
    learn: Callable[[str], None] = lambda _: None,
    keep: Callable[[Mapping[str, Json]], None] = lambda _: None,
) -> T:
    """Perform the commands of a program and return what it returns; also where an event loop is running.

    `tell` is called in another thread, and so are `learn`, with every token that was obtained, and `keep`.
    Raises SurroundingsError for certificates that cannot be used.
    """
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        return portal.call(_carry_out, program, http, tell, learn, keep)


async def _carry_out(
    program: Program[T],
    http: HttpSettings,
    tell: Callable[[str], None],
    learn: Callable[[str], None],
    keep: Callable[[Mapping[str, Json]], None],
) -> T:
    async with Transport(http) as transport:
        return await _Performance(HttpClient(transport), tell, learn, keep).drive(program)


@dataclass(slots=True)
class _Performance:
    """Performs one program; a token is asked for once, and again only when a server rejects it."""

    client: HttpClient
    tell: Callable[[str], None]
    learn: Callable[[str], None]
    keep: Callable[[Mapping[str, Json]], None]
    tokens: dict[TokenSpec, str] = field(default_factory=dict)

    async def drive(self, program: Generator[Ask | Emit, Reply, T]) -> T:
        try:
            command = next(program)
            while True:
                command = program.send(await self._perform(command))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, command: Ask | Emit) -> Reply:
        match command:
            case SendRequest():
                return await self.client.send(command)
            case GetToken(spec, rejected):
                return await self._token(spec, rejected)
            case Wait(seconds):
                await anyio.sleep(seconds)
            case Tell(text):
                self.tell(text)
            case Keep(values):
                self.keep(values)
            case Emit(_, attributes):  # the token's program has nothing else to tell
                reason = attributes[names.REASON]
                self.tell(f"there is no token yet ({reason}); trying again")
            case other:
                assert_never(other)
        return Waited(time.time())

    async def _token(self, spec: TokenSpec, rejected: str | None) -> Token | Refused:
        known = self.tokens.get(spec)
        if known is not None and known != rejected:
            return Token(known)
        answer = await self.drive(token_program(spec))
        if isinstance(answer, Token):
            self.learn(answer.value)
            self.tokens[spec] = answer.value
        return answer


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
