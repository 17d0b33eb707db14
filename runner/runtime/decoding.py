"""Undo the content codings of an answer without ever holding more than a limit allows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

_PIECE = 64 * 1024
_GZIP = 31  # zlib's window bits for the gzip format
_ZLIB = 15
_RAW = -15
_MAGIC = b"\x1f\x8b"
_MOST_CODINGS = 4
_NAMES = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class BodyTooLarge(Exception):  # noqa: N818 - it is an outcome, and caught right where it is raised
    """The decoded body is larger than the limit."""


class UndecodableBodyError(Exception):
    """The body is not in the coding that the answer's head names."""


class BodyReader:
    """Collects the decoded bytes of one body; the codings of RFC 9110 section 8.4.1.

    A coding that was not asked for (`br`, or none at all such as `utf-8`) is left as it came.
    """

    __slots__ = ("_limit", "_pieces", "_size", "_stages")

    def __init__(self, content_encoding: str | None, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._pieces: list[bytes] = []
        self._stages = _stages(content_encoding)

    def feed(self, data: bytes) -> None:
        """Take the next bytes off the wire; raises BodyTooLarge or UndecodableBodyError."""
        self._pass_on(data, self._stages)

    def finish(self) -> bytes:
        """Return the whole body; raises UndecodableBodyError when its coding is not at an end."""
        for index, stage in enumerate(self._stages):
            self._pass_on(stage.rest(), self._stages[index + 1 :])
        return b"".join(self._pieces)

    def _pass_on(self, data: bytes, stages: Sequence[_Inflater]) -> None:
        if stages:
            for piece in stages[0].pieces(data):
                self._pass_on(piece, stages[1:])
        elif data:
            self._size += len(data)
            if self._size > self._limit:
                raise BodyTooLarge
            self._pieces.append(data)


def _stages(content_encoding: str | None) -> tuple[_Inflater, ...]:
    if not content_encoding:
        return ()
    names = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in names if name not in {"", "identity"}]
    if len(codings) > _MOST_CODINGS:
        raise UndecodableBodyError
    if not all(name in _NAMES for name in codings):
        return ()
    return tuple(_Inflater(_NAMES[name]) for name in reversed(codings))


class _Inflater:
    __slots__ = ("_begun", "_engine", "_format")

    def __init__(self, window_bits: int) -> None:
        self._format = window_bits
        self._engine = zlib.decompressobj(window_bits)
        self._begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._engine.eof and not self._next_member(data):
                return
            yield self._inflate(data)
            data = self._engine.unconsumed_tail or self._engine.unused_data

    def _next_member(self, data: bytes) -> bool:
        """Start over with what follows a gzip member; anything but another member is padding."""
        if self._format != _GZIP or not data.startswith(_MAGIC[: len(data)]):
            return False
        self._engine = zlib.decompressobj(_GZIP)
        return True

    def _inflate(self, data: bytes) -> bytes:
        try:
            piece = self._engine.decompress(data, _PIECE)
        except zlib.error as error:
            # "deflate" means the zlib format, but some servers send bare deflate data.
            if self._begun or self._format != _ZLIB:
                raise UndecodableBodyError from error
            self._format = _RAW
            self._engine = zlib.decompressobj(_RAW)
            return self._inflate(data)
        self._begun = True
        return piece

    def rest(self) -> bytes:
        if not self._begun:
            return b""
        rest = self._engine.flush()
        if not self._engine.eof:
            raise UndecodableBodyError
        return rest
