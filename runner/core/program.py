"""What each kind of step does, as a generator that yields commands and returns an Outcome."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote_plus, urlencode

from runner.core import names
from runner.core.commands import (
    Command,
    Computed,
    Emit,
    Headers,
    Json,
    NoResponse,
    Outcome,
    Program,
    Refused,
    Reply,
    Request,
    Response,
    RunScript,
    SendRequest,
    StepFailure,
    Token,
    TokenSpec,
    Wait,
    header,
)
from runner.core.compiled import ConditionWork, ForeignWork, HttpWork, StepPlan
from runner.core.model import External
from runner.core.output import Absent, ResponseView
from runner.core.redact import MASK, Masker
from runner.core.reference import Reference
from runner.core.request import (
    FORM,
    Prepared,
    RunTerms,
    fetch_token,
    learn_credentials,
    prepare,
    redirected,
    with_token,
)
from runner.core.retry import (
    RETRIED_STATUSES,
    Again,
    Enough,
    RetryPolicy,
    decide,
    may_resend_silently,
)
from runner.core.scope import Scope
from runner.core.template import Tree
from runner.core.text import MAX_NESTING, to_json
from runner.errors import StepError, located

MAX_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Answer: TypeAlias = Response | NoResponse


def step_program(plan: StepPlan, scope: Scope, terms: RunTerms, path: str, visit: int = 1) -> Program:
    """Return the program of a leaf. Its failures are outcomes, never exceptions.

    `visit` counts the visits of a step with a scripted outcome.
    """
    attempts = 0
    try:
        if plan.extras.delay:
            yield Emit(names.EVENT_DELAY, {names.DELAY_MS: round(plan.extras.delay * 1000)})
            yield Wait(plan.extras.delay)
        match plan.work:
            case HttpWork() as work:
                exchange = Exchange(plan, work, terms, path)
                try:
                    return (yield from _http(plan, work, scope, exchange))
                finally:
                    attempts = exchange.attempts
            case Tree() | dict() as values:
                return _set(plan, values, scope, terms)
            case ConditionWork() as work:
                return (yield from _decide(plan, work, scope))
            case External():
                return terms.answers.outcome(plan, visit, terms.masker)
            case ForeignWork(program=program) if program is not None:
                return (yield from program(plan, scope, terms, path, visit))
            case _:
                return Outcome("succeeded")
    except StepError as error:
        return failed(error.code, error.message, error.where or plan.where, attempts)


def failed(code: str, message: str, where: str, attempts: int = 0) -> Outcome:
    """Return the outcome of a step that failed."""
    return Outcome("failed", failure=StepFailure(code, message, where), attempts=attempts)


def computed(code: str, argument: Json) -> Generator[Command, Reply, Json]:
    """Return the value of a script; raises StepError when it throws, or is nested too deeply."""
    reply = yield RunScript(code, argument)
    if isinstance(reply, Refused):
        raise StepError(reply.code, reply.message)
    assert isinstance(reply, Computed)
    if is_too_deep(reply.value):
        raise StepError("limit.depth", f"the value of the script is nested deeper than {MAX_NESTING} levels")
    return reply.value


def _decide(plan: StepPlan, work: ConditionWork, scope: Scope) -> Program:
    with located(f"{plan.where}.condition"):
        holds = work.condition.holds(scope)
    taken = "true" if holds else "false"
    label = work.true_label if holds else work.false_label
    shown: dict[str, str | bool] = {
        names.CONDITION: work.condition.shown,
        names.CONDITION_RESULT: holds,
        names.CONDITION_LABEL: label,
    }
    yield Emit(names.EVENT_BRANCH_TAKEN, shown)
    return Outcome("succeeded", {"result": holds, "label": label}, taken=taken)


def _set(plan: StepPlan, work: Tree | dict[str, Json], scope: Scope, terms: RunTerms) -> Outcome:
    values: Mapping[str, Json] = work.render(scope, f"{plan.where}.set") if isinstance(work, Tree) else work
    secret = plan.extras.secret
    if isinstance(work, Tree) and work.is_secret(scope):
        secret |= work.secret_keys(scope)
        terms.masker.add(work.secret_values(scope))
    if secret:
        terms.masker.add([values[name] for name in secret if name in values])
    return Outcome("succeeded", values, tainted=secret)


def _http(
    plan: StepPlan, work: HttpWork, scope: Scope, exchange: Exchange
) -> Generator[Command, Reply, Outcome]:
    prepared = yield from prepare(plan, work, scope, exchange.terms, exchange.path)
    answer = yield from exchange.run(prepared)
    if isinstance(answer, NoResponse):
        return failed(answer.code, exchange.tried(answer.message), plan.where, exchange.attempts)
    if not is_accepted(work, answer.status):
        message = exchange.tried(f"the server answered {answer.status}, expected {work.terms.expected}")
        return failed("http.status", message, plan.where, exchange.attempts)
    view = ResponseView(answer.status, answer.headers, answer.body)
    # Outputs come first: what they keep secret must not stand in the message of an assertion.
    outputs, missing = _read_outputs(plan, work, view, exchange.terms)
    taken = None
    if work.assertions or work.until is not None:
        taken = _judged(plan, work, scope.child(response=view.as_scope()), exchange.terms.masker)
    for what in missing if taken != "false" else ():  # what a poll lacks that came too early is no news
        yield Emit(names.EVENT_OUTPUT_MISSING, {names.REASON: what})
    return Outcome("succeeded", outputs, attempts=exchange.attempts, taken=taken, tainted=plan.extras.secret)


def _judged(plan: StepPlan, work: HttpWork, scope: Scope, masker: Masker) -> str | None:
    """Return what `until` says of an answer; raises StepError when an assertion does not hold."""
    for number, assertion in enumerate(work.assertions):
        with located(f"{plan.where}.assert[{number}]"):
            if not assertion.holds(scope):
                seen = [_seen(reference, scope, masker) for reference in assertion.references]
                reason = f"; {', '.join(seen)}" if seen else ""
                raise StepError("assert.failed", f"{assertion.shown} does not hold{reason}")
    if work.until is None:
        return None
    with located(f"{plan.where}.until.condition"):
        return "true" if work.until.condition.holds(scope) else "false"


def _seen(reference: Reference, scope: Scope, masker: Masker) -> str:
    """Return what a reference led to. Masked before it is cut: half a secret would not be found again."""
    try:
        value = scope.value(reference)
    except StepError:
        return f"{reference.text} is missing"
    if scope.is_secret(reference):
        return f"{reference.text} is {MASK}"
    try:
        text = to_json(masker.mask(value) if isinstance(value, str) else value)
    except StepError:
        return f"{reference.text} is too large to be shown"
    return f"{reference.text} is {masker.mask(text)[:200]}"


def _read_outputs(
    plan: StepPlan, work: HttpWork, view: ResponseView, terms: RunTerms
) -> tuple[dict[str, Json], list[str]]:
    """Return the outputs that the answer has, and what it lacks."""
    outputs: dict[str, Json] = {}
    missing: list[str] = []
    for name, output in work.outputs.items():
        try:
            outputs[name] = output.read(view)
        except Absent:
            missing.append(f"no {output.source} for output {name!r}")
            continue
        if is_too_deep(outputs[name]):
            message = f"output {name!r} is nested deeper than {MAX_NESTING} levels"
            raise StepError("limit.depth", message, f"{plan.where}.outputs.{name}")
        if name in plan.extras.secret:
            terms.masker.add(outputs[name])
    return outputs, missing


def is_too_deep(value: Json) -> bool:
    """Whether a value of an answer is nested so deeply that what writes it later would break."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_NESTING):
        children = (one.values() if isinstance(one, dict) else one for one in level)
        level = [child for some in children for child in some if type(child) is dict or type(child) is list]
        if not level:
            return False
    return True


def is_accepted(work: HttpWork, status: int) -> bool:
    """Whether a status counts as success for the step."""
    return any(status in accepted for accepted in work.terms.accepted)


@dataclass(slots=True)
class Exchange:
    """A request with everything that may happen to it: retries, redirects, one token refresh."""

    plan: StepPlan
    work: HttpWork
    terms: RunTerms
    path: str
    attempts: int = 0
    sends: int = 0
    refreshed: bool = False
    acted: bool = False

    def run(self, prepared: Prepared) -> Generator[Command, Reply, Answer]:
        """Send until the answer is accepted or nothing more may be tried."""
        while True:
            self.attempts += 1
            prepared, answer = yield from self._attempt(prepared)
            if isinstance(answer, Response) and is_accepted(self.work, answer.status):
                return answer
            decision = decide(
                self.work.terms.policy,
                answer,
                self.attempts,
                method=prepared.request.method,
                keyed=header(prepared.request.headers, "idempotency-key") is not None,
                draw=_draw(self.terms.origin, self.path, self.attempts),
                acted=self.acted,
            )
            if isinstance(decision, Enough):
                yield from self._give_up(decision, answer)
                return answer
            yield from _await_retry(decision, answer, self.attempts)

    def tried(self, message: str) -> str:
        """Add the number of attempts to a message when there were several."""
        return message if self.attempts == 1 else f"{message} (after {self.attempts} attempts)"

    def _attempt(self, prepared: Prepared) -> Generator[Command, Reply, tuple[Prepared, Answer]]:
        """Send once, following redirects; returns the request for the next attempt and the answer."""
        current, hops = prepared, 0
        while True:
            answer = yield from self._send(current)
            if may_resend_silently(current.request.method, answer):
                answer = yield from self._send(current)
            if isinstance(answer, NoResponse) or is_accepted(self.work, answer.status):
                return prepared, answer
            if answer.status == 401 and current.spec is not None and not self.refreshed:
                self.refreshed = True
                with located(f"{self.plan.where}.auth"):
                    token = yield from fetch_token(current.spec, current.token)
                current = with_token(current, token)
                prepared = with_token(prepared, token)
                continue
            location = header(answer.headers, "location")
            if answer.status not in REDIRECTS or location is None or not self.work.terms.follow_redirects:
                return prepared, answer
            hops += 1
            if hops > MAX_REDIRECTS:
                raise StepError("http.redirect", f"more than {MAX_REDIRECTS} redirects", self.plan.where)
            current = redirected(current, answer.status, location)
            # A POST that became a GET has been taken: whatever that GET meets, the POST is not harmless.
            self.acted = self.acted or current.request.method != prepared.request.method

    def _send(self, prepared: Prepared) -> Generator[Command, Reply, Answer]:
        reply = yield SendRequest(
            prepared.request,
            self.work.terms.timeout,
            self.sends,
            prepared.template,
            prepared.shown_url,
            self.work.terms.accepted,
        )
        self.sends += 1
        match reply:
            case Response(headers=headers):
                learn_credentials(headers, self.terms.masker)
                return reply
            case NoResponse():
                return reply
            case Refused(code, message):
                raise StepError(code, message, self.plan.where)
            case other:
                raise TypeError(other)

    def _give_up(self, decision: Enough, answer: Answer) -> Generator[Command, Reply, None]:
        if decision.verdict == "withheld":
            reason = f"{_reason(answer)}: the server may have acted; set idempotencyKey or retry.unsafe"
            yield Emit(names.EVENT_RETRY_WITHHELD, {names.ATTEMPT: self.attempts, names.REASON: reason})
        if decision.verdict == "after_too_long":
            limit = self.work.terms.policy.max_retry_after
            asked = f"the server asks to wait {decision.retry_after:.0f} s"
            message = f"{asked}; retry.maxRetryAfter allows {limit:g} s"
            raise StepError("retry.after_too_long", message, self.plan.where)


def token_program(
    spec: TokenSpec, origin: str = ""
) -> Generator[SendRequest | Wait | Emit, Reply, Token | Refused]:
    """Ask for a client-credentials token (RFC 6749 section 4.4.2)."""
    policy = RetryPolicy(max_attempts=spec.max_attempts, unsafe=True)
    request = _token_request(spec)
    attempt = 0
    while True:
        attempt += 1
        reply = yield SendRequest(
            request, spec.timeout, attempt - 1, spec.template, spec.token_url, capture=False
        )
        if isinstance(reply, Refused):
            return reply
        if not isinstance(reply, Response | NoResponse):
            raise TypeError(reply)
        draw = _draw(origin, "token", attempt)
        decision = decide(policy, reply, attempt, method="POST", keyed=True, draw=draw)
        if isinstance(decision, Enough):
            return _token(reply)
        yield from _await_retry(decision, reply, attempt)


def _token_request(spec: TokenSpec) -> Request:
    fields = [("grant_type", "client_credentials")]
    if spec.scope:
        fields.append(("scope", spec.scope))
    if spec.audience:
        fields.append(("audience", spec.audience))
    headers: Headers = (("Content-Type", FORM), ("Accept", "application/json"))
    if spec.client_auth == "body":
        fields += [("client_id", spec.client_id), ("client_secret", spec.client_secret)]
    else:
        # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(spec.client_id)}:{quote_plus(spec.client_secret)}"
        headers = (*headers, ("Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
    return Request("POST", spec.token_url, headers, urlencode(fields).encode())


def _token(reply: Answer) -> Token | Refused:
    if isinstance(reply, NoResponse):
        code = "http.refused" if reply.code == "http.refused" else "auth.token"
        return Refused(code, f"no token: {reply.message}")
    view = ResponseView(reply.status, reply.headers, reply.body)
    answer = view.json if isinstance(view.json, dict) else {}
    token = answer.get("access_token")
    if reply.status == 200 and isinstance(token, str) and token.isprintable() and token:
        return Token(token, reply.received_at)
    error = answer.get("error")
    reason = f" {error!r}" if isinstance(error, str) and len(error) <= 100 else ""
    message = f"the token server answered {reply.status}{reason} and gave no access_token"
    return Refused("auth.token", message, reply.received_at, final=reply.status not in RETRIED_STATUSES)


def _await_retry(decision: Again, answer: Answer, attempt: int) -> Generator[Wait | Emit, Reply, None]:
    shown: dict[str, str | int] = {
        names.ATTEMPT: attempt + 1,
        names.DELAY_MS: round(decision.seconds * 1000),
        names.REASON: _reason(answer),
    }
    yield Emit(names.EVENT_RETRY_SCHEDULED, shown)
    yield Wait(decision.seconds)


def _reason(answer: Answer) -> str:
    return str(answer.status) if isinstance(answer, Response) else answer.code


def _draw(origin: str, path: str, attempt: int) -> float:
    """Return a number in [0, 1) that is the same each time the same attempt is made."""
    digest = hashlib.sha256(f"jitter\0{origin}\0{path}\0{attempt}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)
