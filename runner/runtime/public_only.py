"""Connections to public addresses only: the address that was checked is the one that is connected to.

A name is looked up once for each new connection. Were it looked up for the check and again for the
connection, a name server could answer differently the second time.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, TypeAlias

import anyio

from runner.runtime.library import httpcore
from runner.runtime.wire import Unsendable

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# IANA's special-purpose registry: whatever is not "globally reachable", documentation included.
_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            "168.63.129.16/32",  # Azure's own services, as every virtual machine there reaches them
        ),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # all that IANA hands out; loopback, ULA, link-local are outside
# Protocol assignments with Teredo, documentation (twice), and 6to4, which can wrap any IPv4 address.
_SPECIAL_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_address(host: str) -> bool:
    """Tell whether a host is an address in its usual spelling."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Tell whether an address is one of the public internet; one within another is looked at by itself."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if inner is None:
            return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)
        address = inner
    return not any(address in network for network in _SPECIAL_V4)


def not_public(host: str, address: str) -> str:
    """Say why a host is refused."""
    of = "" if host == address else f" of {host}"
    return f"the address {address}{of} is not public; --deny-private refuses it"


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system knows for a host, in the order to try them."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class PublicBackend(httpcore.AsyncNetworkBackend):
    """A network for public addresses only; goes in front of another."""

    def __init__(self, beyond: httpcore.AsyncNetworkBackend, resolve: Resolver) -> None:
        self._beyond = beyond
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers; raises Unsendable if any is not public."""
        addresses = await self._resolve(host, port)
        for address in addresses:
            if not is_public(address):
                raise Unsendable("http.refused", not_public(host, address))
        trouble: Exception = socket.gaierror(socket.EAI_NONAME, "no address")
        for address in addresses:
            try:
                return await self._beyond.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                trouble = error
        raise trouble
