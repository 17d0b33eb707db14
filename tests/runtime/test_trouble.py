import errno
import socket
import ssl

import pytest

from runner.runtime.library import httpcore
from runner.runtime.tls import tls_message
from runner.runtime.trouble import Progress, explain


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_a_timeout_of_the_system_is_a_timeout():
    progress = Progress("GET")
    progress.stage = "connecting"
    code, error_type, message = explain(httpcore.ConnectTimeout("x"), progress)
    assert (code, error_type) == ("http.timeout", "timeout")
    assert message == "no connection could be made: the network gave up"


def test_of_several_addresses_the_first_ones_reason_is_told():
    reasons = ExceptionGroup("both", [OSError(errno.EHOSTUNREACH, "a"), OSError(errno.ECONNREFUSED, "b")])
    progress = Progress("GET")
    progress.peer = "api.example:80"
    error = caused(httpcore.ConnectError("x"), caused(OSError("All connection attempts failed"), reasons))
    assert explain(error, progress) == (
        "http.connect",
        "httpx.ConnectError",
        "no connection to api.example:80: no route to host",
    )


def test_a_name_server_that_does_not_answer_is_told_apart_from_an_unknown_name():
    error = caused(httpcore.ConnectError("x"), socket.gaierror(socket.EAI_AGAIN, "x"))
    code, _, message = explain(error, Progress("GET"))
    assert code == "http.dns"
    assert message == "name not resolved: the server; the name server did not answer"


def test_an_exception_that_says_nothing_is_told_by_the_stage():
    assert explain(httpcore.ConnectError(""), Progress("GET"))[::2] == (
        "http.connect",
        "no connection to the server",
    )


@pytest.mark.parametrize(("stage", "code"), [("securing", "http.tls"), ("tunnelling", "http.proxy")])
def test_a_connection_that_ends_before_the_request_is_told_by_the_stage(stage, code):
    progress = Progress("GET")
    progress.stage = stage
    assert explain(httpcore.ReadError(""), progress)[0] == code


def test_an_error_that_is_not_the_librarys_keeps_its_name():
    assert explain(ssl.SSLError(1, "x"), Progress("GET"))[:2] == ("http.tls", "ssl.SSLError")
    assert explain(OSError(errno.EPIPE, "x"), Progress("GET"))[:2] == ("http.connect", "BrokenPipeError")


def test_an_unknown_reason_of_tls_is_told_in_its_own_words():
    error = ssl.SSLError(1, "x")
    error.reason = "NO_SHARED_CIPHER"
    assert tls_message(error) == "TLS failed: no shared cipher"
    assert tls_message(ssl.SSLError(1, "x")) == "TLS failed: unknown reason"
