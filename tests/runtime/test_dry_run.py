"""What a run would send is what it sends; what only an answer can tell is told (SEMANTICS, Command line)."""

import json

import pytest

import runner
from runner.runtime.dry_run import rehearse
from runner.runtime.http import HttpSettings
from runner.runtime.policy import ProxyRules
from runner.runtime.run import Run, RunSettings
from tests.play import edge
from tests.servers import ApiServer, Reply, echo

pytestmark = pytest.mark.anyio
API = "http://api.example"


def get(step_id, **keys):
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}/{step_id}", **keys}


def data(*steps, edges=(), inputs=None, **config):
    document = {"version": "1.0", "steps": list(steps), "config": config, "edges": list(edges)}
    return {"name": "f", "flow_data": document, "flow_inputs": inputs or []}


async def rehearsed(document, inputs=None, env=None, **settings):
    """Return what each step would do, by path."""
    flow = runner.load(document)
    run = Run(flow, inputs or {}, RunSettings(env={"API": API, **(env or {})}, **settings))
    steps = await rehearse(run)
    assert len({step.path for step in steps}) == len(steps)
    return {step.path: step for step in steps}


async def decisions(document, inputs=None, **settings):
    found = await rehearsed(document, inputs, **settings)
    return {path: (step.decision, *step.reasons) for path, step in found.items()}


async def sent(document, inputs=None, **settings):
    """Return method, url and body of every request."""
    found = await rehearsed(document, inputs, **settings)
    return [(one.method, one.url, one.body) for step in found.values() for one in step.requests]


# What is shown is what is sent


@pytest.fixture
def everything(tmp_path):
    (tmp_path / "file.txt").write_text("from a file", encoding="utf-8")
    (tmp_path / "file.bin").write_bytes(b"\xff\x00")
    steps = [
        get("plain", query={"a": "ä b", "n": [1, 2], "none": None}),
        get("json", method="POST", body={"u": "{{input.who}}", "n": 1.5, "id": "{{$uuid}}"}, idempotencyKey=True),
        get("text", method="PUT", body="hello {{input.who}} at {{$timestamp}}"),
        get("form", method="POST", form={"a": "{{$randomString}}", "b": [1, 2]}),
        get("parts", method="POST", multipart={"t": "x", "f": {"file": "file.txt"}}),
        get("file", method="POST", bodyFile="file.txt", headers={"X-CaSe": "{{input.who}}", "Accept": "text/plain"}),
        get("bytes", method="POST", bodyFile="file.bin"),
        get("nothing", method="DELETE", url="{{env.API}}/a b/{{input.who}}?x={{ input.who | upper }}#part"),
        get("each", method="POST", forEach=["x", {"y": 2}], body="{{item}}", headers={"X-Index": "{{index}}"}),
        {"id": "made", "set": {"both": "{{input.who}}-{{input.who}}"}},
        get("user", headers={"X-Both": "{{made.both}}", "Host": "elsewhere.example"}),
    ]  # fmt: skip
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(data(*steps, inputs=[{"name": "who", "type": "string"}])))
    return path


async def test_what_is_shown_is_byte_for_byte_what_is_sent(everything):
    with ApiServer(lambda request: Reply()) as api:
        settings = {"run_id": "same", "env": {"API": api.origin}}
        shown = await rehearse(Run(runner.load(everything), {"who": "ada é"}, RunSettings(**settings)))
        assert api.connections == 0
        result = await runner.run(everything, {"who": "ada é"}, settings=RunSettings(**settings))
        assert result.ok, result.to_json()
    requests = [one for step in shown for one in step.requests]
    assert len(requests) == len(api.requests) == 11
    for one, really in zip(requests, api.requests, strict=True):
        assert (one.method, one.url.partition("#")[0]) == (really.method, api.origin + really.target)
        assert [pair for pair in one.headers if pair[0] != "traceparent"] == [
            (name, value.encode("latin-1").decode())
            for name, value in really.headers
            if name != "traceparent"
        ]
        assert ("traceparent" in dict(one.headers)) is True
        if one.body is not None:
            # The time is that of the run's start, which differs.
            assert one.body.encode().rstrip(b"0123456789") == really.body.rstrip(b"0123456789")
        assert (one.size or 0) == len(really.body)


async def test_only_bytes_that_are_no_text_are_left_out(everything):
    steps = await rehearse(Run(runner.load(everything), {"who": "ada"}, RunSettings(env={"API": API})))
    bodies = {step.path: [(one.body, one.size) for one in step.requests] for step in steps}
    assert bodies["bytes"] == [(None, 2)]
    assert bodies["plain"] == [(None, 0)]
    assert bodies["file"] == [("from a file", 11)]


# What only an answer can tell


async def test_a_value_of_an_answer_is_shown_as_its_reference():
    document = data(
        get("login", outputs={"id": "response.body.id", "t": "response.body.t", "o": "response.body.o"}),
        {"id": "made", "set": {"text": "no. {{login.id}}", "id": "{{login.id}}", "x": "{{ login.o['a b'] }}"}},
        get(
            "use",
            method="PUT",
            url="{{env.API}}/users/{{login.id}}?token={{login.t}}",
            headers={"Authorization": "Bearer {{login.t}}", "X-Text": "{{made.text}}"},
            body={"id": "{{login.id}}", "text": "{{made.text}}", "same": "{{made.id}}", "x": ["{{made.x}}"],
                  "up": "{{ made.text | upper }}", "o": "{{login.o.name}}"},
        ),
    )  # fmt: skip
    found = await rehearsed(document)
    assert found["made"].outputs == {"text": "no. {login.id}", "id": "{login.id}", "x": "{login.o['a b']}"}
    (request,) = found["use"].requests
    assert request.url == f"{API}/users/{{login.id}}?token={{login.t}}"
    assert request.body == (
        '{"id":{login.id},"text":"no. {login.id}","same":{login.id},"x":[{login.o[\'a b\']}],'
        '"up":{made.text | upper},"o":{login.o.name}}'
    )
    headers = dict(request.headers)
    assert headers["Authorization"] == "Bearer {login.t}"
    assert headers["X-Text"] == "no. {login.id}"
    assert (headers["Content-Length"], request.size) == ("{length}", None)


@pytest.mark.parametrize(
    ("url", "shown", "host"),
    [
        ("{{a.url}}", "{a.url}", "{host of a.url}"),
        ("{{a.url}}/x?b={{a.url}}", "{a.url}/x?b={a.url}", "{host of a.url}"),
        ("{{ a.url | trim }}/x", "{a.url | trim}/x", "{host of a.url | trim}"),
        ("{{made.url}}/x", "{a.url}/v1/x", "{host of a.url}"),
        ("{{made.same}}/x", "{a.url}/x", "{host of a.url}"),
        ("https://{{a.host}}.example:81/x", "https://{a.host}.example:81/x", "{a.host}.example:81"),
    ],
)
async def test_a_url_may_begin_with_what_is_not_known(url, shown, host):
    document = data(
        get("a", outputs={"url": "response.body.u", "host": "response.body.h"}),
        {"id": "made", "set": {"url": "{{a.url}}/v1", "same": "{{a.url}}"}},
        get("b", url=url),
    )
    found = await rehearsed(document, allow_hosts=["api.example"], deny_private=True)
    (request,) = found["b"].requests
    assert found["b"].failure is None
    assert (request.url, dict(request.headers)["Host"]) == (shown, host)


async def test_a_whole_body_that_is_not_known_has_a_type_that_is_not_known():
    document = data(get("a", outputs={"x": "response.body"}), get("b", method="POST", body="{{a.x}}"))
    (request,) = (await rehearsed(document))["b"].requests
    assert request.body == "{a.x}"
    assert dict(request.headers)["Content-Type"] == "{content type}"


async def test_forms_and_texts_take_what_is_not_known():
    document = data(
        get("a", outputs={"x": "response.body.x"}),
        get("b", method="POST", form={"key": "{{a.x}}", "n": "1", "password": "typed"}),
        get(
            "c",
            method="POST",
            headers={"Content-Type": "application/json"},
            body='{"a":"{{a.x}}", "b":{{a.x}}}',
        ),
    )
    assert [body for _, _, body in await sent(document)] == [
        None, "key={a.x}&n=1&password=[masked]", '{"a":"{a.x}", "b":"{a.x}"}',
    ]  # fmt: skip


async def test_the_name_of_a_file_may_not_be_known(tmp_path):
    path = tmp_path / "flow.json"
    steps = (get("a", outputs={"x": "response.body.x"}), get("b", method="PUT", bodyFile="{{a.x}}.txt"))
    path.write_text(json.dumps(data(*steps)))
    assert (await sent(path))[1] == ("PUT", f"{API}/b", "{contents of {a.x}.txt}")


async def test_a_token_is_fetched_once_and_shown_by_its_name():
    auth = {
        "type": "oauth2",
        "tokenUrl": "{{env.API}}/token",
        "clientId": "me",
        "clientSecret": "s3cret-s3cret",
    }
    found = await rehearsed(data(get("a", auth=auth), get("b", auth=auth)))
    token, first = found["a"].requests
    (second,) = found["b"].requests
    assert (token.role, token.url, token.body) == ("token", f"{API}/token", "grant_type=client_credentials")
    assert dict(token.headers)["Authorization"] == "[masked]"
    assert dict(first.headers)["Authorization"] == "Bearer {a.auth.access_token}"
    assert dict(second.headers)["Authorization"] == "Bearer {a.auth.access_token}"


async def test_the_url_of_a_token_may_not_be_known():
    auth = {"type": "oauth2", "tokenUrl": "{{a.url}}", "clientId": "me", "clientSecret": "{{a.pw}}"}
    document = data(
        get("a", outputs={"url": "response.body.u", "pw": "response.body.p"}), get("b", auth=auth)
    )
    assert (await sent(document))[1][:2] == ("POST", "{a.url}")


# Who runs


async def test_conditions_that_can_be_decided_are():
    document = data(
        get("a", condition="{{input.x}} > 1"),
        get("b", condition="{{input.x}} > 9"),
        get("c", condition="{{made.n}} === 5 && {{made.t}} === 'n5'"),
        {"id": "made", "set": {"n": "{{input.x}}", "t": "n{{input.x}}"}},
        get("d", dependsOn=["b"]),
        get("e", query={"x": "{{b.y}}"}),
        inputs=[{"name": "x", "type": "integer"}],
        parallel=True,
    )
    document["flow_data"]["steps"][1]["outputs"] = {"y": "response.body.y"}
    assert await decisions(document, {"x": 5}) == {
        "a": ("runs",),
        "b": ("skipped", "condition: {{input.x}} > 9 is false"),
        "made": ("runs",),
        "c": ("runs",),
        "d": ("runs",),
        "e": ("skipped", "upstream: step 'b' does not run"),
    }


async def test_conditions_on_answers_are_told_with_all_that_hangs_on_them():
    document = data(
        get("a", outputs={"x": "response.body.x"}),
        get("b", condition="{{a.x}} > 9", outputs={"y": "response.body.y"}),
        get("c", query={"y": "{{b.y}}"}),
        {"id": "made", "set": {"t": "{{a.x}}!"}},
        get("d", condition="{{made.t}} === 'x'"),
        get("e", condition="{{ made.t | length }} > 3"),
        get("f", condition="'x' === 'y' && {{a.x}}"),
        get("g", query={"y": "{{ f.z | default('none') }}"}),
    )
    document["flow_data"]["steps"][6]["outputs"] = {"z": "response.body.z"}
    assert await decisions(document) == {
        "a": ("runs",),
        "b": ("depends", "{{a.x}} > 9"),
        "c": ("depends", "{{a.x}} > 9"),
        "made": ("runs",),
        "d": ("depends", "{{made.t}} === 'x'"),
        "e": ("depends", "{{ made.t | length }} > 3"),
        "f": ("skipped", "condition: 'x' === 'y' && {{a.x}} is false"),
        "g": ("runs",),
    }
    assert (await sent(document))[-1][1] == f"{API}/g?y=none"


BRANCHES = (
    edge("is", "yes", "true"),
    edge("is", "no", "false"),
    edge("yes", "both", "success"),
    edge("no", "both", "success"),
    edge("both", "alarm", "failure"),
    edge("alarm", "last", "done"),
    edge("both", "last", "done"),
)


def branches(condition):
    steps = (get(name) for name in ("yes", "no", "both", "alarm", "last"))
    return data(
        get("a", outputs={"x": "response.body.x"}),
        {"id": "is", "condition": condition},
        *steps,
        edges=BRANCHES,
    )


async def test_a_decided_branch_leaves_the_other_one_out():
    assert await decisions(branches("1 === 1")) == {
        "a": ("runs",),
        "is": ("runs",),
        "yes": ("runs",),
        "no": ("unreached", "no edge that leads to it is taken"),
        "both": ("runs",),
        "alarm": ("depends", "step 'both' fails"),
        "last": ("runs",),
    }


async def test_an_open_branch_is_shown_both_ways():
    assert await decisions(branches("{{a.x}} > 1")) == {
        "a": ("runs",),
        "is": ("runs",),
        "yes": ("depends", "{{a.x}} > 1 is true"),
        "no": ("depends", "{{a.x}} > 1 is false"),
        "both": ("runs",),
        "alarm": ("depends", "step 'both' fails"),
        "last": ("runs",),
    }  # fmt: skip
    found = await rehearsed(branches("{{a.x}} > 1"))
    assert found["is"].notes == ["decides {{a.x}} > 1"]


async def test_what_follows_a_branch_that_is_not_taken_is_not_reached():
    document = branches("1 === 2")
    document["flow_data"]["edges"] = [edge("is", "yes", "true"), edge("yes", "both", "done"), edge("no", "last", "case:x"),
                                      edge("both", "alarm", "success")]  # fmt: skip
    found = await decisions(document)
    assert [found[name][0] for name in ("yes", "both", "alarm", "last")] == ["unreached"] * 3 + ["depends"]
    assert found["last"] == ("depends", "step 'no' takes case:x") or found["last"][1].startswith("step 'no'")


async def test_steps_that_fire_each_time_are_shown_once():
    document = data(
        get("a"),
        get("b", join="each", maxVisits=3),
        {"id": "is", "condition": "{{b.x}} > 1"},
        edges=[edge("a", "b"), edge("b", "is"), edge("is", "b", "true")],
    )
    document["flow_data"]["steps"][1]["outputs"] = {"x": "response.body.x"}
    found = await rehearsed(document)
    assert [path for path, step in found.items() if step.requests] == ["a", "b"]
    assert found["b"].notes == ["each time that an edge leads to it, 3 times at most"]


# Loops, polls, delays, flows in flows


async def test_every_item_of_a_list_that_is_known_is_shown():
    document = data(
        get("a", forEach="{{input.list}}", condition="{{item}} !== 'no'", query={"i": "{{item}}"})
    )
    document["flow_inputs"] = [{"name": "list", "type": "array"}]
    found = await rehearsed(document, {"list": ["x", "no", "y"]})
    assert found["a"].notes == ["3 items"]
    assert [(path, step.decision) for path, step in found.items()] == [
        ("a", "runs"), ("a[0]", "runs"), ("a[1]", "skipped"), ("a[2]", "runs"),
    ]  # fmt: skip
    assert [step.requests[0].url for path, step in found.items() if step.requests] == [
        f"{API}/a?i=x",
        f"{API}/a?i=y",
    ]


async def test_a_list_that_is_not_known_is_shown_by_one_item():
    document = data(
        get("a", outputs={"list": "response.body"}),
        get(
            "b", forEach="{{a.list}}", query={"id": "{{item.id}}", "n": "{{index}}"}, condition="{{item.on}}"
        ),
        get("c", query={"all": "{{b.x}}"}),
    )
    document["flow_data"]["steps"][1]["outputs"] = {"x": "response.body"}
    found = await rehearsed(document)
    assert found["b"].notes == ["for each item of {a.list}"]
    assert (found["b[…]"].decision, found["b[…]"].reasons) == ("depends", ("{{item.on}}",))
    assert found["b[…]"].requests[0].url == f"{API}/b?id={{item.id}}&n={{index}}"
    assert found["c"].requests[0].url == f"{API}/c?all={{b.x}}"


async def test_polls_and_delays_are_told():
    document = data(
        get("a", until={"condition": "response.body.done", "interval": 500, "maxAttempts": 4}, delay=250),
        {"id": "pause", "delay": 1500},
    )
    found = await rehearsed(document)
    assert found["a"].notes == ["until response.body.done: every 0.5 s, 4 times at most", "after 0.25 s"]
    assert found["pause"].notes == ["after 1.5 s"]


async def test_a_flow_in_a_flow_is_rehearsed_with_what_it_is_given(tmp_path):
    inputs = [
        {"name": "id", "type": "integer", "required": True},
        {"name": "text"},
        {"name": "pw", "type": "password"},
    ]
    inner = data(
        get(
            "in",
            method="POST",
            body={"id": "{{input.id}}", "t": "{{input.text}}", "deep": "{{input.id.x}}", "p": "{{input.pw}}"},
        ),
        {"id": "is", "condition": "{{input.id}} > 1"},
        get("never", condition="{{input.text}} === 'no'"),
        inputs=inputs,
    )
    (tmp_path / "inner.json").write_text(json.dumps(inner))
    outer = data(
        get("a", outputs={"id": "response.body.id"}),
        {"id": "f", "flow": "inner.json", "inputs": {"id": "{{a.id}}", "text": "x", "pw": "hunter22-x"}},
        {"id": "g", "flow": "inner.json", "inputs": {"id": "text"}},
        {"id": "h", "flow": "inner.json", "inputs": {"id": 1, "text": "t {{a.id}}"}, "condition": "{{a.id}}"},
        get("z", query={"x": "{{f.in}}"}),
    )
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(outer))
    found = await rehearsed(path)
    assert found["f/in"].requests[0].body == '{"id":{a.id},"t":"x","deep":{input.id.x},"p":"[masked]"}'
    assert found["f/is"].notes == ["decides {{input.id}} > 1"]
    assert found["f/never"].decision == "skipped"
    assert found["g"].failure.code == "flow.inputs"
    assert (found["h/in"].decision, found["h/in"].reasons) == ("depends", ("{{a.id}}",))
    assert found["h/never"].reasons == ("{{a.id}}", "{{input.text}} === 'no'")
    assert found["z"].requests[0].url == f"{API}/z?x={{f.in}}"


# What would fail


@pytest.mark.parametrize(
    ("step", "code", "where"),
    [
        ({"url": "mailto:x"}, "url.invalid", "steps[0].url"),
        ({"url": "http://h:99999/"}, "url.invalid", "steps[0].url"),
        ({"url": "http://h_/"}, None, ""),
        ({"bodyFile": "gone.txt"}, "file.outside", "steps[0].bodyFile"),
        ({"forEach": "{{input.no}}"}, "forEach.not_a_list", "steps[0].forEach"),
        ({"forEach": "{{ input.no.x }}"}, "reference.missing", "steps[0].forEach"),
        ({"condition": "{{input.no.x}}"}, "reference.missing", "steps[0].condition"),
        ({"forEach": [1], "condition": "{{item.x}}"}, "reference.missing", "steps[0].condition"),
        ({"headers": {"Content-Length": "5"}}, "http.request", "steps[0]"),
        ({"auth": {"type": "oauth2", "tokenUrl": "nope", "clientId": "a", "clientSecret": "b"}}, "url.invalid", "steps[0].auth"),
    ],
)  # fmt: skip
async def test_a_step_that_would_fail_says_why_and_what_follows_is_shown(step, code, where):
    document = data(get("a", **step), get("b"))
    document["flow_inputs"] = [{"name": "no", "default": "no list"}]
    found = await rehearsed(document)
    failures = [one.failure for one in found.values() if one.failure is not None]
    assert [(one.code, one.where) for one in failures] == ([(code, where)] if code else [])
    assert found["b"].requests[0].url == f"{API}/b"


async def test_a_condition_step_and_a_set_step_may_fail():
    document = data(
        {"id": "is", "condition": "{{input.x.y}} > 1"},
        {"id": "made", "set": {"a": "{{input.x.y}}"}},
        {"id": "f", "flow": "x.json"},
        inputs=[{"name": "x", "default": "t0psecret-value"}],
    )
    del document["flow_data"]["steps"][2]
    found = await rehearsed(document)
    assert {path: step.failure.code for path, step in found.items()} == {
        "is": "reference.missing", "made": "reference.missing",
    }  # fmt: skip


async def test_a_file_that_is_missing_fails_its_step(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(data(get("a", method="PUT", bodyFile="gone.txt"))))
    found = await rehearsed(path)
    assert (found["a"].failure.code, found["a"].requests) == ("file.missing", [])


# Where it would go


async def test_rules_are_applied_and_nothing_is_looked_up():
    async def nobody(host, port):
        raise AssertionError(host)

    document = data(get("a"), get("b", url="http://10.0.0.1/"), get("c", url="http://other.example/"))
    rules = {
        "allow_hosts": ["api.example", "10.*"],
        "map_hosts": ["api.example=1.1.1.1:81"],
        "deny_private": True,
    }
    found = await rehearsed(document, **rules)
    assert found["a"].requests[0].to == "1.1.1.1:81"
    assert found["b"].failure.code == found["c"].failure.code == "http.refused"
    assert found["b"].requests[0].refused.startswith("the address 10.0.0.1 is not public")
    proxied = await rehearsed(document, http=HttpSettings(proxies=ProxyRules(http="http://proxy.example:1")))
    assert proxied["a"].requests[0].to == "the proxy"


# Secrets


async def test_secrets_are_masked_and_the_run_is_none_the_wiser():
    document = data(
        get("a", method="POST", headers={"X-Api-Key": "l1teral-key"}, query={"p": "{{input.pw}}", "code": "xyz"},
            body={"pw": "{{input.pw}}", "api_key": "typed in"}, auth={"type": "basic", "username": "u", "password": "{{input.pw}}"}),
        {"id": "made", "set": {"pw": "x{{input.pw}}", "list": ["{{input.pw}}", 1]}},
        inputs=[{"name": "pw", "type": "password"}],
    )  # fmt: skip
    found = await rehearsed(document, {"pw": "geheim!-geheim"})
    (request,) = found["a"].requests
    assert request.url == f"{API}/a?p=[masked]&code=REDACTED"
    assert request.body == '{"pw":"[masked]","api_key":"[masked]"}'
    assert dict(request.headers)["X-Api-Key"] == "[masked]"
    assert dict(request.headers)["Authorization"] == "[masked]"
    assert found["made"].outputs == {"pw": "[masked]", "list": "[masked]"}


async def test_a_rehearsed_run_can_be_run(monkeypatch):
    with ApiServer(echo) as api:
        document = data(get("a", outputs={"m": "response.body.method"}), {"id": "b", "set": {"m": "{{a.m}}"}})
        run = Run(runner.load(document), {}, RunSettings(env={"API": api.origin}))
        await rehearse(run)
        result = await run.execute()
    assert result.outputs["b"] == {"m": "GET"}
