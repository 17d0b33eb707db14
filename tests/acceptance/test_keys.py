"""One test per key of the flow document: its effect is seen on the wire, in the result or in the trace."""

import base64
import json
from dataclasses import dataclass

import pytest

import runner
from runner.core.model import Config, Edge, External, InputField, Retry, Step, Until
from runner.platforms.steps import wire_names
from runner.runtime.intake import Intake
from runner.runtime.queue import Queue
from runner.runtime.store import Store
from tests.command import flow_file
from tests.servers import ApiServer, Reply


@dataclass
class Ran:
    """A finished run with what the server saw."""

    api: ApiServer
    result: runner.RunResult

    @property
    def request(self):
        return self.api.requests[-1]

    @property
    def targets(self):
        return [request.target for request in self.api.requests]

    @property
    def statuses(self):
        return {step.path: step.status for step in self.result.steps}

    def span(self, name):
        return next(span for span in self.result.integration_flow().spans if span.name == name)


def ran(
    *steps, answers=None, inputs=None, fields=None, edges=(), tmp_path=None, env=None, settings=None, **config
):
    """Run steps against a server that answers `{"id": 42, …}`; a step without url goes to `/<id>`."""
    full = [step if {"url", "set", "flow", "delay", "external"} & step.keys() or ("condition" in step and len(step) < 5)
            else {"method": "GET", "url": f"{{{{env.API}}}}/{step['id']}", **step} for step in steps]  # fmt: skip
    document = {
        "name": "keys",
        "flow_data": {"version": "1.0", "steps": full, "config": config, "edges": list(edges)},
    }
    if fields is not None:
        document["flow_inputs"] = fields
    with ApiServer(lambda request: Reply(body={"id": 42, "list": [1, 2, 3]})) as api:
        for path, replies in (answers or {}).items():
            api.on(path, *replies)
        source = document
        if tmp_path is not None:
            source = tmp_path / "flow.json"
            source.write_text(json.dumps(document))
        given = {"API": api.origin, **(env or {})}
        return Ran(api, runner.run_sync(source, inputs, env=given, settings=settings))


def elapsed(run, first, second):
    return run.api.requests[second].at - run.api.requests[first].at


# --- step ----------------------------------------------------------------------------------------


def step_id():
    assert ran({"id": "a-b"}).span("http-a-b").attributes["task.id"] == "a-b"


def step_name():
    assert ran({"id": "a", "name": "Anna"}).span("http-a").attributes["workflow.task.name"] == "Anna"


def step_description():
    assert ran({"id": "a", "description": "free text"}).result.ok


def step_method():
    assert ran({"id": "a", "method": "delete"}).request.method == "DELETE"


def step_url():
    run = ran(
        {"id": "a", "url": "{{env.API}}/x/{{input.v}}?q={{input.v}}", "method": "GET"}, inputs={"v": "a/b&c"}
    )
    assert run.targets == ["/x/a%2Fb%26c?q=a%2Fb%26c"]


def step_headers():
    assert (
        ran({"id": "a", "headers": {"X-One": "v{{input.v}}"}}, inputs={"v": 1}).request.header("x-one")
        == "v1"
    )


def step_query():
    assert ran({"id": "a", "query": {"q": ["1", "{{input.v}}"]}}, inputs={"v": "&"}).targets == [
        "/a?q=1&q=%26"
    ]


def step_body():
    run = ran({"id": "a", "method": "POST", "body": {"v": "{{input.v}}"}}, inputs={"v": 7})
    assert (run.request.body, run.request.header("content-type")) == (b'{"v":7}', "application/json")
    text = ran({"id": "a", "method": "POST", "body": "v={{input.v}}"}, inputs={"v": 7})
    assert (text.request.body, text.request.header("content-type")) == (b"v=7", "text/plain; charset=utf-8")


def step_form():
    run = ran({"id": "a", "method": "POST", "form": {"v": "{{input.v}}"}}, inputs={"v": "ä &"})
    assert run.request.body == b"v=%C3%A4+%26"
    assert run.request.header("content-type") == "application/x-www-form-urlencoded"


def step_multipart(tmp_path):
    (tmp_path / "f.txt").write_text("inside")
    parts = {"t": "text", "f": {"file": "f.txt", "filename": "g.csv", "contentType": "text/csv"}}
    run = ran({"id": "a", "method": "POST", "multipart": parts}, tmp_path=tmp_path)
    assert run.request.header("content-type").startswith("multipart/form-data; boundary=")
    for piece in (b'name="t"', b'filename="g.csv"', b"text/csv", b"inside"):
        assert piece in run.request.body


def step_bodyFile(tmp_path):  # noqa: N802 - named like its key
    (tmp_path / "f.bin").write_bytes(b"\x00\x01")
    assert (
        ran({"id": "a", "method": "PUT", "bodyFile": "f.bin"}, tmp_path=tmp_path).request.body == b"\x00\x01"
    )


def step_auth():
    basic = ran({"id": "a", "auth": {"type": "basic", "username": "u", "password": "pä:"}})
    assert base64.b64decode(basic.request.header("authorization").split()[1]).decode() == "u:pä:"
    bearer = ran({"id": "a", "auth": {"type": "bearer", "token": "{{input.t}}"}}, inputs={"t": "tok-en"})
    assert bearer.request.header("authorization") == "Bearer tok-en"


def step_timeout():
    run = ran({"id": "a", "timeout": 50}, answers={"/a": [Reply(delay=20)]})
    assert run.result.steps[0].error.code == "http.timeout"


def step_expectedStatus():  # noqa: N802
    assert ran({"id": "a", "expectedStatus": 404}, answers={"/a": [Reply(404)]}).result.ok
    assert not ran({"id": "a", "expectedStatus": [404]}).result.ok


def step_followRedirects():  # noqa: N802
    answers = {"/a": [Reply(302, headers=[("Location", "/b")])]}
    assert ran({"id": "a"}, answers=answers).targets == ["/a", "/b"]
    answers = {"/a": [Reply(302, headers=[("Location", "/b")])]}
    assert ran({"id": "a", "followRedirects": False}, answers=answers).targets == ["/a"]


def step_outputs():
    assert ran({"id": "a", "outputs": {"n": "response.body.id"}}).result.outputs == {"a": {"n": 42}}


def step_secretOutputs():  # noqa: N802
    run = ran({"id": "a", "outputs": {"n": "response.body.id"}, "secretOutputs": ["n"]})
    assert run.result.to_json()["outputs"] == {"a": {"n": "[masked]"}}


def step_assert():
    run = ran({"id": "a", "assert": "response.body.id === 43"})
    assert run.result.steps[0].error.code == "assert.failed"
    assert "response.body.id is 42" in run.result.steps[0].error.message


def step_condition():
    assert ran({"id": "a", "condition": "1 === 2", "name": "x", "timeout": 5}).targets == []


def step_trueLabel():  # noqa: N802
    run = ran({"id": "c", "condition": "true", "trueLabel": "yes"})
    assert run.result.outputs["c"] == {"result": True, "label": "yes"}


def step_falseLabel():  # noqa: N802
    assert ran({"id": "c", "condition": "false", "falseLabel": "no"}).result.outputs["c"]["label"] == "no"


def step_delay():
    assert elapsed(ran({"id": "a"}, {"id": "d", "delay": 80}, {"id": "b"}), 0, 1) >= 0.07


def step_duration():
    run = ran({"id": "a"}, {"id": "b", "duration": 80, "method": "GET", "url": "{{env.API}}/b"})
    assert elapsed(run, 0, 1) >= 0.07


def step_set():
    run = ran(
        {"id": "s", "set": {"v": "{{input.v}}-x"}}, {"id": "a", "query": {"q": "{{s.v}}"}}, inputs={"v": 1}
    )
    assert run.targets == ["/a?q=1-x"]


def answered(external, **given):
    steps = {"id": "pay", "external": external}, {"id": "a", "query": {"q": "{{pay.receipt}}"}}
    return ran(*steps, settings=runner.RunSettings(**given))


def step_external():
    run = answered({"type": "shop/pay"}, stubs={"pay": {"output": {"receipt": 7}}})
    assert run.targets == ["/a?q=7"]


def external_platform():
    with pytest.raises(runner.FlowError) as caught:
        answered({"platform": "davinci"})
    assert [problem.code for problem in caught.value.problems] == ["davinci.unsupported_node"]


def external_type():
    assert answered({"type": "shop/pay"}, stubs={"shop/pay": {"output": {"receipt": 7}}}).targets == [
        "/a?q=7"
    ]


def external_ask():
    assert answered({"ask": "answers"}, answers={"pay": {"output": {"receipt": 7}}}).targets == ["/a?q=7"]


def external_fields():
    with pytest.raises(runner.FlowError, match="receipt"):
        answered({"fields": ["receipt"]})


def external_recorded():
    assert answered({"recorded": {"output": {"receipt": 7}}}, recorded=True).targets == ["/a?q=7"]


def external_source():
    assert answered({"source": {"x": 1}}, stubs={"pay": {"output": {"receipt": 7}}}).targets == ["/a?q=7"]


def step_flow(tmp_path):
    (tmp_path / "in.json").write_text(
        json.dumps(
            {"version": "1.0", "steps": [{"id": "x", "method": "GET", "url": "{{env.API}}/{{input.v}}"}]}
        )
    )
    run = ran({"id": "sub", "flow": "in.json", "inputs": {"v": "in"}}, tmp_path=tmp_path)
    assert run.targets == ["/in"]
    assert run.span("flow-sub").attributes["task.type"] == "flow"


def step_inputs(tmp_path):
    step_flow(tmp_path)


def step_forEach():  # noqa: N802
    run = ran({"id": "a", "forEach": [1, 2], "url": "{{env.API}}/{{item}}/{{index}}", "method": "GET"})
    assert run.targets == ["/1/0", "/2/1"]
    assert run.span("iteration-a").attributes["runner.index"] == 0


def step_maxConcurrency():  # noqa: N802
    answers = {"/a": [Reply(delay=0.1)]}
    assert ran({"id": "a", "forEach": [1, 2, 3], "maxConcurrency": 3}, answers=answers).api.peak == 3


def step_until():
    answers = {"/a": [Reply(body={"ok": False}), Reply(body={"ok": True})]}
    run = ran({"id": "a", "until": {"condition": "response.body.ok", "interval": 1}}, answers=answers)
    assert len(run.targets) == 2
    assert run.span("until-a").attributes["task.type"] == "until"


def step_dependsOn():  # noqa: N802
    assert ran({"id": "a", "dependsOn": "b"}, {"id": "b"}, parallel=True).targets == ["/b", "/a"]


def step_join():
    edges = [{"from": "a", "to": "c", "when": "success"}, {"from": "b", "to": "c", "when": "failure"}]
    steps = ({"id": "a"}, {"id": "b"})
    assert ran(*steps, {"id": "c", "join": "all"}, edges=edges).statuses["c"] == "skipped"
    assert ran(*steps, {"id": "c", "join": "any"}, edges=edges).statuses["c"] == "succeeded"


def step_maxVisits():  # noqa: N802
    edges = [{"from": "s", "to": "a"}, {"from": "a", "to": "a"}]
    run = ran({"id": "s"}, {"id": "a", "join": "each", "maxVisits": 3}, edges=edges)
    assert run.targets == ["/s", "/a", "/a", "/a"]
    assert run.result.step("a#4").error.code == "limit.visits"


def step_retryCount():  # noqa: N802
    assert len(ran({"id": "a", "retryCount": 1}, answers={"/a": [Reply(503)]}).targets) == 2


def step_retry():
    retry = {"maxAttempts": 3, "initialInterval": 1}
    assert len(ran({"id": "a", "retry": retry}, answers={"/a": [Reply(503)]}).targets) == 3


def step_idempotencyKey():  # noqa: N802
    step = {
        "id": "a",
        "method": "POST",
        "idempotencyKey": True,
        "retry": {"maxAttempts": 2, "initialInterval": 1},
    }
    run = ran(step, answers={"/a": [Reply(500), Reply()]})
    keys = {request.header("idempotency-key") for request in run.api.requests}
    assert len(run.targets) == 2
    assert len(keys) == 1
    assert len(keys.pop()) == 32


def step_onError():  # noqa: N802
    run = ran({"id": "a", "onError": "continue"}, {"id": "b"}, answers={"/a": [Reply(500)]})
    assert run.result.ok
    assert run.span("http-a").attributes["runner.failure.handled"] is True


def step_endpointId():  # noqa: N802
    with pytest.raises(runner.FlowError, match="saved endpoint 'e1' stands on the platform"):
        ran({"id": "a", "endpointId": "e1", "url": None, "method": None})


def step_endpoint():
    (problem,) = runner.check(
        runner.load(
            {"version": "1.0", "steps": [{"id": "a", "endpoint": "e", "method": "GET", "url": "http://h/"}]}
        )
    )
    assert (problem.code, problem.severity) == ("step.endpoint", "warning")


def step_tests():
    (problem,) = runner.check(
        runner.load(
            {"version": "1.0", "steps": [{"id": "a", "tests": ["x"], "method": "GET", "url": "http://h/"}]}
        )
    )
    assert (problem.code, problem.severity) == ("step.tests", "warning")


# --- until, retry --------------------------------------------------------------------------------


def polled(**until):
    answers = {"/a": [Reply(body={"n": 1}), Reply(body={"n": 2}), Reply(body={"n": 3})]}
    return ran(
        {"id": "a", "until": {"condition": "response.body.n === 3", "interval": 1, **until}}, answers=answers
    )


def until_condition():
    assert len(polled().targets) == 3


def until_interval():
    assert elapsed(polled(interval=70), 0, 2) >= 0.12


def until_maxAttempts():  # noqa: N802
    assert polled(maxAttempts=2).result.steps[0].error.code == "until.exhausted"


def retried(*answers, method="GET", **retry):
    step = {"id": "a", "method": method, "retry": {"maxAttempts": 3, "initialInterval": 1, **retry}}
    return ran(step, answers={"/a": list(answers)})


def retry_maxAttempts():  # noqa: N802
    assert len(retried(Reply(503), maxAttempts=2).targets) == 2


def retry_initialInterval():  # noqa: N802
    assert elapsed(retried(Reply(503), initialInterval=80, jitter="none"), 0, 1) >= 0.07


def retry_backoffCoefficient():  # noqa: N802
    run = retried(Reply(503), initialInterval=30, backoffCoefficient=5, jitter="none")
    assert elapsed(run, 1, 2) >= 0.13


def retry_maximumInterval():  # noqa: N802
    run = retried(Reply(503), initialInterval=5000, maximumInterval=5, jitter="none")
    assert elapsed(run, 0, 2) < 4


def retry_jitter():
    events = retried(Reply(503), initialInterval=2, jitter="none").span("http-a").events
    assert [event[2]["runner.delay_ms"] for event in events if event[0] == "retry.scheduled"] == [2, 4]
    drawn = retried(Reply(503), initialInterval=40, jitter="full").span("http-a").events
    assert all(event[2]["runner.delay_ms"] < 80 for event in drawn if event[0] == "retry.scheduled")


def retry_statuses():
    assert len(retried(Reply(418), Reply(), statuses=[418]).targets) == 2
    assert len(retried(Reply(503), statuses=[418]).targets) == 1


def retry_unsafe():
    assert len(retried(Reply(500), Reply(), method="POST", unsafe=True).targets) == 2
    withheld = retried(Reply(500), method="POST")
    assert len(withheld.targets) == 1
    assert withheld.span("http-a").events[0][0] == "retry.withheld"


def retry_maxRetryAfter():  # noqa: N802
    run = retried(Reply(503, headers=[("Retry-After", "30")]), maxRetryAfter=1000)
    assert run.result.steps[0].error.code == "retry.after_too_long"
    assert "30 s" in run.result.steps[0].error.message


# --- config --------------------------------------------------------------------------------------


def config_delay():
    assert elapsed(ran({"id": "a"}, {"id": "b"}, delay=80), 0, 1) >= 0.07


def config_retryCount():  # noqa: N802
    assert len(ran({"id": "a"}, answers={"/a": [Reply(503)]}, retryCount=1).targets) == 2


def config_retry():
    config = {"retry": {"maxAttempts": 3, "initialInterval": 1}}
    assert len(ran({"id": "a"}, answers={"/a": [Reply(503)]}, **config).targets) == 3


def config_parallel():
    answers = {"/a": [Reply(delay=0.1)], "/b": [Reply(delay=0.1)]}
    assert ran({"id": "a"}, {"id": "b"}, answers=answers, parallel=True).api.peak == 2
    assert ran({"id": "a"}, {"id": "b"}, answers=answers).api.peak == 1


def config_maxConcurrency():  # noqa: N802
    steps = [{"id": f"s{n}"} for n in range(4)]
    answers = {f"/s{n}": [Reply(delay=0.1)] for n in range(4)}
    assert ran(*steps, answers=answers, parallel=True, maxConcurrency=2).api.peak == 2


def config_timeout():
    run = ran({"id": "a"}, answers={"/a": [Reply(delay=20)]}, timeout=50)
    assert run.result.steps[0].error.code == "http.timeout"


def config_stopOnError():  # noqa: N802
    answers = {"/a": [Reply(500)]}
    assert ran({"id": "a"}, {"id": "b"}, answers=answers).targets == ["/a"]
    assert ran({"id": "a"}, {"id": "b"}, answers=answers, stopOnError=False).targets == ["/a", "/b"]


def admitted(folder, **config):
    """Submit three runs with the same key; whether each may be taken by a worker."""
    flow = flow_file(folder, {"id": "a", "set": {"x": "1"}}, config={"concurrencyKey": "{{env.K}}", **config})
    store = Store(f"sqlite:///{folder / 's.db'}", {})
    queue, intake = Queue(store), Intake(str(flow))
    taken = [intake.take(store, queue, {}, runner.RunSettings(env={"K": "k"})) for _ in range(3)]
    found = [store.get(one.row.id).admitted for one in taken]
    store.close()
    return found


def config_concurrencyKey(tmp_path):  # noqa: N802
    assert admitted(tmp_path) == [True, False, False]


def config_maxConcurrencyPerKey(tmp_path):  # noqa: N802
    assert admitted(tmp_path, maxConcurrencyPerKey=2) == [True, True, False]


def config_flowTimeout():  # noqa: N802
    assert ran({"id": "a"}, answers={"/a": [Reply(delay=20)]}, flowTimeout=60).result.status == "timed_out"


def config_baseUrl():  # noqa: N802
    run = ran({"id": "a", "method": "GET", "url": "/rel"}, baseUrl="{{env.API}}/base/")
    assert run.targets == ["/base/rel"]


# --- edges, inputs -------------------------------------------------------------------------------


def branched(**edge):
    edges = [{"from": "c", "to": "a", "when": "true", **edge}]
    return ran({"id": "c", "condition": "{{input.v}}"}, {"id": "a"}, edges=edges, inputs={"v": True})


def edge_from():
    assert branched().targets == ["/a"]


def edge_to():
    assert branched().targets == ["/a"]


def edge_when():
    assert branched(when="false").targets == []


def edge_join():
    edges = [{"from": "a", "to": "c", "when": "success", "join": "all"},
             {"from": "b", "to": "c", "when": "failure", "join": "all"}]  # fmt: skip
    assert ran({"id": "a"}, {"id": "b"}, {"id": "c"}, edges=edges).statuses["c"] == "skipped"


def edge_gate():
    edges = [{"from": source, "to": "c", "when": "done", "join": "all", "gate": "g"} for source in "ab"]
    run = ran({"id": "a"}, {"id": "b"}, {"id": "c", "join": "each", "maxVisits": 2}, edges=edges)
    assert run.targets == ["/a", "/b", "/c"]


def asked(field, **inputs):
    return ran({"id": "a", "query": {"v": "{{input.v}}"}}, fields=[{"name": "v", **field}], inputs=inputs)


def input_name():
    assert asked({}, v="x").targets == ["/a?v=x"]


def input_type():
    with pytest.raises(runner.FlowError, match="Input v: invalid email format"):
        asked({"type": "email"}, v="x")


def input_required():
    with pytest.raises(runner.FlowError, match="Input v"):
        asked({"required": True})


def input_default():
    assert asked({"default": "d"}).targets == ["/a?v=d"]


def input_validation():
    with pytest.raises(runner.FlowError, match="Input v: minimum length is 3"):
        asked({"validation": {"min_length": 3}}, v="ab")


def input_description():
    assert asked({"description": "free text"}, v="x").result.ok


KEYS = [
    *(("step", Step, key) for key in wire_names(Step)),
    *(("until", Until, key) for key in wire_names(Until)),
    *(("retry", Retry, key) for key in wire_names(Retry)),
    *(("external", External, key) for key in wire_names(External)),
    *(("config", Config, key) for key in wire_names(Config)),
    *(("edge", Edge, key) for key in wire_names(Edge)),
    *(("input", InputField, key) for key in wire_names(InputField)),
]


@pytest.mark.parametrize(("where", "kind", "key"), KEYS, ids=[f"{where}-{key}" for where, _, key in KEYS])
def test_a_key_has_its_effect(where, kind, key, tmp_path):
    effect = globals()[f"{where}_{key}"]
    effect(**({"tmp_path": tmp_path} if effect.__code__.co_argcount else {}))
