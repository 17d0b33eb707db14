"""The names that a template may use while one step renders, and where their values come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from runner.core.commands import Json
from runner.core.redact import secret_header
from runner.core.reference import RUN_VALUES, FieldsAnyCase, Missing, Reference, entry, spell, walk
from runner.core.text import MAX_TEXT, close_match
from runner.errors import StepError

RESERVED: Final = frozenset({"input", "env", "headers", "response", "runtime", "config", "item", "index"})
BUILT_IN_ENV: Final = frozenset({"CURRENT_TIMESTAMP"})  # given by the run unless the user gives it
NOTHING: Final = object()

_NONE: Final[Mapping[str, Json]] = MappingProxyType({})
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class RunValues:
    """What every step of a run shares: the seed of its `$…` values, its start (seconds), its text limit."""

    seed: str = ""
    started_at: float = 0.0
    max_text: int = MAX_TEXT


@dataclass(frozen=True, slots=True)
class SecretNames:
    """Which values are secret: inputs, env values, (step id, output) pairs, other roots such as ``item``.

    Headers are by their names. `outputs` grows as steps finish. Source: SEMANTICS, Secrets.
    """

    inputs: frozenset[str] = frozenset()
    env: frozenset[str] = frozenset()
    outputs: set[tuple[str, str]] = field(default_factory=set)
    names: frozenset[str] = frozenset()


class Scope:
    """The values that references reach. Cheap to derive from: `child` adds roots, `at` restarts `$…`.

    `outputs` are by step id and may grow while the scope lives; a step that produced none is absent.
    `left` is what nodes of another platform have left for each other in this flow (`Outcome.left`).
    """

    __slots__ = (
        "_roots", "_uses", "env", "headers", "inputs", "left", "names", "outputs", "path", "run", "secret",
    )  # fmt: skip

    def __init__(
        self,
        *,
        inputs: Mapping[str, Json] = _NONE,
        env: Mapping[str, str] = _NONE,
        headers: Mapping[str, Json] = _NONE,
        outputs: dict[str, Mapping[str, Json]] | None = None,
        names: Mapping[str, Json] = _NONE,
        run: RunValues | None = None,
        secret: SecretNames | None = None,
    ) -> None:
        self.inputs = inputs
        self.env = env
        self.headers = headers
        self.outputs = {} if outputs is None else outputs
        self.names = names
        self.run = RunValues() if run is None else run
        self.secret = SecretNames() if secret is None else secret
        self.left: dict[str, Json] = {}
        self.path = ""
        self._uses = [0]
        self._roots: dict[str, Json] = {
            "input": dict(inputs),
            "env": {"CURRENT_TIMESTAMP": _timestamp(self.run.started_at), **env},
            "headers": FieldsAnyCase(headers.items()),
            **names,
        }

    def child(self, **names: Json) -> Scope:
        """Return a scope with more roots, such as ``item`` or ``response``, that shares the rest."""
        scope = self._copy()
        scope.names = {**self.names, **names}
        scope._roots = {**self._roots, **names}  # noqa: SLF001 - a scope of our own making
        return scope

    def at(self, path: str) -> Scope:
        """Return a scope whose ``$…`` values come from (seed, path, use) alone, counted from 0.

        Rendering the same step again at the same path gives the same bytes.
        """
        scope = self._copy()
        scope.path = path
        scope._uses = [0]  # noqa: SLF001 - a scope of our own making
        return scope

    def _copy(self) -> Scope:
        scope = object.__new__(type(self))
        scope.inputs, scope.env, scope.headers = self.inputs, self.env, self.headers
        scope.outputs, scope.names, scope.path = self.outputs, self.names, self.path
        scope.run, scope.secret, scope.left = self.run, self.secret, self.left
        scope._roots, scope._uses = self._roots, self._uses
        return scope

    def stand_in(self, text: str, references: tuple[Reference, ...]) -> Json:  # noqa: ARG002 - for a dry run
        """Return what an expression is instead of its value, NOTHING to have it computed."""
        return NOTHING

    def leave(self, left: Mapping[str, Json]) -> None:
        """Take what a node has left; nothing under a name takes that away."""
        for name, value in left.items():
            if value is None:
                self.left.pop(name, None)
            else:
                self.left[name] = value

    def absent(self, text: str) -> Json:  # noqa: ARG002 - for a dry run
        """Return what stands for a value that another platform's node has not left yet, NOTHING for none."""
        return NOTHING

    def value(self, reference: Reference) -> Json:
        """Return what a reference leads to; raises StepError `reference.missing` that names it."""
        found = self._roots.get(reference.root, NOTHING)
        if found is NOTHING:
            found = self.outputs.get(reference.root, NOTHING)
            if found is NOTHING:
                found = self.root(reference.root)
        try:
            for key in reference.path:
                found = found[key] if type(found) is dict else entry(found, key)
        except LookupError:
            return self._walked(reference)
        if found is NOTHING:
            raise self._missing(reference)
        return found

    def _walked(self, reference: Reference) -> Json:
        try:
            return walk(self.root(reference.root), reference.path)
        except Missing as missing:
            raise self._missing(reference, missing.at) from None

    def root(self, name: str) -> Json:
        """Return the value of a path's first name, or NOTHING; flat names fall back to input, then env."""
        if name in RUN_VALUES:
            return self._run_value(name)
        places: tuple[Mapping[str, Json], ...] = (self._roots, self.outputs, self.inputs, self.env)
        return next((values[name] for values in places if name in values), NOTHING)

    def is_secret(self, reference: Reference) -> bool:
        """Tell whether a reference reaches, or holds, a secret value."""
        root, path, secret = reference.root, reference.path, self.secret
        first = str(path[0]) if path else None
        if root in secret.names:
            return True
        if root in self.outputs:
            pairs = secret.outputs
            return (root, first) in pairs if path else any(step == root for step, _ in pairs)
        if root == "headers":
            return first is None or secret_header(first)
        if root in ("input", "env"):
            names = secret.inputs if root == "input" else secret.env
            return first in names if path else bool(names)
        if root in self._roots:
            return False
        return root in (secret.inputs if root in self.inputs else secret.env)

    def _run_value(self, name: str) -> Json:
        if name == "$timestamp":
            return int(self.run.started_at)
        use = self._uses[0]
        self._uses[0] += 1
        digest = sha256(f"{self.run.seed}\0{self.path}\0{use}".encode("utf-8", "replace")).digest()
        if name == "$randomInt":
            return int.from_bytes(digest[:8]) % 1001
        if name == "$uuid":
            return _uuid(digest)
        word = "".join(_LETTERS[byte % 36] for byte in digest[:12])
        return word if name == "$randomString" else f"{word}@example.com"

    def _missing(self, reference: Reference, at: str = "") -> StepError:
        root, path = reference.root, reference.path
        if path and at == spell("", path[:1]):
            what = self._no_field(root, str(path[0]), at)
        elif at:
            what = f"no value at {root}{at}"
        else:
            what = self._no_root(root)
        if "-" in reference.text and root != "headers":
            what += " (a dash belongs to the name; for minus put spaces around it)"
        return StepError("reference.missing", f"{{{{{reference.text}}}}}: {what}")

    def _no_field(self, root: str, name: str, at: str) -> str:
        if root == "input":
            return f"no input {name!r}{close_match(name, self.inputs)}"
        if root == "env":
            return f"no env value {name!r}{close_match(name, self.env) or f'; give it with -e {name}=…'}"
        if root == "headers":
            return f"no header {name!r} came with the run; give it with --header '{name}: …'"
        if root in self.outputs:
            hint = close_match(name, self.outputs[root]) or "; it was not in the answer"
            return f"no output {name!r} on step {root!r}{hint}"
        return f"no value at {root}{at}" if self.root(root) is not NOTHING else self._no_root(root)

    def _no_root(self, root: str) -> str:
        known = (*self.outputs, *self._roots, *self.inputs, *self.env)
        hint = close_match(root, known) or "; a step has outputs only once it succeeded"
        return f"no step with outputs, input or env value {root!r}{hint}"


def _timestamp(started_at: float) -> str:
    return datetime.fromtimestamp(started_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _uuid(digest: bytes) -> str:
    # RFC 9562 section 5.4: version 4 in the seventh byte, the variant in the ninth.
    marked = bytes((*digest[:6], digest[6] & 0x0F | 0x40, digest[7], digest[8] & 0x3F | 0x80, *digest[9:16]))
    text = marked.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
