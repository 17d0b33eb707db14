"""Which way a request takes: straight to its host, through a proxy, or nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol

from runner.core.commands import Refused


@dataclass(frozen=True, slots=True)
class Route:
    """Where to connect to: a host, a port, and the url of a proxy in between, if any.

    When `host` is not the host of the url, `Host` header and TLS server name stay those of the url.
    With `public_only` each new connection is refused unless all addresses of the host are public.
    """

    host: str
    port: int
    proxy: str | None = None
    public_only: bool = False


class Router(Protocol):
    """Decides the way of each request just before it is sent; redirects pass it hop by hop."""

    async def route(self, scheme: str, host: str, port: int) -> Route | Refused:
        """Return where to connect to, or why nothing may be sent there (code ``http.refused``)."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The proxies for http and https urls, and the hosts (NO_PROXY entries) that are reached without."""

    http: str | None = None
    https: str | None = None
    exempt: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> ProxyRules:
        """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; the lower-case spelling wins, as in curl."""

        def value(name: str) -> str:
            return (env.get(name.lower()) or env.get(name) or "").strip()

        def proxy(name: str) -> str | None:
            found = value(name) or value("ALL_PROXY")
            return found if not found or "://" in found else f"http://{found}"

        return cls(
            # Under CGI a request header `Proxy` arrives as HTTP_PROXY.
            http=(env.get("http_proxy") if "REQUEST_METHOD" in env else proxy("HTTP_PROXY")) or None,
            https=proxy("HTTPS_PROXY") or None,
            exempt=tuple(entry.lower() for entry in re.split(r"[\s,]+", value("NO_PROXY")) if entry),
        )

    @property
    def any(self) -> bool:
        """Whether any host is reached through a proxy."""
        return (self.http or self.https) is not None and "*" not in self.exempt

    def proxy_for(self, scheme: str, host: str, port: int) -> str | None:
        """Return the proxy's url; None for loopback hosts, which no proxy could reach, and exempt ones."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or _is_loopback(host):
            return None
        return None if any(_covers(entry, host.lower(), port) for entry in self.exempt) else proxy


class ProxyRouter:
    """Lets every request pass, through the proxies that the rules name."""

    __slots__ = ("_routes", "_rules")

    def __init__(self, rules: ProxyRules) -> None:
        self._rules = rules
        self._routes: dict[tuple[str, str, int], Route] = {}

    async def route(self, scheme: str, host: str, port: int) -> Route | Refused:
        """Return the host itself and its proxy, if it has one."""
        key = scheme, host, port
        if (route := self._routes.get(key)) is None:
            route = Route(host, port, self._rules.proxy_for(scheme, host, port))
            self._routes[key] = route
        return route


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _covers(entry: str, host: str, port: int) -> bool:
    """Tell whether a NO_PROXY entry covers a host: name, .suffix, *.suffix, address or network, any :port."""
    if entry == "*":
        return True
    if (network := _in_network(entry.strip("[]"), host)) is not None:
        return network
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        return int(wanted) == port and _covers(name, host, port)
    if entry.startswith((".", "*.")):
        return host.endswith(entry.removeprefix("*"))
    return host == entry or host.endswith(f".{entry}")


def _in_network(entry: str, host: str) -> bool | None:
    """Tell whether a host is an address of the network; None when the entry is no network."""
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return None
    try:
        return ip_address(host) in network
    except ValueError:
        return False
