"""Where the requests of one run may go: hosts that are sent elsewhere, hosts that are allowed.

Rules are the user's, given with the run; a flow cannot change them. Addresses are checked where
connections are made: see `runner.runtime.public_only`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Final, TypeVar

from runner.core.commands import Refused
from runner.errors import Problem
from runner.runtime.policy import ProxyRules, Route, Router
from runner.runtime.public_only import is_address, is_public, not_public

_PLACE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~*?-]+))(?::([0-9]{1,5}))?")
_MOST_CACHED: Final = 1024
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class HostPlace:
    """A host, in which ``*`` and ``?`` may stand for other characters, and a port; None is any port."""

    host: str
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Tell whether a host and port are meant; `host` is as `plain_host` returns it."""
        return self.port in (None, port) and fnmatchcase(host, self.host)


@dataclass(frozen=True, slots=True)
class HostRules:
    """`maps` are (place, where to connect instead), the first that covers a host counts.

    With any in `allowed` only these hosts are sent to. `deny_private` lets connections go to public
    addresses only.
    """

    maps: tuple[tuple[HostPlace, HostPlace], ...] = ()
    allowed: tuple[HostPlace, ...] = ()
    deny_private: bool = False


class HostRouter:
    """Lets requests pass that the rules allow, and asks the router `beyond` which way they take.

    A host that is mapped is connected to directly, without a proxy.
    """

    __slots__ = ("_beyond", "_found", "_rules")

    def __init__(self, rules: HostRules, beyond: Router) -> None:
        self._rules = rules
        self._beyond = beyond
        self._found: dict[tuple[str, str, int], Route | Refused] = {}

    async def route(self, scheme: str, host: str, port: int) -> Route | Refused:
        """Return where to connect to, or a `Refused` with the code ``http.refused``."""
        key = scheme, host, port
        if (found := self._found.get(key)) is None:
            if len(self._found) >= _MOST_CACHED:
                self._found.clear()
            found = self._found[key] = await self._decide(scheme, host, port)
        return found

    async def _decide(self, scheme: str, host: str, port: int) -> Route | Refused:
        rules, plain = self._rules, plain_host(host)
        if rules.allowed and not any(place.covers(plain, port) for place in rules.allowed):
            return _refused(f"{host}:{port} is none of the hosts that --allow-host names")
        target = next((target for place, target in rules.maps if place.covers(plain, port)), None)
        if target is not None:
            route: Route | Refused = Route(target.host, target.port or port)
        else:
            route = await self._beyond.route(scheme, host, port)
        if isinstance(route, Refused) or not rules.deny_private:
            return route
        if route.proxy is not None:
            return _refused("a proxy would look the host up, so --deny-private cannot check its address")
        if is_address(route.host) and not is_public(route.host):
            return _refused(not_public(route.host, route.host))
        return replace(route, public_only=True)


def plain_host(host: str) -> str:
    """Return a host in the one spelling that patterns are compared with."""
    plain = host.lower().removesuffix(".")
    return ip_address(plain).compressed if ":" in plain and is_address(plain) else plain


def read_rules(
    maps: Iterable[str], allowed: Iterable[str], *, deny_private: bool, proxies: ProxyRules
) -> tuple[HostRules, list[Problem]]:
    """Read rules, written as ``HOST[:PORT]=HOST[:PORT]`` and ``PATTERN[:PORT]``; returns all problems too."""
    problems: list[Problem] = []
    rules = HostRules(
        maps=tuple(_readable(maps, _read_map, ("usage.map", "--map"), problems)),
        allowed=tuple(_readable(allowed, read_place, ("usage.allow_host", "--allow-host"), problems)),
        deny_private=deny_private,
    )
    if deny_private and proxies.any:
        what = "a proxy would look the hosts up; unset HTTP_PROXY and its like, or set NO_PROXY='*'"
        problems.append(Problem("usage.deny_private", "--deny-private", what))
    return rules, problems


def _readable(
    texts: Iterable[str], read: Callable[[str], _Found], of: tuple[str, str], problems: list[Problem]
) -> Iterator[_Found]:
    code, flag = of
    for text in texts:
        try:
            yield read(text)
        except ValueError as error:
            problems.append(Problem(code, flag, str(error)))


def _read_map(text: str) -> tuple[HostPlace, HostPlace]:
    source, equals, target = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not HOST[:PORT]=HOST[:PORT]")
    where = read_place(target)
    if "*" in where.host or "?" in where.host:
        raise ValueError(f"{target!r} is a pattern; name the one host to connect to")
    return read_place(source), where


def read_place(text: str) -> HostPlace:
    """Read ``PATTERN[:PORT]``; raises ValueError with what is wrong."""
    if ":" in text and is_address(text):  # an IPv6 address without brackets
        return HostPlace(plain_host(text))
    match = _PLACE.fullmatch(text.strip())
    bracketed, named, port = match.groups() if match else ("", "", None)
    if (bracketed and not is_address(bracketed)) or not (bracketed or named):
        hint = "leave scheme and path out" if "/" in text else "other scripts are written as xn--…"
        raise ValueError(f"{text!r} is no host with an optional port; {hint}")
    if port is not None and not 1 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} has a port that does not exist; ports go from 1 to 65535")
    return HostPlace(plain_host(bracketed or named), None if port is None else int(port))


def _refused(why: str) -> Refused:
    return Refused("http.refused", why)
