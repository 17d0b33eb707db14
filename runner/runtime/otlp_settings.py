"""What the standard variables say about sending telemetry: whether, where to, and how.

Source: OpenTelemetry specification, "OTLP Exporter" and "Environment Variable Specification". A
variable for one signal (``OTEL_EXPORTER_OTLP_TRACES_…``) wins over the general one; an empty one is
none. Timeouts are seconds, as in all of OpenTelemetry for Python.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from runner.core.redact import mask_url
from runner.errors import SurroundingsError

Signal = Literal["TRACES", "METRICS"]
PROTOCOLS: Final = ("http/protobuf", "http/json", "grpc")
_DEFAULT_ENDPOINTS: Final = {"http": "http://localhost:4318", "grpc": "http://localhost:4317"}
_COMPRESSIONS: Final = {"http": ("none", "gzip", "deflate"), "grpc": ("none", "gzip")}
_FILES: Final = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


@dataclass(frozen=True, slots=True)
class Target:
    """Where telemetry goes and how; for HTTP `url` is the whole one.

    `timeout` is seconds for one batch. `header_list` is text as OTEL_EXPORTER_OTLP_HEADERS has it,
    `headers` win over it. `files` are PEM files by the last words of their variables.
    """

    protocol: str
    url: str
    timeout: float
    compression: str = "none"
    header_list: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False


def target_of(
    environ: Mapping[str, str],
    endpoint: str | None = None,
    *,
    timeout: float,
    signal: Signal = "TRACES",
    headers: Mapping[str, str] | None = None,
) -> Target:
    """Return where a signal goes; `endpoint` and `headers` win, `timeout` counts where no variable sets one.

    Raises SurroundingsError with everything that makes no sense.
    """

    def value(name: str) -> str:
        return _value(environ, signal, name)

    files = {name: value(name) for name in _FILES if value(name)}
    target = Target(
        protocol=value("PROTOCOL") or PROTOCOLS[0],
        url=_url(environ, signal, endpoint),
        timeout=_seconds(value("TIMEOUT")) if value("TIMEOUT") else timeout,
        compression=value("COMPRESSION").lower() or "none",
        header_list=value("HEADERS"),
        headers=headers or {},
        files=files,
        insecure=value("INSECURE").lower() == "true",
    )
    if flaws := _flaws(target, value("TIMEOUT")):
        raise SurroundingsError("; ".join(flaws))
    return target


def _value(environ: Mapping[str, str], signal: Signal, name: str) -> str:
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}", "").strip()
    return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _url(environ: Mapping[str, str], signal: Signal, endpoint: str | None) -> str:
    """Return the endpoint; a general one, or a flag's, gets the path of the signal unless it has it."""
    form = (_value(environ, signal, "PROTOCOL") or PROTOCOLS[0]).partition("/")[0]
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
    if endpoint is None and own:
        return own
    base = endpoint or _value(environ, signal, "ENDPOINT") or _DEFAULT_ENDPOINTS.get(form, "")
    path = f"/v1/{signal.lower()}"
    if form == "grpc" or urlsplit(base).path.endswith(path):
        return base
    return base.rstrip("/") + path


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _flaws(target: Target, timeout: str) -> list[str]:
    form = target.protocol.partition("/")[0]
    known = _COMPRESSIONS.get(form, (target.compression,))
    parts = urlsplit(target.url)
    has_scheme = parts.scheme in ("http", "https") and bool(parts.hostname)
    checks = [
        (
            target.protocol in PROTOCOLS,
            f"no OTLP protocol {target.protocol!r}; use one of {', '.join(PROTOCOLS)}",
        ),
        (
            has_scheme or (form == "grpc" and "://" not in target.url),
            f"the OTLP endpoint {mask_url(target.url)!r} is no http or https url",
        ),
        (
            target.compression in known,
            f"no OTLP compression {target.compression!r}; use one of {', '.join(known)}",
        ),
        (0 < target.timeout < math.inf, f"the OTLP timeout {timeout!r} is no number of seconds above 0"),
        *(
            (Path(path).is_file(), f"OTEL_EXPORTER_OTLP_{name} names {path!r}, and there is no such file")
            for name, path in target.files.items()
        ),
    ]
    return [what for is_fine, what in checks if not is_fine]


def wanted(environ: Mapping[str, str], trace_id: int, *, parent_sampled: bool | None = None) -> bool:
    """Return whether the standard switches let this trace go to a backend.

    ``OTEL_SDK_DISABLED`` and ``OTEL_TRACES_SAMPLER`` are honoured (specification, SDK environment
    variables), except that a trace is sent when no sampler is named: asking for delivery is enough.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if sampler.startswith("parentbased_") and parent_sampled is not None:
        return parent_sampled
    match sampler.removeprefix("parentbased_"):
        case "always_off":
            return False
        case "traceidratio":
            return trace_id % 2**64 < _ratio(environ.get("OTEL_TRACES_SAMPLER_ARG", "")) * 2**64
        case _:
            return True


def metrics_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the standard variables ask for metrics over OTLP; by themselves they are off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    chosen = environ.get("OTEL_METRICS_EXPORTER", "").strip().lower()
    return "otlp" in chosen.split(",") or bool(
        not chosen and environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    )


def _ratio(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
