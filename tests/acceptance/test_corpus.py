"""Documents of every shape that the Steps format is written in load and run, or are refused with a reason.

The shapes are those of seed 002 and of facts/gassapi 1; the documents are our own.
"""

import json

import pytest

import runner
from tests.servers import ApiServer, Reply

LOGIN = {
    "id": "login", "name": "Log in", "method": "POST", "url": "{{env.API_URL}}/login",
    "headers": {"Content-Type": "application/json"},
    "body": {"user": "{{input.user}}", "password": "{{ input.password }}"},
    "outputs": {"token": "response.body.token", "role": "response.body.user.role"},
}  # fmt: skip
PROFILE = {
    "id": "profile", "name": "Profile", "method": "GET", "url": "{{env.API_URL}}/me",
    "headers": {"Authorization": "Bearer {{login.token}}"},
}  # fmt: skip
INPUTS = [
    {"name": "user", "type": "string", "required": True, "validation": {"min_length": 3}},
    {"name": "password", "type": "password", "required": True, "validation": {"min_length": 8}},
]
CONFIG = {"delay": 0, "retryCount": 1, "parallel": False}


def whole(*steps, config=None, inputs=None, **more):
    data = {"version": "1.0", "steps": list(steps), "config": CONFIG if config is None else config}
    return {"name": "Corpus", "description": "", "flow_inputs": inputs or [], "flow_data": data, **more}


def step(**keys):
    return {"id": "s", "name": "S", "method": "GET", "url": "{{env.API_URL}}/x", **keys}


def after(**keys):
    return {"id": "t", "name": "T", "method": "POST", "url": "{{env.API_URL}}/t", **keys}


RUNS = {
    "put body": whole(LOGIN, PROFILE, inputs=INPUTS, is_active=True, folder_id="fld_456"),
    "api row": {
        "id": "flow_1", "name": "Row", "project_id": "p", "folder_id": None, "is_active": 1, "ui_data": "{}",
        "flow_inputs": json.dumps(INPUTS), "flow_data": json.dumps(whole(LOGIN, PROFILE)["flow_data"]),
        "created_by": "u", "created_at": "2025-10-25 10:30:00", "updated_at": "2025-10-25 12:00:00",
    },
    "bare flow data": {"version": "1.0", "steps": [step()], "config": CONFIG},
    "no version": {"steps": [step()]},
    "numeric version": {"version": 1, "steps": [step()]},
    "empty lists for objects": whole(step(headers=[], outputs=[], body=None, tests=[]), config=[]),
    "inputs as an object": whole(step(), inputs=None) | {"flow_inputs": {"x": {"type": "string"}}},
    "input with an empty list for its rules": whole(step(), inputs=[{"name": "x", "type": "date", "validation": []}]),
    "default under its other name": whole(
        step(url="{{env.API_URL}}/{{input.n}}"), inputs=[{"name": "n", "type": "number", "defaultValue": 5}]
    ),
    "every input type": whole(step(), inputs=[
        {"name": kind, "type": kind} for kind in
        ("string", "number", "boolean", "email", "password", "object", "array", "file", "date", "json", "url", "integer")
    ]),
    "allowed values and options": whole(step(url="http://{{input.net}}.0.0.1:{{env.PORT}}/x"), inputs=[
        {"name": "net", "type": "string", "default": "127", "validation": {"allowed_values": ["127", "128"]}},
        {"name": "other", "default": "a", "validation": {"options": ["a", "b"]}},
    ]),
    "bare and delimited patterns": whole(step(), inputs=[
        {"name": "a", "default": "https://x", "validation": {"pattern": "^https?://.+"}},
        {"name": "b", "default": "AbC", "validation": {"pattern": "/^abc$/i"}},
    ]),
    "blanks in references": whole(step(url="{{ env.API_URL }}/x")),
    "nested references": whole(
        step(outputs={"order": "response.body.order"}),
        after(body={"sku": "{{s.order.items[0].sku}}", "old": "{{s.order.items.1.sku}}", "all": "{{s.order.items}}"}),
    ),
    "references to incoming headers": whole(step(headers={"X-Request-ID": "{{headers.X-Request-ID}}"})),
    "flat names": {"steps": [step(url="{{API_URL}}/x")]},
    "generated values": whole(step(body={
        "u": "{{$uuid}}", "t": "{{$timestamp}}", "i": "{{$randomInt}}", "s": "{{$randomString}}", "e": "{{$randomEmail}}",
    }, method="POST")),
    "the time of the run": whole(step(url="{{env.API_URL}}/{{env.CURRENT_TIMESTAMP}}")),
    "text that only looks like arithmetic": whole(
        step(outputs={"price": "response.body.price"}), after(body={"total": "{{s.price}} * {{s.price}}"})
    ),
    "every documented output path": whole(step(outputs={
        "all": "response.body", "deep": "response.body.order.items", "status": "response.status",
        "header": "response.headers.content-length", "legacy": "response.token", "legacyDeep": "response.main.temp",
        "bare": "order.items", "json": "$.order.items[*].sku",
    })),
    "a condition on a request": whole(LOGIN, {**PROFILE, "condition": "{{login.role}} === 'admin'"}, inputs=INPUTS),
    "a condition step": whole(LOGIN, {"id": "check", "condition": "{{login.role}} === 'admin'",
        "trueLabel": "Admin Path", "falseLabel": "User Path"}, PROFILE, inputs=INPUTS),
    "a condition on an optional input": whole(
        step(condition="{{input.sendWelcomeEmail}} === true"),
        inputs=[{"name": "sendWelcomeEmail", "type": "boolean", "required": False, "default": True}],
    ),
    "a delay step": whole({"id": "wait", "delay": 1}, step()),
    "a duration step": whole({"id": "wait", "name": "Wait", "duration": 1}, step()),
    "a text body": whole(after(body='{"q": "{{env.API_URL}}"}', headers={"Content-Type": "application/json"})),
    "a form body": whole(after(body={"a": "b c"}, headers={"Content-Type": "application/x-www-form-urlencoded"})),
    "lower case methods": whole(step(method="get"), after(method="patch", body={"x": 1})),
    "head and options": whole(step(method="HEAD"), after(method="OPTIONS")),
    "expected status and timeout": whole(step(expectedStatus=200, timeout=5000)),
    "test scripts": whole(step(tests=["pm.test('ok', () => pm.response.to.have.status(200))"])),
    "a saved endpoint beside its url": whole(step(endpointId="ep_1")),
    "parallel steps and one that joins them": whole(
        step(outputs={"a": "response.status"}), {**step(outputs={"b": "response.status"}), "id": "u"},
        after(body={"a": "{{s.a}}", "b": "{{u.b}}"}), config={"delay": 0, "retryCount": 2, "parallel": True},
    ),
    "settings of the other tools": whole(step(), config={"timeout": 1000, "stopOnError": False, "maxConcurrency": 3}),
    "unknown keys": whole(step(colour="red"), ai_version="1", complexity_score="1.50"),
}  # fmt: skip

REFUSED = {
    "a patch": ({"name": "New name only"}, "it is a patch"),
    "steps without method and url": (
        {"flow_data": {"steps": [{"id": "x"}]}},
        "Step missing required field 'method'",
    ),
    "the seed's dynamic input sample": (
        {
            "flow_inputs": [],
            "flow_data": {"steps": [{"url": "https://{{input.environment}}.api.example.com/endpoint"}]},
        },
        "Step missing required field 'id'",
    ),
    "a saved endpoint alone": (whole({"id": "a", "endpointId": "ep_1"}), "give 'method' and 'url'"),
    "an unknown step": (whole(after(body={"x": "{{gone.x}}"})), "no step 'gone'"),
    "the typo of the documentation": (whole(step(headers={"X": "{{.headers.field}}"})), "steps[0].headers.X"),
    "an empty reference": (whole(step(url="{{}}")), "steps[0].url"),
    "an unclosed reference": (whole(step(url="{{env.A")), "steps[0].url"),
    "values of unknown generators": (whole(step(body={"p": "{{$randomPrice}}"})), "$randomPrice"),
}


def serve(request):
    return Reply(
        body={
            "token": "t0ken-value",
            "user": {"role": "admin"},
            "price": 5,
            "main": {"temp": 20},
            "order": {"items": [{"sku": "A"}, {"sku": "B"}]},
        }
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_documented_form_loads_and_runs(name, tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(RUNS[name]))
    flow = runner.load(path)
    assert [problem for problem in runner.check(flow) if problem.is_error] == []
    declared = {field.name for field in flow.inputs or ()}
    given = {
        name: value for name, value in {"user": "ada", "password": "s3cret-pass"}.items() if name in declared
    }
    with ApiServer(serve) as api:
        result = runner.run_sync(
            flow, given, env={"API_URL": api.origin, "PORT": str(api.port)},
            headers={"X-Request-ID": "r-1"}, settings=runner.RunSettings(timeout=20),
        )  # fmt: skip
    assert result.ok, result.to_json()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_with_its_reason(name):
    document, reason = REFUSED[name]
    with pytest.raises(runner.FlowError) as caught:
        runner.run_sync(runner.load(document), env={"API_URL": "http://127.0.0.1:9"})
    assert reason in str(caught.value)


def test_values_of_the_corpus_arrive_as_they_should():
    with ApiServer(serve) as api:
        runner.run_sync(RUNS["nested references"], env={"API_URL": api.origin})
        assert api.requests[-1].json() == {"sku": "A", "old": "B", "all": [{"sku": "A"}, {"sku": "B"}]}
        runner.run_sync(RUNS["text that only looks like arithmetic"], env={"API_URL": api.origin})
        assert api.requests[-1].json() == {"total": "5 * 5"}
        result = runner.run_sync(RUNS["every documented output path"], env={"API_URL": api.origin})
    outputs = dict(result.outputs["s"])
    assert outputs.pop("all")["price"] == 5
    assert outputs == {
        "deep": [{"sku": "A"}, {"sku": "B"}], "status": 200, "header": result.outputs["s"]["header"],
        "legacy": "t0ken-value", "legacyDeep": 20, "bare": [{"sku": "A"}, {"sku": "B"}], "json": ["A", "B"],
    }  # fmt: skip


def test_generated_values_are_the_same_when_a_run_is_repeated():
    with ApiServer(serve) as api:
        for _ in range(2):
            settings = runner.RunSettings(run_id="the-same")
            runner.run_sync(RUNS["generated values"], env={"API_URL": api.origin}, settings=settings)
    first, second = (request.json() for request in api.requests)
    first.pop("t")
    second.pop("t")
    assert first == second
