"""Keeping secrets out of everything that is shown, written or sent to a backend.

A secret is known by where it came from, not by what it looks like: whoever takes a value from a
password input, a secret environment value or an access token gives it to a `Masker`, and the masker
replaces it wherever it turns up, in whatever spelling. See SEMANTICS, Secrets.

How a value is looked for: its letters and digits look the same in every encoding but base64, so
the longest run of them is the *probe*. Only a text that contains the probe is searched with the
value's pattern, in which every other character stands for all of its spellings. A text without
secrets therefore costs a few substring searches.

What is promised: a value that the masker was given before a text is shown is not in it, in no
spelling and no base64. Values are masked before anything is cut off, so a cut leaves no part of
one. A part that somebody else has cut out, or a value that was hashed, encrypted or packed, is not
recognised.
"""

from __future__ import annotations

import html.entities
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring as _quoted
from typing import Final
from urllib.parse import unquote_plus

from runner.core.commands import Json

MASK: Final = "[masked]"
REDACTED: Final = "REDACTED"  # the word that semantic conventions prescribe inside url.full
SHORTEST: Final = 4  # shorter values would mask half of every text
LONGEST: Final = 16 * 1024  # beyond this only the value as it stands is looked for

_WORDS: Final = frozenset(
    (
        *("TOKEN", "KEY", "SECRET", "PASSWORD", "PASS", "CREDENTIAL", "AUTH", "COOKIE", "SESSION"),
        *("APIKEY", "PASSWD", "PASSPHRASE"),  # the same words as many people spell them
    )
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization"})  # no word of theirs says so
# Keys to a cache or against doing something twice, which open nothing.
_HARMLESS_HEADERS: Final = frozenset(
    ("idempotency-key", "x-idempotency-key", "cache-key", "x-cache-key", "surrogate-key", "sec-websocket-key")
)

_PROBE_LENGTH: Final = 24  # enough to tell; a longer one only takes longer to look for
_FEW: Final = 256  # so many probes are looked for one by one
_GRAM: Final = 8  # more of them by their first characters, all at once
_PLAIN: Final = "[A-Za-z0-9]+"  # no common encoder touches these
_UNIT: Final = re.compile(rf"(?P<plain>{_PLAIN})|(?P<slashes>\\*)(?P<odd>.?)", re.DOTALL)
_RUN: Final = re.compile(_PLAIN)
_CONTROLS: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_PERCENT: Final = "%(?:25){0,3}"  # a percent sign, itself encoded up to three times
_AMP: Final = "&(?:amp;){0,3}"  # an ampersand, itself encoded up to three times
_SLASH: Final = rf"(?:\\|{_PERCENT}5[Cc]|{_AMP}#(?:0*92|[xX]0*5[Cc]);)"
_DEEPEST: Final = 15  # backslashes that stand for one after JSON within JSON, four times over
_ANY_SLASHES: Final = rf"\\{{0,{_DEEPEST}}}+"
_SOME_SLASHES: Final = rf"\\{{1,{_DEEPEST}}}+"

# base64 is cut into lines of 64 or 76 characters (PEM, MIME); the line breaks may stand in JSON.
_WRAP: Final = re.compile(r"(?<=[A-Za-z0-9+/_-]{60})(?:\r?\n|(?:\\{1,15}r)?\\{1,15}n)(?=[A-Za-z0-9+/_=-])")

_USERINFO: Final = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#]*@")
_PARAMETER: Final = re.compile(r"[?&;#]([^=&;#?/]*)=")
_PARAMETER_END: Final = re.compile(r"[&;#]|$")
# What precedes a value, the name, the value, what follows.
_JSON_FIELD: Final = re.compile(r'("((?:[^"\\]|\\.){1,100}+)"\s*+:\s*+")((?:[^"\\]|\\.)*+)(")')
_FORM_FIELD: Final = re.compile(r"((?:^|(?<=&))([^=&]{1,100}+)=)([^&]*+)()")
# Semantic conventions v1.44, url.full: these names, case-sensitive …
_SIGNED: Final = frozenset(
    (
        "AWSAccessKeyId",
        "Signature",
        "sig",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Goog-Signature",
    )
)
# … and ours: names that are usual for secrets, in any case, dashes and underscores left out.
_USUAL: Final = frozenset(
    (
        "accesstoken",
        "apikey",
        "assertion",
        "auth",
        "authorization",
        "clientsecret",
        "code",
        "idtoken",
        "jwt",
        "key",
        "passwd",
        "password",
        "pwd",
        "refreshtoken",
        "secret",
        "sessionid",
        "token",
    )
)


@lru_cache(maxsize=1024)
def secret_name(name: str) -> bool:
    """Return whether an environment name looks secret: one of its words says so (SEMANTICS, Secrets).

    Words are parted by anything that is no letter and by capitals: ``API_TOKEN``, ``api-key``,
    ``dbPassword``; a plural counts as its word, ``MONKEY`` is no key.
    """
    words = (word.upper() for word in _WORD.findall(name))
    return any(word in _WORDS or word.removesuffix("S") in _WORDS for word in words)


def mask_fields(text: str, *, form: bool) -> str:
    """Return JSON text, or a form's, with the texts masked that stand under a name which looks secret.

    A second net, for captured bodies: what a server calls a password is one, whoever knows of it.
    """

    def shown(match: re.Match[str]) -> str:
        return match[1] + MASK + match[4] if match[3] and secret_name(match[2]) else match[0]

    return (_FORM_FIELD if form else _JSON_FIELD).sub(shown, text)


@lru_cache(maxsize=1024)
def secret_header(name: str) -> bool:
    """Return whether the values of a header are credentials, by its name: cookies, tokens, API keys."""
    lower = name.lower()
    return lower in _SECRET_HEADERS or (lower not in _HARMLESS_HEADERS and secret_name(name))


def mask_url(url: str) -> str:
    """Return the url with its userinfo and the values of secret query parameters as ``REDACTED``.

    Everything else stays byte for byte as it was (semantic conventions v1.44, url.full).
    """
    if "=" not in url and "@" not in url:
        return url
    url = _USERINFO.sub(rf"\1{REDACTED}:{REDACTED}@", url)
    shown: list[str] = []
    at = 0
    while (match := _PARAMETER.search(url, at)) is not None:
        shown.append(url[at : match.end()])
        at = match.end()
        end = _PARAMETER_END.search(url, at)
        if end is not None and end.start() > at and _is_secret_parameter(match.group(1)):
            shown.append(REDACTED)
            at = end.start()
    return "".join((*shown, url[at:]))


def _is_secret_parameter(name: str) -> bool:
    plain = unquote_plus(name)
    return plain in _SIGNED or re.sub(r"[-_]", "", plain).lower() in _USUAL


class _Form:
    """One way a secret can be spelled: what is in every match, and the pieces of its pattern.

    `probe` is looked for first, and is best shared with other secrets where it is short; `check` then.
    """

    __slots__ = ("check", "pattern", "pieces", "probe")

    def __init__(self, probe: str, pieces: Iterable[str], check: str = "") -> None:
        self.probe = probe
        self.check = check
        self.pieces = pieces
        self.pattern: re.Pattern[str] | None = None

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of every match, overlapping ones too."""
        if self.pattern is None:  # most secrets never turn up anywhere
            self.pattern = re.compile("".join(self.pieces))
        match = self.pattern.search(text)
        while match is not None:
            yield match.span()
            match = self.pattern.search(text, match.start() + 1)


class Masker:
    """Knows the secrets of one run and replaces them with `MASK` in any text."""

    def __init__(self, secrets: Iterable[Json] = ()) -> None:
        self._known: set[str] = set()
        self._short: set[str] = set()
        self._huge: list[str] = []
        self._probes: dict[str, list[_Form]] = {}
        self._grams: dict[str, list[str]] = {}  # the long probes by their first characters
        self._stubs: list[str] = []  # the others
        for secret in secrets:
            self.add(secret)

    def __bool__(self) -> bool:
        return bool(self._known)

    def add(self, value: Json) -> None:
        """Mask this value from now on: a text, a number, or every text and number within.

        A text of several lines is masked line by line too. Blank texts, booleans and null are no
        secrets.
        """
        if isinstance(value, str):
            for text in (value, value.strip(), *(line.strip() for line in value.splitlines())):
                self._add_text(text)
        elif isinstance(value, dict):
            for item in value.values():
                self.add(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self.add(item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._add_text(repr(value))

    def _add_text(self, text: str) -> None:
        if not text.strip() or text in self._known:
            return
        self._known.add(text)
        if len(text) < SHORTEST:
            self._short.add(text)
            for form in _short_forms(text):
                self._look_for(form.probe).append(form)
        elif len(text) > LONGEST:
            self._huge.append(text)
            self._look_for(_probe(text))
        else:
            for form in _forms(text):
                self._look_for(form.probe).append(form)

    def _look_for(self, probe: str) -> list[_Form]:
        """Add a probe; returns the forms that it stands for."""
        forms = self._probes.get(probe)
        if forms is None:
            forms = self._probes[probe] = []
            if len(probe) < _GRAM:
                self._stubs.append(probe)
            else:
                self._grams.setdefault(probe[:_GRAM], []).append(probe)
        return forms

    def _candidates(self, text: str) -> Iterable[str]:
        """Return the probes of which the beginning is in a text, where there are too many to try each."""
        begun = self._grams.keys() & {text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)}
        return (*self._stubs, *(probe for gram in begun for probe in self._grams[gram]))

    def mask(self, text: str) -> str:
        """Return the text with every secret in it, in any spelling, as `MASK`.

        Masking a masked text changes nothing.
        """
        masked = self._mask_as_it_stands(text)
        whole = _unwrapped(masked)
        shown = masked if whole == masked else self._mask_as_it_stands(whole)
        return masked if shown == whole else shown

    def _mask_as_it_stands(self, text: str) -> str:
        if text in self._short:
            return MASK
        probes = self._probes if len(self._probes) <= _FEW else self._candidates(text)
        found = [probe for probe in probes if probe in text]
        if not found and not self._huge:
            return text
        hits = [form for probe in found for form in self._probes[probe] if form.check in text]
        return MASK.join(self._mask_part(part, hits) for part in text.split(MASK))

    def _mask_part(self, text: str, forms: list[_Form]) -> str:
        for value in self._huge:
            text = text.replace(value, MASK)
        places = sorted(place for form in forms for place in form.places(text))
        shown: list[str] = []
        at = 0
        for start, end in places:
            if start >= at:
                shown += (text[at:start], MASK)
            at = max(at, end)
        return "".join((*shown, text[at:])) if places else text

    def mask_json(self, value: Json) -> Json:
        """Return the value with every text in it masked; keys, numbers and booleans stay as they are."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {key: self.mask_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(item) for item in value]
        return value

    def suspects(self, json_text: str) -> bool:
        """Return whether a text value of this JSON text may hold a secret; false is certain, true is not."""
        whole = _unwrapped(json_text)
        return self._may_be_in(json_text) or (whole != json_text and self._may_be_in(whole))

    def _may_be_in(self, text: str) -> bool:
        probes = self._probes if len(self._probes) <= _FEW else self._candidates(text)
        found = [self._probes[probe] for probe in probes if probe in text]
        return any(not forms or any(form.check in text for form in forms) for forms in found)


def _unwrapped(text: str) -> str:
    """Return the text with the lines of base64 in it put together."""
    return _WRAP.sub("", text) if "\n" in text or "\\n" in text else text


def _inner(text: str) -> str:
    """Return the text as it stands between the quotes of a JSON string."""
    return _quoted(text)[1:-1]


def _probe(value: str) -> str:
    """Return the longest part of the value that every encoding but base64 leaves as it is."""
    return max(_RUN.findall(value), key=len, default="")[:_PROBE_LENGTH]


def _short_forms(value: str) -> Iterator[_Form]:
    """Yield the value where it stands alone within a text: as a value in JSON, and as a field of a form."""
    begin = _RUN.match(value)
    probe = begin[0] if begin else ""
    yield _Form(f'"{probe}', ('(?<=")', re.escape(_inner(value)), rf'(?=\\{{0,{_DEEPEST}}}")'))
    yield _Form(f"={probe}", ("(?<==)", *_spellings(value), r"(?=[&;\s\"\\]|$)"))


def _forms(value: str) -> Iterator[_Form]:
    data = _utf8(value)
    yield _Form(_probe(value), _spellings(value))
    # Spelled so from the first character to the last, the plain ones too.
    yield _Form("\\u", map(_escaped, value), _numeric("u{:04x}", map(ord, value)))
    yield _Form("#", map(_entity, map(ord, value)))
    yield _Form("%", ("%" + _hex(f"{byte:02x}") for byte in data), _numeric("%{:02x}", data))
    yield _Form(data.hex()[:_PROBE_LENGTH], (data.hex(),))
    yield _Form(data.hex().upper()[:_PROBE_LENGTH], (data.hex().upper(),))
    yield from _base64_forms(data)
    if not value.isascii() and max(value) <= "\xff":  # basic authentication of old clients
        yield from _base64_forms(value.encode("latin-1"))


def _numeric(spelling: str, codes: Iterable[int]) -> str:
    """Return the first code in a spelling in which no digit is a letter, which could be of either case."""
    spelled = (spelling.format(code) for code in codes if code < 0x80)
    return next((one for one in spelled if one.lstrip("u%").isdigit()), "")


def _spellings(value: str) -> Iterator[str]:
    """Yield a pattern for each piece of the value: a run of plain characters, or one odd character.

    A piece takes the backslashes before its character along, since JSON within JSON multiplies
    them. They are matched possessively and in bounded number, and no piece can begin inside another,
    so that a search takes linear time whatever the text is.
    """
    for match in _UNIT.finditer(value):
        plain, slashes, odd = match.group("plain", "slashes", "odd")
        if plain:
            yield plain
        elif slashes:
            count = len(slashes)
            yield f"{_SLASH}{{{count},{(count + 1) * _DEEPEST}}}+{_one_of(odd)}"
        elif odd:
            yield _ANY_SLASHES + _one_of(odd)


def _one_of(character: str) -> str:
    """Return a pattern for all spellings of one character, the backslashes before it already taken."""
    if not character:
        return ""
    spelled = [re.escape(character)]
    if character in _CONTROLS:
        spelled.append(rf"(?<=\\){_CONTROLS[character]}")
    if character == " ":
        spelled.append(r"\+")
    spelled.append("".join(_PERCENT + _hex(f"{byte:02x}") for byte in _utf8(character)))
    spelled.append(rf"(?<=\\){_units(character)}")
    code = ord(character)
    spelled.append(_entity(code))
    name = html.entities.codepoint2name.get(code)
    if name:
        spelled.append(f"{_AMP}{name};")
    return f"(?:{'|'.join(spelled)})"


def _entity(code: int) -> str:
    """Return a pattern for a character as a numeric HTML entity."""
    return f"{_AMP}#(?:0*{code}|[xX]0*{_hex(f'{code:x}')});"


def _escaped(character: str) -> str:
    """Return a pattern for the character as a JSON escape, whatever the character is."""
    return _SOME_SLASHES + _units(character)


def _units(character: str) -> str:
    r"""Return ``uXXXX``, or ``uXXXX\uXXXX`` for a character that UTF-16 writes in two units."""
    raw = character.encode("utf-16-be", "surrogatepass").hex()
    return _SOME_SLASHES.join("u" + _hex(raw[at : at + 4]) for at in range(0, len(raw), 4))


def _hex(digits: str) -> str:
    return "".join(digit if digit.isdigit() else f"[{digit}{digit.upper()}]" for digit in digits)


def _utf8(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")


def _base64_forms(encoded: bytes) -> Iterator[_Form]:
    """Yield the value inside a base64 text, for the three ways it can lie on the three-byte grid.

    The first and last characters also hold bits of the neighbours, so they can be any; they are
    masked along.
    """
    for shift in range(3):
        text = b64encode(bytes(shift) + encoded).decode("ascii").rstrip("=")
        first = -(-shift * 8 // 6)
        whole = (shift + len(encoded)) * 8 // 6
        core = text[first:whole]
        any_one = r"(?:[A-Za-z0-9+/_-]|%2[BbFf])?"
        before = any_one if shift else ""
        after = any_one if whole < len(text) else ""
        probe = max(re.findall(r"[A-Za-z0-9]+", core), key=len, default="")[:_PROBE_LENGTH]
        yield _Form(probe, chain((before,), map(_base64_character, core), (after, "={0,2}")))


def _base64_character(character: str) -> str:
    match character:
        case "+":
            return rf"(?:[+-]|{_PERCENT}2[Bb]|{_SOME_SLASHES}u002[Bb])"
        case "/":
            return rf"(?:{_ANY_SLASHES}[/_]|{_PERCENT}2[Ff])"
        case _:
            return character
