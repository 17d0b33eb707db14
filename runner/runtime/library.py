"""The one place that names the HTTP library: httpx2 where it is installed, else httpx, under one API."""

from __future__ import annotations

try:
    import httpx2 as httpx
except ImportError:
    import httpx  # type: ignore[no-redef]

__all__ = ["LIBRARY", "httpx"]

LIBRARY: str = httpx.__name__
