"""What a step does, command by command (SEMANTICS, Steps; Retry and idempotency; Secrets)."""

import json
from base64 import b64decode
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import names
from runner.core.commands import (
    Emit,
    FileContent,
    GetToken,
    NoResponse,
    Outcome,
    ReadFile,
    Refused,
    Response,
    SendRequest,
    StepFailure,
    Token,
    TokenSpec,
    Wait,
    Waited,
    header,
)
from runner.core.plan import build_plan
from runner.core.program import MAX_REDIRECTS, failed, step_program, token_program
from runner.core.redact import MASK, Masker
from runner.core.request import RunTerms
from runner.core.retry import idempotency_key
from runner.core.scope import RunValues, Scope, SecretNames
from tests.play import Stage, answer, flow_of, http, play

TIMEOUT = NoResponse("sent", "http.timeout", "timeout", "no answer within 30 s")
REFUSED = NoResponse("unsent", "http.connect", "ConnectError", "no connection to h.example:80")
STALE = NoResponse("sent", "http.reset", "ReadError", "the server ended the connection", reused=True)
RETRY = {"maxAttempts": 3, "jitter": "none"}


@dataclass
class Played:
    """A program that has ended: what it returned and every command that it yielded."""

    outcome: object = None
    commands: list = field(default_factory=list)

    @property
    def sent(self):
        return [command for command in self.commands if isinstance(command, SendRequest)]

    @property
    def requests(self):
        return [command.request for command in self.sent]

    @property
    def waits(self):
        return [command.seconds for command in self.commands if isinstance(command, Wait)]

    @property
    def events(self):
        return [(one.name, one.attributes) for one in self.commands if isinstance(one, Emit)]


def watch(program, *replies):
    """Drive a program to its end: waits pass, everything else is answered with the next reply."""
    played, waiting = Played(), list(replies)
    try:
        command = next(program)
        while True:
            played.commands.append(command)
            command = program.send(Waited() if isinstance(command, Wait | Emit) else waiting.pop(0))
    except StopIteration as stop:
        assert not waiting, f"never asked for: {waiting!r}"
        played.outcome = stop.value
        return played


def program_of(step, *, inputs=None, secret=None, masker=None, path="a", origin="run", repeat=0, **config):
    """Return the program of one step of a flow."""
    plan = build_plan(flow_of({"id": "a", **step}, **config))
    assert not plan.errors, [str(problem) for problem in plan.errors]
    scope = Scope(inputs=inputs or {}, run=RunValues(origin), secret=secret or SecretNames()).at(path)
    terms = RunTerms(origin, Masker() if masker is None else masker, rounds={path: repeat})
    return step_program(plan.steps[0], scope, terms, path)


def run(step, *replies, **given_values):
    return watch(program_of({"method": "GET", "url": "http://h.example/a", **step}, **given_values), *replies)


def failure(played):
    assert played.outcome.status == "failed"
    return played.outcome.failure.code, played.outcome.failure.message


# --- steps without a request ---------------------------------------------------------------------


def test_a_delay_step_waits_and_says_so():
    program = program_of({"delay": 1500})
    script = (Emit(names.EVENT_DELAY, {names.DELAY_MS: 1500}), Waited()), (Wait(1.5), Waited())
    assert play(program, *script) == Outcome("succeeded")


def test_a_delay_precedes_what_else_a_step_does():
    played = run({"duration": 10}, answer())
    assert [type(command) for command in played.commands] == [Emit, Wait, SendRequest]


@pytest.mark.parametrize(
    ("x", "labels", "label", "taken"),
    [
        (1, {}, "true", "true"),
        (2, {}, "false", "false"),
        (1, {"trueLabel": "Yes", "falseLabel": "No"}, "Yes", "true"),
        (2, {"trueLabel": "Yes", "falseLabel": "No"}, "No", "false"),
    ],
)
def test_a_condition_step_outputs_its_result_and_label_and_takes_a_branch(x, labels, label, taken):
    condition = "{{input.x}} === 1"
    played = watch(program_of({"condition": condition, **labels}, inputs={"x": x}))
    assert played.outcome == Outcome("succeeded", {"result": x == 1, "label": label}, taken=taken)
    shown = {names.CONDITION: condition, names.CONDITION_RESULT: x == 1, names.CONDITION_LABEL: label}
    assert played.events == [(names.EVENT_BRANCH_TAKEN, shown)]


def test_a_condition_that_cannot_be_decided_fails_its_step():
    played = watch(program_of({"condition": "{{input.x}} < 1"}, inputs={"x": "a"}))
    assert played.outcome.failure.where == "steps[0].condition"
    assert played.outcome.status == "failed"


def test_a_set_step_outputs_its_values_with_their_types():
    step = {"set": {"n": "{{input.n}}", "t": "is {{input.n}}", "no": "{{input.no}}", "c": [1]}}
    played = watch(program_of(step, inputs={"n": 5, "no": None}))
    assert played.outcome == Outcome("succeeded", {"n": 5, "t": "is 5", "no": None, "c": [1]})
    assert played.commands == []


def test_a_constant_variable_that_is_to_be_secret_is_masked():
    masker = Masker()
    step = {"id": "a", "set": {"pin": "hunter2", "plain": "x"}, "secretOutputs": ["pin"]}
    played = watch(program_of(step, masker=masker))
    assert played.outcome.outputs == {"pin": "hunter2", "plain": "x"}
    assert played.outcome.tainted == {"pin"}
    assert masker.mask("hunter2 x") == "[masked] x"


def test_a_variable_made_from_a_secret_is_secret_and_the_others_are_not():
    masker = Masker()
    step = {
        "set": {"a": "{{ input.pw | upper }}!", "b": "{{input.id}}", "c": "chosen"},
        "secretOutputs": ["c"],
    }
    secret = SecretNames(inputs=frozenset({"pw"}))
    played = watch(program_of(step, inputs={"pw": "hunter2", "id": "visible"}, secret=secret, masker=masker))
    assert played.outcome.tainted == {"a", "c"}
    assert masker.mask("HUNTER2! HUNTER2 visible chosen") == f"{MASK} {MASK} visible {MASK}"


def test_a_missing_reference_fails_a_set_step():
    played = watch(program_of({"set": {"a": "{{input.x}}"}}))
    assert played.outcome.failure.code == "reference.missing"
    assert played.outcome.failure.where == "steps[0].set.a"
    assert played.outcome.attempts == 0


# --- one request ---------------------------------------------------------------------------------


def test_a_step_sends_its_request_once_and_reads_its_outputs():
    step = {
        "method": "POST",
        "url": "http://h.example/u/{{input.id}}",
        "timeout": 2500,
        "expectedStatus": [201, "4xx"],
        "outputs": {"n": "response.body.n", "s": "response.status", "h": "response.headers.X-A"},
    }
    played = run(step, answer('{"n": 42}', 404, x_a="y"), inputs={"id": 7})
    (command,) = played.commands
    assert (command.timeout, command.resend, command.template) == (2.5, 0, "/u/{input.id}")
    assert command.shown_url == command.request.url == "http://h.example/u/7"
    assert command.accepted == (range(201, 202), range(400, 500))
    assert played.outcome == Outcome("succeeded", {"n": 42, "s": 404, "h": "y"}, attempts=1)


@pytest.mark.parametrize(
    ("expected", "text"), [({}, "2xx"), ({"expectedStatus": 201}, "201"), ({"expectedStatus": [201, "3xx"]}, "201 or 3xx")]
)  # fmt: skip
def test_a_status_that_is_not_expected_fails_the_step(expected, text):
    played = run(expected, answer(status=404))
    message = f"the server answered 404, expected {text}"
    assert played.outcome == Outcome(
        "failed", failure=StepFailure("http.status", message, "steps[0]"), attempts=1
    )


@pytest.mark.parametrize("reply", [TIMEOUT, REFUSED, NoResponse("partial", "http.reset", "x", "broke off")])
def test_no_answer_fails_the_step_with_the_code_of_what_happened(reply):
    played = run({}, reply)
    assert failure(played) == (reply.code, reply.message)
    assert (played.outcome.attempts, played.events) == (1, [])


def test_a_request_that_may_not_be_sent_fails_the_step():
    played = run({"retry": RETRY}, Refused("http.refused", "not to that host"))
    assert failure(played) == ("http.refused", "not to that host")
    assert played.outcome.attempts == 1


def test_nothing_is_sent_when_a_reference_is_missing():
    played = run({"headers": {"X": "{{input.x}}"}, "retry": RETRY})
    assert played.commands == []
    assert played.outcome.failure.code == "reference.missing"
    assert played.outcome.failure.where == "steps[0].headers.X"
    assert played.outcome.attempts == 0


def test_a_file_is_read_before_the_request_is_sent():
    step = {"method": "PUT", "bodyFile": "b.txt"}
    played = run(step, FileContent(b"x"), answer())
    assert played.commands[0] == ReadFile("b.txt")
    assert played.requests[0].body == b"x"
    assert failure(run(step, Refused("file.outside", "no"))) == ("file.outside", "no")


def test_a_reply_of_the_wrong_kind_is_a_fault_that_is_not_hidden():
    with pytest.raises(TypeError):
        run({}, Token("x"))


def test_a_missing_output_is_absent_and_an_event_says_so():
    step = {"outputs": {"a": "response.body.a", "b": "response.body.b"}, "secretOutputs": ["b"]}
    played = run(step, answer('{"a": null}'))
    assert played.outcome == Outcome("succeeded", {"a": None}, attempts=1, tainted=frozenset({"b"}))
    shown = {names.REASON: "no response.body.b for output 'b'"}
    assert played.events == [(names.EVENT_OUTPUT_MISSING, shown)]


def test_secret_outputs_are_named_and_masked_from_then_on():
    masker = Masker()
    step = {"outputs": {"t": "response.body.t", "u": "response.body.u"}, "secretOutputs": ["t"]}
    played = run(step, answer('{"t": "s3cr3t", "u": "visible"}'), masker=masker)
    assert played.outcome.tainted == {"t"}
    assert played.outcome.outputs == {"t": "s3cr3t", "u": "visible"}
    assert masker.mask("s3cr3t visible") == f"{MASK} visible"


def test_an_output_nested_too_deeply_fails_the_step():
    step = {"outputs": {"a": "response.body.a"}}
    body = '{"a": %s}'
    assert run(step, answer(body % ("[" * 200 + "]" * 200))).outcome.status == "succeeded"
    played = run(step, answer(body % ("[" * 201 + "]" * 201)))
    assert played.outcome.failure.code == "limit.depth"
    assert played.outcome.failure.where == "steps[0].outputs.a"


# --- assertions and until ------------------------------------------------------------------------


def test_assertions_that_hold_change_nothing():
    step = {"assert": ["response.status === 200", "response.body.n > {{input.n}}"]}
    assert run(step, answer('{"n": 2}'), inputs={"n": 1}).outcome == Outcome("succeeded", attempts=1)


def test_a_failed_assertion_tells_the_actual_values():
    step = {"assert": ["response.status === 200", "response.body.n > {{input.n}} && response.body.x === 'é'"]}
    played = run(step, answer('{"n": 1}'), inputs={"n": 1})
    message = (
        "response.body.n > {{input.n}} && response.body.x === 'é' does not hold;"
        " response.body.n is 1, input.n is 1, response.body.x is missing"
    )
    failed_with = StepFailure("assert.failed", message, "steps[0].assert[1]")
    assert played.outcome == Outcome("failed", failure=failed_with, attempts=1)


def test_a_failed_assertion_without_references_says_no_more():
    assert failure(run({"assert": "1 === 2"}, answer())) == ("assert.failed", "1 === 2 does not hold")


def test_a_failed_assertion_shows_texts_objects_and_headers_as_json():
    step = {"assert": "response.body.t === 1 || response.body.o === 1 || response.headers === 1"}
    _, message = failure(run(step, answer('{"t": "é\\"", "o": {"k": [true, null]}}', x_a="y")))
    assert message.endswith(
        'response.body.t is "é\\"", response.body.o is {"k":[true,null]}, response.headers is {"x-a":"y"}'
    )


def test_a_long_value_is_cut_and_an_endless_one_is_left_out():
    step = {"assert": "response.body.t === 1 || response.body.deep === 1"}
    deep = json.loads("[" * 300 + "]" * 300)
    _, message = failure(run(step, answer(json.dumps({"t": "x" * 500, "deep": deep}))))
    assert message.endswith(f'response.body.t is "{"x" * 199}, response.body.deep is too large to be shown')


def test_a_failed_assertion_keeps_secrets():
    long, masker = "long-" * 60, Masker()
    step = {
        "outputs": {"t": "response.body.t", "pin": "response.body.pin"},
        "secretOutputs": ["t", "pin"],
        "assert": "response.body.t === {{input.pw}} || response.body.pin === 1 || response.body.t === 'x'",
    }
    secret = SecretNames(inputs=frozenset({"pw"}))
    body = json.dumps({"t": f"{long}é", "pin": "12"})
    _, message = failure(run(step, answer(body), inputs={"pw": "abc"}, secret=secret, masker=masker))
    assert message.endswith(
        f'response.body.t is "{MASK}", input.pw is {MASK}, response.body.pin is "{MASK}", response.body.t is "{MASK}"'
    )


def test_an_assertion_that_cannot_be_decided_fails_the_step_at_its_place():
    played = run({"assert": ["response.body.n < 'a'"]}, answer('{"n": 1}'))
    assert played.outcome.failure.where == "steps[0].assert[0]"
    assert played.outcome.attempts == 1


@pytest.mark.parametrize(("state", "taken"), [("done", "true"), ("busy", "false")])
def test_until_is_decided_on_each_accepted_answer(state, taken):
    step = {"until": {"condition": "response.body.state === 'done'"}, "outputs": {"s": "response.body.state"}}
    played = run(step, answer(json.dumps({"state": state})))
    assert played.outcome == Outcome("succeeded", {"s": state}, attempts=1, taken=taken)


@pytest.mark.parametrize(("state", "events"), [("done", [names.EVENT_OUTPUT_MISSING]), ("busy", [])])
def test_what_a_poll_that_came_too_early_lacks_is_no_news(state, events):
    step = {"until": {"condition": "response.body.state === 'done'"}, "outputs": {"n": "response.body.n"}}
    played = run(step, answer(json.dumps({"state": state})))
    assert [name for name, _ in played.events] == events
    assert played.outcome.outputs == {}


def test_until_does_not_look_at_an_answer_whose_status_is_not_accepted():
    step = {"until": {"condition": "response.status === 404"}}
    assert failure(run(step, answer(status=404)))[0] == "http.status"
    assert run({**step, "expectedStatus": [200, 404]}, answer(status=404)).outcome.taken == "true"


def test_an_until_that_cannot_be_decided_fails_the_step_at_its_place():
    played = run({"until": {"condition": "response.body.n < 'a'"}}, answer('{"n": 1}'))
    assert played.outcome.failure.where == "steps[0].until.condition"


# --- retries -------------------------------------------------------------------------------------


def test_nothing_is_retried_unless_the_flow_asks_for_it():
    played = run({}, answer(status=503))
    assert len(played.sent) == 1
    assert played.events == []


def test_a_passing_failure_is_retried_after_a_growing_interval():
    played = run({"retry": RETRY}, TIMEOUT, answer(status=503), answer())
    assert played.waits == [0.2, 0.4]
    assert [command.resend for command in played.sent] == [0, 1, 2]
    assert len(set(map(repr, played.requests))) == 1
    assert played.events == [
        (names.EVENT_RETRY_SCHEDULED, {names.ATTEMPT: 2, names.DELAY_MS: 200, names.REASON: "http.timeout"}),
        (names.EVENT_RETRY_SCHEDULED, {names.ATTEMPT: 3, names.DELAY_MS: 400, names.REASON: "503"}),
    ]
    assert played.outcome == Outcome("succeeded", attempts=3)


def test_a_repeated_request_is_byte_for_byte_the_same_whatever_values_it_draws():
    step = {"method": "PUT", "body": {"id": "{{$uuid}}", "t": "{{$randomString}}"}, "retry": RETRY}
    once = run(step, TIMEOUT, answer())
    again = run(step, answer())
    assert once.requests[0] == once.requests[1] == again.requests[0]
    assert run(step, answer(), path="b").requests[0] != once.requests[0]


def test_a_step_that_keeps_failing_says_how_often_it_was_tried():
    played = run({"retryCount": 1}, TIMEOUT, answer(status=503))
    assert failure(played) == ("http.status", "the server answered 503, expected 2xx (after 2 attempts)")
    assert failure(run({"retryCount": 1}, TIMEOUT, TIMEOUT))[1].endswith(" (after 2 attempts)")
    assert played.outcome.attempts == 2


def test_full_jitter_is_the_same_for_the_same_attempt_and_differs_between_attempts_and_runs():
    step = {"retry": {"maxAttempts": 4, "backoffCoefficient": 1}}
    replies = TIMEOUT, TIMEOUT, TIMEOUT, answer()
    waits = run(step, *replies).waits
    assert run(step, *replies).waits == waits
    assert (
        len({*waits, *run(step, *replies, origin="other").waits, *run(step, *replies, path="b").waits}) == 9
    )
    assert all(0 <= wait < 0.2 for wait in waits)


def test_retry_after_is_waited_for_instead_of_the_interval():
    played = run({"retry": RETRY}, answer(status=429, retry_after="7"), answer())
    assert played.waits == [7.0]


def test_retry_after_as_a_date_is_counted_from_the_arrival_of_the_answer():
    headers = (("Retry-After", "Thu, 01 Jan 1970 00:02:00 GMT"),)
    played = run({"retry": RETRY}, Response(503, headers, received_at=90.0), answer())
    assert played.waits == [30.0]


def test_a_retry_after_that_is_too_long_fails_the_step_and_names_it():
    played = run({"retry": {**RETRY, "maxRetryAfter": 500}}, answer(status=503, retry_after="3600"))
    message = "the server asks to wait 3600 s; retry.maxRetryAfter allows 0.5 s"
    assert failure(played) == ("retry.after_too_long", message)
    assert (played.outcome.attempts, played.waits) == (1, [])


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("reply", [answer(status=500), answer(status=503), TIMEOUT])
def test_a_retry_is_withheld_where_the_server_may_have_acted_and_an_event_says_so(method, reply):
    played = run({"method": method, "retry": RETRY}, reply)
    ((name, attributes),) = played.events
    assert name == names.EVENT_RETRY_WITHHELD
    assert attributes[names.ATTEMPT] == 1
    assert attributes[names.REASON].endswith(
        ": the server may have acted; set idempotencyKey or retry.unsafe"
    )
    assert played.outcome.status == "failed"
    assert played.outcome.attempts == 1


@pytest.mark.parametrize("reply", [REFUSED, answer(status=429), answer(status=503, retry_after="1")])
def test_a_post_is_retried_where_the_server_cannot_have_acted(reply):
    assert len(run({"method": "POST", "retry": RETRY}, reply, answer()).sent) == 2


def test_a_post_is_retried_when_the_flow_calls_that_safe():
    assert len(run({"method": "POST", "retry": {**RETRY, "unsafe": True}}, TIMEOUT, answer()).sent) == 2


def test_a_post_with_an_idempotency_key_is_retried_with_the_same_key():
    step = {"method": "POST", "idempotencyKey": True, "retry": RETRY}
    played = run(step, TIMEOUT, answer(status=500), answer(), path="a#2")
    keys = {header(request.headers, "idempotency-key") for request in played.requests}
    assert keys == {idempotency_key("run", "a#2", 0)}
    assert len(played.requests) == 3
    resumed = run(step, answer(), path="a#2")
    assert {header(resumed.requests[0].headers, "idempotency-key")} == keys
    later = run(step, answer(), path="a#2", repeat=1)
    assert {header(later.requests[0].headers, "idempotency-key")} == {idempotency_key("run", "a#2", 1)}


def test_a_key_that_the_step_sets_itself_makes_a_post_retriable_too():
    step = {"method": "POST", "headers": {"Idempotency-Key": "mine"}, "retry": RETRY}
    assert len(run(step, TIMEOUT, answer()).sent) == 2


def test_a_post_that_was_taken_and_sent_on_is_not_repeated_because_of_what_came_after():
    see_other = answer(status=303, location="/result")
    played = run({"method": "POST", "retry": RETRY}, see_other, REFUSED)
    assert [name for name, _ in played.events] == [names.EVENT_RETRY_WITHHELD]
    handed_on = answer(status=307, location="/elsewhere")
    played = run({"method": "POST", "retry": RETRY}, handed_on, REFUSED, answer())
    assert [request.url for request in played.requests] == [
        "http://h.example/a", "http://h.example/elsewhere", "http://h.example/a",
    ]  # fmt: skip


def test_a_request_lost_on_a_kept_connection_is_sent_again_without_counting():
    played = run({}, STALE, answer())
    assert [command.resend for command in played.sent] == [0, 1]
    assert played.waits == []
    assert played.outcome == Outcome("succeeded", attempts=1)


def test_a_request_lost_twice_is_lost():
    assert failure(run({}, STALE, STALE))[0] == "http.reset"


def test_a_post_lost_on_a_kept_connection_is_not_sent_again():
    assert failure(run({"method": "POST"}, STALE))[0] == "http.reset"


# --- redirects -----------------------------------------------------------------------------------


def test_a_redirect_is_followed_with_a_request_of_its_own():
    step = {"method": "POST", "body": "x", "outputs": {"n": "response.body.n"}}
    played = run(step, answer(status=303, location="/b"), answer('{"n": 1}'))
    assert [(one.method, one.url, one.body) for one in played.requests] == [
        ("POST", "http://h.example/a", b"x"),
        ("GET", "http://h.example/b", None),
    ]
    assert [(one.resend, one.template, one.shown_url) for one in played.sent] == [
        (0, "/a", "http://h.example/a"),
        (1, None, "http://h.example/b"),
    ]
    assert played.outcome == Outcome("succeeded", {"n": 1}, attempts=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_kind_of_redirect_is_followed(status):
    played = run({}, answer(status=status, location="/b"), answer())
    assert [request.url for request in played.requests] == ["http://h.example/a", "http://h.example/b"]


def test_a_secret_header_does_not_follow_to_another_origin_nor_come_back():
    headers = {"X-Key": "{{input.pw}}", "X-Id": "1"}
    auth = {"type": "bearer", "token": "t"}
    away, home = (
        answer(status=302, location="http://o.example/"),
        answer(status=302, location="http://h.example/a"),
    )
    secret = SecretNames(inputs=frozenset({"pw"}))
    played = run({"headers": headers, "auth": auth}, away, home, answer(), inputs={"pw": "p"}, secret=secret)
    names_sent = [[name for name, _ in request.headers] for request in played.requests]
    assert names_sent == [["X-Key", "X-Id", "Authorization"], ["X-Id"], ["X-Id"]]


def test_ten_redirects_are_followed_and_not_one_more():
    again = answer(status=302, location="/b")
    assert run({}, *[again] * MAX_REDIRECTS, answer()).outcome.status == "succeeded"
    played = run({}, *[again] * (MAX_REDIRECTS + 1))
    assert failure(played) == ("http.redirect", "more than 10 redirects")
    assert len(played.sent) == MAX_REDIRECTS + 1 == 11


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ({"followRedirects": False}, answer(status=302, location="/b")),
        ({}, answer(status=302)),
        ({}, answer(status=304, location="/b")),
        ({}, answer(status=201, location="/b")),
        ({"expectedStatus": ["2xx", 302]}, answer(status=302, location="/b")),
    ],
)
def test_what_is_no_redirect_to_follow_is_the_answer(step, reply):
    played = run(step, reply)
    assert len(played.sent) == 1
    accepted = reply.status == 201 or "expectedStatus" in step
    assert played.outcome.status == ("succeeded" if accepted else "failed")


def test_a_redirect_that_is_refused_fails_the_step():
    played = run({"url": "https://h.example/"}, answer(status=302, location="http://h.example/"))
    assert failure(played)[0] == "http.redirect"
    assert played.outcome.failure.where == "steps[0]"


def test_a_retry_begins_with_the_first_request_again():
    replies = answer(status=302, location="/b"), answer(status=503), answer()
    played = run({"retry": RETRY}, *replies)
    assert [one.url for one in played.requests] == [
        "http://h.example/a",
        "http://h.example/b",
        "http://h.example/a",
    ]
    assert [one.resend for one in played.sent] == [0, 1, 2]
    assert played.outcome.attempts == 2


# --- tokens --------------------------------------------------------------------------------------

OAUTH = {"type": "oauth2", "tokenUrl": "http://t.example/", "clientId": "i d", "clientSecret": "s&ü"}
UNAUTHORIZED = answer(status=401)


def bearers(played):
    return [header(request.headers, "authorization") for request in played.requests]


def test_a_token_is_asked_for_before_the_request():
    played = run({"auth": OAUTH}, Token("one"), answer())
    assert isinstance(played.commands[0], GetToken)
    assert bearers(played) == ["Bearer one"]


def test_two_steps_with_the_same_settings_ask_for_the_same_token():
    flow = flow_of(
        http("a", auth=OAUTH), http("b", auth=OAUTH, timeout=1), http("c", auth={**OAUTH, "scope": "x"})
    )
    stage = Stage(flow).run()
    assert [header(request.headers, "authorization") for request in stage.requests] == ["Bearer token-1"] * 3
    specs = {
        run({"auth": one.auth and OAUTH}, Token("t"), answer()).commands[0].spec for one in flow.steps[:2]
    }
    assert len(specs) == 1


def test_a_401_gets_one_other_token_and_counts_as_a_resend():
    played = run({"auth": OAUTH}, Token("old"), UNAUTHORIZED, Token("new"), answer())
    first, _, second, _ = played.commands
    assert (first.rejected, second.rejected, second.spec) == (None, "old", first.spec)
    assert bearers(played) == ["Bearer old", "Bearer new"]
    assert [command.resend for command in played.sent] == [0, 1]
    assert played.outcome == Outcome("succeeded", attempts=1)


def test_a_second_401_fails_the_step():
    played = run({"auth": OAUTH, "retry": RETRY}, Token("old"), UNAUTHORIZED, Token("new"), UNAUTHORIZED)
    assert failure(played) == ("http.status", "the server answered 401, expected 2xx")


def test_a_retry_after_a_refresh_uses_the_new_token_and_does_not_refresh_again():
    replies = Token("old"), UNAUTHORIZED, Token("new"), answer(status=503), UNAUTHORIZED
    played = run({"auth": OAUTH, "retry": RETRY}, *replies)
    assert bearers(played) == ["Bearer old", "Bearer new", "Bearer new"]
    assert failure(played)[1].startswith("the server answered 401")


def test_no_token_is_refreshed_for_another_origin_or_for_fixed_credentials():
    away = answer(status=302, location="http://o.example/")
    assert failure(run({"auth": OAUTH}, Token("t"), away, UNAUTHORIZED))[0] == "http.status"
    assert failure(run({"auth": {"type": "bearer", "token": "t"}}, UNAUTHORIZED))[0] == "http.status"


def test_a_401_that_is_expected_is_an_answer():
    assert run({"auth": OAUTH, "expectedStatus": 401}, Token("t"), UNAUTHORIZED).outcome.status == "succeeded"


def test_a_token_that_is_not_to_be_had_fails_the_step():
    assert failure(run({"auth": OAUTH}, Refused("auth.token", "no"))) == ("auth.token", "no")
    played = run({"auth": OAUTH}, Token("t"), UNAUTHORIZED, Refused("auth.token", "no"))
    assert failure(played) == ("auth.token", "no")
    assert played.outcome.attempts == 1


SPEC = TokenSpec("http://t.example/", "i d", "s&ü", timeout=3.0, max_attempts=3)
TOKEN = '{"access_token": "tok", "token_type": "bearer"}'


def test_client_credentials_are_sent_as_basic_or_in_the_body():
    played = watch(token_program(SPEC), answer(TOKEN))
    (command,) = played.commands
    assert (command.timeout, command.capture, command.shown_url) == (3.0, False, "http://t.example/")
    assert command.request.method == "POST"
    assert parse_qs(command.request.body.decode()) == {"grant_type": ["client_credentials"]}
    basic = header(command.request.headers, "authorization").removeprefix("Basic ")
    assert b64decode(basic) == b"i+d:s%26%C3%BC"
    spec = TokenSpec("http://t.example/", "i d", "s&ü", scope="a b", audience="aud", client_auth="body")
    (command,) = watch(token_program(spec), answer(TOKEN)).commands
    assert header(command.request.headers, "authorization") is None
    assert parse_qs(command.request.body.decode()) == {
        "grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["aud"],
        "client_id": ["i d"], "client_secret": ["s&ü"],
    }  # fmt: skip


def test_a_token_that_may_not_be_asked_for_is_told_as_such():
    forbidden = NoResponse("unsent", "http.refused", "http.refused", "not allowed")
    played = watch(token_program(replace(SPEC, max_attempts=3)), forbidden)
    assert played.outcome == Refused("http.refused", "no token: not allowed")


def test_a_token_carries_the_time_of_its_arrival():
    played = watch(token_program(SPEC), Response(200, (), TOKEN.encode(), received_at=5.0))
    assert played.outcome == Token("tok", 5.0)


def test_a_token_is_asked_for_again_when_the_server_fails_in_passing():
    played = watch(token_program(SPEC), TIMEOUT, answer(status=503, retry_after="2"), answer(TOKEN))
    assert played.outcome == Token("tok")
    assert [command.resend for command in played.sent] == [0, 1, 2]
    assert played.waits[1] == 2.0
    assert [name for name, _ in played.events] == [names.EVENT_RETRY_SCHEDULED] * 2


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer('{"error": "invalid_client"}', 401), "the token server answered 401 'invalid_client' and gave no access_token"),
        (answer('{"error": {"a": 1}}', 400), "the token server answered 400 and gave no access_token"),
        (answer(json.dumps({"error": "x" * 101}), 400), "the token server answered 400 and gave no access_token"),
        (answer("[1]"), "the token server answered 200 and gave no access_token"),
        (answer("<html>"), "the token server answered 200 and gave no access_token"),
        (answer('{"access_token": ""}'), "the token server answered 200 and gave no access_token"),
        (answer('{"access_token": 5}'), "the token server answered 200 and gave no access_token"),
        (answer('{"access_token": "a\\r\\nX: y"}'), "the token server answered 200 and gave no access_token"),
        (answer('{"access_token": "\\ud800"}'), "the token server answered 200 and gave no access_token"),
        (answer(TOKEN, 201), "the token server answered 201 and gave no access_token"),
        (answer(status=302, location="http://o.example"), "the token server answered 302 and gave no access_token"),
        (answer(status=503, retry_after="3600"), "the token server answered 503 and gave no access_token"),
        (NoResponse("sent", "http.tls", "x", "bad certificate"), "no token: bad certificate"),
    ],
)  # fmt: skip
def test_an_answer_without_a_usable_token_is_refused(reply, message):
    final = isinstance(reply, Response) and reply.status != 503  # that may pass
    assert watch(token_program(SPEC), reply).outcome == Refused("auth.token", message, final=final)


def test_a_token_request_that_may_not_be_sent_is_refused_as_it_is():
    refused = Refused("http.refused", "not to that host")
    assert watch(token_program(SPEC), refused).outcome == refused


def test_a_wrong_reply_to_a_token_request_is_a_fault_that_is_not_hidden():
    with pytest.raises(TypeError):
        watch(token_program(SPEC), Token("x"))


def test_a_failed_outcome_names_code_message_and_place():
    assert failed("a.b", "m", "w") == Outcome("failed", failure=StepFailure("a.b", "m", "w"), attempts=0)
    assert failed("a.b", "m", "w", 2) == Outcome("failed", failure=StepFailure("a.b", "m", "w"), attempts=2)


# --- whatever comes ------------------------------------------------------------------------------

STEPS = [
    {"method": "POST", "idempotencyKey": True, "retry": {"maxAttempts": 3}, "body": {"a": "{{input.x}}"}},
    {"outputs": {"a": "response.body.a.b[0]", "b": "$..x", "c": "response.cookies.s", "h": "response.headers.X"}, "secretOutputs": ["a"]},
    {"auth": OAUTH, "retry": {"maxAttempts": 3}, "assert": ["response.body.a == 1 || response.body === response.headers"]},
    {"until": {"condition": "response.body.a > 1 && response.body"}, "expectedStatus": ["2xx", "3xx", 404]},
    {"url": "http://{{input.x}}/", "multipart": {"f": {"file": "f"}}, "method": "PUT", "delay": 1},
    {"headers": {"X": "{{input.x}}"}, "query": {"q": ["{{input.x}}"]}, "bodyFile": "{{input.x}}"},
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abxstate") | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
HEADERS = st.tuples(
    st.sampled_from(["Location", "Retry-After", "Content-Type", "Set-Cookie", "X"]),
    st.sampled_from(["/", "http://o.example/", "//", "http://[", "3", "-1", "9" * 400, "application/json", "text/x; charset=idna", "s=1"])
    | st.text(max_size=20),
)  # fmt: skip
REPLIES = st.one_of(
    st.builds(
        Response,
        st.sampled_from([200, 301, 302, 303, 307, 401, 404, 429, 500, 503]) | st.integers(100, 599),
        st.lists(HEADERS, max_size=4).map(tuple),
        st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | st.integers(1, 1200).map(lambda n: b"[" * n + b"]" * n),
        st.floats(0, 4e9),
    ),
    st.builds(
        NoResponse,
        st.sampled_from(["unsent", "sent", "partial"]),
        st.sampled_from(["http.connect", "http.timeout", "http.reset", "http.tls", "limit.response"]),
        st.just("x"),
        st.text(),
        st.booleans(),
    ),
    st.builds(Refused, st.just("http.refused"), st.text()),
)  # fmt: skip


def drive(program, replies, commands=1000):
    """Answer a program's commands, at most so many of them; returns its outcome, None when it was stopped."""
    waiting = iter(replies)
    try:
        command = next(program)
        for _ in range(commands):
            match command:
                case SendRequest():
                    reply = next(waiting, answer())
                case GetToken():
                    reply = Token("t")
                case ReadFile():
                    reply = FileContent(b"x")
                case _:
                    reply = Waited()
            command = program.send(reply)
    except StopIteration as stop:
        return stop.value
    return None


@given(st.sampled_from(STEPS), st.lists(REPLIES, max_size=6), st.text() | JSON)
def test_a_program_ends_with_an_outcome_whatever_the_replies_are(step, replies, x):
    step = {"method": "GET", "url": "http://h.example/", **step}
    outcome = drive(program_of(step, inputs={"x": x}), replies)
    assert outcome.status in ("succeeded", "failed")
    assert (outcome.failure is None) == (outcome.status == "succeeded")
    if outcome.failure is not None:
        assert outcome.failure.code
        assert outcome.failure.where.startswith("steps[0]")


@given(st.lists(REPLIES, max_size=4))
def test_a_token_program_ends_with_a_token_or_a_refusal_whatever_the_replies_are(replies):
    assert isinstance(drive(token_program(SPEC), replies), Token | Refused)


@given(st.sampled_from(STEPS), st.lists(REPLIES, max_size=4), st.integers(0, 6))
def test_a_program_can_be_closed_at_any_point(step, replies, commands):
    program = program_of({"method": "GET", "url": "http://h.example/", **step}, inputs={"x": "x"})
    drive(program, replies, commands)
    program.close()
    assert program.gi_frame is None
