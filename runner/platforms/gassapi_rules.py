"""What GASSAPI refuses in a flow, as its documents promise it and as its server does it (facts/gassapi 3).

Every fault of every stage is told; the server stops after the first stage that has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from runner.core.commands import Json
from runner.core.document import Document, join
from runner.core.input_formats import pattern_flaw
from runner.core.inputs import check_fields
from runner.errors import Problem
from runner.platforms import steps
from runner.platforms.gassapi_texts import DOCUMENTED, OBSERVED, STAGES, Face, Stage
from runner.platforms.react_flow_drawing import kind_of_step

TYPES: Final = ("string", "number", "boolean", "email", "password", "object", "array", "file", "date", "json")
NODE_TYPES: Final = ("apiCall", "condition", "delay")
KEPT: Final = ("name", "method", "url", "headers", "body", "outputs", "tests")  # of a node, by the server
SERVER_CONFIG: Final = {"delay": 0, "retryCount": 1, "parallel": False}  # whatever was sent
SHAPELESS: Final = ("number", "boolean", "date")  # types without a length

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE: Final = re.compile(r"\{\{([^}]+)\}\}")
_SEGMENT: Final = re.compile(r"[a-zA-Z0-9_]+(?:\[[0-9]+\])*")
_CONTENT: Final = re.compile(
    r"javascript:|data:|on(?:load|error|click)|(?:id|name|src|href|style|value)=|<?(?:script|form|input|iframe)>|<script"
)
_ENCODED: Final = re.compile(r"%[0-9a-f]{2}|<[^>]*>[^<]*<[^>]*>|&#\w+;", re.IGNORECASE)
_LONGEST: Final = 1000
_BRACKETS: Final = {"(": ")", "[": "]", "{": "}", "<": ">"}
_PHP_PATTERN: Final = re.compile(r"\s*([^\w\s\\])(.*)([^\w\s])[imsxADSUXJunr\s]*", re.DOTALL)


class Fault(NamedTuple):
    """One thing that is refused: at which stage, where in the body, in which words."""

    stage: Stage
    where: str
    text: str


def problems(document: Document, face: Face) -> tuple[Problem, ...]:
    """Return what GASSAPI would refuse in a document, each with its place."""
    record, prefix = _body(document)
    found = []
    for fault in faults(record, face):
        code, before = STAGES[fault.stage]
        where = fault.where if prefix else fault.where.removeprefix("flow_data.")
        found.append(Problem(code, where, before + fault.text))
    return document.located(found)


def _body(document: Document) -> tuple[dict[str, Json], str]:
    """Return a document as the body of an update, texts of a row read."""
    value = document.value
    parsed = {
        name: document.embedded(name, one).value if isinstance(one, str) and name.startswith("flow_") else one
        for name, one in value.items()
    }
    if "flow_data" in parsed or not {"steps", "nodes", "edges"} & parsed.keys():
        return parsed, "flow_data."
    record = {name: one for name, one in parsed.items() if name in steps.RECORD_KEYS}
    return {**record, "flow_data": parsed}, ""


def faults(record: Mapping[str, Json], face: Face) -> list[Fault]:
    """Return what is wrong with the body of a request, in the order of the stages."""
    told = DOCUMENTED if face == "documented" else OBSERVED
    found: list[Fault] = []
    if face == "observed":
        for name in ("name", "description", "folder_id"):
            found += [Fault("text", name, told[key]) for key in _unclean(record.get(name))]
    found += [Fault("inputs", where, text) for where, text in _inputs(record.get("flow_inputs"), face)]
    data = record.get("flow_data")
    if data is None:
        return found
    found += [Fault("format", where, text) for where, text in _format(data, face)]
    found += [Fault("references", where, text) for where, text in _references(data, face)]
    return found


def _unclean(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        if len(value.strip()) > _LONGEST:
            yield "length"
        elif _CONTENT.search(value.lower()):
            yield "content"
        elif _ENCODED.search(value):
            yield "pattern"


# --- inputs

Told = Iterator[tuple[str, str]]


def _empty(value: Json) -> bool:
    """Whether PHP's `empty` says so."""
    return not value or value == "0"


def _inputs(value: Json, face: Face) -> Told:
    told = DOCUMENTED if face == "documented" else OBSERVED
    if _empty(value):
        return
    if not isinstance(value, list | dict):
        yield "flow_inputs", told["array"]
        return
    seen = set()
    # PHP counts an object among the arrays, and its keys are then the numbers.
    for index, one in value.items() if isinstance(value, dict) else enumerate(value):
        where = join("flow_inputs", index)
        if not isinstance(one, list | dict):
            seen.add(where)
            yield where, told["object"].format(index=index)
            continue
        field = one if isinstance(one, dict) else {}
        label = index if face == "observed" else field.get("name") or index
        for at, key, more in (*_name_and_type(field), *(_rules(field) if face == "observed" else ())):
            seen.add(where + at)
            yield where + at, told[key].format(input=label, type=field.get("type") or "", **more)
    if face == "documented":
        yield from ((where, what) for where, what in _promised(value) if where not in seen)


def _promised(value: Json) -> Told:
    """Yield what the documents promise to check besides: the rules, and each default against them."""
    flow = steps.read(Document.of({"flow_inputs": value}))
    for problem in (*flow.problems, *check_fields(flow.inputs or ())):
        if problem.is_error and problem.code not in ("input.name", "input.unknown_type"):
            yield problem.where, problem.what.replace(": default: ", ": ", 1)


Flaws = Iterator[tuple[str, str, dict[str, Json]]]


def _name_and_type(field: Mapping[str, Json]) -> Flaws:
    name, kind = field.get("name"), field.get("type")
    if _empty(name):
        yield "", "name", {}
    if _empty(kind):
        yield "", "type", {}
    if not _empty(name) and not _NAME.fullmatch(str(name)):
        yield ".name", "name_invalid", {}
    if not _empty(kind) and kind not in TYPES:
        yield ".type", "type_invalid", {"given": kind}


def _rules(field: Mapping[str, Json]) -> Flaws:
    rules, kind = field.get("validation"), field.get("type")
    for rule, key, more in _broken_rules(rules, kind) if isinstance(rules, dict) else ():
        yield f".validation.{rule}", key, {"rule": rule, **more}


def _broken_rules(rules: Mapping[str, Json], kind: Json) -> Flaws:
    for rule, least in (("min_length", 0), ("max_length", 1)):
        limit = rules.get(rule)
        if limit is not None:
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < least:
                yield rule, rule, {}
            if kind in SHAPELESS:
                yield rule, "length_type", {}
    if kind == "number":
        limits = {rule: rules[rule] for rule in ("min", "max") if rules.get(rule) is not None}
        numbers = {rule: _numeric(limit) for rule, limit in limits.items()}
        yield from ((rule, "numeric", {}) for rule, number in numbers.items() if number is None)
        low, high = numbers.get("min"), numbers.get("max")
        if low is not None and high is not None and low > high:
            yield "min", "range", {}
    if kind == "string" and rules.get("pattern") is not None and not _is_php_pattern(rules["pattern"]):
        yield "pattern", "regex", {}
    options = rules.get("options")
    if options is not None and not isinstance(options, list | dict):
        yield "options", "options", {}
    elif options is not None:
        pairs = options.items() if isinstance(options, dict) else enumerate(options)
        yield from (("options", "option", {"option": at}) for at, one in pairs if not isinstance(one, str))


def _numeric(value: Json) -> float | None:
    """Return the number that PHP's `is_numeric` sees in a value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _is_php_pattern(value: Json) -> bool:
    """Whether `preg_match` takes a pattern: between delimiters, with known letters after them."""
    match = _PHP_PATTERN.fullmatch(str(value))
    if match is None or match[3] != _BRACKETS.get(match[1], match[1]):
        return False
    is_ended_before = match[1] == match[3] and re.search(rf"(?<!\\){re.escape(match[1])}", match[2])
    return not is_ended_before and not pattern_flaw(match[2])


# --- format


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _format(data: Json, face: Face) -> Told:
    told = DOCUMENTED if face == "documented" else OBSERVED
    given = data if isinstance(data, dict) else {}
    has = {name for name, value in given.items() if value is not None}
    if {"nodes", "edges"} <= has or (
        face == "documented" and {"nodes", "edges"} & has and "steps" not in has
    ):
        yield from _drawing(given, told)
        return
    if "steps" not in has:
        yield "flow_data", told["missing"].format(field="steps" if face == "documented" else "steps array")
    for index, step in enumerate(_list(given.get("steps"))):
        where = f"flow_data.steps[{index}]"
        fields = step if isinstance(step, dict) else {}
        for name in _needed(fields, face):
            if fields.get(name) is None:
                shown = "URL" if name == "url" and face == "observed" else name
                yield where, told["missing_step"].format(field=shown, index=index)
    if face == "observed" and "version" not in has:
        yield "flow_data", told["missing"].format(field="version")


def _needed(step: Mapping[str, Json], face: Face) -> tuple[str, ...]:
    """Return what a step must have; the documents know steps that only decide or wait."""
    alone = face == "documented" and kind_of_step(step) in ("condition", "delay")
    return ("id",) if alone else ("id", "method", "url")


def _drawing(data: Mapping[str, Json], told: Mapping[str, str]) -> Told:
    is_documented = told is DOCUMENTED
    for part, single in (("nodes", "node"), ("edges", "edge")):
        if data.get(part) is None:
            yield "flow_data", told["missing"].format(field=part)
        for index, one in enumerate(_list(data.get(part))):
            where = f"flow_data.{part}[{index}]"
            fields = one if isinstance(one, dict) else {}
            if single == "edge":
                missing: Iterator[str] = (name for name in ("source", "target") if fields.get(name) is None)
            else:
                missing = _missing_of_node(fields, is_documented=is_documented)
            for name in missing:
                yield where, told[f"missing_{single}"].format(field=name, index=index)
            kind = fields.get("type")
            if is_documented and single == "node" and kind is not None and kind not in NODE_TYPES:
                yield f"{where}.type", told["node_type"].format(given=kind)


def _missing_of_node(node: Mapping[str, Json], *, is_documented: bool) -> Iterator[str]:
    held = node.get("data")
    data = held if isinstance(held, dict) else {}
    if is_documented:
        yield from (name for name in ("id", "type") if not node.get(name))
        needed = ("name", "method", "url") if node.get("type") in ("apiCall", None) else ("name",)
        yield from (name for name in needed if data.get(name) is None)
        return
    if node.get("id") is None:
        yield "id"
    if held is None:
        yield "data"
        return
    yield from (shown for name, shown in (("method", "method"), ("url", "URL")) if data.get(name) is None)


# --- references


def _references(data: Json, face: Face) -> Told:
    if not isinstance(data, dict):
        return
    if data.get("nodes") is not None and data.get("edges") is not None:
        parts = [(f"flow_data.nodes[{at}].data", step) for at, step in server_steps(data)]
    else:
        parts = [(f"flow_data.steps[{at}]", one) for at, one in enumerate(_list(data.get("steps")))]
    ids = (step.get("id") for _, step in parts if isinstance(step, dict))
    known = {name for name in ids if isinstance(name, str)}
    check = _documented_reference(known) if face == "documented" else _observed_reference
    for index, (where, step) in enumerate(parts):
        for at, reference in _found(step, where):
            for key, more in check(reference):
                text = OBSERVED[key].format(index=index, reference=reference, **more)
                yield at, text


def _found(step: Json, where: str) -> Iterator[tuple[str, str]]:
    """Yield place and text of the references in url, headers and body: the server looks nowhere else."""
    if not isinstance(step, dict):
        return
    headers, body = step.get("headers"), step.get("body")
    texts = [(f"{where}.url", step.get("url"))]
    if isinstance(headers, dict):
        texts += [(join(f"{where}.headers", name), value) for name, value in headers.items()]
    if isinstance(body, dict | list):
        texts += _texts(body, f"{where}.body")
    for at, text in texts:
        if isinstance(text, str):
            yield from ((at, match.strip()) for match in _REFERENCE.findall(text))


def _texts(value: Json, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(one, join(where, key))


Misspelt = Iterator[tuple[str, dict[str, str]]]


def _observed_reference(reference: str) -> Misspelt:
    root, _, field = reference.partition(".")
    if _empty(reference):
        yield "reference_empty", {}
        return
    if "." not in reference or not root:
        yield "reference_format", {}
        return
    if root not in ("input", "env", "headers") and not _NAME.fullmatch(root):
        yield "reference_type", {"root": root}
    if _empty(field):
        yield "reference_no_field", {}
    elif not _NAME.fullmatch(field):
        yield "reference_field", {"field": field}


def _documented_reference(known: set[Json]) -> Callable[[str], Misspelt]:
    """Return a check that also wants the step to exist, and takes what the documents show as valid."""

    def check(reference: str) -> Misspelt:
        root, _, field = reference.partition(".")
        for key, more in _observed_reference(reference):
            is_path = all(map(_SEGMENT.fullmatch, field.split(".")))
            is_header = root == "headers" and field.replace("-", "").isalnum()
            if key != "reference_field" or not (is_path or is_header):
                yield key, more
        if _NAME.fullmatch(root) and field and root not in ("input", "env", "headers") and root not in known:
            yield "reference_type", {"root": root}

    return check


# --- what the server makes of a drawing


def server_steps(data: Mapping[str, Json]) -> list[tuple[int, dict[str, Json]]]:
    """Return the steps that the server makes of a drawing, with the number of the node of each.

    Breadth first from the nodes that no edge enters, what is left in the order of the list; of a node
    only `KEPT` is taken, and nothing of an edge (facts/gassapi 4.2).
    """
    nodes = [one if isinstance(one, dict) else {} for one in _list(data.get("nodes"))]
    edges = [one for one in _list(data.get("edges")) if isinstance(one, dict)]
    order = list(range(len(nodes)))
    if edges:
        places = {str(node.get("id")): index for index, node in enumerate(nodes)}
        after: dict[str, list[str]] = {}
        for edge in edges:
            after.setdefault(str(edge.get("source")), []).append(str(edge.get("target")))
        entered = {str(edge.get("target")) for edge in edges}
        queue = [name for name in places if name not in entered]
        queued = set(queue)
        for name in queue:
            found = [one for one in after.get(name, ()) if one in places and one not in queued]
            queue += found
            queued.update(found)
        order = [places[name] for name in queue]
        order += [index for name, index in places.items() if name not in queued]
    return [(index, _server_step(nodes[index])) for index in order]


def _server_step(node: Mapping[str, Json]) -> dict[str, Json]:
    held = node.get("data")
    data = held if isinstance(held, dict) else {}
    defaults: dict[str, Json] = {
        "name": node.get("id"),
        "method": "GET",
        "url": "",
        "headers": [],
        "body": None,
        "outputs": [],
        "tests": [],
    }
    given = {name: data[name] for name in KEPT if data.get(name) is not None}
    return {"id": node.get("id"), **defaults, **given}
