"""Values from outside stay values, and everything that could grow without end has a bound."""

import json

import pytest

import runner
from runner.runtime.http import HttpSettings
from tests.servers import ApiServer, NastyServer, Reply


def document(*steps, **more):
    return {"name": "h", "flow_data": {"version": "1.0", "steps": list(steps)}, **more}


def http(step_id, **keys):
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}/{step_id}", **keys}


EVIL = [
    "' || true || '",
    "{{7*7}}",
    "{{ input.secret }}",
    "' === ''",
    "true",
    "\\' || true || \\'",
    "&& true",
    "}}",
]


@pytest.mark.parametrize("text", EVIL)
def test_an_input_never_changes_a_condition(text):
    steps = [
        http("plain", condition="{{input.role}} === 'admin'"),
        http("quoted", condition="'{{input.role}}' === 'admin'"),
        http("negated", condition="!({{input.role}} === 'admin') && '{{input.role}}' !== 'admin'"),
    ]
    with ApiServer(lambda request: Reply()) as api:
        result = runner.run_sync(document(*steps), {"role": text}, env={"API": api.origin})
    assert [step.status for step in result.steps] == ["skipped", "skipped", "succeeded"]


@pytest.mark.parametrize("text", EVIL)
def test_an_input_never_becomes_a_template(text):
    step = http(
        "a", method="POST", body={"v": "{{input.v}}", "t": "<{{input.v}}>", "e": "{{ input.v ~ '' }}"}
    )
    with ApiServer(lambda request: Reply(body={"echo": text})) as api:
        result = runner.run_sync(
            document(
                {**step, "outputs": {"echo": "response.body.echo"}}, http("b", query={"v": "{{a.echo}}"})
            ),
            {"v": text},
            env={"API": api.origin},
        )
    assert result.ok
    assert api.requests[0].json() == {"v": text, "t": f"<{text}>", "e": text}
    assert api.requests[1].query == {"v": [text]}


@pytest.mark.parametrize(
    "text", ["evil.example/x", "me@evil.example", "a#b", "a:1", "a\\b", "a b", "", "%41"]
)
def test_an_input_never_changes_the_host(text):
    step = {"id": "a", "method": "GET", "url": "http://{{input.sub}}.api.example/"}
    result = runner.run_sync(document(step), {"sub": text})
    assert result.steps[0].error.code == "url.host"
    assert result.steps[0].attempts == 0


def test_a_line_break_never_makes_a_header():
    with ApiServer(lambda request: Reply()) as api:
        result = runner.run_sync(
            document(http("a", headers={"X": "{{input.v}}"})),
            {"v": "1\r\nX-Evil: 1"},
            env={"API": api.origin},
        )
    assert result.steps[0].error.code == "header.value"
    assert api.requests == []


def test_fields_named_like_methods_are_data():
    body = {"items": [1], "keys": "k", "get": {"copy": "c"}, "__class__": "x", "pop": 0}
    outputs = {name: f"response.body.{name}" for name in ("items", "keys", "get", "pop")}
    names = {
        "items": "{{a.items}}", "first": "{{a.items[0]}}", "keys": "<{{a.keys}}>", "copy": "{{a.get.copy}}",
        "jinja": "{{ a.items | length }}-{{ a.get.copy | upper }}", "pop": "{{ a.pop + 1 }}",
    }  # fmt: skip
    with ApiServer(lambda request: Reply(body=body)) as api:
        result = runner.run_sync(
            document(http("a", outputs=outputs), http("b", method="POST", body=names)),
            env={"API": api.origin},
        )
    assert result.ok
    assert api.requests[1].json() == {
        "items": [1], "first": 1, "keys": "<k>", "copy": "c", "jinja": "1-C", "pop": 1,
    }  # fmt: skip


def test_texts_that_look_like_numbers_stay_texts():
    body = {"zip": "00123", "big": 12345678901234567890, "float": 1.5, "exp": "1e5", "yes": "True"}
    outputs = {name: f"response.body.{name}" for name in body}
    with ApiServer(lambda request: Reply(body=body)) as api:
        runner.run_sync(
            document(
                http("a", outputs=outputs),
                http("b", method="POST", body={name: f"{{{{a.{name}}}}}" for name in body}),
            ),
            env={"API": api.origin},
        )
    assert api.requests[1].json() == body


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ input.__class__ }}",
        "{{ input.x.__init__.__globals__ }}",
        "{{ env['__class__'] }}",
    ],
)
def test_nothing_of_python_can_be_reached(template):
    flow = document(http("a", query={"q": template}))
    with ApiServer(lambda request: Reply()) as api:
        try:
            result = runner.run_sync(flow, {"x": "y"}, env={"API": api.origin})
        except runner.FlowError:
            return
    assert not result.ok
    assert api.requests == []


def test_an_answer_without_end_is_cut_off():
    with NastyServer() as nasty:
        for name in ("huge", "endless", "bomb"):
            step = {"id": "a", "method": "GET", "url": nasty.url(f"/{name}"), "timeout": 20_000}
            settings = runner.RunSettings(http=HttpSettings(max_response=1_000_000))
            result = runner.run_sync(document(step), settings=settings)
            assert result.steps[0].error.code == "limit.response", name


def test_a_rendered_text_has_a_limit():
    with ApiServer(lambda request: Reply()) as api:
        flow = document(http("a", query={"q": "{{input.v}}" * 3}))
        settings = runner.RunSettings(max_text=1000)
        result = runner.run_sync(flow, {"v": "x" * 400}, env={"API": api.origin}, settings=settings)
    assert result.steps[0].error.code == "limit.text"
    assert api.requests == []


def test_a_value_that_is_missing_is_never_sent():
    with ApiServer(lambda request: Reply(body={"a": None})) as api:
        flow = document(
            http("a", outputs={"x": "response.body.gone", "n": "response.body.a"}),
            http("b", query={"q": "<{{a.n}}>"}, onError="continue"),
            http("c", query={"q": "{{a.x}}"}),
        )
        result = runner.run_sync(flow, env={"API": api.origin})
    assert [request.path for request in api.requests] == ["/a"]
    assert [step.error.code for step in result.steps[1:]] == ["template.null", "reference.missing"]
    assert "no output 'x' on step 'a'" in result.steps[2].error.message
    assert result.steps[2].error.where == "steps[2].query.q"


def test_secrets_are_in_no_artefact_however_they_are_spelt():
    secret = 'p"ä&<s s/w%0rd\\n'
    with ApiServer() as api:
        api.on("/fail", Reply(500, {"echo": secret, "in": f"x{secret}y"}, [("X-Request-Id", secret[:2])]))
        flow = document(
            http("redirect"),
            http("ok", method="POST", headers={"X-Key": "{{input.p}}"}, query={"p": "{{input.p}}"},
                 body={"p": "{{input.p}}", "t": "a {{input.p}} b"}, outputs={"e": "response.body.echo"}),
            http("fail", url="{{env.API}}/fail?p={{input.p}}", auth={"type": "basic", "username": "u",
                 "password": "{{input.p}}"}, retryCount=1, retry={"initialInterval": 1},
                 **{"assert": "response.body.x === '{{input.p}}'"}),
            flow_inputs=[{"name": "p", "type": "password"}],
        )  # fmt: skip
        api.on("/redirect", Reply(302, headers=[("Location", "/ok?x=1")]))
        api.on("/ok", Reply(body={"echo": secret}))
        settings = runner.RunSettings(capture_bodies=True)
        result = runner.run_sync(flow, {"p": secret}, env={"API": api.origin}, settings=settings)
    assert result.outputs["ok"] == {"e": secret}
    text = json.dumps(result.to_json(), ensure_ascii=False) + result.integration_flow().to_json().decode()
    import base64
    from html import escape
    from urllib.parse import quote, quote_plus

    spellings = {
        secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe=""),
        quote_plus(secret), quote(secret), escape(secret), base64.b64encode(secret.encode()).decode(),
        base64.b64encode(f"u:{secret}".encode()).decode(), json.dumps(json.dumps(secret))[3:-3],
    }  # fmt: skip
    assert [one for one in spellings if one in text] == []
    assert "[masked]" in text
