"""Variables of PingOne DaVinci, which are not in its flows but beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from runner.core.commands import Json
from runner.platforms.client import Done, Program, Refusal, Tell
from runner.platforms.davinci_api import Environment, Row, list_all
from runner.platforms.davinci_rules import OF_A_VARIABLE
from runner.platforms.differences import change_line, shortened, shown, unlike


def list_variables(there: Environment) -> Program[Done | Refusal]:
    """Fetch the variables of an environment."""
    return (yield from list_all(there, there.path("variables"), "variables", _row))


def _row(variable: Row) -> tuple[str, ...]:
    flow = variable.get("flow")
    owner = f" of {flow.get('id')}" if isinstance(flow, dict) else ""
    value = "[masked]" if _is_secret(variable) else shown(variable.get("value"))
    return (
        f"{variable.get('context')}{owner}",
        str(variable.get("dataType")),
        str(variable.get("name")),
        value,
    )


def push(there: Environment, variables: Sequence[Row], *, really: bool = True) -> Program[Done | Refusal]:
    """Make or replace variables as a document has them; what the document does not name stays.

    A variable is the one of the same name, context and flow. Without `really` nothing is sent.
    """
    listed = yield from list_variables(there)
    if isinstance(listed, Refusal):
        return listed
    known = {_key(one): one for one in json.loads(listed.document)["_embedded"]["variables"]}
    done: list[str] = []
    lost: list[str] = []
    for variable in variables:
        body = {name: variable[name] for name in OF_A_VARIABLE if variable.get(name) is not None}
        before = known.get(_key(variable))
        lines = [*_changes(before or {}, body)]
        if not lines:
            continue
        verb = "new" if before is None else "replaced"
        yield Tell(f"{body['name']}: {verb}: {', '.join(lines)}")
        done.append(f"{body['name']} {verb}")
        if not really:
            continue
        after = yield from _save(there, before, body)
        if isinstance(after, Refusal):
            told = [*after.details.splitlines(), *(f"before that: {one}" for one in done[:-1])]
            return replace(after, message=f"{body['name']}: {after.message}", details="\n".join(told))
        kept = {name: one for name, one in body.items() if not (name == "value" and _is_secret(body))}
        lost += [f"{body['name']}: {line}" for line in _changes(after, kept)]
    if not done:
        return Done("unchanged", "variables", "they are so already")
    return Done("updated", "variables", ", ".join(done), tuple(shortened(lost)))


def _save(there: Environment, before: Row | None, body: Row) -> Program[Row | Refusal]:
    if before is None:
        return (yield from there.call("POST", there.path("variables"), body))
    return (yield from there.call("PUT", there.path("variables", before.get("id")), body))


def _key(variable: Row) -> tuple[Json, ...]:
    flow = variable.get("flow")
    return variable.get("name"), variable.get("context"), flow.get("id") if isinstance(flow, dict) else None


def _is_secret(variable: Row) -> bool:
    return variable.get("dataType") == "secret"


def _changes(before: Row, body: Row) -> Iterator[str]:
    """Yield what changes; a secret is not compared, because the platform does not send it back."""
    for name, value in body.items():
        if name == "value" and _is_secret(body):
            yield "value: [masked]"
        else:
            for at, old, new in unlike(before.get(name), value, name):
                yield change_line(at, old, new)
