"""Carrying out the programs of platforms, over real connections."""

from itertools import count

import anyio
import pytest

from runner.core.commands import GetToken, NoResponse, Request, SendRequest, TokenSpec, Wait
from runner.errors import FlowError, SurroundingsError
from runner.platforms.client import Tell
from runner.runtime.http import HttpSettings
from runner.runtime.platform import carry_out, read_secret, read_settings
from runner.runtime.tls import TlsOptions
from tests.servers import ApiServer, Reply, echo


def program(url):
    yield Tell("asking")
    waited = yield Wait(0.001)
    answer = yield SendRequest(Request("GET", url), 10.0)
    return waited, answer


def test_each_command_is_performed_and_the_result_returned():
    told = []
    with ApiServer(echo) as server:
        waited, answer = carry_out(program(server.url("/x")), HttpSettings(), told.append)
    assert (answer.status, told) == (200, ["asking"])
    assert waited.received_at > 1.7e9
    assert server.requests[0].path == "/x"


@pytest.mark.anyio
async def test_it_works_where_an_event_loop_is_running():
    with ApiServer(echo) as server:
        _, answer = carry_out(program(server.url("/x")), HttpSettings(), lambda _: None)
    assert answer.status == 200
    await anyio.lowlevel.checkpoint()


def asking(url, *rejected):
    spec = TokenSpec(f"{url}/token", "me", "pass", max_attempts=2)
    answers = {}
    for number, one in enumerate(rejected):
        answers[number] = yield GetToken(spec, one)
    return list(answers.values())


def carried_out(server, *rejected):
    """Return the tokens that were got, what was told, and what was learned as a secret."""
    told, learned = [], []
    tokens = carry_out(asking(server.origin, *rejected), HttpSettings(), told.append, learned.append)
    return tokens, told, learned


def test_a_token_is_asked_for_once_and_again_when_it_is_rejected():
    numbers = count(1)
    with ApiServer(lambda _: Reply(body={"access_token": f"t{next(numbers)}"})) as server:
        tokens, told, learned = carried_out(server, None, None, "t1", "t1", "t2")
    assert [token.value for token in tokens] == ["t1", "t1", "t2", "t2", "t3"]
    assert (told, learned) == ([], ["t1", "t2", "t3"])
    [request, *more] = server.requests
    assert (len(more), request.body) == (2, b"grant_type=client_credentials")
    assert request.header("authorization") == "Basic bWU6cGFzcw=="


def test_a_token_server_that_fails_is_asked_again_and_that_is_told():
    with ApiServer().on(
        "/token", Reply(503, headers=[("Retry-After", "0")]), Reply(body={"access_token": "t"})
    ) as server:
        tokens, told, _ = carried_out(server, None)
    assert [token.value for token in tokens] == ["t"]
    assert told == ["there is no token yet (503); trying again"]


def test_a_token_that_is_refused_is_no_secret_and_is_not_kept():
    refused = Reply(401, {"error": "invalid_client"})
    with ApiServer().on("/token", refused, Reply(body={"access_token": "t"})) as server:
        [first, second], _, learned = carried_out(server, None, None)
    assert first.message == "the token server answered 401 'invalid_client' and gave no access_token"
    assert (second.value, learned) == ("t", ["t"])


def test_an_answer_may_not_be_larger_than_the_settings_say():
    with ApiServer(echo) as server:
        _, answer = carry_out(program(server.url("/x")), HttpSettings(max_response=10), lambda _: None)
    assert isinstance(answer, NoResponse)
    assert answer.code == "limit.response"


def test_certificates_that_cannot_be_used_are_told(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = HttpSettings(tls=TlsOptions(tmp_path / "ca.pem"))
    with pytest.raises(SurroundingsError):
        carry_out(program("https://127.0.0.1:9/"), settings, lambda _: None)


@pytest.mark.parametrize("text", ["s3cret", "s3cret\n", "  s3cret\r\n", "a=b; c=d"])
def test_a_secret_is_alone_in_its_file(tmp_path, text):
    (tmp_path / "token").write_text(text)
    assert read_secret(str(tmp_path / "token")) == text.strip()


@pytest.mark.parametrize("data", [b"", b"\n", b"one\ntwo", "grün".encode(), b"\xff\xfe"])
def test_a_file_that_holds_anything_else_is_no_secret(tmp_path, data):
    (tmp_path / "token").write_bytes(data)
    with pytest.raises(FlowError, match="must hold one secret in one line") as caught:
        read_secret(str(tmp_path / "token"))
    assert "one\ntwo" not in str(caught.value)


def test_settings_are_json_or_yaml_or_not_there(tmp_path):
    (tmp_path / "a.yaml").write_text("a: {b: 1}")
    (tmp_path / ".versori").write_text('{"project_id": "x"}')
    assert read_settings(tmp_path / "a.yaml") == {"a": {"b": 1}}
    assert read_settings(tmp_path / ".versori") == {"project_id": "x"}
    assert read_settings(tmp_path / "none") is None
    assert read_settings(tmp_path) is None
