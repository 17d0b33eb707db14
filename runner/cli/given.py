"""What the flags give a run: inputs, env values and headers, read and checked as far as flags go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.cli.options import Options
from runner.core.commands import Json
from runner.core.document import MAX_BYTES, MAX_DEPTH
from runner.core.json_document import load as load_json
from runner.core.redact import mask_url
from runner.core.request import FORBIDDEN_IN_VALUE, HEADER_NAME
from runner.errors import FlowError, Place, Problem
from runner.platforms.aids import Aids
from runner.runtime.files import read_document
from runner.runtime.loading import LoadSettings, document_at

if TYPE_CHECKING:
    from runner.runtime.http import HttpSettings
    from runner.runtime.pace import Pace, Turns


@dataclass(slots=True)
class Given:
    """What a run is given; `problems` are the flags that make no sense.

    `text` names the inputs that came as text, `files` the files that inputs were read from, and
    `secret` the env values that are secret whatever they are called.
    """

    inputs: dict[str, Json] = field(default_factory=dict)
    text: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()
    headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    stubs: dict[str, Json] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def gather(options: Options, environ: Mapping[str, str]) -> Given:
    """Read everything that the flags of `run` give; `environ` is the environment of the process."""
    given = Given()
    _check_stdin(options, given.problems)
    if not given.problems:
        _read_inputs(options, given)
    given.env = read_env(options.env, options.env_file, environ, given.problems)
    _take_secrets(options, environ, given)
    limit = options.max_document or MAX_BYTES
    given.answers = _scripted("--answers", options.answers, limit, given.problems)
    given.stubs = _scripted("--stubs", options.stubs, limit, given.problems)
    for text in options.header:
        _add_header(text, given)
    given.problems += _flaws(options)
    given.problems += _rule_flaws(options, environ)
    given.problems += rate_flaws(options)
    return given


def _check_stdin(options: Options, problems: list[Problem]) -> None:
    if options.flow == "-" and options.inputs == "-":
        problems.append(
            Problem("usage.stdin", "--inputs -", "standard input is the flow already; name a file")
        )


# --- inputs


def _read_inputs(options: Options, given: Given) -> None:
    if options.inputs is not None:
        try:
            given.inputs |= object_file(options.inputs, options.max_document or MAX_BYTES)
        except FlowError as error:
            given.problems += _under(f"--inputs {options.inputs}", error)
    for text in options.input:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # Not quoted: it may be a password that was given without its name.
            given.problems.append(Problem("usage.input", "-i", "needs the form NAME=VALUE"))
            continue
        if value.startswith("@") and not value.startswith("@@"):
            try:
                content = _text_file(value[1:], options.max_document or MAX_BYTES)
            except FlowError as error:
                given.problems += _under(f"-i {name}", error)
                continue
            given.files[name] = Path(value[1:]).name
            value = content
        else:
            value = value.removeprefix("@")
            given.files.pop(name, None)
        given.inputs[name] = value
        given.text.add(name)


def _scripted(flag: str, path: str | None, limit: int, problems: list[Problem]) -> dict[str, Json]:
    """Return the outcomes that a file has for nodes that only their platform runs."""
    if path is None:
        return {}
    try:
        return object_file(path, limit)
    except FlowError as error:
        problems += _under(f"{flag} {path}", error)
        return {}


def object_file(path: str, max_bytes: int) -> dict[str, Json]:
    """Return the JSON object in a file (``-``: standard input); raises FlowError when it holds none."""
    name = "<stdin>" if path == "-" else path
    value = load_json(_text_of(read_document(path, max_bytes), name), name, MAX_DEPTH)
    if not isinstance(value, dict):
        raise FlowError([Problem("usage.inputs", "", "must hold one JSON object", place=Place(name, 1, 1))])
    return value


def _text_file(path: str, max_bytes: int) -> str:
    """Return a file's text without a final line break, which an editor or `echo` has put there."""
    text = _text_of(read_document(path, max_bytes), path)
    return text.removesuffix("\n").removesuffix("\r")


def _text_of(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"{name!r} is not UTF-8 text (byte {error.start + 1})"
        raise FlowError([Problem("usage.encoding", "", what)]) from error


def _under(where: str, error: FlowError) -> Iterator[Problem]:
    for problem in error.problems:
        yield Problem(problem.code, where, problem.what, place=problem.place)


# --- env


def read_env(
    flags: list[str], files: list[str], environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, str]:
    """Return the env values of --env-file and -e, later ones winning; what is wrong goes to `problems`."""
    env: dict[str, str] = {}
    for path in files:
        try:
            env.update(env_file(path, problems))
        except FlowError as error:
            problems += _under(f"--env-file {path}", error)
    for text in flags:
        name, equals, value = text.partition("=")
        if not name:
            problems.append(Problem("usage.env", "-e", "needs the form NAME or NAME=VALUE"))
        elif equals:
            env[name] = value
        elif name in environ:
            env[name] = environ[name]
        else:
            what = f"{name} is not set in the environment; set it, or give -e {name}=…"
            problems.append(Problem("usage.env", f"-e {name}", what))
    return env


def env_file(path: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a dotenv file. Values are taken as they stand: nothing is looked up for `$NAME`."""
    text = _text_of(read_document(path, MAX_BYTES), path)

    from dotenv.parser import parse_stream

    for line in parse_stream(StringIO(text)):
        skipped = len(line.original.string) - len(line.original.string.lstrip())
        number = line.original.line + line.original.string[:skipped].count("\n")
        if line.error or (line.key is not None and line.value is None):
            what = (
                "the line is not NAME=VALUE"
                if line.error
                else f"{line.key!r} has no value; write {line.key}="
            )
            problems.append(Problem("usage.env_file", "", what, place=Place(path, number, 1)))
        elif line.key is not None and line.value is not None:
            yield line.key, line.value


def _take_secrets(options: Options, environ: Mapping[str, str], given: Given) -> None:
    for name in options.secret:
        if "=" in name:
            what = f"takes a name alone; give the value with -e {name.partition('=')[0]} or --env-file"
            given.problems.append(Problem("usage.secret", "--secret", what))
        elif name not in given.env and name not in environ:
            what = f"{name} is not set in the environment; set it, or give it with --env-file"
            given.problems.append(Problem("usage.secret", f"--secret {name}", what))
        else:
            given.env.setdefault(name, environ.get(name, ""))
    given.secret = frozenset(options.secret)


# --- the rest


def _add_header(text: str, given: Given) -> None:
    name, colon, value = text.partition(":")
    if not colon or not HEADER_NAME.fullmatch(name) or FORBIDDEN_IN_VALUE.search(value):
        given.problems.append(Problem("usage.header", "--header", "needs the form 'NAME: VALUE'"))
        return
    value = value.strip()
    # RFC 9110 section 5.3: a repeated field is the list of its values.
    given.headers[name] = f"{given.headers[name]}, {value}" if name in given.headers else value


def _flaws(options: Options) -> Iterator[Problem]:
    yield from url_flaws({"--base-url": options.base_url, "--otlp-endpoint": options.otlp_endpoint})
    yield from folder_flaws(options)
    yield from tls_flaws(options)


def url_flaws(urls: Mapping[str, str | None]) -> Iterator[Problem]:
    """Yield a problem for each flag whose url is none."""
    for flag, url in urls.items():
        if url is not None and not _is_http(url):
            what = f"{mask_url(url)!r} is no http:// or https:// url"
            yield Problem("usage.url", flag, what)


def tls_flaws(options: Options) -> Iterator[Problem]:
    """Yield a problem for each file of a certificate that is not there."""
    if options.key is not None and options.cert is None:
        yield Problem("usage.key", "--key", "belongs to the certificate of --cert, which is missing")
    for flag, path in (("--cacert", options.cacert), ("--cert", options.cert), ("--key", options.key)):
        if path is not None and not Path(path).is_file():
            yield Problem("usage.file", flag, f"there is no file {path!r}")


def http_settings(options: Options, environ: Mapping[str, str]) -> HttpSettings:
    """Return how to reach servers, as the flags and the proxy variables say."""
    from runner.runtime.http import HttpSettings
    from runner.runtime.policy import ProxyRules
    from runner.runtime.tls import TlsOptions

    def path(given: str | None) -> Path | None:
        return None if given is None else Path(given)

    settings = HttpSettings()
    return HttpSettings(
        tls=TlsOptions(path(options.cacert), options.insecure, path(options.cert), path(options.key)),
        proxies=ProxyRules.from_environment(environ),
        max_response=options.max_response or settings.max_response,
    )


def pace_of(options: Options, turns: Turns | None = None) -> Pace | None:
    """Return the rates of hosts that the flags name, None without any; raises FlowError."""
    if not options.rate:
        return None
    from runner.runtime.pace import Pace

    return Pace(options.rate, turns)


def rate_flaws(options: Options) -> tuple[Problem, ...]:
    """Return a problem for each --rate that is none."""
    try:
        pace_of(options)
    except FlowError as error:
        return error.problems
    return ()


def _rule_flaws(options: Options, environ: Mapping[str, str]) -> list[Problem]:
    from runner.runtime.policy import ProxyRules
    from runner.runtime.router import read_rules

    proxies = ProxyRules.from_environment(environ)
    return read_rules(options.map, options.allow_host, deny_private=options.deny_private, proxies=proxies)[1]


def folder_flaws(options: Options) -> Iterator[Problem]:
    """Yield a problem for each folder of --allow-files that is not there."""
    for folder in options.allow_files:
        if not Path(folder).is_dir():
            yield Problem("usage.folder", "--allow-files", f"there is no folder {folder!r}")


def load_settings(options: Options) -> LoadSettings:
    """Return what documents may be, as the flags of `run`, `check` and `convert` say.

    Raises FlowError for bindings that cannot be read.
    """
    limits = LoadSettings(
        max_bytes=options.max_document or MAX_BYTES,
        allow_files=tuple(Path(folder) for folder in options.allow_files),
        dialect=options.source,
    )
    recorded = options.command in ("run", "submit") and options.recorded
    if options.bindings is None and not recorded:
        return limits
    bindings = None if options.bindings is None else document_at(options.bindings, limits)
    return replace(limits, aids=Aids(bindings, recorded))


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
