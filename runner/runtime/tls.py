"""Whom TLS trusts and as whom it presents itself, and what its errors mean."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from runner.errors import SurroundingsError

# The server's certificate says another name than the one asked for (X509_V_ERR_*_MISMATCH in x509_vfy.h).
_OTHER_NAME = {62, 64}
_EXPIRED = {9, 10}

_REASONS = {
    "WRONG_VERSION_NUMBER": "the server does not speak TLS on this port; is its url an http:// one?",
    "HTTP_REQUEST": "the server does not speak TLS on this port; is its url an http:// one?",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS on this port; is its url an http:// one?",
    "CERTIFICATE_REQUIRED": "the server demands a client certificate; give one with --client-cert FILE",
    "UNKNOWN_CA": "the server does not trust the client certificate; give another with --client-cert FILE",
    "BAD_CERTIFICATE": "the server refused the client certificate; give another with --client-cert FILE",
    "HANDSHAKE_FAILURE": "the server refused the handshake; it may want a client certificate (--client-cert)",
    "UNEXPECTED_EOF_WHILE_READING": "the server ended the connection during the TLS handshake",
    "UNSUPPORTED_PROTOCOL": "the server offers only TLS versions that are no longer accepted",
    "PROTOCOL_VERSION": "the server does not accept the TLS versions that are offered to it",
}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """PEM files: `cacert` is trusted beside the system's authorities; `client_cert` may hold the key too."""

    cacert: Path | None = None
    insecure: bool = False
    client_cert: Path | None = None
    client_key: Path | None = None


@lru_cache(maxsize=32)
def trusting_context(
    options: TlsOptions,
    default: Callable[[], ssl.SSLContext],
) -> ssl.SSLContext:
    """Return the context for these options, made once per process (it takes about 15 ms).

    `default` makes one that trusts the system's authorities. Raises SurroundingsError for a file
    that is missing or is not what it should be.
    """
    if options.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = default()
    if options.cacert is not None:
        _load("CA certificate", options.cacert, lambda: context.load_verify_locations(options.cacert))
    if (certificate := options.client_cert) is not None:
        key = options.client_key
        what = "client certificate" if key is None else f"client certificate (key {str(key)!r})"
        # Without a password given, OpenSSL would ask for one on the terminal.
        _load(what, certificate, lambda: context.load_cert_chain(certificate, key, password=""))
    return context


def _load(what: str, path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        reason = _words(error) if _reason(error) else "the key is missing, encrypted or another's"
        raise SurroundingsError(f"the {what} {str(path)!r} cannot be used: {reason}") from error
    except OSError as error:
        reason = (error.strerror or "it cannot be opened").lower()
        raise SurroundingsError(f"the {what} {str(path)!r} cannot be read: {reason}") from error


def _reason(error: ssl.SSLError) -> str:
    reason: str | None = getattr(error, "reason", None)  # only errors that OpenSSL made have one
    return reason or ""


def _words(error: ssl.SSLError) -> str:
    return _reason(error).replace("_", " ").lower() or "unknown reason"


def tls_message(error: ssl.SSLError) -> str:
    """Say in a sentence why TLS failed, with a remedy where there is one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    reason = _reason(error)
    for known, message in _REASONS.items():
        if reason.endswith(known):
            return message
    return f"TLS failed: {_words(error)}"


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    why = (error.verify_message or "unknown reason").rstrip(".")
    if error.verify_code in _OTHER_NAME:
        return f"certificate not trusted: {why[0].lower()}{why[1:]}"
    if error.verify_code in _EXPIRED:
        return f"certificate not trusted: {why}; the server needs a new one"
    return f"certificate not trusted: {why}; name the authority that signed it with --cacert FILE"
