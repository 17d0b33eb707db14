"""PingOne DaVinci's documents: read as flows that run here, and turned to Steps and back.

Every node that can be reached is a step with its id; what it does is a program of its own
(`davinci_nodes`), and what follows it the edges that its gates mean (`davinci_gates`). The flows that
stand in the same document are run as steps of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Final

from runner.core.answers import SUBFLOWS
from runner.core.commands import Json
from runner.core.compiled import ForeignWork
from runner.core.document import Document
from runner.core.model import Config, Edge, External, Flow, InputField, Step
from runner.errors import Problem
from runner.platforms import davinci_steps
from runner.platforms.davinci_forms import Variable, variables_of
from runner.platforms.davinci_gates import JUMP, Wires, target_of
from runner.platforms.davinci_graph import Graph, Node, Part, flow_id, parts_of, shape_of, subflow_of
from runner.platforms.davinci_http import MAX_TIMEOUT
from runner.platforms.davinci_nodes import Given, passed_on, subflow_ended, variable_in, work_of
from runner.platforms.davinci_values import decode, number_of, texts_in, unwrapped, variable_name
from runner.platforms.davinci_visit import About

VISITS: Final = 20  # of one node in one run (facts A8)
AT_ONCE: Final = 100
MOST_EDGES: Final = (
    50_000  # of one flow: more than any that was seen has, and few enough to be planned at once
)
DEFAULT_TIMEOUT: Final = 15.0
DEFAULT_FLOW_TIMEOUT: Final = 300
MAX_FLOW_TIMEOUT: Final = 172_800
TYPES: Final = ("array", "boolean", "number", "object", "string")
_STEP: Final = re.compile(r"steps\[([0-9]+)\](.*)", re.DOTALL)


def recognises(document: Document) -> bool:
    """Whether the document is a DaVinci flow in any of the five shapes."""
    return shape_of(document.value) is not None


def read(document: Document) -> Flow:
    """Read the first flow of a document, with those that it runs; what is wrong stands in `Flow.problems`."""
    parts = parts_of(document.value)
    if not parts:
        problem = Problem("davinci.graph", "flows", "there is no flow in the list")
        return Flow(has_steps=True, document=document, problems=(problem,))
    bundle: dict[str, Flow] = {}
    readers = [_Reader(document, part, bundle) for part in parts]
    inputs = {reader.source: reader.inputs() for reader in reversed(readers)}  # the first of an id counts
    bundle |= {reader.source: reader.flow(inputs) for reader in reversed(readers)}
    return replace(bundle[readers[0].source], source="")


class _Reader:
    """Reads one flow of a document."""

    def __init__(self, document: Document, part: Part, bundle: Mapping[str, Flow]) -> None:
        self.document, self.part, self.bundle = document, part, bundle
        self.source = f"#{flow_id(part.flow)}"
        self.graph = Graph(part)
        self.problems = self.graph.problems

    def flow(self, inputs: Mapping[str, tuple[InputField, ...] | None]) -> Flow:
        """Return the flow; `inputs` are those of each flow of the document."""
        self.declared = inputs
        record = self.part.flow
        wires = Wires(self.graph)
        entry = self.graph.entry(wires.jumps.values())
        every = self._edges(wires) if entry is not None else []
        kept = self._kept(wires, entry)
        places = [node.where for node in kept]
        about = self._about(wires)
        works = {node.id: self._work(node, about) for node in kept}
        for node in kept:
            self._check(node, about)
        edges = tuple(one for one in every if one.source in works and one.target in works)
        entered = {one.target for one in edges}
        return Flow(
            name=_text(record.get("name")),
            description=_text(record.get("description")),
            inputs=inputs[self.source],
            steps=tuple(self._step(node, is_entered=node.id in entered) for node in kept),
            edges=edges,
            config=self._config(),
            is_active=record.get("flowStatus", "enabled") == "enabled" and record.get("enabled") is not False,
            stem=self.document.name.rpartition("/")[2].partition(".")[0],
            source=self.source,
            document=replace(self.document, spell=partial(_spelled, places)),
            problems=tuple(self.problems),
            works=works,
            bundle=self.bundle,
        )

    def _edges(self, wires: Wires) -> list[Edge]:
        """Return the edges between nodes; too many are a problem."""
        edges = list(islice(wires.edges(), MOST_EDGES + 1))
        if len(edges) <= MOST_EDGES:
            return edges
        what = f"the evaluators connect more than {MOST_EDGES:,} pairs of nodes; split the flow"
        self.graph.problem("davinci.graph", f"{self.part.path}{self.part.elements}".rstrip("."), what)
        return []

    def _kept(self, wires: Wires, entry: str | None) -> list[Node]:
        """Return the nodes that a run can come to; the others are told, and left out."""
        nodes = self.graph.nodes
        if entry is None:
            return list(nodes.values())
        reached = wires.reached(entry)
        lost = [name for name in nodes if name not in reached]
        if lost:
            several = ", ".join(map(repr, lost[:10])) + (" …" if len(lost) > 10 else "")
            what = f"no run comes to {several}; left out"
            self.problems.append(Problem("davinci.graph", nodes[lost[0]].where, what, "warning"))
        return [node for name, node in nodes.items() if name in reached]

    def _step(self, node: Node, *, is_entered: bool) -> Step:
        given: dict[str, Any] = {
            "id": node.id,
            "name": node.title,
            "external": External(platform="davinci", type=node.type, source=node.data),
        }
        if is_entered:
            given |= {"join": "each", "max_visits": VISITS}
        if self._runs_a_flow(node):
            given["flow"] = f"#{subflow_of(node)[0]}"
            given["inputs"] = dict.fromkeys(passed_on(node, self._inputs_of(node)), "")
        elif node.type in SUBFLOWS:
            target, label = subflow_of(node)
            given["name"] = f"{node.title} (subflow {label or 'without label'}, {target or 'without id'})"
        return Step.of(given)

    def _runs_a_flow(self, node: Node) -> bool:
        return node.type in SUBFLOWS and f"#{subflow_of(node)[0]}" in self.declared

    def _inputs_of(self, node: Node) -> tuple[InputField, ...] | None:
        return self.declared[f"#{subflow_of(node)[0]}"]

    def _work(self, node: Node, about: About) -> ForeignWork:
        env = self._env_of(node, about)
        if self._runs_a_flow(node):
            return ForeignWork(
                "flow", env=env, given=Given(node, about, self._inputs_of(node)), ends=subflow_ended
            )
        return replace(work_of(node, about), env=env)

    def _env_of(self, node: Node, about: About) -> tuple[str, ...]:
        """Return the company's variables that a node uses and that the document has no value for."""
        found: dict[str, None] = {}
        for text in texts_in(node.properties):
            for reference in decode(text).template.references:
                name = variable_name(reference.path) if reference.root == "global" else None
                declared = about.variables.get(name or "")
                is_company = declared is not None and declared.context == "company"
                if (
                    name
                    and (is_company or reference.path[0] == "company")
                    and (declared is None or declared.value is None)
                ):
                    found[name] = None
        return tuple(found)

    def _about(self, wires: Wires) -> About:
        record, settings = self.part.flow, self._settings()
        environment = record.get("environment")
        company = environment.get("id") if isinstance(environment, dict) else record.get("companyId")
        known = {"companyId": company, "flowId": flow_id(record) or None}
        return About(
            variables={one.name: one for one in variables_of(record)},
            known={name: value for name, value in known.items() if value is not None},
            calls=wires.calls,
            starts=wires.jumps,
            timeout=self.http_timeout(),
            keeps_braces=settings.get("doNotSubstituteUnreplacedFields") is True,
        )

    def _settings(self) -> Mapping[str, Json]:
        held = self.part.flow.get("settings")
        return held if isinstance(held, dict) else {}

    def _config(self) -> Config:
        seconds = self._limited("flowTimeoutInSeconds", DEFAULT_FLOW_TIMEOUT, MAX_FLOW_TIMEOUT)
        timeout = max(1, round(seconds * 1000))
        # A node that fails ends its own way through the flow, and no other.
        return Config(parallel=True, max_concurrency=AT_ONCE, flow_timeout=timeout, stop_on_error=False)

    def http_timeout(self) -> float:
        """Return the seconds that a request may take whose node says nothing of it."""
        return self._limited("flowHttpTimeoutInSeconds", DEFAULT_TIMEOUT, MAX_TIMEOUT)

    def _limited(self, name: str, default: float, most: float) -> float:
        """Return a time of the settings in seconds, held to what DaVinci allows."""
        seconds = number_of(unwrapped(self._settings().get(name)))
        if seconds is None or seconds <= 0:
            return default
        if seconds > most:
            what = f"{seconds:g} s is more than DaVinci allows; {most:g} s are taken"
            where = f"{self.part.path}settings.{name}"
            self.problems.append(Problem("davinci.timeout_clamped", where, what, "warning"))
        return min(seconds, most)

    # --- what is wrong with single nodes

    def _check(self, node: Node, about: About) -> None:
        if node.is_disabled:
            what = f"node {node.id!r} is disabled; what follows such a node is not known: enable or remove it"
            self.graph.problem("davinci.unsupported_node", node.where, what)
        outcomes = node.data.get("outcomes")
        if isinstance(outcomes, list) and outcomes:
            what = f"node {node.id!r} routes by 'outcomes', and how these lead on is not known"
            self.graph.problem("davinci.unknown_eval", f"{node.where}.outcomes", what)
        for name, value in node.properties.items():
            if any(decode(text).is_broken for text in texts_in(value)):
                what = (
                    f"node {node.id!r}: {name!r} is an editor's text that cannot be read; taken as it stands"
                )
                self.problems.append(
                    Problem("davinci.bad_value", f"{node.where}.properties.{name}", what, "warning")
                )
        if node.type == JUMP and node.id not in about.starts:
            what = f"node {node.id!r} jumps to {target_of(node)!r}, which is no start node of this flow"
            self.graph.problem("davinci.graph", node.where, what)
        if node.type == "httpConnector/makeRestApiCall":
            self._check_timeout(node)
        if node.connector == "variablesConnector":
            self._check_variables(node, about.variables)

    def _check_timeout(self, node: Node) -> None:
        given = number_of(unwrapped(node.properties.get("timeout")))
        if given is not None and given / 1000 > MAX_TIMEOUT:
            what = f"{given:g} ms is more than DaVinci allows; {MAX_TIMEOUT:g} s are taken"
            where = f"{node.where}.properties.timeout"
            self.problems.append(Problem("davinci.timeout_clamped", where, what, "warning"))

    def _check_variables(self, node: Node, known: Mapping[str, Variable]) -> None:
        for name in _variables_set_by(node):
            if name in known and known[name].context == "user":
                what = f"node {node.id!r} sets {name!r}, a variable of the user, and there is no user here"
                self.graph.problem("davinci.user_variable", node.where, what)

    def inputs(self) -> tuple[InputField, ...] | None:
        """Return the inputs that a flow declares; None when it declares none and takes any."""
        listed = self.part.flow.get("inputSchema")
        fields = [_input(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        return tuple(field for field in fields if field.name) or None


def _input(one: Mapping[str, Json]) -> InputField:
    kind = one.get("preferredDataType")
    return InputField(
        name=_text(one.get("propertyName")),
        type=kind if kind in TYPES else "json",
        required=one.get("required") is True,
        description=_text(one.get("description")),
    )


def _variables_set_by(node: Node) -> Iterator[str]:
    for key in ("saveVariables", "saveFlowVariables"):
        listed = unwrapped(node.properties.get(key))
        for row in listed if isinstance(listed, list) else ():
            if isinstance(row, dict):
                yield variable_in(row)
    yield variable_in({"name": unwrapped(node.properties.get("variable"))})


def _spelled(places: list[str], path: str) -> str:
    """Return where in the document stands what has a path in the steps made of it."""
    match = _STEP.fullmatch(path)
    return path if match is None else f"{places[int(match[1])]}{match[2]}"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def to_steps(document: Document) -> tuple[dict[str, Json], tuple[Problem, ...]]:
    """Return the first flow of a document as Steps; raises FlowError with what is wrong with its graph."""
    flow = read(document)
    timeout = _Reader(document, parts_of(document.value)[0], {}).http_timeout() if flow.steps else 0
    return davinci_steps.to_steps(document, flow, timeout)


def from_steps(document: Document) -> tuple[dict[str, Json], tuple[Problem, ...]]:
    """Return the DaVinci document that Steps were made of, with what was changed in them.

    Raises FlowError for Steps that came from elsewhere, and for changes that the document has no place for.
    """
    original = document.value.get(davinci_steps.BESIDE)
    if not isinstance(original, dict) or shape_of(original) is None:
        raise davinci_steps.refused(document)
    source = Document.of(original)
    before, _ = to_steps(source)
    return davinci_steps.from_steps(document, original, before), ()
