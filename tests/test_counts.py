"""What a run does is counted here, because counts are the same on every machine; benchmarks/ measures time."""

import json
import math
import ssl
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import runner
from benchmarks import figures
from benchmarks.__main__ import findings
from benchmarks.flows import INPUTS, registration
from benchmarks.processes import environment, server, without
from runner.core import compile as compiling
from runner.runtime.http import HttpSettings, Transport
from runner.runtime.run import Run, RunSettings
from runner.runtime.tls import TlsOptions
from tests.servers import HOST, ApiServer, Authority, Reply, TlsServer

ROOT = Path(__file__).parents[1]
# What no plain run needs; each of them costs a cold start tens of milliseconds.
HEAVY = {"jinja2", "jsonpath_rfc9535", "opentelemetry", "regex", "rich", "typer", "yaml"}


@pytest.fixture
def api():
    answers = {
        "/auth/register": {"user": {"id": 42, "role": "member"}, "activation_token": "tok-1"},
        "/auth/verify-email": {"status": "verified"},
        "/notifications/welcome": {"email_id": "em-1"},
        "/token": {"access_token": "token-1", "token_type": "Bearer"},
    }
    with ApiServer(lambda request: Reply(body=answers.get(request.path, {"id": 42}))) as api:
        yield api


def flow(*steps, **config):
    data = {"version": "1.0", "steps": list(steps), "config": config}
    return {"name": "counted", "flow_inputs": [], "flow_data": data}


def http(step_id, **keys):
    return {"id": step_id, "method": "GET", "url": f"{{{{env.API}}}}/{step_id}", **keys}


def run_over(transport, document, api, inputs=None):
    """Return the coroutine of a run over a transport that the caller keeps."""
    env = {"API": api.origin, "API_URL": api.origin}
    return runner.run(document, inputs, env=env, settings=RunSettings(transport=transport))


def counted(monkeypatch, home, name) -> list:
    """Have every call of a function noted; returns the list of what it was called with."""
    calls, function = [], getattr(home, name)

    def noting(*arguments, **keywords):
        calls.append(arguments[0] if arguments else None)
        return function(*arguments, **keywords)

    monkeypatch.setattr(home, name, noting)
    return calls


# --- connections, pools, contexts


def test_a_run_of_one_step_after_the_other_opens_one_connection(api):
    assert runner.run_sync(registration(), INPUTS, env={"API_URL": api.origin}).ok
    assert (api.connections, len(api.requests)) == (1, 3)


def test_runs_over_one_transport_share_their_connection_and_its_pool(api):
    async def run_three_times():
        async with Transport() as transport:
            for _ in range(3):
                assert (await run_over(transport, registration(), api, INPUTS)).ok
            return len(transport._makers)

    assert anyio.run(run_three_times) == 1
    assert (api.connections, len(api.requests)) == (1, 9)


def test_a_run_opens_as_many_connections_as_steps_run_at_once(api):
    gates = [api.hold(f"/s{number}") for number in range(4)]

    async def run_and_release():
        async with Transport() as transport, anyio.create_task_group() as group:
            document = flow(*(http(f"s{number}") for number in range(20)), parallel=True, maxConcurrency=4)
            group.start_soon(run_over, transport, document, api)
            for gate in gates:
                await gate.arrived(1)
            for gate in gates:
                gate.release()

    anyio.run(run_and_release)
    assert (api.connections, len(api.requests), api.peak) == (4, 20, 4)


def test_a_process_makes_one_tls_context_and_a_pool_for_each_kind_of_connection(api, monkeypatch, tmp_path):
    authority = Authority(tmp_path)
    made = counted(monkeypatch, ssl.SSLContext, "load_verify_locations")
    settings = HttpSettings(tls=TlsOptions(cacert=authority.ca_file))
    document = flow(http("plain"), http("secret", url="{{env.TLS}}/secret"))
    pools = []

    async def run_twice(tls):
        for _ in range(2):
            async with Transport(settings) as transport:
                env = {"API": api.origin, "TLS": tls.origin}
                result = await runner.run(document, env=env, settings=RunSettings(transport=transport))
                assert result.ok, result.failure
                pools.append(len(transport._makers))

    with TlsServer(authority, lambda request: Reply(), names=(HOST,)) as tls:
        anyio.run(run_twice, tls)
    assert pools == [2, 2]
    assert len({id(context) for context in made if _trusts(context, authority)}) == 1


def _trusts(context: ssl.SSLContext, authority: Authority) -> bool:
    der = ssl.PEM_cert_to_DER_cert(authority.ca_file.read_text())
    return der in context.get_ca_certs(binary_form=True)


# --- compiling


def test_equal_texts_compile_once(monkeypatch):
    compiled = counted(monkeypatch, compiling, "compile_template")
    steps = [http(f"s{number}", url="{{env.API}}/same", headers={"X": "{{env.X}}"}) for number in range(50)]
    assert runner.check(runner.load(flow(*steps))) == ()
    assert sorted(compiled) == ["{{env.API}}/same", "{{env.X}}"]


def test_a_run_compiles_before_it_starts_and_never_again(api, monkeypatch):
    loop = {"forEach": [1, 2, 3], "body": {"n": "{{item}}"}, "method": "POST", "condition": "{{item}} > 0"}
    steps = [
        http("a", outputs={"id": "response.body.id"}),
        http("b", **loop),
        http("c", query={"q": "{{a.id}}"}),
    ]
    run = Run(runner.load(flow(*steps)), {}, RunSettings(env={"API": api.origin}))
    calls = [
        counted(monkeypatch, compiling, name)
        for name in ("compile_template", "compile_tree", "compile_condition", "compile_output")
    ]
    assert anyio.run(run.execute).ok
    assert len(api.requests) == 5
    assert calls == [[], [], [], []]


def test_a_loaded_flow_compiles_once_for_all_its_runs(api, monkeypatch):
    loaded = runner.load(flow(http("a"), http("b")))
    compiled = counted(monkeypatch, compiling, "compile_template")
    for _ in range(3):
        assert runner.run_sync(loaded, env={"API": api.origin}).ok
    assert sorted(compiled) == ["{{env.API}}/a", "{{env.API}}/b"]


# --- spans, requests, tokens


@pytest.mark.parametrize(
    ("steps", "spans"),
    [
        ([http("a")], 1 + 1 + 1),
        ([http("a"), http("b"), http("c")], 1 + 3 + 3),
        ([{"id": "a", "set": {"x": 1}}], 1 + 1),
        ([http("a", condition="false")], 1 + 1),
        ([http("a", forEach=[1, 2, 3])], 1 + 1 + 3 + 3),
        ([http("gone", retry={"maxAttempts": 3, "initialInterval": 1})], 1 + 1 + 3),
    ],
    ids=["request", "three requests", "set", "skipped", "loop", "retries"],
)
def test_a_span_stands_for_the_flow_each_step_each_item_and_each_attempt(api, steps, spans):
    api.on("/gone", Reply(503))
    result = runner.run_sync(flow(*steps), env={"API": api.origin})
    assert len(result.integration_flow().spans) == spans


def test_a_span_of_a_request_takes_less_than_a_kilobyte(api):
    run = Run(runner.load(registration()), INPUTS, RunSettings(env={"API_URL": api.origin}))
    assert anyio.run(run.execute).ok
    assert run.recorder.size / run.recorder.count < 1000


def test_each_run_asks_for_one_token(api):
    auth = {
        "type": "oauth2",
        "tokenUrl": api.url("/token"),
        "clientId": "client",
        "clientSecret": "secret of it",
    }
    document = flow(*(http(f"s{number}", auth=auth) for number in range(10)), parallel=True)
    for _ in range(2):
        result = runner.run_sync(document, env={"API": api.origin})
        assert result.ok, result.failure
    assert len(api.received("/token")) == 2
    assert len(api.requests) == 22


# --- the modules of a command


def imported(*arguments: str, block: tuple[str, ...] = ()) -> set[str]:
    """Return the packages that a command has imported by its end."""
    return _packages(f"{without(*block)}from runner.cli import main\ntry: main()\nfinally: ", *arguments)


def _packages(code: str, *arguments: str) -> set[str]:
    tell = "import sys; sys.stderr.write('\\n' + ' '.join(one for one, it in sys.modules.items() if it))"
    done = subprocess.run(
        [sys.executable, "-c", code + tell, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split(" ")}


@pytest.fixture
def plain_flow(api, tmp_path):
    path = tmp_path / "flow.json"
    steps = [
        http("a", url=f"{api.origin}/a", outputs={"id": "response.body.id", "same": "$.id"}),
        http("b", url=f"{api.origin}/b/{{{{a.id}}}}", condition="{{a.id}} === 42"),
    ]
    path.write_text(json.dumps(flow(*steps)), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_help_imports_nothing_but_the_standard_library_and_the_command_line(arguments):
    of_python = _packages("")  # with what an environment has in its .pth files
    assert imported(*arguments) - of_python - sys.stdlib_module_names == {"runner"}


@pytest.mark.parametrize("flags", [(), ("--quiet",), ("--json",)], ids=["lines", "quiet", "json"])
@pytest.mark.parametrize("block", [(), ("httpx2",)], ids=["as it is", "without httpx2"])
def test_a_plain_run_imports_nothing_heavy_and_of_the_http_library_only_its_core(plain_flow, flags, block):
    modules = imported("run", plain_flow, *flags, block=block)
    assert modules & {*HEAVY, "httpx", "httpx2"} == set()
    assert {"pydantic", "h11"} <= modules


# --- the benchmarks themselves


@pytest.mark.timeout(120)
def test_every_figure_can_be_measured():
    with server() as origin:
        found = list(findings(figures.NAMES, figures.TINY, origin, ["httpx"]))
    assert {one.figure.name for one in found} == {*figures.NAMES} - {"peak-http"}
    assert all(math.isfinite(one.value) for one in found)
