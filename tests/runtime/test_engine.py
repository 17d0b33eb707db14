"""The engine against real servers, on both event loops."""

import base64
import json
import time
from types import SimpleNamespace

import anyio
import pytest

from runner.core.actions import Finish, Spot, Start
from runner.core.commands import Outcome
from runner.core.trace import LONGEST_VALUE
from runner.errors import StepError
from runner.runtime.engine import Engine
from runner.runtime.http import HttpSettings
from runner.runtime.loading import LoadSettings, load
from runner.runtime.run import Run, RunSettings, run
from runner.runtime.tracing import Recorder
from tests.servers import ApiServer, Reply

pytestmark = pytest.mark.anyio


def data(*steps, **config):
    return {"name": "f", "flow_data": {"version": "1.0", "steps": list(steps), "config": config}}


def http(step_id, path=None, **keys):
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}{path or '/' + step_id}", **keys}


async def go(api, document, inputs=None, **settings):
    env = {"API": api.origin, **settings.pop("env", {})}
    return await run(document, inputs, env=env, settings=RunSettings(**settings))


def spans_of(result):
    return result.integration_flow().spans


def named(result, name):
    return [span for span in spans_of(result) if span.name == name]


# --- order and concurrency -----------------------------------------------------------------------


async def test_the_most_requests_at_once_equal_the_limit():
    with ApiServer() as api:
        for number in range(9):
            api.on(f"/s{number}", Reply())
        gates = [api.hold(f"/s{number}") for number in range(9)]
        async with anyio.create_task_group() as group:
            document = data(*[http(f"s{n}") for n in range(9)], parallel=True, maxConcurrency=4)
            group.start_soon(go, api, document)
            for gate in gates[:4]:
                await gate.arrived(1)
            assert api.peak == 4
            for gate in gates:
                gate.release()
        assert api.peak == 4
        assert len(api.requests) == 9


async def test_independent_slow_steps_run_side_by_side():
    steps = [http(f"s{n}", "/slow", outputs={"n": "response.status"}) for n in range(6)]
    join = http("join", "/slow", query={"n": [f"{{{{s{n}.n}}}}" for n in range(6)]})
    with ApiServer(lambda request: Reply(delay=0.4)) as api:
        one_by_one = await go(api, data(*steps, join))
        assert api.peak == 1
        six = await go(api, data(*steps, join, parallel=True, maxConcurrency=6))
        assert api.peak == 6
        five = await go(api, data(*steps, join, parallel=True))
    assert six.duration_ms < 0.40 * one_by_one.duration_ms
    assert five.duration_ms < 0.55 * one_by_one.duration_ms
    assert api.requests[-1].query == {"n": ["200"] * 6}
    assert [step.id for step in six.steps] == ["s0", "s1", "s2", "s3", "s4", "s5", "join"]
    assert spans_of(six)[-2].name == "http-join"


async def test_delay_spaces_the_starts_whatever_the_concurrency():
    with ApiServer(lambda request: Reply()) as api:
        began = time.monotonic()
        await go(api, data(*[http(f"s{n}") for n in range(4)], parallel=True, delay=80))
    # On a busy machine each may be late, but none is early.
    times = sorted(request.at for request in api.requests)
    assert all(at - began > 0.08 * number - 0.01 for number, at in enumerate(times))


async def test_results_stand_in_list_order_with_what_is_inside_below_its_step():
    with ApiServer(lambda request: Reply(body={"done": "~2" not in request.target})) as api:
        result = await go(
            api,
            data(
                http("b", forEach=[1, 2], maxConcurrency=2),
                http("a", until={"condition": "response.body.done", "interval": 0}),
                parallel=True,
            ),
        )
    assert [step.path for step in result.steps] == ["b", "b[0]", "b[1]", "a", "a~1"]


# --- tokens --------------------------------------------------------------------------------------


def token_api(*, accepts=lambda token: True):
    api = ApiServer()
    issued = []

    def token(request):
        issued.append(request)
        return Reply(body={"access_token": f"token-{len(issued)}", "token_type": "Bearer", "expires_in": 60})

    def work(request):
        return Reply(200 if accepts(request.header("authorization").removeprefix("Bearer ")) else 401)

    api.on("/token", token).on("/work", work)
    return api


OAUTH = {
    "type": "oauth2", "tokenUrl": "{{env.API}}/token", "clientId": "me", "clientSecret": "{{env.CLIENT_SECRET}}",
    "scope": "a b",
}  # fmt: skip


async def test_twenty_parallel_steps_ask_for_one_token():
    with token_api() as api:
        document = data(
            *[http(f"s{n}", "/work", auth=OAUTH) for n in range(20)], parallel=True, maxConcurrency=20
        )
        result = await go(api, document, env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert result.ok
    (asked,) = api.received("/token")
    assert base64.b64decode(asked.header("authorization").split()[1]) == b"me:s3cr3t-of-mine"
    assert asked.body == b"grant_type=client_credentials&scope=a+b"
    assert len(api.received("/work")) == 20
    fetched = [span for span in spans_of(result) if span.name.endswith(".auth")]
    assert len(fetched) == 1
    assert fetched[0].attributes["task.id"].endswith(".auth")


async def test_a_refused_token_is_fetched_once_more_for_all():
    with token_api(accepts=lambda token: token == "token-2") as api:
        document = data(
            *[http(f"s{n}", "/work", auth=OAUTH) for n in range(20)], parallel=True, maxConcurrency=20
        )
        result = await go(api, document, env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert result.ok
    assert len(api.received("/token")) == 2
    resent = [span for span in spans_of(result) if span.attributes.get("http.request.resend_count") == 1]
    assert resent


async def test_a_second_refusal_fails_the_step():
    with token_api(accepts=lambda token: False) as api:
        result = await go(api, data(http("a", "/work", auth=OAUTH)), env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert result.steps[0].error.code == "http.status"
    assert len(api.received("/work")) == 2
    assert len(api.received("/token")) == 2
    text = result.integration_flow().to_json().decode()
    assert "token-1" not in text
    assert "token-2" not in text
    assert "s3cr3t-of-mine" not in text


async def test_a_token_server_that_refuses_fails_the_step_and_says_why():
    with ApiServer() as api:
        api.on("/token", Reply(401, {"error": "invalid_client"}))
        result = await go(api, data(http("a", "/work", auth=OAUTH)), env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert result.steps[0].error.code == "auth.token"
    assert "invalid_client" in result.steps[0].error.message
    assert named(result, "http-a.auth")[0].status == "error"
    assert not api.received("/work")


async def test_a_token_that_is_refused_is_asked_for_once_by_all_who_wait():
    with ApiServer() as api:
        api.on("/token", Reply(400, {"error": "invalid_scope"}, delay=0.2))
        steps = [http(f"s{n}", "/work", auth=OAUTH, onError="continue") for n in range(8)]
        document = data(*steps, parallel=True, maxConcurrency=8)
        result = await go(api, document, env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert len(api.received("/token")) == 1
    assert {step.error.code for step in result.steps} == {"auth.token"}
    assert result.steps[0].error.where == "steps[0].auth"


async def test_a_token_that_was_refused_is_not_asked_for_again_by_later_steps():
    with ApiServer() as api:
        api.on("/token", Reply(401, {"error": "invalid_client"}))
        steps = [http(f"s{n}", "/work", auth=OAUTH, onError="continue") for n in range(3)]
        result = await go(api, data(*steps), env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert len(api.received("/token")) == 1
    assert [step.error.code for step in result.steps] == ["auth.token"] * 3
    assert len({step.error.message for step in result.steps}) == 1


async def test_a_token_that_was_not_to_be_had_in_passing_is_asked_for_again_by_the_next_step():
    with token_api() as api:
        api.on("/token", Reply(503), Reply(body={"access_token": "later"}))
        steps = [http(f"s{n}", "/work", auth=OAUTH, onError="continue") for n in range(3)]
        result = await go(api, data(*steps), env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert [step.status for step in result.steps] == ["failed", "succeeded", "succeeded"]
    assert len(api.received("/token")) == 2


async def test_a_token_still_serves_other_steps_when_no_newer_one_is_to_be_had():
    with ApiServer() as api:
        token = {"access_token": "token-1", "token_type": "Bearer"}
        api.on("/token", Reply(body=token), Reply(400, {"error": "invalid_grant"}))
        api.on("/barred", Reply(401)).on("/work", Reply())
        paths = ("/work", "/barred", "/work", "/barred")
        steps = [http(f"s{n}", path, auth=OAUTH, onError="continue") for n, path in enumerate(paths)]
        result = await go(api, data(*steps), env={"CLIENT_SECRET": "s3cr3t-of-mine"})
    assert [step.status for step in result.steps] == ["succeeded", "failed", "succeeded", "failed"]
    assert len(api.received("/token")) == 2


async def test_a_token_request_that_is_cut_off_is_an_error_on_its_span():
    with ApiServer() as api:
        api.on("/token", Reply(delay=30))
        result = await go(
            api, data(http("a", "/work", auth=OAUTH)), env={"CLIENT_SECRET": "s3cr3t-of-mine"}, timeout=0.2
        )
    (token,) = named(result, "http-a.auth")
    assert (token.status, token.attributes["error.type"]) == ("error", "timeout")
    assert named(result, "POST /token")[0].status == "error"


async def test_a_token_request_is_retried_as_the_step_is():
    with token_api() as api:
        api.on("/token", Reply(503), Reply(body={"access_token": "later"}))
        retry = {"maxAttempts": 2, "initialInterval": 1}
        result = await go(
            api, data(http("a", "/work", auth=OAUTH, retry=retry)), env={"CLIENT_SECRET": "sssss"}
        )
    assert result.ok
    assert len(api.received("/token")) == 2


# --- requests and spans --------------------------------------------------------------------------


async def test_each_attempt_carries_the_traceparent_of_its_span():
    with ApiServer() as api:
        api.on("/a", Reply(503), Reply(503), Reply())
        document = data(http("a", retry={"maxAttempts": 3, "initialInterval": 1}))
        parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
        result = await go(api, document, traceparent=parent, tracestate="x=y")
    attempts = named(result, "GET /a")
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [request.header("traceparent") for request in api.requests] == [
        f"00-{'ab' * 16}-{span.span_id:016x}-01" for span in attempts
    ]
    assert {request.header("tracestate") for request in api.requests} == {"x=y"}
    assert result.trace_id == "ab" * 16
    step = named(result, "http-a")[0]
    assert {span.parent_id for span in attempts} == {step.span_id}
    assert [event[0] for event in step.events] == ["retry.scheduled", "retry.scheduled"]
    root = spans_of(result)[0]
    assert root.parent_id is None
    assert root.attributes["runner.remote_parent"] == parent


async def test_an_attempt_follows_the_http_conventions():
    with ApiServer(lambda request: Reply(404, {"x": 1})) as api:
        result = await go(api, data(http("a", "/users/{{input.id}}")), {"id": "a b"})
    (span,) = named(result, "GET /users/{input.id}")
    expected = {
        "http.request.method": "GET", "url.full": f"{api.origin}/users/a%20b", "server.address": "127.0.0.1",
        "server.port": api.port, "url.scheme": "http", "url.template": "/users/{input.id}",
        "http.response.status_code": 404, "network.protocol.version": "1.1", "error.type": "404",
        "network.peer.address": "127.0.0.1", "network.peer.port": api.port, "task.id": "a", "task.type": "http",
    }  # fmt: skip
    assert expected.items() <= span.attributes.items()
    assert (span.kind, span.status) == ("client", "error")


async def test_an_expected_404_is_no_error():
    with ApiServer(lambda request: Reply(404)) as api:
        result = await go(api, data(http("a", expectedStatus=404)))
    assert result.ok
    assert {span.status for span in spans_of(result)} == {"unset"}


async def test_each_redirect_hop_has_its_span():
    with ApiServer() as api:
        api.on("/a", Reply(302, headers=[("Location", "/b?x=1")])).on("/b", Reply())
        result = await go(api, data(http("a")))
    assert [span.name for span in spans_of(result)] == ["flow-f", "http-a", "GET /a", "GET"]
    assert spans_of(result)[3].attributes["url.full"].endswith("/b?x=1")


async def test_cookies_belong_to_one_run():
    with ApiServer() as api:
        api.on("/set", Reply(headers=[("Set-Cookie", "sid=1; Path=/")])).on("/get", Reply())
        await go(api, data(http("a", "/set"), http("b", "/get")))
        await go(api, data(http("b", "/get")))
    assert [request.header("cookie") for request in api.received("/get")] == ["sid=1", None]


async def test_bodies_are_captured_only_on_request_and_masked():
    document = data(
        {**http("a"), "method": "POST", "body": {"p": "{{input.p}}"}, "outputs": {"t": "response.body.t"},
         "secretOutputs": ["t"]},
    )  # fmt: skip
    document["flow_inputs"] = [{"name": "p", "type": "password"}]
    with ApiServer(lambda request: Reply(body={"t": "learnt-later", "echo": request.json()})) as api:
        plain = await go(api, document, {"p": "geheim!"})
        captured = await go(api, document, {"p": "geheim!"}, capture_bodies=True)
    keys = ("http.request.body.content", "http.response.body.content")
    assert not any(key in span.attributes for span in spans_of(plain) for key in keys)
    (attempt,) = named(captured, "POST /a")
    assert attempt.attributes[keys[0]] == '{"p":"[masked]"}'
    assert json.loads(attempt.attributes[keys[1]]) == {"t": "[masked]", "echo": {"p": "[masked]"}}


async def test_captured_bodies_show_no_text_whose_name_looks_secret():
    step = {**http("a"), "method": "POST", "form": {"user": "ada", "api_key": "typed-in"}}
    answer = Reply(body={"access_token": "n0t-declared", "user": "ada"})
    with ApiServer(lambda request: answer) as api:
        result = await go(api, data(step), capture_bodies=True)
    (attempt,) = named(result, "POST /a")
    assert attempt.attributes["http.request.body.content"] == "user=ada&api_key=[masked]"
    assert attempt.attributes["http.response.body.content"] == '{"access_token": "[masked]", "user": "ada"}'


async def test_a_secret_at_the_cut_of_a_long_body_leaves_no_part():
    body = "x" * (LONGEST_VALUE - 4) + "geheim!-and-more"
    document = data({**http("a"), "method": "POST", "body": "{{input.p}}"})
    document["flow_inputs"] = [{"name": "p", "type": "password"}]
    with ApiServer(lambda request: Reply(body=body, headers=[("Content-Type", "text/plain")])) as api:
        result = await go(api, document, {"p": "geheim!-and-more"}, capture_bodies=True)
    (attempt,) = named(result, "POST /a")
    shown = attempt.attributes["http.response.body.content"]
    assert (len(shown), shown.strip("x")) == (LONGEST_VALUE, "[ma…")


async def test_a_fault_of_ours_is_logged_without_secrets(caplog, monkeypatch):
    def broken(*_):
        raise RuntimeError("the value was geheim!-and-more")

    monkeypatch.setattr("runner.core.program.is_accepted", broken)
    document = data(http("a", headers={"X-Api-Key": "geheim!-and-more"}))
    with ApiServer(lambda request: Reply()) as api, caplog.at_level("ERROR", "runner"):
        result = await go(api, document)
    assert result.step("a").error.code == "internal"
    assert "RuntimeError: the value was [masked]" in caplog.text
    assert "geheim" not in caplog.text


async def test_binary_bodies_are_not_captured():
    image = Reply(body=b"\x89PNG", headers=[("Content-Type", "image/png")])
    with ApiServer(lambda request: image) as api:
        result = await go(api, data(http("a"), http("b", "/x+json")), capture_bodies=True)
    assert not any("body.content" in key for span in spans_of(result) for key in span.attributes)


async def test_outputs_stand_on_the_step_unless_switched_off():
    with ApiServer(lambda request: Reply(body={"n": 5, "long": "x" * 300, "o": {}})) as api:
        document = data(http("a", outputs={"n": "$.n", "l": "$.long", "o": "$.o", "gone": "$.gone"}))
        shown = named(await go(api, document), "http-a")[0]
        hidden = named(await go(api, document, outputs=False), "http-a")[0]
    assert {key for key in shown.attributes if key.startswith("runner.output.")} == {"runner.output.n"}
    assert [event[0] for event in shown.events] == ["output.missing"]
    assert not any(key.startswith("runner.output.") for key in hidden.attributes)


async def test_files_below_the_flow_are_sent(tmp_path):
    (tmp_path / "data.bin").write_bytes(b"\x00\xff")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.json").write_text(
        json.dumps(data({**http("i"), "method": "POST", "bodyFile": "own.txt"}))
    )
    (tmp_path / "sub" / "own.txt").write_text("inner")
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("no")
    document = data(
        {**http("a"), "method": "PUT", "bodyFile": "data.bin"},
        {**http("m"), "method": "POST", "multipart": {"t": "text", "f": {"file": "data.bin"}}},
        {"id": "sub", "flow": "sub/inner.json"},
        {**http("b"), "method": "PUT", "bodyFile": "../outside.txt", "onError": "continue"},
        {**http("c"), "method": "PUT", "bodyFile": "gone", "onError": "continue"},
    )
    (tmp_path / "flow.json").write_text(json.dumps(document))
    with ApiServer(lambda request: Reply()) as api:
        result = await go(api, str(tmp_path / "flow.json"))
    put, multipart, inner = api.requests
    assert (put.body, put.header("content-type")) == (b"\x00\xff", "application/octet-stream")
    assert b'filename="data.bin"' in multipart.body
    assert inner.body == b"inner"
    codes = [step.error.code for step in result.steps if step.error]
    assert codes == ["file.outside", "file.missing"]
    assert result.ok


async def test_a_flow_that_came_from_no_folder_reads_no_files():
    with ApiServer(lambda request: Reply()) as api:
        result = await go(api, data({**http("a"), "method": "PUT", "bodyFile": "x"}))
    assert result.steps[0].error.code == "file.outside"


async def test_a_folder_may_be_allowed(tmp_path):
    shared, home = tmp_path / "shared", tmp_path / "home"
    shared.mkdir()
    home.mkdir()
    (shared / "x.txt").write_text("shared")
    (home / "flow.json").write_text(
        json.dumps(data({**http("a"), "method": "PUT", "bodyFile": str(shared / "x.txt")}))
    )
    with ApiServer(lambda request: Reply()) as api:
        flow = load(str(home / "flow.json"))
        result = await go(api, flow, load=LoadSettings(allow_files=(shared,)))
    assert result.ok
    assert api.requests[0].body == b"shared"


# --- time and cancellation -----------------------------------------------------------------------


async def test_an_attempt_that_takes_too_long_fails_the_step():
    with ApiServer(lambda request: Reply(delay=30)) as api:
        result = await go(api, data(http("a", timeout=50), http("b")))
    assert result.status == "failed"
    assert result.steps[0].error.code == "http.timeout"
    (attempt,) = named(result, "GET /a")
    assert attempt.attributes["error.type"] == "timeout"


@pytest.mark.parametrize("how", ["config", "setting"])
async def test_a_run_that_takes_too_long_is_timed_out_with_its_trace(how):
    document = data(http("a"), http("b"), **({"flowTimeout": 80} if how == "config" else {}))
    with ApiServer(lambda request: Reply(delay=30)) as api:
        result = await go(api, document, timeout=None if how == "config" else 0.08)
    assert result.status == "timed_out"
    statuses = {span.name: (span.status, span.attributes.get("error.type")) for span in spans_of(result)}
    assert statuses["flow-f"][0] == "error"
    assert statuses["http-a"] == ("error", "timeout")
    assert statuses["GET /a"] == ("error", "timeout")
    assert all(span.ended for span in spans_of(result))
    assert result.step("b").reason == "unreached"


async def test_a_flow_step_with_its_own_timeout_fails_alone(tmp_path):
    (tmp_path / "inner.json").write_text(json.dumps(data(http("slow"), flowTimeout=80)))
    document = data({"id": "sub", "flow": "inner.json", "onError": "continue"}, http("after"))
    (tmp_path / "flow.json").write_text(json.dumps(document))
    with ApiServer(lambda request: Reply(delay=30 if request.path == "/slow" else 0)) as api:
        result = await go(api, str(tmp_path / "flow.json"))
    assert result.ok
    assert result.step("sub").error.code == "flow.timeout"
    assert result.step("sub/slow").error.code == "run.timed_out"
    assert result.step("after").status == "succeeded"


async def test_an_interrupted_run_ends_at_once_with_every_span():
    with ApiServer() as api:
        gates = [api.hold(f"/s{n}") for n in range(3)]
        ready = Run(
            load(data(*[http(f"s{n}") for n in range(3)], parallel=True)),
            {},
            RunSettings(env={"API": api.origin}),
        )
        results = []

        async def execute():
            results.append(await ready.execute())

        async with anyio.create_task_group() as group:
            group.start_soon(execute)
            for gate in gates:
                await gate.arrived(1)
            began = time.monotonic()
            ready.interrupt()
        assert time.monotonic() - began < 2
        for gate in gates:
            gate.release()
    (result,) = results
    assert result.status == "cancelled"
    spans = spans_of(result)
    assert len(spans) == 7
    assert {span.status for span in spans} == {"error"}
    assert {span.attributes["error.type"] for span in spans if span.kind == "client"} == {"cancelled"}


async def test_a_run_cancelled_by_its_caller_leaves_a_whole_trace():
    with ApiServer() as api:
        gate = api.hold("/a")
        flow = load(data(http("a"), http("b"), http("p", until={"condition": "false", "interval": 1})))
        ready = Run(flow, {}, RunSettings(env={"API": api.origin}))
        async with anyio.create_task_group() as group:
            group.start_soon(ready.execute)
            await gate.arrived(1)
            group.cancel_scope.cancel()
        gate.release()
    spans = list(ready.recorder.spans())
    assert [span["name"] for span in spans][:3] == ["flow-f", "http-a", "GET /a"]
    assert all(span["ended"] for span in spans)
    assert spans[0]["status"] == {"code": 1}


async def test_a_run_may_be_interrupted_before_it_starts_and_after_it_ended():
    with ApiServer(lambda request: Reply()) as api:
        ready = Run(load(data(http("a"))), {}, RunSettings(env={"API": api.origin}))
        ready.interrupt()
        result = await ready.execute()
        ready.interrupt()
    assert result.ok


async def test_flows_that_wait_for_a_slot_end_with_the_run(tmp_path):
    (tmp_path / "inner.json").write_text(json.dumps(data(http("slow"))))
    loop = {"id": "e", "forEach": list(range(6)), "maxConcurrency": 6, "flow": "inner.json"}
    (tmp_path / "flow.json").write_text(json.dumps(data(loop, http("after"), maxConcurrency=2)))
    with ApiServer(lambda request: Reply(delay=30)) as api:
        result = await go(api, str(tmp_path / "flow.json"), timeout=0.2)
    assert result.status == "timed_out"
    assert len(api.requests) == 2
    assert all(span.ended for span in spans_of(result))
    assert result.step("after").detail == "the run was timed out before"


async def test_a_flow_that_ends_in_time_leaves_no_timer(tmp_path):
    (tmp_path / "inner.json").write_text(json.dumps(data({"id": "s", "set": {"x": 1}}, flowTimeout=60_000)))
    loop = {"id": "e", "forEach": list(range(20)), "maxConcurrency": 20, "flow": "inner.json"}
    (tmp_path / "flow.json").write_text(json.dumps(data(loop)))
    with anyio.fail_after(20):
        result = await run(str(tmp_path / "flow.json"))
    assert result.ok


async def test_after_a_failure_nothing_starts_that_waits_for_its_turn():
    with ApiServer(lambda request: Reply(500 if request.path == "/s0" else 200)) as api:
        result = await go(api, data(*[http(f"s{n}") for n in range(5)], parallel=True, delay=150))
    assert [request.path for request in api.requests] == ["/s0"]
    assert [step.reason for step in result.steps[1:]] == ["unreached"] * 4


async def test_credentials_in_headers_of_flow_and_answer_are_masked():
    headers = {"Authorization": "Bearer l1teral-token", "Cookie": "own=c00kie-value"}
    answer = Reply(
        body={"echo": "l1teral-token c00kie-value n3w-session"}, headers=[("Set-Cookie", "sid=n3w-session")]
    )
    step = http("a", headers=headers, outputs={"sid": "response.cookies.sid", "echo": "response.body.echo"})
    step["assert"] = "response.body.echo === 'x'"
    with ApiServer(lambda request: answer) as api:
        result = await go(api, data(step), capture_bodies=True)
    shown = json.dumps(result.to_json()) + result.integration_flow().to_json().decode()
    assert not [one for one in ("l1teral-token", "c00kie-value", "n3w-session") if one in shown]


# --- faults --------------------------------------------------------------------------------------


class Broken:
    """A progress whose only program does what no program may."""

    def __init__(self, error):
        self.error = error

        class Root:
            interruption = None
            plan = SimpleNamespace(steps=())

        self.root = Root()

    def start(self):
        def program():
            raise self.error
            yield

        return [Start(Spot("a", "", "http", "a", "a"), program())]

    def done(self, path, outcome):
        return [Finish(outcome)]

    def interrupt(self, path, by):
        return [], []


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError("boom"), "internal"), (StepError("x.y", "because"), "x.y")]
)
async def test_a_fault_of_the_runner_fails_the_step_and_is_logged(error, code, caplog):
    recorder = Recorder("r")
    engine = Engine(Broken(error), recorder, client=None)
    engine._open(Spot("", "", "flow", "f", "f"))
    outcome = await engine.run()
    assert isinstance(outcome, Outcome)
    assert outcome.failure.code == code
    assert ("broke the runner" in caplog.text) == (code == "internal")


async def test_a_shared_transport_keeps_its_connections():
    from runner.runtime.http import Transport

    with ApiServer(lambda request: Reply()) as api:
        async with Transport(HttpSettings()) as transport:
            await go(api, data(http("a")), transport=transport)
            await go(api, data(http("a")), transport=transport)
    assert api.connections == 1
