"""The one place that names the HTTP library: httpx2 where it is installed, else httpx, under one API.

Requests go out over its core alone. The library itself is imported by those who need more of it:
cookies, multipart bodies, unusual hosts, proxies and TLS, none of which a plain run has.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or find_spec("httpx2") is not None:
    import httpcore2 as httpcore

    if TYPE_CHECKING:
        import httpx2 as httpx
else:
    import httpcore

__all__ = ["LIBRARY", "httpcore", "httpx", "sending"]

# True while a request of ours is sent.
sending: ContextVar[bool] = ContextVar("runner.sending", default=False)

LIBRARY = httpcore.__name__.replace("httpcore", "httpx")


def _is_of_others(_: logging.LogRecord) -> bool:
    """Let no debug line about a request of ours pass: it quotes headers. The span tells, masked."""
    return not sending.get()


for _part in ("connection", "http11", "proxy", "socks"):
    logging.getLogger(f"{httpcore.__name__}.{_part}").addFilter(_is_of_others)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module
    if name == "httpx":
        return import_module(LIBRARY)
    raise AttributeError(name)
