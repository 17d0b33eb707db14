"""Encryption of everything that the state database holds (SEMANTICS, Secrets, "At rest")."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from runner.errors import SurroundingsError

KEY_VARIABLE: Final = "RUNNER_STATE_KEY"
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=")
_ID_LENGTH: Final = 8


class Vault:
    """Encrypts with the first key and decrypts with any (``cryptography``'s Fernet).

    What it writes begins with the id of the key, so that a key that is missing can be named.
    Raises SurroundingsError for a text that is no key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.fernet import Fernet

        for key in keys:
            if not _KEY.fullmatch(key):
                what = "is no Fernet key (32 bytes in url-safe base64)"
                raise SurroundingsError(f"{KEY_VARIABLE} {what}; 'runner worker --new-key' prints a new one")
        self._keys = {key_id(key): Fernet(key) for key in keys}
        self.current = key_id(keys[0])
        self._last = keys[-1].encode()  # new ones are listed before it

    def seal(self, data: bytes) -> bytes:
        """Return the data encrypted."""
        return self.current.encode() + self._keys[self.current].encrypt(data)

    def is_current(self, sealed: bytes) -> bool:
        """Tell whether it is the key to encrypt with that opens this."""
        return bytes(sealed[:_ID_LENGTH]) == self.current.encode()

    def fingerprint(self, text: str) -> str:
        """Return what stands for a text and does not tell it: the same for all who list the same last key."""
        return hmac.new(self._last, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]

    def open(self, sealed: bytes) -> bytes:
        """Return the data; raises SurroundingsError naming the key when it is not among ours."""
        from cryptography.fernet import InvalidToken

        name = bytes(sealed[:_ID_LENGTH]).decode("ascii", "replace")
        if name not in self._keys:
            known = ", ".join(self._keys)
            what = f"the state was encrypted with key {name}, which is not here (there is {known})"
            raise SurroundingsError(f"{what}; list it in {KEY_VARIABLE}")
        try:
            return self._keys[name].decrypt(bytes(sealed[_ID_LENGTH:]))
        except InvalidToken as error:
            raise SurroundingsError(f"the state is damaged: key {name} does not open it") from error


def key_id(key: str) -> str:
    """Return the name of a key, which tells nothing about it."""
    return sha256(key.encode()).hexdigest()[:_ID_LENGTH]


def new_key() -> str:
    """Return a new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def listed_keys(text: str | None) -> tuple[str, ...]:
    """Return the keys of RUNNER_STATE_KEY: separated by commas, the one to encrypt with first."""
    return tuple(part for part in re.split(r"[,\s]+", text or "") if part)


def key_beside(database: Path) -> str:
    """Return the key in ``<database>.key``; one that is not there is made, readable by its owner alone.

    Two processes that start together agree on one: whoever comes second reads what the first wrote.
    """
    path = Path(f"{database}.key")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
        beside.unlink()
    return path.read_text(encoding="ascii").strip()
