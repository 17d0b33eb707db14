"""`runner push`, `runner pull` and `runner run --push` against a Versori platform on loopback."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest

from runner.cli.options import make_parser, parse
from runner.cli.options_remote import OWNERS, OWNERS_OF_PULL, PLATFORMS
from tests.command import Terminal, command, flow_file, get, here, start
from tests.emulators.versori import NO_ID, ORG, PROJECT, TOKEN, Versori
from tests.integration_flow_schema import violations
from tests.servers import ApiServer, Authority, Drop, Reply, TlsServer

SAMPLE = json.loads((Path(__file__).parents[1] / "emulators/versori_sample_call.json").read_bytes())
RULES = [("schema",), ("decoder",), ("schema", "decoder")]


@pytest.fixture(params=RULES, ids="+".join)
def platform(request):
    """A platform that judges bodies by the schema, by a decoder, or by both."""
    with Versori(request.param) as server:
        yield server


@pytest.fixture
def strict():
    """A platform that judges bodies by everything."""
    with Versori() as server:
        yield server


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The trace of a real run, as the bytes of its file."""
    folder = tmp_path_factory.mktemp("recorded")
    with ApiServer(lambda request: Reply(body={"ok": True})) as api:
        flow_file(folder, get("a"), get("b"), name="hello.json")
        words = ("run", "hello.json", "-e", f"API={api.origin}", "--trace-out", "trace.json", "--quiet")
        done = here(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return (folder / "trace.json").read_bytes()


@pytest.fixture
def trace(recorded, tmp_path):
    """The trace of a real run, decoded; it is in a file called trace.json."""
    (tmp_path / "trace.json").write_bytes(recorded)
    return json.loads(recorded)


def versori(*words, server, cwd, run=here, **env):
    """Run a command against a platform, with a token and a project."""
    target = ("--base-url", server.api, "--org", ORG, "--project", PROJECT)
    return run(*words, *target, cwd=cwd, **{"VERSORI_TOKEN": TOKEN, "HOME": str(cwd), **env})


def push(*words, **more):
    return versori("push", *words, "--to", "versori", **more)


def pull(*words, **more):
    return versori("pull", "--from", "versori", *words, **more)


def without_times(flow):
    """Return what can be compared of a flow byte by byte after a Go server has had it."""
    return [(span["name"], span["attributes"], span["status"], span["spanContext"]) for span in flow["spans"]]


# --- push


def test_a_trace_is_created_and_then_replaced(platform, trace, tmp_path):
    assert violations(trace) == []
    done = push("trace.json", "--name", "hello", server=platform, cwd=tmp_path, run=command)
    assert (done.returncode, done.stdout) == (0, "hello: created (5 spans)\n"), done.stderr
    assert done.stderr.startswith("sending 5 spans, ")
    assert f" kB, to {platform.api}\n" in done.stderr
    again = push("trace.json", "--name", "hello", "--description", "Again", server=platform, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "hello: replaced (5 spans -> 5)\n"), again.stderr
    kept = platform.flows["hello"]
    assert (kept["name"], kept["description"]) == ("hello", "Again")
    assert without_times(kept) == without_times(trace)
    put = platform.received(platform.flow_path("hello"))[-1]
    assert put.header("content-type") == "application/json"
    assert "id" not in put.json()
    assert put.json()["name"] == "hello"


@pytest.mark.parametrize(
    ("words", "name", "description"),
    [([], "hello", ""), (["--name", "x"], "x", ""), (["--description", "D"], "hello", "D")],
)
def test_a_trace_carries_its_own_name(strict, trace, tmp_path, words, name, description):
    assert push("trace.json", *words, server=strict, cwd=tmp_path).returncode == 0
    assert [(flow["name"], flow["description"]) for flow in strict.flows.values()] == [(name, description)]


def test_a_trace_without_a_name_is_called_like_its_file(strict, trace, tmp_path):
    (tmp_path / "from-file.json").write_text(json.dumps({"spans": trace["spans"]}))
    done = push("from-file.json", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "from-file: created (5 spans)\n")
    assert strict.flows["from-file"]["description"] == ""


def test_a_trace_comes_from_standard_input_too(strict, trace, tmp_path):
    text = (tmp_path / "trace.json").read_text()
    assert push("-", server=strict, cwd=tmp_path, stdin=text).stdout == "hello: created (5 spans)\n"
    nameless = json.dumps({"spans": trace["spans"]})
    done = push("-", server=strict, cwd=tmp_path, stdin=nameless)
    assert (done.returncode, "a flow cannot be called ''" in done.stderr) == (2, True)


def test_an_odd_name_is_warned_about_and_kept_whole(strict, trace, tmp_path):
    done = push("trace.json", "--name", "Say hello/now ü", server=strict, cwd=tmp_path)
    assert (done.returncode, list(strict.flows)) == (0, ["Say hello/now ü"])
    assert "--name: warning: 'Say hello/now ü' has characters that urls do not like" in done.stderr


def test_what_is_there_can_be_protected(strict, trace, tmp_path):
    assert push("trace.json", "--no-overwrite", server=strict, cwd=tmp_path).returncode == 0
    done = push("trace.json", "--no-overwrite", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is a flow 'hello' already, with 5 spans, and it is not to be overwritten" in done.stderr
    assert [one.method for one in strict.requests] == ["GET", "PUT", "GET"]


def test_the_span_names_of_the_platform_are_given_on_the_way(strict, trace, tmp_path):
    assert push("trace.json", "--names", "versori", server=strict, cwd=tmp_path).returncode == 0
    names = [span["name"] for span in strict.flows["hello"]["spans"]]
    assert names == ["webhook-hello", "http-a", "GET", "http-b", "GET"]
    assert [span["name"] for span in json.loads((tmp_path / "trace.json").read_bytes())["spans"]] == [
        "flow-hello", "http-a", "GET /a", "http-b", "GET /b",
    ]  # fmt: skip


def test_a_dry_run_prints_the_request_and_sends_nothing(strict, trace, tmp_path):
    done = push("trace.json", "--dry-run", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stderr, strict.requests) == (0, "nothing was sent\n", [])
    head, _, body = done.stdout.partition("\n\n")
    assert head.splitlines() == [
        f"PUT {strict.api}/o/{ORG}/projects/{PROJECT}/workflows/hello",
        "Authorization: Bearer [masked]",
        "Accept: application/json",
        "Content-Type: application/json",
    ]
    assert json.loads(body) == trace


def test_a_dry_run_needs_no_token(strict, trace, tmp_path):
    done = push("trace.json", "--dry-run", server=strict, cwd=tmp_path, VERSORI_TOKEN="")
    assert (done.returncode, "Authorization" in done.stdout) == (0, False)


def test_what_came_of_it_can_be_read_by_a_program(strict, trace, tmp_path):
    done = push("trace.json", "--json", server=strict, cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "outcome": "created",
        "name": "hello",
        "detail": "5 spans",
        "losses": [],
    }
    refused = push("trace.json", "--json", server=strict, cwd=tmp_path, VERSORI_TOKEN="wrong-token")
    assert (refused.returncode, json.loads(refused.stdout)) == (
        3,
        {
            "outcome": "refused",
            "status": 401,
            "code": "401000",
            "message": "the platform answered 401: unauthorized (401000)",
            "fields": [],
            "details": "the request has no valid credentials",
        },
    )


# --- other documents


def test_what_others_write_is_sent_in_the_form_of_the_platform(platform, trace, tmp_path):
    foreign = json.loads(json.dumps(trace))
    foreign["id"] = NO_ID
    foreign["spans"].reverse()
    for span in foreign["spans"]:
        span.pop("parentSpanContext", None)
        span["startTime"] = span["startTime"].replace("Z", "+00:00")
        span["attributes"] |= {"list": [1, 2], "huge": 2**60, "none": None}
        span["kind"] = 1
    foreign["spans"][0]["status"] = {}
    (tmp_path / "foreign.json").write_text(json.dumps(foreign))
    done = push("foreign.json", server=platform, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello: created (5 spans)\n"), done.stderr
    assert "'kind' is no field of a span and is left out" in done.stderr
    [flow] = platform.flows.values()
    assert violations(flow) == []
    assert {span["attributes"]["huge"] for span in flow["spans"]} == {str(2**60)}


def test_otlp_json_is_pushed(strict, trace, tmp_path):
    spans = [
        {
            "traceId": span["spanContext"]["traceId"],
            "spanId": span["spanContext"]["spanId"],
            "name": span["name"],
            "startTimeUnixNano": "1767225600000000001",
            "endTimeUnixNano": "1767225600000000002",
        }
        for span in trace["spans"]
    ]
    request = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    (tmp_path / "spool.jsonl").write_text("".join(f"{json.dumps(request)}\n" for _ in range(2)))
    done = push("spool.jsonl", "--name", "spooled", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "spooled: created (5 spans)\n"), done.stderr
    assert strict.flows["spooled"]["spans"][0]["startTime"] == "2026-01-01T00:00:00.000000001Z"


def test_of_a_file_with_several_traces_one_is_chosen(strict, trace, tmp_path):
    other = json.loads(json.dumps(trace).replace(trace["spans"][0]["spanContext"]["traceId"], "ab" * 16))
    (tmp_path / "two.json").write_text(json.dumps({"flows": [trace, {**other, "name": "other"}]}))
    done = push("two.json", server=strict, cwd=tmp_path)
    assert (done.returncode, strict.requests) == (2, [])
    assert "'two.json' has 2 traces; --trace-id says which one: " in done.stderr
    assert f"{'ab' * 16} 'other'" in done.stderr
    chosen = push("two.json", "--trace-id", "AB" * 16, server=strict, cwd=tmp_path)
    assert chosen.stdout == "other: created (5 spans)\n"
    missing = push("two.json", "--trace-id", "0", server=strict, cwd=tmp_path)
    assert (missing.returncode, "--trace-id: 'two.json' has 2 traces" in missing.stderr) == (2, True)


def test_a_trace_without_spans_is_pushed(strict, tmp_path):
    (tmp_path / "empty.json").write_text('{"name": "empty", "description": "", "spans": []}')
    assert push("empty.json", server=strict, cwd=tmp_path).stdout == "empty: created (0 spans)\n"


@pytest.mark.parametrize("rules", RULES, ids="+".join)
def test_the_sample_call_of_the_documentation_gets_an_answer_that_says_what_it_violates(rules):
    """Seed 001 sends ``"status": {}`` and ``"id": "<string>"``, which no rule of the seed's own schema allows."""
    import http.client

    with Versori(rules) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request("PUT", server.flow_path("%3Cstring%3E"), json.dumps(SAMPLE), headers)
        answer = connection.getresponse()
        error = json.loads(answer.read())
        connection.close()
    assert answer.status == 400
    if "schema" in rules:
        assert error["fields"] == [{"field": "spans[0].status", "message": "'code' is a required property"}]
    else:
        assert error["details"] == "ulid: bad data size when unmarshaling"


def test_the_sample_call_of_the_documentation_is_no_trace(strict, tmp_path):
    (tmp_path / "sample.json").write_text(json.dumps(SAMPLE, indent=1))
    done = push("sample.json", server=strict, cwd=tmp_path)
    assert (done.returncode, strict.requests) == (2, [])
    assert (
        "sample.json:21:16 spans[0].spanContext.traceId: '<string>' is not 32 hexadecimal digits"
        in done.stderr
    )


# --- what can go wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--org", "acme"], "--org: 'acme' is no ULID"),
        (["--project", "x"], "--project: 'x' is no ULID"),
        (["--base-url", "platform.example"], "--base-url: 'platform.example' is no http:// or https:// url"),
        (["--name", ".."], "--name: a flow cannot be called '..'"),
        (["--name", "\udcff"], r"--name: a flow cannot be called '\udcff'"),
        (["--token-file", "none"], "--token-file: there is no file 'none'"),
        (["--token-file", "two-lines"], "--token-file: 'two-lines' must hold one secret in one line"),
        (["--profile", "none"], "--profile: there is no file 'none'"),
        (["--profile", "versori"], "for the platform's own span names take --names versori"),
        (["--profile", "two-lines"], "two-lines:1:1 "),
        (["--cacert", "none"], "--cacert: there is no file 'none'"),
    ],
)
def test_what_was_given_wrong_is_told_and_nothing_is_sent(strict, trace, tmp_path, words, told):
    (tmp_path / "two-lines").write_text("one\ntwo\n")
    done = push("trace.json", server=strict, cwd=tmp_path)
    assert done.returncode == 0
    strict.requests.clear()
    line = [
        "push",
        "trace.json",
        "--to",
        "versori",
        "--base-url",
        strict.api,
        "--org",
        ORG,
        "--project",
        PROJECT,
    ]
    done = here(*line, *words, cwd=tmp_path, VERSORI_TOKEN=TOKEN, HOME=str(tmp_path))
    assert (done.returncode, done.stdout, strict.requests) == (2, "", [])
    assert told in done.stderr


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    (tmp_path / "bad.json").write_text('{"name": "x", "description": "", "spans": [{}]}')
    done = here("push", "bad.json", "--to", "versori", "--org", "x", cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 2
    for told in (
        "--org: 'x' is no ULID",
        "--project: is missing",
        "--scheme Bearer: set VERSORI_TOKEN, or give --token-file FILE",
        "bad.json:1:44 spans[0].name: ",
    ):
        assert told in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["trace.json"],
        ["trace.json", "--to", "nowhere"],
        ["--to", "versori"],
        ["--to", "versori", "--delete"],
        ["trace.json", "--to", "versori", "--delete", "--name", "x"],
    ],
)
def test_words_that_make_no_command_are_told(tmp_path, words):
    done = here("push", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Try 'runner push --help'." in done.stderr or "Try 'runner --help'." in done.stderr


def test_a_document_that_is_too_large_is_not_read(strict, trace, tmp_path):
    done = push("trace.json", "--max-document", "1000", server=strict, cwd=tmp_path)
    assert (done.returncode, "is larger than 1000 bytes" in done.stderr) == (2, True)


def test_a_document_that_grows_too_large_is_not_sent(strict, trace, tmp_path):
    file = tmp_path / "trace.json"
    small = {"spans": [{**span, "attributes": {}, "parentSpanContenxt": None} for span in trace["spans"]]}
    file.write_text(json.dumps(small).replace(" ", ""))
    done = push("trace.json", "--max-document", len(file.read_bytes()), server=strict, cwd=tmp_path)
    assert (done.returncode, strict.requests) == (3, [])
    assert "and no more than 2." in done.stderr
    assert "kB is pushed; --max-document allows more" in done.stderr


def test_a_refused_token_names_the_other_schemes_once(strict, trace, tmp_path):
    done = push("trace.json", server=strict, cwd=tmp_path, VERSORI_TOKEN="wrong-token")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "the platform answered 401: unauthorized (401000)\n"
        "  the request has no valid credentials\n"
        "  it was sent with --scheme Bearer; there are --scheme JWT and --scheme cookie too\n"
    )


def test_an_error_names_the_span_that_it_is_about(strict, trace, tmp_path):
    fields = [{"field": "spans[3].attributes.x", "message": "is odd"}]
    body = {"code": "400000", "message": "invalid", "fields": fields, "details": "see above"}
    strict.on(strict.flow_path("hello"), Reply(400, body), method="PUT")
    done = push("trace.json", server=strict, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[1:] == [
        "the platform answered 400: invalid (400000)",
        "  spans[3].attributes.x (http-b): is odd",
        "  see above",
    ]


def test_what_the_platform_did_not_keep_is_told(trace, tmp_path):
    with Versori(lose=lambda flow: flow["spans"][1]["attributes"].pop("task.id")) as server:
        done = push("trace.json", server=server, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "hello: created (5 spans)\n")
    assert done.stderr.splitlines()[1:] == [
        "hello: the platform did not keep everything that was sent:",
        "  spans[1].attributes['task.id'] (http-a) was not kept",
    ]


def test_a_busy_platform_is_asked_again(strict, trace, tmp_path):
    path = strict.flow_path("hello")
    strict.on(path, Reply(503, headers=[("Retry-After", "0")]), strict.handle, method="PUT")
    done = push("trace.json", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello: created (5 spans)\n")
    assert "it answered 503; trying again in 0.0 s\n" in done.stderr
    assert [one.method for one in strict.requests] == ["GET", "PUT", "PUT"]


def test_a_platform_that_hangs_up_is_not_asked_again(strict, trace, tmp_path):
    strict.on(strict.flow_path("hello"), Drop(), method="PUT")
    done = push("trace.json", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"PUT {strict.api}/o/{ORG}" in done.stderr
    # The first was lost with the connection that the look at what is there had used.
    assert [one.method for one in strict.requests] == ["GET", "PUT", "PUT"]


def test_a_platform_that_is_not_there_is_told(trace, tmp_path):
    with Versori() as server:
        pass
    done = push("trace.json", server=server, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "(after 4 attempts)" in done.stderr


def test_a_platform_that_is_silent_is_left(strict, trace, tmp_path):
    strict.on(strict.flow_path("hello"), Reply(200, delay=20))
    done = push("trace.json", "--timeout", "0.2", server=strict, cwd=tmp_path)
    assert (done.returncode, "within 0.2 s" in done.stderr) == (3, True), done.stderr


def test_a_secret_is_never_shown(strict, trace, tmp_path):
    body = {
        "code": TOKEN,
        "message": f"no {TOKEN}",
        "fields": [{"field": TOKEN, "message": TOKEN}],
        "details": TOKEN,
    }
    strict.on(strict.flow_path("hello"), Reply(400, body))
    for words in ([], ["--json"]):
        done = push("trace.json", *words, server=strict, cwd=tmp_path)
        assert done.returncode == 3
        assert TOKEN not in done.stdout + done.stderr
        assert "[masked]" in done.stdout + done.stderr


# --- as whom


@pytest.mark.parametrize(
    ("words", "env", "header", "value"),
    [
        ([], {"VERSORI_TOKEN": "t0ken"}, "authorization", "Bearer t0ken"),
        (["--scheme", "JWT"], {"VERSORI_TOKEN": "t0ken"}, "authorization", "JWT t0ken"),
        (["--scheme", "cookie"], {"VERSORI_COOKIE": "c00kie"}, "cookie", "cookie=c00kie"),
        ([], {"VERSORI_COOKIE": "a=b; c=d"}, "cookie", "a=b; c=d"),
        (["--token-file", "token"], {"VERSORI_TOKEN": "other"}, "authorization", "Bearer from-file"),
        (["--profile", "profile"], {"VERSORI_TOKEN": "other"}, "authorization", "Bearer from-profile"),
        (["--profile", "profile", "--scheme", "cookie"], {}, "cookie", "cookie=baked"),
    ],
)
def test_each_scheme_has_its_header(trace, tmp_path, words, env, header, value):
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "profile").write_text("VERSORI_TOKEN=from-profile\nVERSORI_COOKIE=baked\n")
    with Versori(headers=[(header, value)]) as server:
        done = push("trace.json", *words, server=server, cwd=tmp_path, **{"VERSORI_TOKEN": "", **env})
    assert (done.returncode, done.stdout) == (0, "hello: created (5 spans)\n"), done.stderr


@pytest.mark.parametrize("token", ["gr\u00fcn-token", "two\nlines"])
def test_a_token_that_no_header_can_carry_is_refused(strict, trace, tmp_path, token):
    done = push("trace.json", server=strict, cwd=tmp_path, VERSORI_TOKEN=token)
    assert (done.returncode, strict.requests) == (2, [])
    assert "the secret has characters that no header can carry" in done.stderr
    assert token not in done.stderr


@pytest.fixture
def configured(tmp_path):
    """Write what the platform's own command line would have, and return a function that pushes with it."""

    def write(server, *words, **env):
        folder = tmp_path / "home/.versori"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(
            "active_context: main\n"
            "contexts:\n"
            f"  main: {{name: main, organisation_id: {ORG}, jwt: its-own-jwt, url_overwrite: {server.api}/}}\n"
        )
        (tmp_path / ".versori").write_text(json.dumps({"project_id": PROJECT, "context": "main"}))
        line = ["push", "trace.json", "--to", "versori", *words]
        return here(*line, cwd=tmp_path, **{"HOME": str(tmp_path / "home"), **env})

    return write


def test_the_platforms_own_configuration_is_enough(configured, trace):
    with Versori(headers=[("authorization", "JWT its-own-jwt")]) as server:
        done = configured(server)
    assert (done.returncode, done.stdout) == (0, "hello: created (5 spans)\n"), done.stderr


def test_what_is_given_wins_over_the_platforms_configuration(configured, trace):
    with Versori() as server, Versori() as other:
        done = configured(other, "--base-url", server.api, VERSORI_TOKEN=TOKEN)
        assert (done.returncode, len(server.requests), len(other.requests)) == (0, 2, 0), done.stderr


def test_the_configuration_can_be_somewhere_else(configured, trace, tmp_path):
    with Versori() as server:
        done = configured(server, VERSORI_CONFIG="none.yaml")
    assert (done.returncode, "VERSORI_CONFIG: there is no file 'none.yaml'" in done.stderr) == (2, True)


def test_a_configuration_that_cannot_be_read_is_told(strict, trace, tmp_path):
    (tmp_path / ".versori").write_text("{]")
    done = push("trace.json", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stderr.startswith(".versori:1:2 ")) == (2, True), done.stderr


def test_a_folder_of_the_configuration_is_no_project(strict, trace, tmp_path):
    (tmp_path / ".versori").mkdir()
    assert push("trace.json", server=strict, cwd=tmp_path).returncode == 0


def test_tls_is_checked_and_can_be_told_whom_to_trust(trace, tmp_path):
    authority = Authority(tmp_path)
    platform = Versori()
    with TlsServer(authority, platform.handle) as server:
        server.api = f"{server.origin}/api/v2"
        assert push("trace.json", server=server, cwd=tmp_path).returncode == 3
        trusted = push("trace.json", "--cacert", authority.ca_file, server=server, cwd=tmp_path)
        assert trusted.stdout == "hello: created (5 spans)\n", trusted.stderr


# --- pull and delete


def test_a_flow_goes_there_and_back(platform, trace, tmp_path):
    assert push("trace.json", server=platform, cwd=tmp_path).returncode == 0
    done = pull("--name", "hello", "-o", "back.json", server=platform, cwd=tmp_path, run=command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "back.json").read_bytes()) == platform.flows["hello"]
    printed = pull("--name", "hello", server=platform, cwd=tmp_path)
    assert json.loads(printed.stdout) == platform.flows["hello"]
    again = push("back.json", server=platform, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "hello: replaced (5 spans -> 5)\n"), again.stderr


def test_flows_are_listed(strict, trace, tmp_path):
    nothing = pull(server=strict, cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "there is nothing\n")
    push("trace.json", server=strict, cwd=tmp_path)
    push("trace.json", "--name", "x", "--description", "An odd\none", server=strict, cwd=tmp_path)
    done = pull(server=strict, cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "hello  5 spans"
    assert done.stdout.splitlines()[1].startswith("x      5 spans  An odd")
    for words in (["--json"], ["-o", "all.json"]):
        pulled = pull(*words, server=strict, cwd=tmp_path)
        text = pulled.stdout or (tmp_path / "all.json").read_text()
        assert [flow["name"] for flow in json.loads(text)["flows"]] == ["hello", "x"]
    push("trace.json", "--name", "y" * 90, server=strict, cwd=tmp_path)
    first, _, long = pull(server=strict, cwd=tmp_path).stdout.splitlines()
    assert (first.index("5 spans"), long.index("5 spans")) == (50, 92)


def test_a_token_that_the_platform_says_back_is_not_printed(strict, trace, tmp_path):
    push("trace.json", "--description", f"token {TOKEN}", server=strict, cwd=tmp_path)
    strict.flows["hello"]["description"] = f"token {TOKEN}"
    assert pull(server=strict, cwd=tmp_path).stdout == "hello  5 spans  token [masked]\n"


def test_a_flow_that_is_not_there_cannot_be_fetched(strict, tmp_path):
    done = pull("--name", "none", "-o", "none.json", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "the platform answered 404: flow not found (404000)\n")
    assert not (tmp_path / "none.json").exists()


def test_a_file_that_cannot_be_written_is_told(strict, trace, tmp_path):
    push("trace.json", server=strict, cwd=tmp_path)
    done = pull("--name", "hello", "-o", "none/x.json", server=strict, cwd=tmp_path)
    assert (done.returncode, "cannot write 'none/x.json'" in done.stderr) == (3, True)


def test_a_fetch_that_makes_no_sense_is_told(tmp_path):
    done = here("pull", "--from", "versori", "--name", "..", cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 2
    assert "a flow cannot be called '..'" in done.stderr
    assert "--org: is missing" in done.stderr


def test_a_flow_is_deleted(strict, trace, tmp_path):
    push("trace.json", server=strict, cwd=tmp_path)
    shown = push("--delete", "--name", "hello", "--dry-run", server=strict, cwd=tmp_path)
    assert shown.stdout.startswith(f"DELETE {strict.api}/o/{ORG}/projects/{PROJECT}/workflows/hello\n")
    done = push("--delete", "--name", "hello", server=strict, cwd=tmp_path)
    assert (done.returncode, done.stdout, strict.flows) == (0, "hello: deleted\n", {})
    again = push("--delete", "--name", "hello", server=strict, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (3, "the platform answered 404: flow not found (404000)\n")


# --- run --push


def run_and_push(*words, server, cwd, steps=(), run=here, **env):
    flow_file(cwd, *(steps or [get("a")]), name="hello.json", description="Says hello")
    with ApiServer(lambda request: Reply(500 if "bad" in request.path else 200, {"ok": True})) as api:
        target = ("--push", "versori", "--push-url", server.api, "--org", ORG, "--project", PROJECT)
        line = ["run", "hello.json", "-e", f"API={api.origin}", *target, *words]
        return run(*line, cwd=cwd, **{"VERSORI_TOKEN": TOKEN, "HOME": str(cwd), **env})


def test_the_trace_of_a_run_is_pushed_at_its_end(platform, tmp_path):
    done = run_and_push("--trace-out", "trace.json", server=platform, cwd=tmp_path, run=command)
    assert done.returncode == 0, done.stderr
    assert "hello: created (3 spans)" in done.stdout
    assert "sending 3 spans" in done.stderr
    flow = platform.flows["hello"]
    assert flow["description"] == "Says hello"
    assert without_times(flow) == without_times(json.loads((tmp_path / "trace.json").read_bytes()))


def test_the_trace_of_a_failed_run_is_pushed_too(strict, tmp_path):
    done = run_and_push(server=strict, cwd=tmp_path, steps=[get("bad")])
    assert done.returncode == 1
    assert [span["status"]["code"] for span in strict.flows["hello"]["spans"]] == [1, 1, 1]


def test_a_push_that_fails_does_not_change_how_the_run_went(strict, tmp_path):
    done = run_and_push(server=strict, cwd=tmp_path, VERSORI_TOKEN="wrong-token")
    assert done.returncode == 3
    assert "succeeded" in done.stdout
    assert done.stderr.splitlines()[-3:] == [
        "the trace was not pushed: the platform answered 401: unauthorized (401000)",
        "  the request has no valid credentials",
        "  it was sent with --scheme Bearer; there are --scheme JWT and --scheme cookie too",
    ]
    failed = run_and_push(server=strict, cwd=tmp_path, steps=[get("bad")], VERSORI_TOKEN="wrong-token")
    assert failed.returncode == 1


def test_losses_of_a_push_at_the_end_of_a_run_are_told(tmp_path):
    with Versori(lose=lambda flow: flow["spans"].pop()) as server:
        done = run_and_push("--quiet", server=server, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "hello: the platform did not keep everything that was sent:",
        "  spans has 2 of 3 left",
    ]


def test_the_flags_of_a_push_hold_for_a_run_too(strict, tmp_path):
    words = ["--name", "other", "--description", "D", "--names", "versori", "--json"]
    done = run_and_push(*words, server=strict, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "succeeded")
    assert strict.flows["other"]["description"] == "D"
    assert strict.flows["other"]["spans"][0]["name"] == "webhook-hello"
    again = run_and_push(*words, "--no-overwrite", server=strict, cwd=tmp_path)
    assert (again.returncode, "there is a flow 'other' already" in again.stderr) == (3, True)


def test_what_is_wrong_with_a_push_is_told_before_the_run(strict, tmp_path):
    done = run_and_push("--push-url", "x", "--name", "..", server=strict, cwd=tmp_path, VERSORI_TOKEN="")
    assert (done.returncode, strict.requests) == (2, [])
    for told in ("--push-url: 'x' is no http:// or https:// url", "set VERSORI_TOKEN"):
        assert told in done.stderr
    done = run_and_push("--name", "..", server=strict, cwd=tmp_path)
    assert (done.returncode, "a flow cannot be called '..'" in done.stderr) == (2, True)


def test_an_odd_name_of_a_flow_is_warned_about(strict, tmp_path):
    done = run_and_push("--name", "Say hello", server=strict, cwd=tmp_path)
    assert done.returncode == 0
    assert "'Say hello' has characters that urls do not like" in done.stderr


def test_a_secret_of_the_flow_is_not_in_what_is_pushed(strict, tmp_path):
    steps = [get("a", headers={"X-Key": "{{env.API_KEY}}"}, url="{{env.API}}/a?q={{env.API_KEY}}")]
    done = run_and_push("-e", "API_KEY=wobbly-bicycle", server=strict, cwd=tmp_path, steps=steps)
    assert done.returncode == 0
    assert "wobbly-bicycle" not in json.dumps(strict.flows) + done.stdout + done.stderr


def test_a_run_that_is_cancelled_is_not_pushed(strict, tmp_path):
    flow_file(tmp_path, get("slow"), name="hello.json")
    with ApiServer() as api:
        gate = api.hold("/slow")
        target = ("--push", "versori", "--push-url", strict.api, "--org", ORG, "--project", PROJECT)
        process = start(
            "run", "hello.json", "-e", f"API={api.origin}", *target, cwd=tmp_path, VERSORI_TOKEN=TOKEN
        )
        gate.wait_for(1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, strict.requests) == (4, [])
    assert "the trace was not pushed, because the run was cancelled" in err


def attentive(*words, **options):
    """Start a command that heeds SIGINT: one that is ignored here would be ignored there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return start(*words, **options)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_push_that_is_interrupted_is_told_and_costs_no_span(strict, tmp_path, number):
    """A platform may take minutes; the spans are in the spool file before it is asked."""
    flow_file(tmp_path, {"id": "a", "set": {"x": 1}}, name="hello.json")
    gate = strict.hold(strict.flow_path("hello"))
    target = ("--push", "versori", "--push-url", strict.api, "--org", ORG, "--project", PROJECT)
    words = ("run", "hello.json", *target, "--otlp-endpoint", "http://127.0.0.1:9")
    process = attentive(*words, cwd=tmp_path, VERSORI_TOKEN=TOKEN)
    gate.wait_for(1)
    (spool,) = (tmp_path / ".runner/spool").iterdir()
    assert spool.read_text().count('"spanId"') == 2
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "succeeded in" in out
    assert "2 of 2 spans were not delivered" in err
    assert err.splitlines()[-1] == "the push of the trace was interrupted; the platform may have it or not"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_push_of_a_file_that_is_interrupted_says_what_is_not_known(strict, trace, tmp_path, number):
    gate = strict.hold(strict.flow_path("hello"))
    process = versori("push", "trace.json", "--to", "versori", server=strict, cwd=tmp_path, run=attentive)
    gate.wait_for(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.splitlines()[-1]) == (
        4, "interrupted; what was being sent may have arrived or not",
    )  # fmt: skip


@pytest.mark.parametrize("flag", [("--push-url", "http://x"), ("--org", ORG), ("--no-overwrite",)])
def test_flags_of_a_push_mean_nothing_without_one(tmp_path, flag):
    flow_file(tmp_path, {"id": "a", "set": {"x": 1}}, name="hello.json")
    done = here("run", "hello.json", *flag, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{flag[0]}: there is nothing to push; add --push PLATFORM" in done.stderr


def test_the_trace_of_a_run_that_is_too_large_is_not_pushed(strict, tmp_path):
    done = run_and_push("--max-document", "1500", server=strict, cwd=tmp_path)
    assert (done.returncode, strict.requests) == (3, [])
    assert "the trace was not pushed: the trace is " in done.stderr
    assert "no more than 1.5 kB is pushed; --max-document allows more" in done.stderr


def test_on_a_terminal_the_upload_is_told_below_the_picture(strict, tmp_path):
    flow_file(tmp_path, get("a"), name="hello.json")
    with ApiServer(lambda request: Reply(body={})) as api:
        words = [
            "run",
            "hello.json",
            "-e",
            f"API={api.origin}",
            "--push",
            "versori",
            "--push-url",
            strict.api,
        ]
        terminal = Terminal(*words, "--org", ORG, "--project", PROJECT, cwd=tmp_path, VERSORI_TOKEN=TOKEN)
        assert terminal.end() == 0
    *_, run, sending, created = terminal.screen
    assert run.startswith("  run 01")
    assert sending.startswith("sending 3 spans, ")
    assert created == "  hello: created (3 spans)"
    assert sum("http-a" in line for line in terminal.screen) == 1


# --- flags of others


COMMANDS = next(one for one in make_parser()._actions if one.dest == "command").choices
PUSHED, PULLED = (
    {flag: one for one in COMMANDS[name]._actions for flag in one.option_strings} for name in ("push", "pull")
)


@pytest.mark.parametrize(
    ("command", "flag", "platform", "owners"),
    [
        (command, flag, platform, owners)
        for command, table, theirs in (("push", OWNERS, PUSHED), ("pull", OWNERS_OF_PULL, PULLED))
        for flag, owners in table.items()
        for platform in PLATFORMS
        if platform not in owners and flag in theirs
    ],
)
def test_a_flag_of_another_platform_is_refused_by_its_name(tmp_path, command, flag, platform, owners):
    action = PUSHED.get(flag) or PULLED[flag]
    value = () if action.nargs == 0 else (next(iter(action.choices or "1")),)
    way = ("push", "x.json", "--to") if command == "push" else ("pull", "--from")
    done = here(*way, platform, flag, *value, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{flag} is for {' and '.join(owners)}" in done.stderr
    assert f"; not for {platform}\n" in done.stderr


def test_all_flags_of_others_are_told_at_once(tmp_path):
    done = here("push", "x.json", "--to", "gassapi", "--org", "x", "--names", "versori", cwd=tmp_path)
    assert done.stderr.splitlines()[0] == (
        "runner: --names is for versori, --org is for versori; not for gassapi"
    )


def test_every_flag_of_a_platform_says_whose_it_is():
    for actions, table in ((PUSHED, OWNERS), (PULLED, OWNERS_OF_PULL)):
        for flag in table.keys() & actions.keys():
            assert actions[flag].help.startswith(f"{', '.join(table[flag])}: "), flag
    assert OWNERS.keys() <= PUSHED.keys() | PULLED.keys()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("command", "way"), [("push", "--to"), ("pull", "--from")])
def test_the_help_has_examples_and_the_credentials_of_every_platform(command, way, platform):
    text = COMMANDS[command].format_help()
    examples, _, credentials = text.partition("\nexamples:\n")[2].partition("\ncredentials")
    mine = [line.strip() for line in examples.splitlines() if f"{way} {platform} " in f"{line} "]
    assert mine
    for line in mine:
        parse(shlex.split(line)[1:])
    assert re.search(rf"^  {platform} +[A-Z]+_[A-Z_]+", credentials, re.MULTILINE)
