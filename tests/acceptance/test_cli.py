"""The command line as a program or a person without a terminal sees it (SEMANTICS, Command line)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import Place, Problem, SurroundingsError
from tests.command import COMMAND, command, environment, flow_file, get, here, needs_full_device
from tests.servers import Drop, Reply, TlsServer, authority, echo

__all__ = ["authority"]

INPUTS = [
    {"name": "user", "type": "string", "required": True, "validation": {"min_length": 3}},
    {"name": "count", "type": "integer", "default": 1},
    {"name": "password", "type": "password"},
]


@pytest.fixture
def mixed(tmp_path, api):
    """A flow in which something of everything happens; it fails."""
    api.on("/register", Reply(201, {"id": 42}))
    api.on("/again", Reply(503), Reply(200, {"token": "s3cr3t-token"}))
    api.on("/pay", Reply(500))
    return flow_file(
        tmp_path,
        get(
            "register",
            method="POST",
            body={"password": "{{input.password}}"},
            outputs={"id": "response.body.id"},
        ),
        get(
            "again",
            retry={"maxAttempts": 3, "initialInterval": 1},
            outputs={"token": "response.body.token"},
            secretOutputs=["token"],
        ),
        get("admin", condition="{{input.user}} === 'root'"),
        get("pay", method="POST", body={"id": "{{register.id}}"}, retryCount=2),
        get("after"),
        flow_inputs=INPUTS,
    )


def run(flow, api, *words, by=here, **options):
    return by("run", flow.name, "-e", f"API={api.origin}", *words, cwd=flow.parent, **options)


def test_a_failing_run_is_reported_as_waterfall_and_summary(mixed, api):
    done = run(
        mixed, api, "-i", "user=jane", "-i", "password=hunter22-x", "--trace-out", "trace.json", by=command
    )
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert all(len(row) <= 80 for row in rows[:8])
    assert [re.split(r" +(?:█|[0-9.]+ m?s|–)", row)[0] for row in rows[:8]] == [
        "flow-flow",
        "├ http-register",
        "├ http-again",
        "│ ├ GET /again",
        "│ └ GET /again",
        "├ http-admin",
        "├ http-pay",
        "└ http-after",
    ]
    assert rows[2].endswith("✓ ok 200, 2 attempts")
    assert "– skipped (condition): {{input.user" in rows[5]
    assert "✗ failed 500: the server" in rows[6]
    assert re.match(r"✗ failed in \S+ ms: 2 ok, 2 skipped, 1 failed", rows[8])
    assert rows[9] == "  step pay: the server answered 500, expected 2xx"
    assert re.match(r"    at flow\.json:[0-9]+:[0-9]+ steps\[3\] \(http\.status\)", rows[10])
    assert "expectedStatus" in rows[11]
    assert "step pay: not sent again after 500" in rows[12]
    assert "idempotencyKey" in rows[12]
    trace = json.loads((mixed.parent / "trace.json").read_text())
    assert re.fullmatch(
        rf"  run [0-9A-Z]{{26}}, trace {trace['spans'][0]['spanContext']['traceId']}", rows[13]
    )
    assert rows[14] == "  the trace is in trace.json"
    assert done.stderr.splitlines()[0].startswith("✓ register: ok 201 in ")
    assert len(done.stderr.splitlines()) == 5
    everything = done.stdout + done.stderr + (mixed.parent / "trace.json").read_text()
    assert "hunter22" not in everything
    assert "s3cr3t" not in everything


def test_json_is_the_result_and_all_of_stdout(mixed, api):
    done = run(
        mixed,
        api,
        "-i",
        "user=jane",
        "-i",
        "count=7",
        "-i",
        "password=hunter22-x",
        "--json",
        "--run-id",
        "r1",
        by=command,
    )
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert list(result) == [
        *(
            "runId",
            "flow",
            "status",
            "startTime",
            "endTime",
            "durationMs",
            "traceId",
            "inputs",
            "steps",
            "outputs",
        )
    ]
    assert (result["runId"], result["flow"], result["status"]) == ("r1", "flow", "failed")
    assert result["inputs"] == {"user": "jane", "count": 7, "password": "[masked]"}
    assert [(step["path"], step["status"], step["reason"]) for step in result["steps"]] == [
        ("register", "succeeded", None),
        ("again", "succeeded", None),
        ("admin", "skipped", "condition"),
        ("pay", "failed", None),
        ("after", "skipped", "unreached"),
    ]
    assert result["steps"][3]["error"]["code"] == "http.status"
    assert result["steps"][3]["error"]["place"] == "steps[3]"
    assert result["outputs"]["again"] == {"token": "[masked]"}
    assert "step pay: the server answered 500" in done.stderr
    assert "█" not in done.stderr


def test_quiet_prints_nothing_of_a_success_and_the_summary_of_a_failure(tmp_path, api):
    good = run(flow_file(tmp_path, get("a"), name="good.json"), api, "--quiet")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    api.on("/b", Reply(500))
    bad = flow_file(tmp_path, get("b"), name="bad.json")
    told = run(bad, api, "-q")
    assert (told.returncode, told.stderr) == (1, "")
    assert told.stdout.startswith("✗ failed in ")
    assert "█" not in told.stdout
    as_json = run(bad, api, "-q", "--json")
    assert (as_json.returncode, as_json.stderr) == (1, "")
    assert json.loads(as_json.stdout)["status"] == "failed"


def test_everything_wrong_is_told_at_once_and_nothing_is_sent(mixed, api):
    done = command("run", "flow.json", "-i", "user=j", "-i", "pasword=x", cwd=mixed.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "inputs.user: Input user: minimum length is 3"
    assert lines[1] == "inputs.pasword: Input pasword: no such input; did you mean 'password'?"
    assert re.match(r"flow\.json:[0-9]+:[0-9]+ steps\[0\]\.url: no env value 'API'", lines[2])
    assert len(lines) == 3
    assert api.requests == []


def test_flags_that_make_no_sense_are_told_with_what_is_wrong_in_the_flow(tmp_path):
    flow = flow_file(tmp_path, get("a", body="{{b.x}}"))
    (tmp_path / "latin.txt").write_bytes(b"\xe4")
    (tmp_path / "bad.env").write_text("A=1\n\nnot a line\nB\n")
    done = here(
        *("run", flow.name, "-e", "UNSET_HERE", "-e", "=x", "-i", "hunter22", "-i", "x=@none.txt"),
        *("--env-file", "bad.env", "--header", "hunter22", "--secret", "NOPE", "--secret", "A=1"),
        *(
            "--base-url",
            "ftp://u:hunter22@h",
            "--allow-files",
            "nowhere",
            "--key",
            "nokey",
            "--cacert",
            "noca",
        ),
        *("--inputs", "none.json", "--trace-out", "no/such/folder/t.json", "--env-file", "none.env"),
        *("-i", "y=@latin.txt", "--otlp-endpoint", "http://[bad"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "hunter22" not in done.stderr
    wheres = [re.split(r": | ", line)[0] for line in done.stderr.splitlines()]
    assert wheres == [
        *(
            "--inputs",
            "-i",
            "-i",
            "-i",
            "bad.env:3:1",
            "bad.env:4:1",
            "--env-file",
            "-e",
            "-e",
            "--secret",
            "--secret",
        ),
        *(
            "--header",
            "--base-url",
            "--otlp-endpoint",
            "--allow-files",
            "--key",
            "--cacert",
            "--key",
            "--trace-out",
        ),
        "flow.json:11:13",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "a command is missing"),
        (("fly",), "invalid choice: 'fly'"),
        (("run",), "required: FLOW"),
        (("run", "f.json", "--timeout", "soon"), "'soon' is not a number of seconds"),
        (("run", "f.json", "--timeout", "-1"), "--timeout"),
        (("run", "f.json", "--max-steps", "0"), "'0' is not a whole number"),
        (("run", "f.json", "--max-text", "much"), "'much' is no size"),
        (("run", "f.json", "--name", "x"), "--name: there is no file to stand in"),
        (("run", "f.json", "--tim", "1"), "unrecognized arguments"),
        (("run", "no-such.json"), "there is no file 'no-such.json'"),
        (("run", "-", "--inputs", "-"), "standard input is the flow already"),
        (("check",), "required: FLOW"),
        (("check", "f.json", "-e", "UNSET_HERE"), "UNSET_HERE is not set"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path, words, says):
    done = here(*words, cwd=tmp_path, stdin="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "flow.json:1:2"),
        ("", "the document is empty"),
        ("[]", "must be an object"),
        ('{"name": "x"}', "patch"),
        ('{"flow_data": {"version": "1.0", "steps": [{"id": "a"}]}}', "steps[0]"),
    ],
)
def test_a_document_that_is_no_flow_exits_2_with_its_place(tmp_path, text, says):
    (tmp_path / "flow.json").write_text(text)
    done = here("run", "flow.json", cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_inputs_come_from_flags_files_and_standard_input(tmp_path, api):
    fields = [{"name": name, "type": "string"} for name in ("text", "at", "file", "typed")]
    fields.append({"name": "number", "type": "integer"})
    flow = flow_file(
        tmp_path,
        get(
            "a",
            method="POST",
            body={name: f"{{{{input.{name}}}}}" for name in ("text", "at", "file", "typed", "number")},
        ),
        flow_inputs=fields,
    )
    (tmp_path / "long.txt").write_text("ä line\nand another\n", encoding="utf-8")
    given = json.dumps({"typed": "kept", "number": 1, "text": "not this"})
    done = run(
        *(
            flow,
            api,
            "--inputs",
            "-",
            "-i",
            "text=a=b",
            "-i",
            "at=@@home",
            "-i",
            "file=@long.txt",
            "-i",
            "number=7",
        ),
        stdin=given,
    )
    assert done.returncode == 0, done.stderr
    assert api.requests[0].json() == {
        "text": "a=b",
        "at": "@home",
        "file": "ä line\nand another",
        "typed": "kept",
        "number": 7,
    }
    (tmp_path / "given.json").write_text('["not an object"]')
    wrong = run(flow, api, "--inputs", "given.json")
    assert wrong.returncode == 2
    assert "given.json:1:1 --inputs given.json: must hold one JSON object" in wrong.stderr
    (tmp_path / "given.json").write_text('{"number": "7"}')
    assert "must be integer" in run(flow, api, "--inputs", "given.json").stderr


def test_env_comes_from_flags_files_and_the_process_by_name_only(tmp_path, api):
    body = {
        name: f"{{{{env.{name}}}}}" for name in ("FILED", "BOTH", "QUOTED", "TAKEN", "SHOP_TOKEN", "PLAIN")
    }
    flow = flow_file(tmp_path, get("a", method="POST", body=body, outputs={"all": "response.body.body"}))
    (tmp_path / "my.env").write_text(
        '# comment\nFILED=one two # comment\nexport BOTH=file\nQUOTED="a # $HOME ${HOME}"\n\n'
    )
    words = (
        "--env-file",
        "my.env",
        "-e",
        "BOTH=flag",
        "-e",
        "TAKEN",
        "--secret",
        "PLAIN",
        "-e",
        "SHOP_TOKEN=tok-12345",
    )
    env = {"TAKEN": "from-process", "PLAIN": "plain-secret", "OTHER": "x"}
    done = run(flow, api, *words, "--json", "--trace-out", "t.json", "--capture-bodies", **env)
    assert done.returncode == 0, done.stderr
    assert api.requests[0].json() == {
        "FILED": "one two",
        "BOTH": "flag",
        "QUOTED": "a # $HOME ${HOME}",
        "TAKEN": "from-process",
        "SHOP_TOKEN": "tok-12345",
        "PLAIN": "plain-secret",
    }
    written = done.stdout + done.stderr + (tmp_path / "t.json").read_text()
    assert "from-process" in written
    assert "plain-secret" not in written
    assert "tok-12345" not in written


def test_a_flow_does_not_see_the_environment_of_the_process(tmp_path, api):
    flow = flow_file(tmp_path, get("a", body="{{env.HOME}}"))
    done = run(flow, api, HOME="/home/jane")
    assert done.returncode == 2
    assert "no env value 'HOME'" in done.stderr


def test_headers_base_url_and_the_users_proxy_reach_the_wire(tmp_path, api):
    step = {
        "id": "a",
        "method": "GET",
        "url": "/a",
        "headers": {"X-Req": "{{headers.X-Request-ID}}", "X-Two": "{{headers.two}}"},
    }
    flow = flow_file(tmp_path, step)
    words = (
        "--header",
        "X-Request-ID: abc",
        "--header",
        "Two: 1",
        "--header",
        "Two: 2",
        "--base-url",
        api.origin,
    )
    done = here("run", flow.name, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    request = api.received("/a")[0]
    assert request.header("x-req") == "abc"
    assert request.header("x-two") == "1, 2"
    assert re.fullmatch(r"flowspan-runner/[0-9]+(\.[0-9]+)+", request.header("user-agent"))
    assert (
        "no header 'x-request-id'"
        in here("run", flow.name, "--base-url", api.origin, cwd=tmp_path).stderr.lower()
    )


def test_the_environment_can_hold_the_parent_of_the_trace(tmp_path, api):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    flow = flow_file(tmp_path, get("a"))
    done = run(flow, api, "--json", TRACEPARENT=parent, TRACESTATE="vendor=1")
    assert json.loads(done.stdout)["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    request = api.requests[0]
    assert request.header("traceparent").startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert request.header("tracestate") == "vendor=1"


def test_the_trace_file_has_its_name_and_description_and_no_outputs_if_so_wished(tmp_path, api):
    flow = flow_file(tmp_path, get("a", outputs={"how": "response.body.method"}), description="from the flow")
    assert run(flow, api, "--trace-out", "one.json").returncode == 0
    one = json.loads((tmp_path / "one.json").read_text())
    assert (one["name"], one["description"]) == ("flow", "from the flow")
    assert one["spans"][1]["attributes"]["runner.output.how"] == "GET"
    words = ("--trace-out", "two.json", "--name", "n", "--description", "", "--no-outputs")
    assert run(flow, api, *words).returncode == 0
    two = json.loads((tmp_path / "two.json").read_text())
    assert (two["name"], two["description"]) == ("n", "")
    assert "runner.output.how" not in two["spans"][1]["attributes"]


@pytest.mark.parametrize("path", ["no/folder/t.json", ".", "-", "flow.json"])
def test_a_trace_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path, api, path):
    flow = flow_file(tmp_path, get("a"))
    before = flow.read_text()
    done = run(flow, api, "--trace-out", path)
    assert done.returncode == 2
    assert "--trace-out" in done.stderr
    assert api.requests == []
    assert flow.read_text() == before


@pytest.mark.parametrize(("status", "code"), [(200, 3), (500, 1)])
def test_a_trace_that_could_not_be_written_after_all_is_exit_3_unless_the_flow_failed(
    tmp_path, api, status, code
):
    folder = tmp_path / "traces"
    folder.mkdir()

    def take_the_folder_away(request):
        folder.rmdir()
        return Reply(status)

    api.on("/a", take_the_folder_away)
    done = run(flow_file(tmp_path, get("a")), api, "--trace-out", "traces/t.json")
    assert done.returncode == code
    assert "cannot write 'traces/t.json'" in done.stderr
    assert "the trace is in" not in done.stdout


def test_the_trace_can_go_to_standard_output(tmp_path, api):
    done = run(flow_file(tmp_path, get("a")), api, "--trace-out", "/dev/stdout", "--quiet", by=command)
    assert done.returncode == 0
    assert [span["name"] for span in json.loads(done.stdout)["spans"]] == ["flow-flow", "http-a", "GET /a"]


@needs_full_device
def test_a_result_that_cannot_be_written_is_exit_3(tmp_path, api):
    flow = flow_file(tmp_path, get("a"))
    with Path("/dev/full").open("w") as full:
        version = subprocess.run(
            [*COMMAND, "--version"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=25,
            check=False,
        )
        assert version.returncode == 3
        done = subprocess.run(
            [*COMMAND, "run", flow.name, "-e", f"API={api.origin}", "--json"],
            cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=25, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert "cannot write standard output: no space left on device" in done.stderr


@pytest.mark.parametrize("words", [("run", "flow.json", "--json"), ("schema",), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(tmp_path, api, words):
    flow_file(tmp_path, get("a", url=f"{api.origin}/a"))
    script = f'"$@" 2>err | "{sys.executable}" -c ""; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *words],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=25, check=True,
    )  # fmt: skip
    assert done.stdout == "0\n"
    assert "Error" not in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (("--otlp",), {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "no OTLP protocol 'smoke'"),
        (("--otlp-endpoint", "nonsense"), {}, "--otlp-endpoint: 'nonsense' is no http"),
        (("--cacert", "bad.pem"), {}, "the CA certificate 'bad.pem' cannot be used"),
        (("--cert", "bad.pem"), {}, "the client certificate 'bad.pem' cannot be used"),
        (("--run-id", "a b"), {}, "'a b' is no run id"),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_is_sent(tmp_path, api, words, env, says):
    (tmp_path / "bad.pem").write_text("garbage")
    done = run(flow_file(tmp_path, get("a")), api, *words, **env)
    assert done.returncode == 2
    assert says in done.stderr
    assert api.requests == []


def test_tls_flags_say_whom_to_trust_and_who_we_are(tmp_path, authority):
    flow = flow_file(tmp_path, get("a"))
    with TlsServer(authority, echo) as api:
        refused = run(flow, api)
        assert refused.returncode == 1
        assert "name the authority that signed it with --cacert" in refused.stdout
        assert run(flow, api, "--cacert", authority.ca_file).returncode == 0
        assert run(flow, api, "--insecure").returncode == 0
    with TlsServer(authority, echo, demand_client=True) as api:
        assert (
            run(flow, api, "--cacert", authority.ca_file, "--cert", authority.client_file()).returncode == 0
        )


def test_limits_are_flags(tmp_path, api):
    flow = flow_file(
        tmp_path, get("a", body="long {{input.long}}"), flow_inputs=[{"name": "long", "type": "string"}]
    )
    long = ("-i", f"long={'x' * 3000}")
    assert "--max-document" in run(flow, api, "--max-document", "100").stderr
    assert "--max-text" in run(flow, api, *long, "--max-text", "2k").stdout
    assert "--max-response" in run(flow, api, *long, "--max-response", "2000").stdout
    two = flow_file(tmp_path, get("a"), get("b"), name="two.json")
    assert "--max-steps" in run(two, api, "--max-steps", "1").stdout
    assert run(two, api, "--max-steps", "2", "--max-response", "1MiB").returncode == 0


def test_a_flow_reads_files_of_its_own_folder_and_of_folders_it_was_allowed(tmp_path, api):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.bin").write_bytes(b"content")
    (tmp_path / "flows").mkdir()
    flow = flow_file(tmp_path / "flows", get("a", method="POST", bodyFile="../data/x.bin"))
    refused = run(flow, api)
    assert refused.returncode == 1
    assert "--allow-files" in refused.stdout
    assert run(flow, api, "--allow-files", tmp_path / "data").returncode == 0
    assert api.requests[0].body == b"content"


def test_the_flow_may_come_from_standard_input(tmp_path, api):
    text = flow_file(tmp_path, get("a")).read_text()
    done = command("run", "-", "-e", f"API={api.origin}", "--json", cwd=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
    wrong = command("run", "-", cwd=tmp_path, stdin=text)
    assert wrong.stderr.startswith("<stdin>:")


def test_a_failure_inside_a_flow_that_was_run_as_a_step_has_its_place_there(tmp_path, api):
    api.on("/inner", Drop())
    flow_file(tmp_path, get("first"), get("inner"), name="inner.json")
    outer = flow_file(tmp_path, get("a"), {"id": "sub", "flow": "inner.json"}, name="outer.json")
    done = run(outer, api)
    assert done.returncode == 1
    assert "step sub/inner: " in done.stdout
    assert re.search(r"at inner\.json:[0-9]+:[0-9]+ steps\[1\] \(http\.", done.stdout)


def test_warnings_go_to_stderr_and_stop_nothing(tmp_path, api):
    flow = flow_file(tmp_path, get("a", retryCout=1))
    done = run(flow, api)
    assert done.returncode == 0
    assert re.match(r"flow\.json:[0-9]+:[0-9]+ steps\[0\]\.retryCout: warning: unknown key", done.stderr)
    assert "warning" not in run(flow, api, "--quiet").stderr


def test_control_characters_of_a_server_reach_no_terminal(tmp_path, api):
    api.on("/a", Reply(200, {"x": "\x1b[2Jgone\x07\u202e"}))
    flow = flow_file(tmp_path, get("a", **{"assert": "response.body.x === 'y'"}))
    done = run(flow, api)
    assert done.returncode == 1
    assert "gone" in done.stdout
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x07", "\u202e"}


def test_an_encoding_without_our_signs_gets_ascii(tmp_path, api):
    flow = flow_file(tmp_path, get("a", outputs={"x": "response.body.method"}), name="flöw.json")
    done = run(flow, api, by=command, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "`-http-a" in done.stdout
    assert "fl\\xf6w" in done.stdout
    as_json = run(flow, api, "--json", by=command, PYTHONIOENCODING="ascii")
    assert json.loads(as_json.stdout)["flow"] == "flöw"


def test_a_large_run_is_shown_in_two_hundred_rows(tmp_path, api):
    loop = get("loop", forEach=list(range(400)), maxConcurrency=20, onError="continue")
    loop["url"] = "{{env.API}}/{{item}}"
    api.on("/399", Reply(500))
    done = run(flow_file(tmp_path, loop), api)
    rows = done.stdout.splitlines()
    assert done.returncode == 0
    assert "iteration-loop[399]" in rows[199]
    assert rows[200] == "… 202 more: 202 ok"
    assert len(done.stderr.splitlines()) == 401


def test_check_tells_all_problems_and_what_a_flow_needs(tmp_path):
    good = flow_file(tmp_path, get("a", headers={"X": "{{headers.X-Id}}"}), name="good.json")
    bad = flow_file(tmp_path, get("a", retryCout=1), get("a", body="{{nope.x}}"), name="bad.json")
    done = here("check", good.name, bad.name, "no.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "good.json: ok, 1 step; needs -e API, --header 'x-id: …'"
    assert re.match(r"bad\.json:[0-9]+:[0-9]+ steps\[0\]\.retryCout: warning: ", lines[1])
    assert any("steps[1].id" in line for line in lines)
    assert any("no step 'nope'" in line for line in lines)
    assert re.fullmatch(r"bad\.json: 2 errors, 1 warning(; needs -e API)?", lines[4])
    assert "there is no file 'no.json'" in lines[5]
    assert lines[6] == "no.json: 1 error"


def test_check_counts_warnings_as_errors_when_strict(tmp_path):
    flow = flow_file(tmp_path, get("a", retryCout=1))
    assert here("check", flow.name, cwd=tmp_path).returncode == 0
    assert here("check", flow.name, "--strict", cwd=tmp_path).returncode == 2


def test_check_tells_keys_that_are_repeated(tmp_path):
    text = flow_file(tmp_path, get("a")).read_text()
    (tmp_path / "flow.json").write_text(text.replace('"name": "flow"', '"name": "x", "name": "flow"'))
    done = here("check", "flow.json", cwd=tmp_path)
    assert done.returncode == 0
    assert re.match(r"flow\.json:[0-9]+:[0-9]+ .*warning: .*'name'", done.stdout)
    assert "ok, 1 step, 1 warning" in done.stdout
    assert here("check", "flow.json", "--strict", cwd=tmp_path).returncode == 2
    (problem,) = json.loads(here("check", "flow.json", "--json", cwd=tmp_path).stdout)
    assert problem["severity"] == "warning"
    assert problem["line"] > 0


@pytest.mark.parametrize("words", [("check",), ("run", "-e", "API=http://127.0.0.1:9")])
def test_a_problem_of_a_flow_that_two_steps_run_is_told_once(tmp_path, words):
    flow_file(tmp_path, get("a", body="{{nope.x}}", method="POST"), name="inner.json")
    flow = flow_file(tmp_path, {"id": "a", "flow": "inner.json"}, {"id": "b", "flow": "inner.json"})
    done = here(words[0], flow.name, *words[1:], cwd=tmp_path)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("no step 'nope'") == 1
    shown = here("check", flow.name, "--json", cwd=tmp_path).stdout
    assert shown.count("no step 'nope'") == 1


def test_problems_that_would_be_shown_alike_are_told_once(tmp_path, monkeypatch):
    found = Problem("key.unknown", "steps[0].x", "unknown key 'x'", "warning", Place("flow.json", 3, 9))
    elsewhere = found.at(Place("flow.json", 4, 9))
    monkeypatch.setattr("runner.cli.check.check", lambda *_: (found, found, elsewhere))
    flow = flow_file(tmp_path, get("a"))
    lines = here("check", flow.name, cwd=tmp_path).stdout.splitlines()
    assert [line[:11] for line in lines] == ["flow.json:3", "flow.json:4", "flow.json: "]
    assert lines[2] == "flow.json: ok, 1 step, 2 warnings; needs -e API"
    assert len(json.loads(here("check", flow.name, "--json", cwd=tmp_path).stdout)) == 2


def test_check_finds_flows_in_folders_it_was_allowed(tmp_path):
    for folder in ("flows", "shared"):
        (tmp_path / folder).mkdir()
    flow_file(tmp_path / "shared", get("a"), name="inner.json")
    flow_file(tmp_path / "flows", {"id": "sub", "flow": str(tmp_path / "shared" / "inner.json")})
    refused = here("check", "flows/flow.json", cwd=tmp_path)
    assert refused.returncode == 2
    assert "see --allow-files DIR" in refused.stdout
    allowed = here("check", "flows/flow.json", "--allow-files", "shared", cwd=tmp_path)
    assert (allowed.returncode, allowed.stdout) == (0, "flows/flow.json: ok, 1 step; needs -e API\n")
    twice = ("--allow-files", "lost") * 2
    lost = here("check", "flows/flow.json", *twice, cwd=tmp_path)
    assert (lost.returncode, lost.stderr) == (2, "--allow-files: there is no folder 'lost'\n")


def test_check_with_env_fails_on_names_that_are_missing(tmp_path):
    flow = flow_file(tmp_path, get("a"))
    assert here("check", flow.name, cwd=tmp_path).returncode == 0
    assert here("check", flow.name, "-e", "API=x", cwd=tmp_path).returncode == 0
    (tmp_path / "my.env").write_text("APY=1\n")
    done = here("check", flow.name, "--env-file", "my.env", "--json", cwd=tmp_path)
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)
    assert problem.pop("what").startswith("no env value 'API'; did you mean 'APY'?")
    assert problem.pop("column") > 0
    assert problem.pop("line") > 0
    assert problem == {
        "flow": "flow.json",
        "severity": "error",
        "code": "env.missing",
        "where": "steps[0].url",
        "file": "flow.json",
    }


def test_the_schema_is_printed(tmp_path):
    done = here("schema", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("words", [(), ("run",), ("check",), ("schema",)])
def test_every_help_has_an_example(tmp_path, words):
    done = here(*words, "--help", cwd=tmp_path)
    assert done.stdout.isascii()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"examples?:\n  runner {' '.join(words)}", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_version_is_printed(tmp_path):
    done = here("--version", cwd=tmp_path)
    assert re.fullmatch(r"runner [0-9]+\.[0-9]+\S*\n", done.stdout)


def modules_after(code, folder):
    """Return the modules that were loaded when the code printed them; measuring coverage would load more."""
    env = {name: value for name, value in environment().items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    return set(re.findall(r"'([a-z0-9_.]+)'", done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy(tmp_path):
    code = "import sys, runner.cli.app as a; a.run_command(['run', '--help']); print(sorted(sys.modules))"
    loaded = modules_after(code, tmp_path)
    heavy = {"typing", "dataclasses", "asyncio", "anyio", "pydantic", "rich", "jinja2", "yaml", "ssl", "json"}
    assert not loaded & (
        heavy | {"httpx", "httpx2", "opentelemetry", "runner.core.model", "runner.runtime.run"}
    )


def test_a_run_imports_only_what_it_uses(tmp_path, api):
    flow = flow_file(tmp_path, get("a"))
    code = (
        "import sys, runner.cli.app as a;"
        f"code = a.run_command(['run', 'flow.json', '-e', 'API={api.origin}', '--trace-out', 't.json']);"
        "print(sorted(sys.modules)); sys.exit(code)"
    )
    loaded = modules_after(code, tmp_path)
    heavy = {
        "rich",
        "jinja2",
        "yaml",
        "opentelemetry",
        "requests",
        "grpc",
        "dotenv",
        "jsonpath_rfc9535",
        "regex",
    }
    assert not loaded & (heavy | {"runner.cli.live", "runner.runtime.otlp", "runner.core.schema"})
    assert flow.exists()


@pytest.mark.parametrize(("debug", "traceback"), [("0", False), ("1", True)])
def test_a_bug_is_one_line_and_exit_70(tmp_path, debug, traceback):
    code = (
        "import sys, runner.cli.app as a, runner.cli.check as c;"
        "c.main = lambda *_: {}['a secret key'];"
        "sys.exit(a.run_command(['check', 'x']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(RUNNER_DEBUG=debug), capture_output=True, text=True, timeout=25, check=False,
    )  # fmt: skip
    assert done.returncode == 70
    assert "a fault of the runner itself: KeyError; please report it" in done.stderr.splitlines()[-1]
    assert ("Traceback" in done.stderr) is traceback
    assert "a secret key" not in done.stderr


def test_a_bug_leaves_the_trace_up_to_there(tmp_path, api):
    flow = flow_file(tmp_path, get("a"), get("b"))
    code = f"""
import sys
from runner.cli import main
from runner.cli.watch import Watch

def ended(self, record):
    raise KeyError("a secret key")

Watch.ended = ended
main(["run", {flow.name!r}, "-e", "API={api.origin}", "--trace-out", "t.json"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=25, check=False,
    )  # fmt: skip
    assert done.returncode == 70
    assert done.stderr.startswith("runner: a fault of the runner itself: KeyError; please report it")
    names = [span["name"] for span in json.loads((tmp_path / "t.json").read_text())["spans"]]
    assert names[:2] == ["flow-flow", "http-a"]


def test_what_fails_around_a_command_is_one_line_and_exit_3(tmp_path, monkeypatch):
    def fail(*_):
        raise SurroundingsError("the collector is asleep")

    monkeypatch.setattr("runner.cli.check.main", fail)
    done = here("check", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "the collector is asleep\n")

    def lose_the_folder(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("runner.cli.check.main", lose_the_folder)
    assert here("check", "x", cwd=tmp_path).stderr == "runner: no such file or directory\n"


def test_closed_streams_are_no_error(tmp_path, api):
    flow = flow_file(tmp_path, get("a", url=f"{api.origin}/a"))
    done = subprocess.run(
        ["bash", "-c", '"$@" >&- 2>&-', "bash", *COMMAND, "run", flow.name],
        cwd=tmp_path, env=environment(), timeout=25, check=False,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize(("columns", "width"), [("120", 120), ("1", 20), ("0", 80), ("many", 80)])
def test_the_width_can_be_given(tmp_path, api, columns, width):
    api.on("/a", Reply(500))
    done = run(flow_file(tmp_path, get("a")), api, COLUMNS=columns)
    row = done.stdout.splitlines()[1]
    assert width - 15 <= len(row) <= width


def test_a_run_tells_what_check_warns_of_before_it_begins(tmp_path):
    text = '{"version": "1.0", "version": "1.0", "steps": [{"id": "a", "method": "PUT", "url": "x", "bodyFile": "b"}]}'
    (tmp_path / "flow.json").write_text(text)
    done = here("check", "flow.json", cwd=tmp_path)
    warnings = done.stdout.splitlines()[:2]
    assert "the key 'version' stands twice" in warnings[0]
    assert "steps[0].bodyFile: warning: there is no file 'b' in the flow's folder" in warnings[1]
    done = here("run", "flow.json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == warnings
    assert "warning" not in here("run", "flow.json", "-q", cwd=tmp_path).stderr
