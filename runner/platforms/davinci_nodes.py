"""What DaVinci's nodes do when they run here: programs, one per capability (facts A5).

Each ends with what references of later nodes see, ``local.<id>.payload``: its output, whether it
succeeded, its error. Everything else that only DaVinci can do ends as a file says (`runner.core.answers`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

from runner.core import names
from runner.core.commands import Command, Emit, Json, Outcome, Program, Reply, StepFailure
from runner.core.compiled import ForeignWork, StepPlan
from runner.core.model import External, InputField, StepKind
from runner.core.program import computed
from runner.core.redact import secret_name
from runner.core.request import RunTerms
from runner.core.scope import Scope
from runner.core.text import to_text
from runner.errors import StepError
from runner.platforms.davinci_compare import compare, switched
from runner.platforms.davinci_forms import SECRET
from runner.platforms.davinci_gates import JUMP, RETURN, SWITCH, choices, is_comparison
from runner.platforms.davinci_graph import Node
from runner.platforms.davinci_http import call, leading_of
from runner.platforms.davinci_values import LOCAL, VARIABLE, number_of, typed, unwrapped
from runner.platforms.davinci_visit import About, Visit, with_payload

CALL: Final = "call."  # keys of Scope.left: the calls that wait for their return, in their order
JUMPED: Final = "jump."  # what a jump has given to a start node
RESULT: Final = "result"  # what the flow has responded
SHORT: Final = 200


Does: TypeAlias = Callable[[Visit], Generator[Command, Reply, Outcome]]


def work_of(node: Node, about: About) -> ForeignWork:
    """Return what a node does; with `external` when only DaVinci can do it."""
    if node.data.get("nodeType") == "START":
        return ForeignWork("set", partial(_visited, node, about, _start))
    if node.type in DOES:
        kind, does = DOES[node.type]
        leading = leading_of(node) if kind == "http" else ""
        return ForeignWork(kind, partial(_visited, node, about, does), leading=leading)
    if is_comparison(node):
        return ForeignWork("condition", partial(_visited, node, about, _compare))
    external = external_of(node)
    return ForeignWork("external", partial(_visited, node, about, None), external)


def external_of(node: Node) -> External:
    """Return what a node that only DaVinci can run asks for."""
    return External(
        platform="davinci",
        type=node.type,
        ask="answers" if is_for_a_person(node) else "stubs",
        fields=tuple(_fields(node)),
        source=node.data,
    )


def is_for_a_person(node: Node) -> bool:
    """Whether a node shows something and waits for what a person does."""
    if node.type in DOES:
        return False
    return node.connector == "httpConnector" or node.data.get("capabilityClass") == "render"


def _fields(node: Node) -> list[str]:
    listed = unwrapped(node.properties.get("formFieldsList"))
    found = (
        [one.get("propertyName") for one in listed if isinstance(one, dict)]
        if isinstance(listed, list)
        else []
    )
    return [name for name in found if isinstance(name, str) and name]


def _visited(
    node: Node,
    about: About,
    does: Does | None,
    plan: StepPlan,
    scope: Scope,
    terms: RunTerms,
    path: str,
    visit: int,
) -> Program:
    """Run what a node does, or take the outcome that a file has for it, and leave its payload."""
    if does is None or plan.id in terms.answers.stubs:
        outcome = terms.answers.outcome(plan, visit, terms.masker)
    else:
        at = Visit(node, about, plan, scope, terms, path, about.values(scope))
        terms.masker.add(at.values.secrets())
        try:
            outcome = yield from does(at)
        except StepError as error:
            failure = StepFailure(error.code, error.message, error.where or plan.where)
            outcome = Outcome("failed", failure=failure)
    return with_payload(plan.id, outcome)


def _nothing() -> Generator[Command, Reply, None]:
    yield from ()


# --- comparisons


def _compare(at: Visit) -> Program:
    if at.node.type == SWITCH:
        listed = [(name, at.values.of(value)) for name, value in choices(at.node)]
        taken = switched(at.of("leftValueA"), listed, _settings(at))
        shown: dict[str, str | bool] = {names.CONDITION: at.node.type, names.CONDITION_LABEL: taken}
        yield Emit(names.EVENT_BRANCH_TAKEN, shown)
        return Outcome("succeeded", {"result": taken}, taken=f"case:{taken}")
    name = at.node.type.partition("/")[2]
    holds = compare(name, at.of("leftValueA"), at.of("rightValueB"), _settings(at))
    shown = {names.CONDITION: name, names.CONDITION_RESULT: holds, names.CONDITION_LABEL: str(holds).lower()}
    yield Emit(names.EVENT_BRANCH_TAKEN, shown)
    return Outcome("succeeded", {"result": holds}, taken="true" if holds else "false")


def _settings(at: Visit) -> tuple[str, bool]:
    """Return the type that is compared as, and whether case matters."""
    return at.text("type"), at.of("caseSensitive") not in (False, "false")


# --- variables


def _save(at: Visit) -> Program:
    yield from _nothing()
    rows = [*at.rows("saveVariables"), *at.rows("saveFlowVariables")]
    made = {}
    for row in rows:
        name = variable_in(row)
        if name:
            declared = at.about.variables.get(name)
            kind = row.get("type") or (declared.type if declared is not None else None)
            made[name] = typed(at.values.of(row.get("value")), kind)
    return _set(at, made)


def variable_in(row: Mapping[str, Json]) -> str:
    """Return the name of the variable that a row sets, without its context."""
    name = row.get("name")
    return name.partition("##SK##")[0] if isinstance(name, str) else ""


def _increment(at: Visit) -> Program:
    yield from _nothing()
    target = at.of("variable")
    target = target.get("value") if isinstance(target, dict) else target
    name = variable_in({"name": target})
    step, now = number_of(at.of("incrementCounter")), at.values.of(f"{{{{global.variables.{name}}}}}")
    value = number_of(0 if now in ("", None) else now)
    if not name or value is None:
        raise StepError(
            "davinci.increment", f"variable {name!r} is {now!r}, which is no number to be increased"
        )
    return _set(at, {name: value + (1 if step is None else step)})


def _set(at: Visit, made: Mapping[str, Json]) -> Outcome:
    secret = {
        name for name in made if name in at.about.variables and at.about.variables[name].type == SECRET
    } | {name for name in made if secret_name(name)}
    at.terms.masker.add([made[name] for name in secret])
    left = {f"{VARIABLE}{name}": value for name, value in made.items()}
    return Outcome("succeeded", made, tainted=frozenset(secret), left=left)


# --- jumps and calls, and the way back


def _start(at: Visit) -> Program:
    yield from _nothing()
    return Outcome("succeeded", at.scope.left.get(f"{JUMPED}{at.node.id}", {}))


def _jump(at: Visit) -> Program:
    yield from _nothing()
    given = _given(at)
    left: dict[str, Json] = {f"{JUMPED}{at.about.starts[at.node.id]}": given}
    if at.node.id in at.about.calls:
        left[f"{CALL}{at.node.id}"] = at.scope.left.get(f"{CALL}{at.node.id}", 0) + 1
    return Outcome("succeeded", given, left=left)


def _given(at: Visit) -> dict[str, Json]:
    """Return what a node passes on: the properties that do not say how it is drawn or where it leads."""
    skipped = (
        "nodeInstanceId",
        "inputSchema",
        "outputSchema",
        "nodeTitle",
        "nodeDescription",
        "backgroundColor",
    )
    return {name: at.of(name) for name in at.node.properties if name not in skipped}


def _return(at: Visit) -> Program:
    yield from _nothing()
    given, left = _given(at), at.scope.left
    callers = [
        name for name, ends in at.about.calls.items() if at.node.id in ends and left.get(f"{CALL}{name}")
    ]
    waiting = [key for key in left if key.startswith(CALL)]
    callers.sort(key=lambda name: waiting.index(f"{CALL}{name}"))
    if not callers:
        return Outcome("succeeded", given)
    caller = callers[-1]
    returned: dict[str, Json] = {
        f"{CALL}{caller}": left[f"{CALL}{caller}"] - 1 or None,
        f"{LOCAL}{caller}": {"output": given, "success": True},
    }
    return Outcome("succeeded", given, taken=f"case:{caller}", left=returned)


# --- the end of a flow


def _respond(at: Visit) -> Program:
    yield from _nothing()
    claims = _claims(at)
    left = {RESULT: claims}
    return Outcome("succeeded", {"success": True, "additionalProperties": claims, **_origin(at)}, left=left)


def _respond_error(at: Visit) -> Program:
    yield from _nothing()
    claims = _claims(at)
    code = next((claims[name] for name in ("code", "errorCode", "error") if claims.get(name)), None)
    message = next(
        (claims[name] for name in ("message", "errorMessage", "errorDescription") if claims.get(name)), None
    )
    failure = StepFailure(
        "davinci.error_response" if code is None else to_text(code)[:SHORT],
        "the flow responds with an error" if message is None else to_text(message),
        at.plan.where,
    )
    outputs = {"success": False, "additionalProperties": claims, **_origin(at)}
    return Outcome("failed", outputs, failure=failure, left={RESULT: claims})


def _respond_plain(at: Visit) -> Program:
    yield from _nothing()
    text = at.of("jsonString")
    body = typed(text, "json")
    status = number_of(at.of("httpStatusCode"))
    outputs = {"httpStatusCode": 200 if status is None else status, "body": body}
    return Outcome("succeeded", outputs, left={RESULT: body if isinstance(body, dict) else {"body": body}})


def _claims(at: Visit) -> dict[str, Json]:
    claims = {}
    for row in at.rows("claimsNameValuePairs"):
        name = next((row[key] for key in ("name", "key") if isinstance(row.get(key), str) and row[key]), None)
        if name is not None:
            claims[name] = typed(at.values.of(row.get("value")), row.get("type"))
    return claims


def _origin(at: Visit) -> dict[str, Json]:
    """Return what a response says of where it is from."""
    about, data = at.about.known, at.node.data
    found = {
        "interactionId": at.scope.run.seed,
        "companyId": about.get("companyId"),
        "flowId": about.get("flowId"),
        "connectionId": data.get("connectionId"),
        "connectorId": data.get("connectorId"),
        "id": at.node.id,
        "capabilityName": data.get("capabilityName"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _custom_error(at: Visit) -> Program:
    yield from _nothing()
    told = {name: at.text(name) for name in ("errorMessage", "errorCode", "errorDescription", "errorReason")}
    message = told["errorMessage"] or told["errorDescription"] or "the flow shows an error"
    failure = StepFailure(told["errorCode"][:SHORT] or "davinci.custom_error", message, at.plan.where)
    outputs = {name: value for name, value in told.items() if value}
    return Outcome("failed", outputs, failure=failure)


# --- the rest


def _function(at: Visit) -> Program:
    params = {}
    for row in at.rows("variableInputList"):
        name = row.get("name")
        if isinstance(name, str) and name:
            params[name] = typed(at.values.of(row.get("value")), row.get("preferredDataType"))
    code = unwrapped(at.node.properties.get("code"))
    found = yield from computed(code if isinstance(code, str) else "", {"params": params})
    if found is False:
        failure = StepFailure("davinci.returned_false", "the function returned false", at.plan.where)
        return with_payload(at.node.id, Outcome("failed", failure=failure), {})
    outputs = found if isinstance(found, dict) else {"result": found}
    return with_payload(at.node.id, Outcome("succeeded", outputs), found)


def _log(at: Visit) -> Program:
    shown: dict[str, Any] = {
        f"{names.LOGGED}{name}": at.text(name) for name in at.node.properties if name != "nodeTitle"
    }
    yield Emit(names.EVENT_OUTCOME_LOGGED, {name: value for name, value in shown.items() if value})
    return Outcome("succeeded")


def passed_on(node: Node, declared: tuple[InputField, ...] | None) -> dict[str, str]:
    """Return the inputs that a node gives to the flow that it runs, with the types that the flow declares."""
    skipped = ("subFlowId", "subFlowVersionId", "nodeTitle", "nodeDescription", "backgroundColor")
    held = [name for name in node.properties if name not in skipped]
    if declared is None:
        return dict.fromkeys(held, "")
    fields = {field.name: field.type for field in declared}
    return {name: fields[name] for name in held if name in fields}


class Given:
    """What a node gives to the flow that it runs; inputs that lead nowhere are left out."""

    def __init__(self, node: Node, about: About, declared: tuple[InputField, ...] | None) -> None:
        self.node, self.about = node, about
        self.types = passed_on(node, declared)

    def render(self, scope: Scope, where: str) -> Json:
        """Return the inputs by name; `where` is not needed, what leads nowhere is no error here."""
        del where
        values = self.about.values(scope)
        found = {}
        for name, kind in self.types.items():
            value = self.node.properties[name]
            if unwrapped(value) is not None and not values.is_unresolved(value):
                found[name] = typed(values.of(value), kind)
        return found

    def secret_keys(self, scope: Scope) -> frozenset[str]:
        """Return the inputs that are made from a secret."""
        values = self.about.values(scope)
        return frozenset(name for name in self.types if values.is_secret(self.node.properties[name]))


def subflow_ended(outcome: Outcome, scope: Scope, name: str) -> Outcome:
    """Return the outcome of a node that ran a flow: its output are the claims of the flow's response."""
    claims = scope.left.get(RESULT) or {}
    if outcome.status == "succeeded":
        return with_payload(name, replace(outcome, outputs=claims))
    told = {key: claims[key] for key in ("message", "code") if key in claims}
    return with_payload(name, outcome, claims, told)


DOES: Final[Mapping[str, tuple[StepKind, Does]]] = {
    "httpConnector/makeRestApiCall": ("http", call),
    "httpConnector/createSuccessResponse": ("set", _respond),
    "httpConnector/createErrorResponse": ("set", _respond_error),
    "httpConnector/createUnwrappedResponse": ("set", _respond_plain),
    "functionsConnector/customFunction": ("script", _function),
    "variablesConnector/saveValue": ("set", _save),
    "variablesConnector/saveFlowValue": ("set", _save),
    "variablesConnector/incrementByN": ("set", _increment),
    "nodeConnector/startNode": ("set", _start),
    JUMP: ("set", _jump),
    RETURN: ("set", _return),
    "errorConnector/customErrorMessage": ("set", _custom_error),
    "analyticsConnector/logOutcome": ("set", _log),
}
