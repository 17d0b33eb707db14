"""What the texts of inputs must look like: patterns, e-mail addresses, URLs, dates, file sizes.

Each rule of `validation` that needs more than a comparison has two functions here: `…_flaw(limit)`
says what is wrong with the declaration (empty when nothing is), and one tells whether a value keeps it.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from runner.core.commands import Json

if TYPE_CHECKING:
    import regex

PATTERN_SECONDS: Final = 0.1
_MAX_PATTERN: Final = 10_000
_MAX_EXPANSION: Final = 20_000

_DELIMITED = re.compile(r"([/#~])(.*)\1([a-zA-Z]*)", re.DOTALL)
_ATOM = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\{(?P<count>[0-9]+)(?:,[0-9]*)?\}|.",
    re.DOTALL,
)
_FREE_SPACING = re.compile(r"\(\?(?:#|[a-zA-Z]*x)")

_LOCAL_PART = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")
_LABEL = re.compile(r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?")
_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f\"<>\\^`{|}]")

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_DATE_LETTERS: Final = {
    "Y": r"[0-9]{4}",
    "y": r"[0-9]{2}",
    "m": r"0[1-9]|1[0-2]",
    "n": r"[1-9]|1[0-2]",
    "d": r"0[1-9]|[12][0-9]|3[01]",
    "j": r"[1-9]|[12][0-9]|3[01]",
    "H": r"[01][0-9]|2[0-3]",
    "G": r"1?[0-9]|2[0-3]",
    "h": r"0[1-9]|1[0-2]",
    "g": r"[1-9]|1[0-2]",
    "i": r"[0-5][0-9]",
    "s": r"[0-5][0-9]",
    "A": r"AM|PM",
    "a": r"am|pm",
    "v": r"[0-9]{3}",
    "u": r"[0-9]{6}",
    "P": r"[+-][0-9]{2}:[0-9]{2}",
    "O": r"[+-][0-9]{4}",
}
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ].+)?", re.ASCII)


def pattern_flaw(limit: Json) -> str:
    """Say why a `pattern` cannot be used, or nothing."""
    try:
        _compiled(limit)
    except ValueError as error:
        return str(error)
    return ""


def matches(value: str, limit: Json) -> bool:
    """Tell whether a pattern is found in a value; raises TimeoutError after `PATTERN_SECONDS`."""
    return _compiled(limit).search(value, timeout=PATTERN_SECONDS) is not None


def _compiled(limit: Json) -> regex.Pattern[str]:
    r"""Compile a pattern as PCRE reads it, bare or as ``/pattern/flags``; raises ValueError with a sentence.

    As in PCRE, the classes ``\d \w \s`` are ASCII unless the flag ``u`` is given.
    """
    import regex

    if not isinstance(limit, str):
        raise ValueError("must be a text")  # noqa: TRY004 - the caller shows it as a problem of the document
    delimited = _DELIMITED.fullmatch(limit)
    source, letters = (delimited[2], delimited[3]) if delimited else (limit, "")
    flags = regex.UNICODE if "u" in letters else regex.ASCII
    for letter in letters:
        if letter not in "imsxuDUJSX":
            raise ValueError(f"has the flag {letter!r}, which is not supported")
        flags |= {"i": regex.I, "m": regex.M, "s": regex.S, "x": regex.X}.get(letter, 0)
    _check_size(source, letters)
    try:
        return regex.compile(source, flags)
    except (regex.error, RecursionError, OverflowError) as error:
        reason = str(error) if isinstance(error, regex.error) else "nested too deep or too large"
        raise ValueError(f"does not compile: {reason}") from None


def _check_size(source: str, letters: str) -> None:
    # The compiler writes counted repeats out: `((a{1000}){1000}){1000}` would take all memory.
    counts = [int(count) for count in re.findall(r"\{([0-9]+)", source)]
    product = len(source)
    for count in counts:
        product *= max(1, min(count, _MAX_EXPANSION))
    if len(source) <= _MAX_PATTERN and product <= _MAX_EXPANSION:
        return
    is_readable = "x" not in letters and not _FREE_SPACING.search(source)
    if len(source) > _MAX_PATTERN or (counts and not (is_readable and _expansion(source) <= _MAX_EXPANSION)):
        raise ValueError("is too large with its repeats written out; make it simpler")


def _expansion(source: str) -> int:
    """Return how many atoms a pattern has when each group stands there as often as it must repeat."""
    sizes = [0]
    last = 0
    for match in _ATOM.finditer(source):
        token = match[0]
        if token == "(":
            sizes.append(0)
        elif token == ")" and len(sizes) > 1:
            last = sizes.pop() + 1
            sizes[-1] += last
        elif match["count"]:
            repeats = min(int(match["count"]), _MAX_EXPANSION + 1)
            sizes[-1] += last * max(0, repeats - 1)
            last *= max(1, repeats)
        elif token not in "*+?":
            last = 1
            sizes[-1] += 1
    return sum(sizes)


def is_email(value: str) -> bool:
    """Tell whether a text is a mail address: a dot-atom, and a domain of two labels or more (RFC 5321)."""
    local, _, domain = value.rpartition("@")
    labels = domain.split(".")
    dots_ok = not local.startswith(".") and not local.endswith(".") and ".." not in local
    return (
        len(value) <= 254
        and dots_ok
        and _LOCAL_PART.fullmatch(local) is not None
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
    )


def is_url(value: str) -> bool:
    """Tell whether a text is an absolute http or https URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not _NOT_IN_URL.search(value)


def is_iso_date(value: str) -> bool:
    """Tell whether a text is a date, or a date with a time (RFC 3339), that exists."""
    if not _ISO_DATE.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def date_flaw(limit: Json) -> str:
    """Say why a date `format` cannot be used, or nothing."""
    if not isinstance(limit, str) or not limit:
        return "must be a text such as Y-m-d"
    letters = [letter for letter, is_literal in _date_parts(limit) if not is_literal]
    unknown = next((letter for letter in letters if letter not in _DATE_LETTERS), None)
    if unknown is not None:
        return f"has the unknown letter {unknown!r}; use the letters of PHP, such as Y-m-d H:i:s"
    if len(set(letters)) < len(letters):
        return "has a letter twice; one letter stands for all its digits, such as Y-m-d"
    return ""


def is_date(value: str, limit: Json) -> bool:
    """Tell whether a text is a date in a format of PHP letters, and a day that exists."""
    parts = _date_parts(limit)
    pattern = "".join(
        re.escape(letter) if is_literal else f"(?P<{letter}>{_DATE_LETTERS[letter]})"
        for letter, is_literal in parts
    )
    match = re.fullmatch(pattern, value)
    if match is None:
        return False
    found = match.groupdict()
    # 2000 is a leap year and January has 31 days: what the format leaves out forbids nothing.
    year = int(found.get("Y") or f"20{found.get('y', '00')}")
    month = int(found.get("m") or found.get("n") or 1)
    try:
        date(year, month, int(found.get("d") or found.get("j") or 1))
    except ValueError:
        return False
    return True


def _date_parts(limit: str) -> list[tuple[str, bool]]:
    """Return each character of a format, and whether it is no letter or stands behind a backslash."""
    return [
        (match[0][-1], len(match[0]) > 1 or not match[0].isalpha())
        for match in re.finditer(r"\\.|.", limit, re.DOTALL)
    ]


def size_flaw(limit: Json) -> str:
    """Say why a `max_size` cannot be used, or nothing."""
    return "" if _size(limit) is not None else "must be a number of bytes or a text such as 5MB"


def fits_size(value: str | bytes, limit: Json) -> bool:
    """Tell whether a file's content is at most `limit` large; KB, MB and GB are powers of 1024."""
    content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return len(content) <= (_size(limit) or 0)


def _size(limit: Json) -> float | None:
    match = _SIZE.fullmatch(str(limit).strip()) if isinstance(limit, str | int | float) else None
    return float(match[1]) * 1024 ** _POWERS[match[2].lower()] if match else None


def has_extension(file_name: str, limit: Json) -> bool:
    """Tell whether a file's name ends with one of the extensions, with or without their dot."""
    return any(file_name.lower().endswith("." + ending.lower().removeprefix(".")) for ending in limit)
