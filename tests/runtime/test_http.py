import json
import math
import ssl
from datetime import UTC, datetime, timedelta

import anyio
import pytest

import runner
from runner.core.commands import NoResponse, Part, Refused, Request, Response, SendRequest
from runner.errors import SurroundingsError
from runner.runtime.http import HttpClient, HttpSettings, Transport
from runner.runtime.policy import ProxyRules, Route
from runner.runtime.tls import TlsOptions, trusting_context
from tests.servers import ApiServer, DemandingServer, Drop, Loopback, ProxyServer, Reply, TlsServer, echo

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


@pytest.fixture
async def transport():
    async with Transport() as opened:
        yield opened


@pytest.fixture
def client(transport):
    return HttpClient(transport)


def sending(url, method="GET", headers=(), body=None, parts=None, timeout=5.0):
    return SendRequest(Request(method, url, tuple(headers), body, parts), timeout)


async def echoed(client, url, **request):
    reply = await client.send(sending(url, **request))
    assert isinstance(reply, Response), reply
    return json.loads(reply.body)


# What goes out


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", "/"),
        ("?x=1", "/?x=1"),
        ("/a?a=%2F&h=[1]", "/a?a=%2F&h=[1]"),
        ("/a/../b/./c//d;p=1,2", "/a/../b/./c//d;p=1,2"),
        ("/%7Ea/%e2%82%ac?100%", "/%7Ea/%e2%82%ac?100%"),
        ("/a|b^c\\d~'()*!$&@:", "/a|b^c\\d~'()*!$&@:"),
        ("/x#part", "/x"),
        ("?#", "/?"),
        ('/a b"<>`{}é', "/a%20b%22%3C%3E%60%7B%7D%C3%A9"),
    ],
)
async def test_the_target_arrives_as_it_was_written(client, api, written, sent):
    assert (await echoed(client, api.origin + written))["target"] == sent


async def test_headers_keep_their_spelling_their_order_and_their_repetitions(client, api):
    own = [("X-CaSe", "1"), ("x-case", "2"), ("Accept", "text/plain"), ("X-Empty", ""), ("X-Euro", "€")]
    headers = (await echoed(client, api.url(), headers=own))["headers"]
    assert headers == [
        ["Host", f"127.0.0.1:{api.port}"],
        ["User-Agent", f"flowspan-runner/{runner.__version__}"],
        ["Accept-Encoding", "gzip, deflate"],
        ["X-CaSe", "1"],
        ["x-case", "2"],
        ["Accept", "text/plain"],
        ["X-Empty", ""],
        ["X-Euro", "€".encode().decode("latin-1")],
    ]


async def test_white_space_around_a_header_value_is_not_sent(client, api):
    assert ["X-Token", "abc"] in (await echoed(client, api.url(), headers=[("X-Token", " abc\t")]))["headers"]


async def test_extra_headers_are_sent_and_give_way_to_those_of_the_request(client, api):
    extra = (("traceparent", "00-1"), ("X-Extra", "2"))
    reply = await client.send(sending(api.url(), headers=[("TraceParent", "mine")]), extra)
    headers = json.loads(reply.body)["headers"]
    assert ["TraceParent", "mine"] in headers
    assert ["X-Extra", "2"] in headers
    assert ["traceparent", "00-1"] not in headers


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND", "query", "M-SEARCH"]
)
async def test_any_method_is_sent_as_it_is(client, api, method):
    assert (await client.send(sending(api.url("/x"), method=method))).status == 200
    assert api.requests[0].method == method


async def test_a_body_arrives_byte_for_byte_with_its_length(client, api):
    body = bytes(range(256))
    got = await echoed(client, api.url(), method="POST", body=body)
    assert got["body"].encode("latin-1") == body
    assert ["Content-Length", "256"] in got["headers"]


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("PUT", "0"), ("PATCH", "0"), ("GET", None)])
async def test_a_missing_body_is_told_where_one_is_expected(client, api, method, length):
    await client.send(sending(api.url(), method=method))
    assert api.requests[0].header("content-length") == length


async def test_a_body_can_be_sent_in_chunks_if_the_step_says_so(client, api):
    got = await echoed(
        client, api.url(), method="POST", body=b"abc", headers=[("Transfer-Encoding", "chunked")]
    )
    assert got["body"] == "abc"
    assert "content-length" not in {name.lower() for name, _ in got["headers"]}


async def test_a_multipart_body_has_the_boundary_of_the_content_type(client, api):
    parts = (
        Part("a", b"1"),
        Part("f", b"\x00\r\n", "näme.bin", "application/x-thing"),
        Part("j", b"{}", None, "application/json"),
    )
    headers = [("Content-Type", "multipart/form-data; boundary=xyz")]
    got = await echoed(client, api.url(), method="POST", parts=parts, headers=headers)
    assert got["body"].encode("latin-1").decode() == (
        '--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--xyz\r\nContent-Disposition: form-data; name="f"; filename="näme.bin"\r\n'
        "Content-Type: application/x-thing\r\n\r\n\x00\r\n\r\n"
        '--xyz\r\nContent-Disposition: form-data; name="j"\r\nContent-Type: application/json\r\n\r\n{}\r\n'
        "--xyz--\r\n"
    )


async def test_a_multipart_body_without_a_content_type_gets_one(client, api):
    got = await echoed(client, api.url(), method="POST", parts=(Part("a", b"1"),))
    boundary = api.requests[0].header("content-type").removeprefix("multipart/form-data; boundary=")
    assert f"--{boundary}--" in got["body"]


async def test_the_user_of_a_url_is_sent_as_basic_credentials_and_never_in_the_target(client, api):
    url = f"http://jo%40x:pa%3Ass@127.0.0.1:{api.port}/x"
    got = await echoed(client, url)
    assert ["Authorization", "Basic am9AeDpwYTpzcw=="] in got["headers"]
    assert got["target"] == "/x"
    headers = (await echoed(client, url, headers=[("authorization", "Bearer t")]))["headers"]
    assert [pair for pair in headers if pair[0].lower() == "authorization"] == [["authorization", "Bearer t"]]


# What comes back


async def test_an_answer_has_its_status_headers_body_time_version_and_peer(transport):
    with ApiServer().on(
        "/x", Reply(418, b"tea", [("X-A", "1"), ("x-a", "2"), ("X-Utf8", "Ã©"), ("X-Latin", "é")])
    ) as api:
        reply = await HttpClient(transport, clock=lambda: 1234.5).send(sending(api.url("/x")))
        assert reply == Response(
            status=418,
            headers=(("X-A", "1"), ("x-a", "2"), ("X-Utf8", "é"), ("X-Latin", "é"), ("Content-Length", "3")),
            body=b"tea",
            received_at=1234.5,
            http_version="1.1",
            peer=("127.0.0.1", api.port),
        )


@pytest.mark.parametrize("status", [204, 304, 200])
async def test_an_answer_without_a_body_leaves_the_connection_usable(client, status):
    huge = [("Content-Length", str(10**12)), ("Content-Encoding", "gzip")] if status == 200 else []
    with ApiServer(lambda _: Reply(status, b"", huge)) as api:
        for _ in range(2):
            assert (await client.send(sending(api.url(), method="HEAD"))).body == b""
        assert api.connections == 1


async def test_early_hints_are_passed_over(client, nasty):
    reply = await client.send(sending(nasty.url("/hints")))
    assert (reply.status, reply.body) == (200, b"ok")


async def test_a_redirect_is_an_answer_like_any_other(client):
    with ApiServer(lambda _: Reply(302, b"", [("Location", "http://[::1/")])) as api:
        assert (await client.send(sending(api.url()))).status == 302
        assert len(api.requests) == 1


# Connections


async def test_one_connection_serves_one_request_after_the_other(transport, api):
    for _ in range(3):
        for _ in range(2):
            await HttpClient(transport).send(sending(api.url()))
    assert api.connections == 1


async def test_no_more_requests_are_at_work_than_connections_are_allowed():
    async with Transport(HttpSettings(max_connections=5)) as transport:
        with ApiServer(echo) as api:
            gate = api.hold("/x")
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(HttpClient(transport).send, sending(api.url("/x")))
                await gate.arrived(5)
                gate.release()
            assert (api.peak, api.connections, len(api.requests)) == (5, 5, 20)


async def test_waiting_for_a_connection_counts_as_time(api):
    async with Transport(HttpSettings(max_connections=1)) as transport:
        client = HttpClient(transport)
        gate = api.hold("/held")
        async with anyio.create_task_group() as group:
            group.start_soon(client.send, sending(api.url("/held")))
            await gate.arrived(1)
            reply = await client.send(sending(api.url("/x"), timeout=0.05))
            gate.release()
        assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.timeout", "timeout")
        assert reply.message.startswith("no connection became free within 0.05 s")


async def test_cancelled_requests_give_their_connections_back(nasty):
    async with Transport(HttpSettings(max_connections=2)) as transport:
        client = HttpClient(transport)
        for path in ["/silent", "/stall", "/drip"] * 4:
            with anyio.move_on_after(0.01) as scope:
                await client.send(sending(nasty.url(path), timeout=60))
            assert scope.cancelled_caught
        assert (await client.send(sending(nasty.url("/fine"), timeout=1))).status == 200


# Cookies


def cookies_of(server):
    return [request.header("cookie") for request in server.requests]


async def test_cookies_stay_within_their_run(transport):
    with ApiServer(
        lambda _: Reply(headers=[("Set-Cookie", "sid=1; Path=/"), ("Set-Cookie", "b=2; Path=/b")])
    ) as api:
        first, second = HttpClient(transport), HttpClient(transport)
        url = f"http://localhost:{api.port}"
        for client, path in [(first, "/"), (first, "/a?x=/b"), (first, "/b/c"), (second, "/")]:
            await client.send(sending(url + path))
        assert cookies_of(api) == [None, "sid=1", "b=2; sid=1", None]


async def test_a_cookie_header_of_the_step_wins(client):
    with ApiServer(lambda _: Reply(headers=[("Set-Cookie", "sid=1")])) as api:
        await client.send(sending(api.url()))
        await client.send(sending(api.url(), headers=[("cookie", "mine=1")]))
        assert cookies_of(api) == [None, "mine=1"]


# What cannot be sent


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/path",
        "http:/x",
        "http://",
        "http:///x",
        "http://?x",
        "http://:80/",
        "http://user@/",
        "ftp://host/x",
        "http://host:port/",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "http://ho st/",
        "http://a\\@b/",
        "http://host/\r\nX: y",
        "http://host/" + "x" * 70_000,
    ],
)
async def test_what_is_no_url_is_named_and_nothing_is_sent(client, url):
    reply = await client.send(sending(url))
    assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.url", "http.url")


@pytest.mark.parametrize(
    "request_",
    [
        {"headers": [("X-Token", f"{SECRET}\r\nX-Other: 1")]},
        {"headers": [("X-Token", f"{SECRET}\0")]},
        {"headers": [("X-Token", f"{SECRET}\ud800")]},
        {"headers": [("X Token", SECRET)]},
        {"headers": [("", SECRET)]},
        {"headers": [("X-Tök", SECRET)]},
        {"headers": [("Content-Length", "1")], "body": SECRET.encode(), "method": "POST"},
        {"headers": [("Content-Length", "5")]},
        {"headers": [("Transfer-Encoding", "br")], "body": b"x", "method": "POST"},
        {"method": "GE T"},
        {"method": ""},
        {"method": "POST", "parts": (Part(f"{SECRET}\ud800", b"1"),)},
        {"method": "POST", "parts": (Part("a", b"1", "f", f"text/plain\r\n{SECRET}"),)},
    ],
)
async def test_a_request_that_http_cannot_carry_is_named_and_nothing_is_sent(client, api, request_):
    reply = await client.send(sending(api.url(f"/?{SECRET}"), **request_))
    assert (reply.phase, reply.code) == ("unsent", "http.request")
    assert SECRET not in reply.message
    assert api.requests == []


# Network trouble


@pytest.mark.parametrize(
    ("path", "phase", "code", "error_type"),
    [
        ("drop", "sent", "http.reset", "httpx.RemoteProtocolError"),
        ("reset", "sent", "http.reset", "httpx.ReadError"),
        ("half-head", "sent", "http.reset", "httpx.RemoteProtocolError"),
        ("garbage", "partial", "http.protocol", "httpx.RemoteProtocolError"),
        ("big-head", "partial", "http.protocol", "httpx.RemoteProtocolError"),
        ("half", "partial", "http.reset", "httpx.RemoteProtocolError"),
        ("half-chunk", "partial", "http.reset", "httpx.RemoteProtocolError"),
        ("reset-in-body", "partial", "http.reset", "httpx.ReadError"),
        ("bad-chunk", "partial", "http.protocol", "httpx.RemoteProtocolError"),
        ("cut-gzip", "partial", "http.protocol", "httpx.DecodingError"),
        ("false-gzip", "partial", "http.protocol", "httpx.DecodingError"),
        ("silent", "sent", "http.timeout", "timeout"),
        ("stall", "partial", "http.timeout", "timeout"),
        ("drip", "partial", "http.timeout", "timeout"),
    ],
)
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpcore leaves its own open on trio
async def test_trouble_tells_how_far_the_request_got(client, nasty, path, phase, code, error_type):
    timeout = {"silent": 1, "stall": 1, "drip": 1}.get(path, 5)
    reply = await client.send(sending(nasty.url(f"/{path}?n=200000&token={SECRET}"), timeout=timeout))
    assert isinstance(reply, NoResponse)
    assert (reply.phase, reply.code, reply.error_type, reply.reused) == (phase, code, error_type, False)
    assert reply.status == (200 if phase == "partial" and path not in {"garbage", "big-head"} else None)
    assert SECRET not in reply.message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("drop", "the server ended the connection without an answer"),
        ("half", "the server ended the connection in the middle of its answer"),
        ("garbage", "what the server answered is not HTTP"),
        ("silent", "no answer came within 0.5 s; `timeout` sets how long to wait"),
        ("drip", "the answer did not end within 0.5 s; `timeout` sets how long to wait"),
    ],
)
async def test_trouble_is_told_in_words(client, nasty, path, message):
    assert (await client.send(sending(nasty.url(f"/{path}"), timeout=0.5))).message == message


@pytest.mark.parametrize("path", ["huge", "endless", "bomb", "bomb?layers=2"])
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpcore leaves its own open on trio
async def test_an_answer_over_the_limit_ends_early(client, nasty, path):
    reply = await client.send(sending(nasty.url(f"/{path}"), timeout=20))
    assert (reply.phase, reply.code, reply.status) == ("partial", "limit.response", 200)
    assert reply.message == "the answer is larger than 10485760 bytes; --max-response allows more"
    assert (await client.send(sending(nasty.url("/fine")))).status == 200


async def test_an_answer_of_the_size_of_the_limit_is_no_trouble():
    async with Transport(HttpSettings(max_response=1000)) as transport:
        with ApiServer(lambda request: Reply(body=b"x" * int(request.path[1:]))) as api:
            assert len((await HttpClient(transport).send(sending(api.url("/1000")))).body) == 1000
            assert (await HttpClient(transport).send(sending(api.url("/1001")))).code == "limit.response"


async def test_a_request_lost_on_a_reused_connection_is_marked(client, nasty):
    assert (await client.send(sending(nasty.url("/drop-reused")))).status == 200
    reply = await client.send(sending(nasty.url("/drop-reused"), method="POST"))
    assert (reply.phase, reply.code, reply.reused) == ("sent", "http.reset", True)
    assert nasty.seen["drop_reused"] == 2


async def test_requests_that_race_the_end_of_an_idle_connection_get_an_answer_or_are_marked(client, nasty):
    replies = [await client.send(sending(nasty.url("/close-idle"))) for _ in range(50)]
    lost = [reply for reply in replies if isinstance(reply, NoResponse)]
    assert all((reply.phase, reply.code, reply.reused) == ("sent", "http.reset", True) for reply in lost)
    assert len(lost) < len(replies)


async def test_a_refused_connection_is_told_in_words(client, closed_port):
    reply = await client.send(sending(f"http://127.0.0.1:{closed_port}/{SECRET}"))
    assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.connect", "httpx.ConnectError")
    assert reply.message == f"no connection to 127.0.0.1:{closed_port}: connection refused"


async def test_a_refused_connection_to_an_ipv6_address_is_told_in_words(client):
    reply = await client.send(sending("http://[::1]:1/"))
    assert reply.code == "http.connect"
    assert reply.message.startswith("no connection to [::1]:1: ")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_has_no_address_is_told_in_words(client, host):
    reply = await client.send(sending(f"http://{host}/{SECRET}"))
    assert (reply.phase, reply.code) == ("unsent", "http.dns")
    assert reply.message.startswith(f"name not resolved: {host}:80")


async def test_an_endless_timeout_is_allowed(client, api):
    assert (await client.send(sending(api.url(), timeout=math.inf))).status == 200


async def test_a_dropped_request_can_be_scripted(client):
    with ApiServer().on("/x", Drop(), Drop(reset=True), Reply(201), Reply(202)) as api:
        replies = [await client.send(sending(api.url("/x"))) for _ in range(5)]
        assert [reply.status for reply in replies] == [None, None, 201, 202, 202]


# TLS


class Hangup(Loopback):
    """Reads a little and ends the connection."""

    async def serve(self, reader, writer, connection):
        await reader.read(65_536)


def trusting(authority, **options):
    return Transport(HttpSettings(tls=TlsOptions(cacert=authority.ca_file, **options)))


async def test_a_certificate_of_a_named_authority_is_trusted(authority, tls_api):
    async with trusting(authority) as transport:
        reply = await HttpClient(transport).send(sending(f"https://localhost:{tls_api.port}/x"))
    assert reply.status == 200
    assert reply.peer[1] == tls_api.port
    assert tls_api.server_names == ["localhost"]


async def test_an_unknown_authority_is_refused_with_a_remedy(client, tls_api):
    reply = await client.send(sending(tls_api.url(f"/{SECRET}")))
    assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.tls", "httpx.ConnectError")
    assert reply.message.startswith("certificate not trusted: ")
    assert reply.message.endswith("; name the authority that signed it with --cacert FILE")
    assert tls_api.requests == []


async def test_a_certificate_for_another_name_is_refused(authority):
    with TlsServer(authority, echo, names=("other.example",)) as server:
        async with trusting(authority) as transport:
            reply = await HttpClient(transport).send(sending(f"https://localhost:{server.port}/"))
    assert (reply.phase, reply.code) == ("unsent", "http.tls")
    assert "--cacert" not in reply.message
    assert "ostname mismatch" in reply.message


async def test_verification_can_be_switched_off(tls_api):
    async with Transport(HttpSettings(tls=TlsOptions(insecure=True))) as transport:
        assert (await HttpClient(transport).send(sending(tls_api.url()))).status == 200


async def test_a_port_without_tls_is_told_in_words(client, api):
    reply = await client.send(sending(f"https://127.0.0.1:{api.port}/"))
    assert (reply.phase, reply.code) == ("unsent", "http.tls")


async def test_a_certificate_that_has_expired_is_refused(authority):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with TlsServer(authority, echo, not_after=yesterday) as server:
        async with trusting(authority) as transport:
            reply = await HttpClient(transport).send(sending(server.url()))
    assert (reply.phase, reply.code) == ("unsent", "http.tls")
    assert reply.message == "certificate not trusted: certificate has expired; the server needs a new one"


async def test_a_client_certificate_is_shown_where_one_is_demanded(authority):
    with TlsServer(authority, echo, demand_client=True) as server:
        async with trusting(authority, client_cert=authority.client_file()) as transport:
            assert (await HttpClient(transport).send(sending(server.url()))).status == 200


@pytest.mark.parametrize(("version", "phase"), [("TLSv1_2", "unsent"), ("TLSv1_3", "sent")])
async def test_a_missing_client_certificate_is_told_with_a_remedy(authority, version, phase):
    with DemandingServer(authority, ssl.TLSVersion[version]) as server:
        async with trusting(authority) as transport:
            reply = await HttpClient(transport).send(sending(server.url()))
    assert (reply.phase, reply.code) == (phase, "http.tls")
    assert "client certificate" in reply.message
    assert "--client-cert" in reply.message


async def test_a_server_that_ends_the_handshake_is_told_in_words(client):
    with Hangup() as server:
        reply = await client.send(sending(f"https://127.0.0.1:{server.port}/"))
    assert (reply.phase, reply.code) == ("unsent", "http.tls")
    assert reply.message == "the server ended the connection during the TLS handshake"


@pytest.mark.parametrize("option", ["cacert", "client_cert"])
async def test_a_certificate_file_that_cannot_be_used_is_told_before_anything_is_sent(tmp_path, option):
    with pytest.raises(SurroundingsError, match="cannot be read: no such file"):
        Transport(HttpSettings(tls=TlsOptions(**{option: tmp_path / "none.pem"})))
    (tmp_path / "bad.pem").write_text("not a certificate")
    with pytest.raises(SurroundingsError, match="cannot be used: "):
        Transport(HttpSettings(tls=TlsOptions(**{option: tmp_path / "bad.pem"})))


async def test_a_key_with_a_password_is_refused_instead_of_asked_for(authority, tmp_path):
    from cryptography.hazmat.primitives import serialization

    leaf = authority.certificate("client")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with pytest.raises(SurroundingsError, match=r"client certificate .* cannot be used"):
        Transport(
            HttpSettings(tls=TlsOptions(client_cert=tmp_path / "cert.pem", client_key=tmp_path / "key.pem"))
        )


async def test_plain_requests_never_pay_for_tls(client, api):
    before = trusting_context.cache_info()
    await client.send(sending(api.url()))
    assert trusting_context.cache_info() == before


async def test_tls_is_set_up_once_for_all_transports(tls_api):
    settings = HttpSettings(tls=TlsOptions(insecure=True))
    before = trusting_context.cache_info().misses
    for _ in range(3):
        async with Transport(settings) as transport:
            await HttpClient(transport).send(sending(tls_api.url()))
    assert trusting_context.cache_info().misses - before <= 1


# Proxies and routes


def through(proxy, credentials="", tls=None):
    url = f"http://{credentials}127.0.0.1:{proxy.port}"
    rules = ProxyRules.from_environment({"HTTP_PROXY": url, "HTTPS_PROXY": url})
    return Transport(HttpSettings(proxies=rules, tls=tls or TlsOptions()))


async def test_a_plain_request_passes_a_proxy_unchanged(api):
    with ProxyServer({"api.example": api.port}, credentials="Basic dTpwQHc=") as proxy:
        async with through(proxy, "u:p%40w@") as transport:
            got = await echoed(HttpClient(transport), "http://api.example/a/../b?a=%2F&h=[1]")
        assert got["target"] == "/a/../b?a=%2F&h=[1]"
        assert ["Host", "api.example"] in got["headers"]
        assert proxy.requests[0].target == "http://api.example/a/../b?a=%2F&h=[1]"


async def test_a_tls_request_passes_a_proxy_through_a_tunnel(authority):
    with (
        TlsServer(authority, echo, names=("api.example",)) as server,
        ProxyServer({"api.example": server.port}) as proxy,
    ):
        async with through(proxy, tls=TlsOptions(cacert=authority.ca_file)) as transport:
            client = HttpClient(transport)
            for _ in range(2):
                got = await echoed(client, "https://api.example/a/../b?a=%2F&h=[1]")
        assert got["target"] == "/a/../b?a=%2F&h=[1]"
        assert server.server_names == ["api.example"]
        assert [(request.method, request.target) for request in proxy.requests] == [
            ("CONNECT", "api.example:443")
        ]


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ("Basic eA==", "the proxy demands credentials; put them into its url as user:password@"),
        (None, "the proxy did not open a tunnel (status 502)"),
    ],
)
async def test_a_tunnel_that_is_not_opened_counts_as_unsent(credentials, message):
    with ProxyServer({}, credentials=credentials) as proxy:
        async with through(proxy) as transport:
            reply = await HttpClient(transport).send(sending("https://api.example/"))
    assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.proxy", "httpx.ProxyError")
    assert reply.message == message


async def test_a_tunnel_that_leads_to_trouble_keeps_the_phases_apart(authority):
    with (
        TlsServer(authority, lambda _: Drop(), names=("api.example",)) as server,
        ProxyServer({"api.example": server.port}) as proxy,
    ):
        async with through(proxy, tls=TlsOptions(cacert=authority.ca_file)) as transport:
            reply = await HttpClient(transport).send(sending("https://api.example/"))
    assert (reply.phase, reply.code, reply.reused) == ("sent", "http.reset", False)


async def test_a_proxy_that_is_not_there_is_told_in_words(closed_port):
    rules = ProxyRules(http=f"http://u:{SECRET}@127.0.0.1:{closed_port}")
    async with Transport(HttpSettings(proxies=rules)) as transport:
        reply = await HttpClient(transport).send(sending("http://api.example/"))
    assert (reply.phase, reply.code) == ("unsent", "http.connect")
    assert reply.message == "no connection to the proxy: connection refused"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("socks5://127.0.0.1:1", "a SOCKS proxy needs another package"),
        (f"gopher://{SECRET}:1", "the proxy's url cannot be used"),
        (f"http://{SECRET}:port", "the proxy's url cannot be used"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_told_in_words(url, message):
    async with Transport(HttpSettings(proxies=ProxyRules(http=url))) as transport:
        reply = await HttpClient(transport).send(sending("http://api.example/"))
    assert (reply.phase, reply.code) == ("unsent", "http.proxy")
    assert reply.message.startswith(message)
    assert SECRET not in reply.message


class Table:
    """A router that looks hosts up."""

    def __init__(self, **ports):
        self.ports = ports
        self.asked = []

    async def route(self, scheme, host, port):
        self.asked.append((scheme, host, port))
        if host not in self.ports:
            return Refused("http.refused", f"{host} is not allowed")
        return Route("127.0.0.1", self.ports[host])


async def test_a_route_changes_where_to_connect_and_nothing_else(api):
    router = Table(one=api.port)
    async with Transport(router=router) as transport:
        got = await echoed(HttpClient(transport), "http://one:8080/x")
    assert ["Host", "one:8080"] in got["headers"]
    assert got["target"] == "/x"
    assert router.asked == [("http", "one", 8080)]


async def test_a_route_keeps_the_server_names_of_tls_apart(authority):
    with TlsServer(authority, echo, names=("one", "two")) as server:
        settings = HttpSettings(tls=TlsOptions(cacert=authority.ca_file))
        async with Transport(settings, Table(one=server.port, two=server.port)) as transport:
            for host in ["one", "two", "one"]:
                assert (await HttpClient(transport).send(sending(f"https://{host}/"))).status == 200
        assert server.server_names == ["one", "two"]


async def test_a_refused_route_sends_nothing(api):
    async with Transport(router=Table()) as transport:
        reply = await HttpClient(transport).send(sending(api.url()))
    assert (reply.phase, reply.code, reply.error_type) == ("unsent", "http.refused", "http.refused")
    assert reply.message == "127.0.0.1 is not allowed"
    assert api.connections == 0
