"""The flow of seed 002, as the page has it, through the command line, held against every promise about it."""

import base64
import json
import re
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.command import command
from tests.integration_flow_schema import violations
from tests.servers import ApiServer, Reply

FLOW = Path(__file__).parents[2] / "examples" / "register_user" / "flow.json"
PASSWORD = "pä\"ss'&<wörd>/\\ 100%=+"
NINE_DIGITS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest.fixture
def api():
    with ApiServer() as server:
        server.on(
            "/auth/register", Reply(201, {"user": {"id": 42, "role": "admin"}, "activation_token": "act-1"})
        )
        server.on("/auth/verify-email", Reply(body={"status": "verified"}))
        server.on("/notifications/welcome", Reply(body={"email_id": "em_1"}))
        yield server


def run(api, folder, *words):
    return command(
        "run", FLOW, "-i", "username=ada", "-i", "email=ada@example.com", "-i", f"password={PASSWORD}",
        "-e", f"API_URL={api.origin}", "--trace-out", "trace.json", *words, cwd=folder,
    )  # fmt: skip


def trace_of(folder):
    return json.loads((folder / "trace.json").read_text(encoding="utf-8"))


def test_three_requests_arrive_in_order_with_their_values(api, tmp_path):
    assert run(api, tmp_path).returncode == 0
    register, verify, welcome = api.requests
    assert [request.target for request in api.requests] == [
        "/auth/register", "/auth/verify-email", "/notifications/welcome",
    ]  # fmt: skip
    assert {request.method for request in api.requests} == {"POST"}
    assert register.json() == {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    assert json.dumps(PASSWORD, ensure_ascii=False).encode() in register.body
    assert verify.json() == {"token": "act-1"}
    assert welcome.body == b'{"userId":42,"userRole":"admin"}'


def test_the_trace_is_what_the_platform_takes(api, tmp_path):
    run(api, tmp_path)
    document = trace_of(tmp_path)
    assert violations(document) == []
    assert "id" not in document
    spans = document["spans"]
    assert [span["name"] for span in spans] == [
        "flow-Updated User Registration Flow",
        "http-register", "POST /auth/register",
        "http-verify_email", "POST /auth/verify-email",
        "http-send_welcome", "POST /notifications/welcome",
    ]  # fmt: skip
    ids = {span["spanContext"]["spanId"] for span in spans}
    assert len(ids) == len(spans)
    assert len({span["spanContext"]["traceId"] for span in spans}) == 1
    assert [span["name"] for span in spans if "parentSpanContext" not in span] == [spans[0]["name"]]
    for span in spans:
        assert NINE_DIGITS.fullmatch(span["startTime"])
        assert NINE_DIGITS.fullmatch(span["endTime"])
        assert span.get("parentSpanContext") == span.get("parentSpanContenxt")
        assert span is spans[0] or span["parentSpanContext"]["spanId"] in ids
        assert {"task.id", "task.type", "execution.id"} <= span["attributes"].keys()
    attempts = [span["spanContext"]["spanId"] for span in spans if span["name"].startswith("POST")]
    trace_id = spans[0]["spanContext"]["traceId"]
    sent = [request.header("traceparent") for request in api.requests]
    assert sent == [f"00-{trace_id}-{span_id}-01" for span_id in attempts]


@pytest.mark.parametrize("words", [(), ("--json",), ("--capture-bodies",), ("--json", "--capture-bodies")])
def test_the_password_is_in_no_artefact(api, tmp_path, words):
    api.on("/auth/verify-email", Reply(422, {"echo": PASSWORD}, [("X-Request-Id", quote(PASSWORD))]))
    done = run(api, tmp_path, *words)
    assert done.returncode == 1
    artefacts = done.stdout + done.stderr + (tmp_path / "trace.json").read_text(encoding="utf-8")
    encoded = {PASSWORD.encode(), f"ada:{PASSWORD}".encode()}
    spellings = {
        PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), quote_plus(PASSWORD), escape(PASSWORD),
        json.dumps(PASSWORD)[1:-1], json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        *(base64.b64encode(one).decode().rstrip("=") for one in encoded),
    }  # fmt: skip
    assert [one for one in spellings if one in artefacts] == []


def test_no_welcome_is_a_skip_that_says_why(api, tmp_path):
    assert run(api, tmp_path, "-i", "sendWelcomeEmail=false").returncode == 0
    assert len(api.requests) == 2
    skipped = trace_of(tmp_path)["spans"][-1]
    assert skipped["name"] == "http-send_welcome"
    assert skipped["startTime"] == skipped["endTime"]
    assert skipped["status"] == {"code": 0}
    assert skipped["attributes"]["runner.skip.reason"] == "condition"
    assert skipped["attributes"]["runner.skip.detail"] == "{{input.sendWelcomeEmail}} === true is false"


def test_wrong_inputs_are_reported_together_in_the_words_of_the_page(api, tmp_path):
    done = command(
        "run", FLOW, "-i", "username=ab", "-i", "email=nobody", "-i", "password=short",
        "-e", f"API_URL={api.origin}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert [line.partition(": ")[2] for line in done.stderr.splitlines() if "Input" in line] == [
        "Input username: minimum length is 3",
        "Input email: invalid email format",
        "Input password: minimum length is 8",
    ]
    assert api.requests == []


def test_a_document_of_50_mb_ends_at_the_limit_within_its_memory(tmp_path):
    (tmp_path / "big.json").write_bytes(b'{"steps": ["' + b"x" * 50_000_000 + b'"]}')
    measured = (
        "import resource, subprocess, sys;"
        "done = subprocess.run([sys.executable, '-m', 'runner', 'check', 'big.json'], capture_output=True);"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stderr + done.stdout)"
    )
    import subprocess
    import sys

    from tests.command import environment

    done = subprocess.run(
        [sys.executable, "-c", measured],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        check=True,
    )
    code, peak, text = done.stdout.split(" ", 2)
    assert code == "2"
    assert int(peak) * 1024 <= 200_000_000
    assert "larger than" in text
    assert "Traceback" not in text
