"""Where a url leads to; which component of it a value stands in, and how it is written there (RFC 3986).

A value never changes the shape of the url that the author wrote: it cannot end a path segment, add
a query parameter or move the request to another host.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from runner.errors import StepError


class Component(IntEnum):
    """Where in a url a piece stands; START is before anything is known."""

    START = 0
    USERINFO = 1
    HOST = 2
    PATH = 3
    QUERY = 4
    FRAGMENT = 5


DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_BEFORE_PATH: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_SCHEME: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
_AUTHORITY_END: Final = re.compile(r"[/?#\\]")
_HOST: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_NOT_HOST: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_HOST: Final = 253
_DOTS: Final = (".", "..")


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a url that can be sent to; raises ValueError for any other."""
    before = _BEFORE_PATH.match(url)
    return _origin(before[0] if before else url)


@lru_cache(maxsize=256)
def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0:
        raise ValueError(url)
    return parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme]


def advance(component: Component, text: str) -> Component:
    """Return the component in which the url stands after `text` was appended."""
    if component is Component.START:
        scheme = _SCHEME.match(text)
        component = Component.HOST if scheme else Component.PATH
        text = text[scheme.end() :] if scheme else text
    if component is Component.HOST:
        end = _AUTHORITY_END.search(text)
        if end is None:
            return component
        component, text = Component.PATH, text[end.start() :]
    if component is Component.PATH:
        query, fragment = text.find("?"), text.find("#")
        if query >= 0 and (fragment < 0 or query < fragment):
            component, text = Component.QUERY, text[query:]
        elif fragment >= 0:
            return Component.FRAGMENT
    if component is Component.QUERY and "#" in text:
        return Component.FRAGMENT
    return component


def components(pieces: tuple[object, ...], start: Component) -> tuple[Component, ...]:
    """Return the component of each piece; literal pieces are `str`, all others are values."""
    found: list[Component] = []
    component = start
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            component = advance(component, piece)
            found.append(component)
        elif component is Component.HOST and _before_at_sign(pieces[index + 1 :]):
            found.append(Component.USERINFO)
        else:
            found.append(Component.PATH if component is Component.START else component)
    return tuple(found)


def _before_at_sign(pieces: tuple[object, ...]) -> bool:
    for piece in pieces:
        if isinstance(piece, str):
            end = _AUTHORITY_END.search(piece)
            if "@" in (piece[: end.start()] if end else piece):
                return True
            if end:
                return False
    return False


def encode(text: str, component: Component, name: str, *, encoded: bool = False) -> str:
    """Return a value as it stands in its component; `encoded` values are not encoded again.

    Raises StepError `url.host` for what is no host name, `url.path` for a segment ``.`` or ``..``,
    and `template.encoding` for a lone surrogate. `name` says in the message whose value it is.
    """
    if component is Component.HOST:
        return _host(text, name)
    if component is Component.PATH and text in _DOTS:
        raise StepError("url.path", f"{name} is {text!r}, which would lead to another path")
    if encoded:
        return text
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise StepError("template.encoding", f"{name} holds half a character (a lone surrogate)") from None


def _host(text: str, name: str) -> str:
    if _HOST.fullmatch(text) and len(text) <= _LONGEST_HOST:
        return text
    odd = _NOT_HOST.search(text)
    seen = f"has {odd[0]!r} in it" if odd else "is empty, too long or has an empty label"
    hint = "; give port or scheme their own place in the url, or the whole base url as one value"
    raise StepError("url.host", f"{name} stands in the host of a url, but {seen}{hint}")
