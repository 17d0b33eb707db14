"""Carrying out the programs of platforms, over real connections."""

import anyio
import pytest

from runner.core.commands import NoResponse, Request, SendRequest, Wait
from runner.errors import FlowError, SurroundingsError
from runner.platforms.client import Tell
from runner.runtime.http import HttpSettings
from runner.runtime.platform import carry_out, read_secret, read_settings
from runner.runtime.tls import TlsOptions
from tests.servers import ApiServer, echo


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
